"""What a folder holds, as the spec of an app to begin with. Nothing is built or run; files are only looked at."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..ledger.apps.bounds import get_bounds
from ..ledger.apps.spec import FILES_BYTES_MAX, Component, Group, Health, Port, Spec
from ..ledger.apps.text import is_absolute_path
from ..specfile.compose.health import derive_probe
from ..specfile.compose.names import APP_MAX, make_slug
from ..specfile.keys import DEFAULT_GROUP
from ..specfile.public import is_secret_file

WEB_ROOT = "/usr/share/nginx/html"
WEB_IMAGE = "nginx:1.27-alpine"
HELLO_IMAGE = "builtin:hello"
_FILES_MAX = next(bound.high for bound in get_bounds(Component) if bound.attr == "files")
_TEXT_BYTES_MAX = 64 * 1024
_EXPOSE = re.compile(r"^\s*EXPOSE\s+([0-9]{1,5})(?:/tcp)?\b", re.IGNORECASE | re.MULTILINE)
_HEALTHCHECK = re.compile(r"^\s*HEALTHCHECK\b(.*)", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Beginning:
    """A spec to begin with, what it was made of, what to say above it.

    `sources`: where the spec's files come from (path in the container -> file of the folder).
    """

    found: str
    head: str
    spec: Spec
    sources: Mapping[str, str] = field(default_factory=dict)


def detect(folder: Path, name: str) -> Beginning:
    """The first that applies: Dockerfile, an image archive, Procfile, index.html, else the built-in hello image."""
    app = name or make_slug(folder.resolve().name, APP_MAX) or "app"
    app = app if len(app) > 1 else f"{app}-app"
    for detect_one in (_detect_dockerfile, _detect_archive, _detect_procfile, _detect_site):
        beginning = detect_one(folder, app)
        if beginning is not None:
            return beginning
    head = "Nothing was found to run, so this is the built-in hello image: put your own image in its place."
    return Beginning("nothing to run", head, _make(app, HELLO_IMAGE, (Port("http", 8080),), Health("http", "/")))


def _detect_dockerfile(folder: Path, app: str) -> Beginning | None:
    file = folder / "Dockerfile"
    if not file.is_file():
        return None
    text = _read(file).replace("\\\n", " ")
    ports = [int(number) for number in _EXPOSE.findall(text) if 0 < int(number) < 65_536]
    port = Port("http", ports[0] if ports else 8080)
    head = (
        f"From the Dockerfile{'' if ports else ' (it has no EXPOSE: is 8080 the port?)'}. Build the image first:\n"
        f"  docker build -t {app} . && docker save {app} -o {app}.tar"
    )
    return Beginning("Dockerfile", head, _make(app, f"./{app}.tar", (port,), _find_health(text, port)))


def _find_health(text: str, port: Port) -> Health:
    check = _HEALTHCHECK.search(text)
    probe = derive_probe(check[1]) if check else None
    if probe is not None and probe.kind == "http" and probe.number == port.port:
        return Health(kind="http", path=probe.path)
    return Health()


def _detect_archive(folder: Path, app: str) -> Beginning | None:
    archives = sorted(file.name for file in folder.iterdir() if file.name.endswith((".tar", ".tar.gz")))
    if not archives:
        return None
    head = f"From the image archive {archives[0]}. Is 8080 the port on which it listens?"
    return Beginning(archives[0], head, _make(app, f"./{archives[0]}", (Port("http", 8080),), Health()))


def _detect_procfile(folder: Path, app: str) -> Beginning | None:
    file = folder / "Procfile"
    if not file.is_file():
        return None
    lines = (line.partition(":") for line in _read(file).splitlines() if not line.lstrip().startswith("#"))
    processes = {name.strip(): command.strip() for name, _, command in lines if command.strip()}
    if not processes:
        return None
    web = processes.get("web", next(iter(processes.values())))
    head = f"From the Procfile. Make an image of this folder, for example with a buildpack, and save it as ./{app}.tar."
    spec = _make(app, f"./{app}.tar", (Port("http", 8080),), Health(), ("/bin/sh", "-c", web), (("PORT", "8080"),))
    return Beginning("Procfile", head, spec)


def _detect_site(folder: Path, app: str) -> Beginning | None:
    """A small site travels in the spec; a larger one needs an image."""
    if not (folder / "index.html").is_file():
        return None
    ports, health = (Port("http", 80),), Health(kind="http", path="/")
    files = _collect_site(folder)
    if files is None:
        head = (
            "From index.html; the site is too large to travel in this file, so make an image of it:\n"
            f"  printf 'FROM {WEB_IMAGE}\\nCOPY . {WEB_ROOT}\\n' | docker build -t {app} -f - .\n"
            f"  docker save {app} -o {app}.tar"
        )
        return Beginning("index.html", head, _make(app, f"./{app}.tar", ports, health))
    head = f"From index.html: {len(files)} file(s), served by {WEB_IMAGE}."
    sources = {target: f"./{target.removeprefix(f'{WEB_ROOT}/')}" for target, _ in files}
    return Beginning("index.html", head, _make(app, WEB_IMAGE, ports, health, files=files), sources)


def _collect_site(folder: Path) -> tuple[tuple[str, bytes], ...] | None:
    """The folder's files as files of the spec; None where they are too many or too large."""
    files: list[tuple[str, bytes]] = []
    room = FILES_BYTES_MAX
    for file in _list_files(folder):
        inside = file.relative_to(folder).as_posix()
        room -= file.stat().st_size
        target = f"{WEB_ROOT}/{inside}"
        if room < 0 or len(files) >= _FILES_MAX or not is_absolute_path(target):
            return None
        content = file.read_bytes()
        if not is_secret_file(inside, content):
            files.append((target, content))
    return tuple(sorted(files))


def _list_files(folder: Path) -> Iterator[Path]:
    """Files that are neither hidden nor links, one by one: the folder may hold very many."""
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for file in (Path(place, name) for name in sorted(names) if not name.startswith(".")):
            if file.is_file() and not file.is_symlink():
                yield file


def _make(
    app: str,
    image: str,
    ports: tuple[Port, ...],
    health: Health,
    command: tuple[str, ...] = (),
    env: tuple[tuple[str, str], ...] = (),
    files: tuple[tuple[str, bytes], ...] = (),
) -> Spec:
    component = Component(name="app", image=image, command=command, env=env, files=files, ports=ports, health=health)
    return Spec(name=app, groups=(Group(name=DEFAULT_GROUP, components=(component,)),))


def _read(file: Path) -> str:
    with file.open("rb") as opened:
        return opened.read(_TEXT_BYTES_MAX).decode("utf-8", "replace")
