"""SOURCE: which of the things in a folder counts, and what is said where nothing does."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engines import require_engine
from fluxcloud.cli.output import Output
from fluxcloud.cli.site import read_site
from fluxcloud.cli.source import Wishes, make_app_name, read_source
from fluxcloud.images.errors import PrivateImage
from fluxcloud.images.store import ContentStore
from fluxcloud.sdk.bundle import BadSource, Bundle
from fluxcloud.sdk.dockerimages import find_socket, list_sockets

SPEC = "name: own\ncomponents: {a: {image: builtin:hello, ports: {http: 8080}}}\n"
COMPOSE = "name: composed\nservices: {a: {image: builtin:hello, ports: ['8080:8080']}}\n"
PRIVATE_KEY = b"-----BEGIN PRIVATE KEY-----\nMC4C\n"


@pytest.fixture(autouse=True)
def no_docker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no-docker.sock")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "My_Site"
    made.mkdir()
    return made


async def read(given: Path | str, tmp_path: Path, **wishes: object) -> Bundle:
    return await read_source(str(given), Wishes(**wishes), ContentStore(tmp_path / "store"), Output(quiet=True))  # type: ignore[arg-type]


def fill(folder: Path, *names: str) -> None:
    contents = {"fluxcloud.yaml": SPEC, "compose.yaml": COMPOSE, "index.html": "<h1>hi", "Dockerfile": "FROM scratch\n"}
    for name in names:
        (folder / name).write_text(contents.get(name, "web: ./run\n"))


@pytest.mark.parametrize(
    ("names", "app"),
    [
        (("fluxcloud.yaml", "compose.yaml", "Dockerfile", "index.html"), "own"),
        (("fluxcloud.yaml",), "own"),
        (("compose.yaml", "Dockerfile", "Procfile", "index.html"), "composed"),
        (("index.html",), "my-site"),
    ],
)
async def test_folder__the_first_of_the_order_counts(
    folder: Path, tmp_path: Path, names: tuple[str, ...], app: str
) -> None:
    require_engine("busybox", package="busybox-static")
    fill(folder, *names)
    assert (await read(folder, tmp_path)).spec.name == app


@pytest.mark.parametrize(
    ("names", "said", "remedy"),
    [
        (("Dockerfile", "Procfile", "index.html"), "has a Dockerfile", "docker build -t my-site"),
        (("Procfile", "index.html"), "has a Procfile", "pack build my-site"),
        ((), "has none of fluxcloud.yaml, compose.yaml, Dockerfile, Procfile, index.html", "fluxcloud init"),
    ],
)
async def test_folder_that_needs_more__says_what(
    folder: Path, tmp_path: Path, names: tuple[str, ...], said: str, remedy: str
) -> None:
    fill(folder, *names)
    with pytest.raises(BadSource, match=said) as refused:
        await read(folder, tmp_path)
    assert refused.value.hint.startswith(remedy)


async def test_site__has_one_small_component_that_is_probed(folder: Path, tmp_path: Path) -> None:
    require_engine("busybox", package="busybox-static")
    fill(folder, "index.html")
    bundle = await read(folder, tmp_path, name="shop")
    ((component,),) = [group.components for group in bundle.spec.groups]
    assert (bundle.spec.name, component.image, component.memory_mib) == ("shop", "builtin:static", 64)
    assert (component.ports[0].port, component.health.path) == (8080, "/")
    assert bundle.images[0].digest in dict(bundle.list_digests())


@pytest.mark.parametrize("given", ["./missing", "/missing/folder", "missing.tar", "missing.yaml", "~/missing-folder"])
async def test_path_that_is_not_there__is_not_taken_for_an_image(tmp_path: Path, given: str) -> None:
    with pytest.raises(BadSource, match="does not exist"):
        await read(given, tmp_path)


async def test_docker_without_a_daemon__says_how_to_name_one(tmp_path: Path) -> None:
    with pytest.raises(BadSource, match="no Docker daemon") as refused:
        await read("docker:shop", tmp_path)
    assert "DOCKER_HOST" in refused.value.hint


async def test_name_without_a_daemon__is_looked_up_in_its_registry(tmp_path: Path) -> None:
    with pytest.raises(PrivateImage, match="localhost:1"):
        await read("localhost:1/acme/shop:1.4", tmp_path)


@pytest.mark.parametrize(
    ("text", "name"), [("My_App", "my-app"), ("2048", "app"), ("x", "x-app"), ("a" * 60, "a" * 40)]
)
def test_app_name__is_allowed(text: str, name: str) -> None:
    assert make_app_name(text) == name


def test_site__leaves_out_what_is_hidden_linked_or_secret(folder: Path) -> None:
    fill(folder, "index.html")
    for name in (".git", ".well-known", "img"):
        (folder / name).mkdir()
        (folder / name / "file").write_bytes(b"x")
    (folder / ".env").write_text("A=1")
    (folder / "server.key").write_text("x")
    (folder / "notes.txt").write_bytes(PRIVATE_KEY)
    (folder / "out").symlink_to("/etc/passwd")
    (folder / "away").symlink_to("/etc")
    os.mkfifo(folder / "pipe")
    site = read_site(folder)
    assert [entry.path for entry in site.files if not entry.is_folder] == ["index.html", ".well-known/file", "img/file"]
    assert site.left_out == (".env", ".git/", "away/", "notes.txt", "out", "pipe", "server.key")


def test_site_of_too_much__is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(folder, "index.html")
    monkeypatch.setattr("fluxcloud.cli.site.BYTES_MAX", 3)
    with pytest.raises(BadSource, match="at most"):
        read_site(folder)


def test_sockets__docker_host_alone_where_it_is_set() -> None:
    assert list(list_sockets({"DOCKER_HOST": "unix:///x/d.sock"})) == [Path("/x/d.sock")]
    assert list(list_sockets({"DOCKER_HOST": "tcp://10.0.0.1:2375"})) == []
    assert Path("/run/user/7/podman/podman.sock") in list(list_sockets({"XDG_RUNTIME_DIR": "/run/user/7"}))
    assert find_socket({"DOCKER_HOST": "unix:///nowhere/d.sock"}) is None
