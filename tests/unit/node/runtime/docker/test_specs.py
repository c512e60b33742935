"""What the engine is asked to make, value for value."""

from __future__ import annotations

import io
import tarfile
from ipaddress import IPv4Network

import pytest

from fluxcloud.errors import ConfigError, Permanent
from fluxcloud.images.manifest import Process
from fluxcloud.node.runtime.base import ComponentSpec, CopyKey, CopySpec
from fluxcloud.node.runtime.docker.specs import (
    Bounds,
    CopyNames,
    build_archive,
    build_component,
    build_exec,
    build_holder,
    build_network,
    make_filters,
    make_writable,
    parse_key,
    plan_argv,
    validate_node,
)

DIGEST = "sha256:" + "0" * 64
KEY = CopyKey("app1x", 7)
NAMES = CopyNames("node-1", KEY)
SUBNET = IPv4Network("10.201.0.4/30")
OWN_LABELS = {"fluxcloud.node": "node-1", "fluxcloud.app": "app1x", "fluxcloud.generation": "7"}


def test_network() -> None:
    assert build_network(NAMES, SUBNET) == {
        "Name": "node-1.app1x.7",
        "CheckDuplicate": True,
        "Driver": "bridge",
        "IPAM": {"Driver": "default", "Config": [{"Subnet": "10.201.0.4/30", "Gateway": "10.201.0.5"}]},
        "Options": {"com.docker.network.bridge.name": "flux5750aaaec18"},
        "Labels": OWN_LABELS,
    }
    assert len(NAMES.bridge) <= 15


def test_holder() -> None:
    copy = CopySpec(KEY, (ComponentSpec("web", DIGEST), ComponentSpec("db", DIGEST)), (("slot", "0"),))
    assert build_holder(NAMES, copy, "sha256:holder", SUBNET) == {
        "Image": "sha256:holder",
        "Hostname": "web",
        "User": "65534:65534",
        "Labels": {
            **OWN_LABELS,
            "fluxcloud.components": '["web", "db"]',
            "fluxcloud.labels": '[["slot", "0"]]',
            "fluxcloud.address": "10.201.0.6",
        },
        "HostConfig": {
            "NetworkMode": "node-1.app1x.7",
            "ExtraHosts": ["web:127.0.0.1", "db:127.0.0.1"],
            "Memory": 16777216,
            "MemorySwap": 16777216,
            "PidsLimit": 8,
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges"],
            "ReadonlyRootfs": True,
            "LogConfig": {"Type": "none", "Config": {}},
            "RestartPolicy": {"Name": "no"},
        },
        "NetworkingConfig": {"EndpointsConfig": {"node-1.app1x.7": {"IPAMConfig": {"IPv4Address": "10.201.0.6"}}}},
    }


def test_component() -> None:
    spec = ComponentSpec(
        "web",
        DIGEST,
        command=("serve", "-v"),
        env=(("LOG", "info"),),
        mcpu=1500,
        memory_mib=64,
        disk_mib=100,
        pids=20,
        read_only=True,
        stop_signal="QUIT",
    )
    body = build_component(NAMES, spec, "sha256:image", Process(), "holder-id", Bounds(1000, disk=True))
    assert body == {
        "Image": "sha256:image",
        "Entrypoint": ["serve"],
        "Cmd": ["-v"],
        "Env": ["HOSTNAME=web", "LOG=info"],
        "StopSignal": "QUIT",
        "Healthcheck": {"Test": ["NONE"]},
        "Labels": {**OWN_LABELS, "fluxcloud.component": "web"},
        "HostConfig": {
            "Memory": 67108864,
            "MemorySwap": 67108864,
            "CpuPeriod": 100_000,
            "CpuQuota": 150_000,
            "PidsLimit": 20,
            "ShmSize": 33554432,
            "Tmpfs": {"/tmp": "rw,exec,nosuid,nodev,mode=1777,size=33554432"},
            "Ulimits": [{"Name": "core", "Soft": 0, "Hard": 0}],
            "CapDrop": ["ALL"],
            "CapAdd": ["CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "NET_BIND_SERVICE", "SETGID", "SETUID"],
            "SecurityOpt": ["no-new-privileges"],
            "ReadonlyRootfs": True,
            "IpcMode": "private",
            "Init": False,
            "RestartPolicy": {"Name": "no"},
            "NetworkMode": "container:holder-id",
            "LogConfig": {"Type": "json-file", "Config": {"max-size": "250", "max-file": "4"}},
            "StorageOpt": {"size": "100M"},
        },
    }
    writable = make_writable(body)
    assert writable["HostConfig"] == {**body["HostConfig"], "ReadonlyRootfs": False}
    assert body["HostConfig"]["ReadonlyRootfs"] is True


def test_component__where_the_engine_can_not_bound_disk() -> None:
    spec = ComponentSpec("web", DIGEST, command=("serve",))
    body = build_component(NAMES, spec, "sha256:image", Process(), "holder-id", Bounds(1000, disk=False))
    assert "StorageOpt" not in body["HostConfig"]
    assert "Hostname" not in body


def test_component__of_podman() -> None:
    spec = ComponentSpec("web", DIGEST, command=("serve",))
    body = build_component(NAMES, spec, "sha256:image", Process(), "holder-id", Bounds(1000, is_podman=True))
    assert body["Hostname"] == "web"
    assert "Ulimits" not in body["HostConfig"]


@pytest.mark.parametrize(
    ("entrypoint", "command", "argv"),
    [
        (None, (), ["/entry", "default"]),
        (None, ("mine",), ["/entry", "mine"]),
        (("/own",), (), ["/own"]),
        (("/own",), ("mine",), ["/own", "mine"]),
        ((), ("mine",), ["mine"]),
    ],
)
def test_argv(entrypoint: tuple[str, ...] | None, command: tuple[str, ...], argv: list[str]) -> None:
    process = Process(entrypoint=["/entry"], cmd=["default"])
    assert plan_argv(ComponentSpec("web", DIGEST, command, entrypoint), process) == argv


@pytest.mark.parametrize(
    "spec",
    [
        ComponentSpec("web", DIGEST),
        ComponentSpec("web", DIGEST, ("a\0b",)),
        ComponentSpec("web", DIGEST, ("a",), env=(("A", "\0"),)),
    ],
)
def test_invalid_argv(spec: ComponentSpec) -> None:
    with pytest.raises(Permanent, match="component web"):
        plan_argv(spec, Process())


def test_files() -> None:
    spec = ComponentSpec("web", DIGEST, files=(("/etc/app.yml", b"a"), ("//usr/./x", b"bc")))
    with tarfile.open(fileobj=io.BytesIO(build_archive(spec))) as archive:
        found = {entry.name: (entry.size, entry.mode, entry.uid) for entry in archive}
    assert found == {"etc/app.yml": (1, 0o644, 0), "usr/x": (2, 0o644, 0)}


@pytest.mark.parametrize("path", ["etc/x", "/", "/../etc/x", "/a\0b", ""])
def test_invalid_file(path: str) -> None:
    with pytest.raises(Permanent, match="absolute paths"):
        build_archive(ComponentSpec("web", DIGEST, files=((path, b""),)))


def test_exec() -> None:
    assert build_exec(("ls", "-l"), tty=True) == {
        "AttachStdin": True,
        "AttachStdout": True,
        "AttachStderr": True,
        "Tty": True,
        "Cmd": ["ls", "-l"],
        "Env": ["TERM=xterm-256color"],
    }
    assert build_exec(("ls",), tty=False)["Env"] == []
    for argv in ((), ("a\0",)):
        with pytest.raises(Permanent, match="words without NUL"):
            build_exec(argv, tty=False)


def test_labels_name_a_copy() -> None:
    assert parse_key(NAMES.labels) == KEY
    assert NAMES.component("web") == "node-1.app1x.7.web"
    assert make_filters("node-1") == {"label": ["fluxcloud.node=node-1"]}
    assert make_filters("node-1", KEY)["label"][1:] == ["fluxcloud.app=app1x", "fluxcloud.generation=7"]


@pytest.mark.parametrize("labels", [{}, {"fluxcloud.app": "x"}, {"fluxcloud.app": "x", "fluxcloud.generation": "-1"}])
def test_labels_of_strangers(labels: dict[str, str]) -> None:
    assert parse_key(labels) is None


@pytest.mark.parametrize("name", ["", "-x", "a b", "x" * 101, "a/b"])
def test_invalid_node(name: str) -> None:
    with pytest.raises(ConfigError, match="id: "):
        validate_node(name)
