"""What an engine says of itself, what its failures mean, the rules for networks, images on their way, counts."""

from __future__ import annotations

import errno
import io
import json
import tarfile
from pathlib import Path

import pytest

from fluxcloud.errors import FluxCloudError, Permanent, Temporary
from fluxcloud.images.build import Entry, build_image
from fluxcloud.images.errors import DigestMismatch, TooBig
from fluxcloud.images.manifest import Process, load_image
from fluxcloud.images.store import ContentStore
from fluxcloud.images.unpack import Limits
from fluxcloud.node.execute import is_disk_full
from fluxcloud.node.runtime.base import CopyKey
from fluxcloud.node.runtime.docker.answers import Info, Part, Version
from fluxcloud.node.runtime.docker.causes import is_unrunnable, shorten_cause
from fluxcloud.node.runtime.docker.exec import build_upgrade
from fluxcloud.node.runtime.docker.firewall import parse_resolvers, render_rules
from fluxcloud.node.runtime.docker.images import build_archive, check_layers, make_name
from fluxcloud.node.runtime.docker.isolation import build_isolation
from fluxcloud.node.runtime.docker.specs import Bounds
from fluxcloud.node.runtime.docker.starts import StartBook
from fluxcloud.node.runtime.docker.transport import (
    Conflict,
    NotFound,
    build_error,
    choose_version,
    explain_failure,
)

FULL = Info(True, True, True, ["name=seccomp,profile=default", "name=userns"], True)


def test_isolation__full() -> None:
    found = build_isolation(FULL, Bounds(1000, disk=True), open_network="")
    assert (found.engine, found.level, found.limits, found.egress) == ("docker", "full", "hard", "closed")
    assert found.notes == ("copies share one range of ids, as the engine has one for all",)


def test_isolation__what_would_improve_it() -> None:
    found = build_isolation(Info(), Bounds(1000), open_network="run the agent as root")
    assert (found.level, found.limits, found.egress) == ("namespaces", "soft", "open")
    assert found.notes == (
        "limits are soft: the engine can't bound memory, pids, cpu; mount those control groups",
        "root in a container is root of the machine: start dockerd with --userns-remap=default",
        "system calls are not filtered: use an engine with seccomp",
        "run the agent as root",
        "the limit of disk is soft: for a hard one, put the engine's data on xfs mounted with pquota",
        "copies end with the engine: start dockerd with --live-restore to let them go on",
    )


def test_isolation__podman() -> None:
    info = Info(True, True, True, ["name=seccomp,profile=default"])
    found = build_isolation(info, Bounds(1000, disk=True, is_podman=True), open_network="")
    assert (found.level, found.limits) == ("namespaces", "hard")
    assert found.notes == (
        "root in a container is root of the machine: Podman's API gives no user namespaces that work; use Docker",
    )


def test_isolation__rootless() -> None:
    with pytest.raises(Permanent, match="rootless"):
        build_isolation(Info(True, True, True, ["name=rootless"]), Bounds(1000), open_network="")


@pytest.mark.parametrize(
    ("newest", "oldest", "chosen"),
    [("1.41", "1.12", "1.41"), ("1.52", "1.24", "1.47"), ("1.60", "1.50", "1.50"), ("1.40", "1.12", "1.40")],
)
def test_versions(newest: str, oldest: str, chosen: str) -> None:
    assert choose_version(Version(newest, oldest)) == chosen


@pytest.mark.parametrize("newest", ["1.39", "x", ""])
def test_versions_that_are_too_old(newest: str) -> None:
    with pytest.raises(Permanent, match="API"):
        choose_version(Version(newest))


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, Permanent), (403, Permanent), (404, NotFound), (409, Conflict), (304, Conflict), (500, Temporary)],
)
def test_errors(status: int, kind: type[FluxCloudError]) -> None:
    error = build_error(status, b'{"message": "why"}')
    assert type(error) is kind
    assert "why" in str(error)


def test_errors__full_disk() -> None:
    error = build_error(500, b'{"message": "mkdir /x: no space left on device"}')
    assert isinstance(error, Temporary)
    assert is_disk_full(error)


@pytest.mark.parametrize("raw", [b"plain text", b"[]", b'{"message": 7}', b"\xff"])
def test_errors__in_another_shape(raw: bytes) -> None:
    assert isinstance(build_error(500, raw), Temporary)


@pytest.mark.parametrize(
    ("number", "kind", "remedy"),
    [
        (errno.EACCES, Permanent, "usermod -aG docker"),
        (errno.ENOENT, Temporary, "systemctl start docker"),
        (errno.ECONNREFUSED, Temporary, "docker_socket"),
        (errno.ECONNRESET, Temporary, "hung up"),
    ],
)
def test_failures_to_connect(number: int, kind: type[FluxCloudError], remedy: str) -> None:
    error = explain_failure("/run/docker.sock", OSError(number, "x"))
    assert type(error) is kind
    assert remedy in str(error)
    assert "/run/docker.sock" in str(error)


def test_rules() -> None:
    rules = render_rules(["192.168.1.1", "10.0.0.2"])
    assert rules.startswith(
        "table inet fluxcloud_docker\ndelete table inet fluxcloud_docker\ntable inet fluxcloud_docker {\n"
    )
    lines = [line.strip() for line in rules.splitlines()]
    out = lines[lines.index("chain out {") :][:7]
    assert out == [
        "chain out {",
        "ct state established,related accept",
        "meta nfproto ipv6 drop",
        "ip daddr { 192.168.1.1, 10.0.0.2 } meta l4proto { tcp, udp } th dport 53 accept",
        "ip daddr @closed drop",
        "tcp dport { 25, 465, 587 } drop",
        "ct state new add @rates { iifname limit rate over 50/second burst 50 packets } drop",
    ]
    assert "169.254.0.0/16" in rules
    assert "th dport 53" not in render_rules([])


def test_resolvers() -> None:
    text = (
        "# nameserver 1.1.1.1\nnameserver 127.0.0.53\nnameserver 10.0.0.2\nnameserver fe80::1\nsearch x\nnameserver\n"
    )
    assert parse_resolvers(text) == ["10.0.0.2"]


def test_upgrade() -> None:
    head, _, body = build_upgrade("/v1.41/exec/x/start", tty=True).partition(b"\r\n\r\n")
    assert head.split(b"\r\n")[0] == b"POST /v1.41/exec/x/start HTTP/1.1"
    assert b"Upgrade: tcp" in head
    assert b"Content-Length: %d" % len(body) in head
    assert json.loads(body) == {"Detach": False, "Tty": True}


@pytest.fixture
def store(tmp_path: Path) -> ContentStore:
    return ContentStore(tmp_path / "store")


def test_an_image_becomes_an_archive(store: ContentStore) -> None:
    digest = build_image(store, [Entry("a", b"1" * 700), Entry("b", b"2")], Process(cmd=["a"]))
    image = load_image(store, digest)
    name = make_name(digest, "node-1")
    assert name == f"fluxcloud/{digest[7:39]}:node-1"
    raw = b"".join(build_archive(store, image, name))
    with tarfile.open(fileobj=io.BytesIO(raw)) as archive:
        files = {entry.name: archive.extractfile(entry).read() for entry in archive}  # type: ignore[union-attr]
    config = f"{image.manifest.config.digest[7:]}.json"
    assert json.loads(files["manifest.json"]) == [{"Config": config, "RepoTags": [name], "Layers": ["000.tar"]}]
    assert files[config] == store.read(image.manifest.config.digest, size_max=10_000)
    assert files["000.tar"] == store.read(image.manifest.layers[0].digest, size_max=100_000)


def test_layers_are_checked(store: ContentStore) -> None:
    image = load_image(store, build_image(store, [Entry("a", b"1" * 700), Entry("b", b"2")], Process()))
    check_layers(store, image)
    check_layers(store, image, Limits(files_max=2))
    with pytest.raises(TooBig, match="more than 1 files"):
        check_layers(store, image, Limits(files_max=1))
    with pytest.raises(TooBig):
        check_layers(store, image, Limits(size_max=600))
    path = store.path(image.manifest.layers[0].digest)
    path.write_bytes(path.read_bytes().replace(b"1" * 700, b"3" * 700))
    with pytest.raises(DigestMismatch):
        check_layers(store, image)


def test_causes() -> None:
    docker = (
        "OCI runtime create failed: container_linux.go:380: starting container process caused: "
        'exec: "/bin/nothing": stat /bin/nothing: no such file or directory: unknown'
    )
    assert is_unrunnable(docker)
    assert shorten_cause(docker) == '"/bin/nothing": stat /bin/nothing: no such file or directory'
    other = "OCI runtime create failed: cgroups: no such file or directory: unknown"
    assert not is_unrunnable(other)
    assert shorten_cause(other) == "OCI runtime create failed: cgroups: no such file or directory"


def test_podman_is_known() -> None:
    assert Version("1.41", components=[Part("Podman Engine")]).is_podman
    assert not Version("1.41", components=[Part("Engine"), Part("containerd")]).is_podman


def test_counts_of_starts(tmp_path: Path) -> None:
    book, key, other = StartBook(tmp_path), CopyKey("app1x", 1), CopyKey("app1x", 11)
    book.open()
    assert book.count(key, "web") == 0
    for _ in range(2):
        book.note(key, "web")
    book.note(other, "web")
    assert StartBook(tmp_path).count(key, "web") == 2
    (tmp_path / "starts" / "app1x.1.db").write_text("x")
    assert book.count(key, "db") == 0
    book.forget(key)
    assert (book.count(key, "web"), book.count(other, "web")) == (0, 1)
