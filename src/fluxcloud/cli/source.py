"""SOURCE of `deploy`, `app plan` and `app diff`: what was given, in one order everywhere, as a spec with its images.

A folder: fluxcloud.yaml, compose.yaml, an OCI layout, Dockerfile, Procfile, index.html, the first that is there. A
file: one of those, or an image archive. Anything else is an image's name: of the Docker daemon on this machine where it
has it (`docker:NAME` asks nobody else), else of a registry. Source: PRODUCT.md 2.
"""

from __future__ import annotations

import asyncio
import functools
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import click

from ..errors import Temporary
from ..images.reference import parse_reference
from ..images.static import INDEX_FILE, STATIC_PORT, build_static_image
from ..images.store import ContentStore
from ..ledger.apps.spec import Component, Group, Health, Port, Spec
from ..sdk.bundle import (
    BUILTIN_STATIC,
    DEFAULT_PORT,
    BadSource,
    Bundle,
    Registries,
    build_archive_bundle,
    build_bundle,
    build_stored_bundle,
)
from ..sdk.dockerimages import DockerImages, find_socket
from ..specfile.compose.convert import Options
from ..specfile.compose.files import find_compose
from ..specfile.compose.names import APP_MAX, make_slug
from ..specfile.keys import DEFAULT_GROUP
from ..specfile.public import refuse_public_secrets
from ..specfile.reader import InvalidSpec
from .output import UNREACHABLE, CliError, Output
from .site import read_site
from .spec import say_notes, with_compose_options
from .specsource import SPEC_NAMES, SpecSource, as_failure, convert_source, find_source, read_own

F = TypeVar("F", bound=Callable[..., Any])

DOCKER_PREFIX = "docker:"
_YAML = (".yaml", ".yml")
_ARCHIVES = (".tar", ".tgz", ".tar.gz", ".tar.xz", ".tar.bz2")
_LEFT_OUT_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the command line adds to a source."""

    name: str = ""
    port: int | None = None
    push: bool = False
    compose: Options = field(default_factory=Options)

    @property
    def registries(self) -> Registries:
        return Registries(push=self.push)


def with_source(function: F) -> F:
    """Add the argument SOURCE and the options about it to a verb, which gets `source` and `wishes`."""

    @functools.wraps(function)
    def collect(
        *args: Any,
        name: str,
        port: int | None,
        push: bool,
        stateful: Any,
        profiles: tuple[str, ...],
        public_env: tuple[str, ...],
        **kwargs: Any,
    ) -> Any:
        options = Options(name, profiles, stateful, frozenset(public_env))
        return function(*args, wishes=Wishes(name, port, push, options), **kwargs)

    for decorate in (
        click.option("--push", is_flag=True, help="Fetch images from registries here, as this user, and send them."),
        click.option("--port", type=click.IntRange(1, 65_535), help="Port the image listens on, if it does not say."),
        click.option("--name", default="", help="Name of the app, where SOURCE does not have one."),
        click.argument("source", default="."),
    ):
        collect = decorate(collect)
    return with_compose_options(collect)  # type: ignore[return-value]


async def read_source(source: str, wishes: Wishes, store: ContentStore, output: Output) -> Bundle:
    """The bundle of what was given. Raises BadSource (spec/3) that says what was looked for, CliError, and as reading
    files, archives and registries does."""
    if source.startswith(DOCKER_PREFIX):
        return await _read_docker(source.removeprefix(DOCKER_PREFIX), wishes, store, output)
    path = Path(source).expanduser()
    if path.is_dir():
        return await _read_folder(path, wishes, store, output)
    if path.exists():
        if path.name.endswith(_YAML):
            return await _read_spec(find_source(path), wishes, store, output)
        return await _read_archive(path, wishes, store, output)
    return await _read_image(source, wishes, store, output)


async def _read_folder(folder: Path, wishes: Wishes, store: ContentStore, output: Output) -> Bundle:
    if any((folder / name).is_file() for name in SPEC_NAMES) or find_compose(folder) is not None:
        return await _read_spec(find_source(folder), wishes, store, output)
    if (folder / "index.json").is_file() and (folder / "blobs").is_dir():
        return await _read_archive(folder, wishes, store, output)
    app = wishes.name or make_app_name(folder.resolve().name)
    for name, remedy in (
        ("Dockerfile", f"docker build -t {app} {folder} && fluxcloud deploy docker:{app}"),
        ("Procfile", f"pack build {app} --path {folder} && fluxcloud deploy docker:{app}"),
    ):
        if (folder / name).is_file():
            raise BadSource(f"{folder} has a {name}, and building images comes in a later version", hint=remedy)
    if (folder / INDEX_FILE).is_file():
        return await _read_site(folder, app, store, output)
    looked = ", ".join((*SPEC_NAMES[:1], "compose.yaml", "Dockerfile", "Procfile", INDEX_FILE))
    raise BadSource(f"{folder} has none of {looked}, nor is it an OCI layout", hint=f"fluxcloud init {folder}")


async def _read_spec(found: SpecSource, wishes: Wishes, store: ContentStore, output: Output) -> Bundle:
    output.progress(f"found {found.file}")
    try:
        if found.compose is not None:
            converted = convert_source(found.compose, wishes.compose)
            say_notes(converted.report, output)
            spec = converted.spec
        else:
            spec = read_own(found.file)
    except InvalidSpec as error:
        raise as_failure(found.file, error) from None
    refuse_public_secrets(spec, wishes.compose.public_env)
    return await build_bundle(spec, found.file.parent, store, output.progress, wishes.registries)


async def _read_archive(path: Path, wishes: Wishes, store: ContentStore, output: Output) -> Bundle:
    output.progress(f"found an image archive, {path.name}")
    name = wishes.name or make_app_name(path.name.split(".")[0])
    return await asyncio.to_thread(build_archive_bundle, path, name, wishes.port, store)


async def _read_site(folder: Path, app: str, store: ContentStore, output: Output) -> Bundle:
    site = await asyncio.to_thread(read_site, folder)
    count = sum(not entry.is_folder for entry in site.files)
    output.progress(f"found {INDEX_FILE}: {count} files, {site.size / 1e6:.1f} MB, as a static site")
    if site.left_out:
        more = len(site.left_out) - _LEFT_OUT_SHOWN
        shown = ", ".join(site.left_out[:_LEFT_OUT_SHOWN]) + (f" and {more} more" if more > 0 else "")
        output.progress(f"left out as hidden, a link or a secret: {shown}")
    digest = await asyncio.to_thread(build_static_image, store, site.files)
    component = Component(
        name="app",
        image=BUILTIN_STATIC,
        mcpu=100,
        memory_mib=64,
        disk_mib=64,
        ports=(Port("http", STATIC_PORT),),
        health=Health("http", "/"),
    )
    return build_stored_bundle(_make_spec(app, component), digest, store)


async def _read_image(source: str, wishes: Wishes, store: ContentStore, output: Output) -> Bundle:
    """An image by its name: Docker's here, else a registry's."""
    if source.startswith((".", "/", "~")) or source.endswith((*_YAML, *_ARCHIVES)):
        raise BadSource(f"{source} does not exist", hint="give a folder, an image archive, or the name of an image")
    reference = parse_reference(source)
    socket = find_socket()
    if socket is not None:
        async with DockerImages(socket) as docker:
            if await docker.find(source) is not None:
                return await _save_docker(docker, source, wishes, store, output)
    where = "no folder or file, and Docker here does not have it" if socket else "no folder or file"
    output.progress(f"{source} is {where}: looking for the image {reference.render()}")
    component = Component(name="app", image=source, ports=(Port("http", wishes.port or DEFAULT_PORT),))
    spec = _make_spec(wishes.name or make_app_name(reference.repository.rpartition("/")[2]), component)
    try:
        return await build_bundle(spec, Path(), store, output.progress, wishes.registries)
    except Temporary as error:
        hints = (
            f"./{source} where it is a file or folder",
            f"docker save {source} -o app.tar && fluxcloud deploy app.tar",
        )
        raise CliError(str(error), exit_code=UNREACHABLE, hints=hints) from error


async def _read_docker(name: str, wishes: Wishes, store: ContentStore, output: Output) -> Bundle:
    socket = find_socket()
    if socket is None:
        hint = "start Docker, or set DOCKER_HOST=unix:///path/to/docker.sock"
        raise BadSource(f"{name} can't be read: no Docker daemon here has a socket that you may use", hint=hint)
    async with DockerImages(socket) as docker:
        if await docker.find(name) is None:
            raise BadSource(f"Docker here has no image {name}", hint="docker images lists those it has")
        return await _save_docker(docker, name, wishes, store, output)


async def _save_docker(docker: DockerImages, name: str, wishes: Wishes, store: ContentStore, output: Output) -> Bundle:
    output.progress(f"found the image {name} in Docker on this machine")
    app = wishes.name or make_app_name(parse_reference(name).repository.rpartition("/")[2])
    with tempfile.TemporaryDirectory(prefix="fluxcloud-image-") as folder:
        archive = Path(folder, "image.tar")
        await docker.save(name, archive, lambda done: output.live(f"reading {name}: {done / 1e6:.1f} MB"))
        return await asyncio.to_thread(build_archive_bundle, archive, app, wishes.port, store, image=name)


def make_app_name(text: str) -> str:
    """`My_App` -> `my-app`; what leaves nothing is `app`."""
    slug = make_slug(text, APP_MAX) or "app"
    return slug if len(slug) > 1 else f"{slug}-app"


def _make_spec(app: str, component: Component) -> Spec:
    return Spec(name=app, groups=(Group(name=DEFAULT_GROUP, components=(component,)),))
