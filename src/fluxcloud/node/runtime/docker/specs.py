"""From a copy's spec to what the engine is asked to make: network, holder, components, their labels. Pure.

A copy is one small bridge network, one *holder* (a container of ours that does nothing but own the network namespace,
so that a component may restart without taking it along) and a container for each component in that namespace. All that
a later agent needs is in labels. Memory and disk in MiB, CPU in millicores.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Any

from ....errors import ConfigError, Permanent
from ....images.manifest import Process
from ..base import ComponentSpec, CopyKey, CopySpec
from ..bwrap import ROOT_CAPABILITIES
from .ipam import get_address, get_gateway

NODE = "fluxcloud.node"
APP = "fluxcloud.app"
GENERATION = "fluxcloud.generation"
COMPONENT = "fluxcloud.component"  # of a component's container
COMPONENTS = "fluxcloud.components"  # of the holder: the names of all components, as JSON
LABELS = "fluxcloud.labels"  # of the holder: the copy's own labels, as JSON
ADDRESS = "fluxcloud.address"  # of the holder

BRIDGE_PREFIX = "flux"
"""Names of the bridges begin with it: by that the firewall knows traffic of copies."""

_NODE = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,99}")
_PERIOD_US = 100_000
_LOG_FILES = 4
_HOLDER_MEMORY = 16 << 20
_HOLDER_PIDS = 8
_NOBODY = "65534:65534"


@dataclass(frozen=True, slots=True)
class CopyNames:
    """What the things of one copy are called on an engine that many nodes share."""

    node: str
    key: CopyKey

    @property
    def copy(self) -> str:
        """The network and the holder."""
        return f"{self.node}.{self.key.app}.{self.key.generation}"

    @property
    def bridge(self) -> str:
        """A network interface's name holds 15 characters."""
        return BRIDGE_PREFIX + hashlib.sha256(self.copy.encode()).hexdigest()[:11]

    def component(self, name: str) -> str:
        return f"{self.copy}.{name}"

    @property
    def labels(self) -> dict[str, str]:
        return {NODE: self.node, APP: self.key.app, GENERATION: str(self.key.generation)}


@dataclass(frozen=True, slots=True)
class Bounds:
    """What holds for all components here: bytes of log kept, and what the engine can do."""

    log_bytes: int
    disk: bool = False  # bound writable layers
    is_podman: bool = False


def validate_node(name: str) -> str:
    """Raises ConfigError: names of containers begin with it."""
    if not _NODE.fullmatch(name):
        raise ConfigError("id", f"{name[:40]!r}: allowed are 1 to 100 letters, digits, _, . and -")
    return name


def parse_key(labels: Mapping[str, str]) -> CopyKey | None:
    """None for labels that are not ours."""
    generation = labels.get(GENERATION, "")
    if APP not in labels or not (generation.isascii() and generation.isdigit() and len(generation) <= 20):
        return None
    return CopyKey(labels[APP], int(generation))


def make_filters(node: str, key: CopyKey | None = None) -> dict[str, list[str]]:
    """Everything of a node, or of one copy."""
    labels = [f"{NODE}={node}"]
    if key is not None:
        labels += [f"{APP}={key.app}", f"{GENERATION}={key.generation}"]
    return {"label": labels}


def build_network(names: CopyNames, subnet: IPv4Network) -> dict[str, Any]:
    return {
        "Name": names.copy,
        "CheckDuplicate": True,
        "Driver": "bridge",
        "IPAM": {"Driver": "default", "Config": [{"Subnet": str(subnet), "Gateway": str(get_gateway(subnet))}]},
        "Options": {"com.docker.network.bridge.name": names.bridge},
        "Labels": names.labels,
    }


def build_holder(names: CopyNames, copy: CopySpec, image: str, subnet: IPv4Network) -> dict[str, Any]:
    """Its host name is the first component's: with Docker all components of a copy share it."""
    parts = [spec.name for spec in copy.components]
    address = str(get_address(subnet))
    labels = {COMPONENTS: json.dumps(parts), LABELS: json.dumps(copy.labels), ADDRESS: address}
    return {
        "Image": image,
        "Hostname": parts[0],
        "User": _NOBODY,
        "Labels": {**names.labels, **labels},
        "HostConfig": {
            "NetworkMode": names.copy,
            "ExtraHosts": [f"{name}:127.0.0.1" for name in parts],
            "Memory": _HOLDER_MEMORY,
            "MemorySwap": _HOLDER_MEMORY,
            "PidsLimit": _HOLDER_PIDS,
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges"],
            "ReadonlyRootfs": True,
            "LogConfig": {"Type": "none", "Config": {}},
            "RestartPolicy": {"Name": "no"},
        },
        "NetworkingConfig": {"EndpointsConfig": {names.copy: {"IPAMConfig": {"IPv4Address": address}}}},
    }


def build_component(
    names: CopyNames, spec: ComponentSpec, image: str, process: Process, holder: str, bounds: Bounds
) -> dict[str, Any]:
    """Raises Permanent when there is nothing to run."""
    argv = plan_argv(spec, process)
    body: dict[str, Any] = {
        "Image": image,
        "Entrypoint": argv[:1],
        "Cmd": argv[1:],
        "Env": [f"{name}={value}" for name, value in (("HOSTNAME", spec.name), *spec.env)],
        "StopSignal": spec.stop_signal,
        "Healthcheck": {"Test": ["NONE"]},  # the agent probes by itself
        "Labels": {**names.labels, COMPONENT: spec.name},
        "HostConfig": _build_limits(spec) | _build_rights(spec) | {"NetworkMode": f"container:{holder}"},
    }
    log_bytes = max(bounds.log_bytes // _LOG_FILES, 1)
    config = {"max-size": str(log_bytes), "max-file": str(_LOG_FILES)}
    body["HostConfig"]["LogConfig"] = {"Type": "json-file", "Config": config}
    if bounds.is_podman:
        body["Hostname"] = spec.name  # with Docker a copy has one, that of its holder
    else:
        # Podman takes none of its operator's `default_ulimits` where some are given.
        body["HostConfig"]["Ulimits"] = [{"Name": "core", "Soft": 0, "Hard": 0}]
    if bounds.disk:
        body["HostConfig"]["StorageOpt"] = {"size": f"{spec.disk_mib}M"}
    return body


def make_writable(body: dict[str, Any]) -> dict[str, Any]:
    """The same container with a root that files can be put into."""
    return {**body, "HostConfig": {**body["HostConfig"], "ReadonlyRootfs": False}}


def plan_argv(spec: ComponentSpec, process: Process) -> list[str]:
    """A given entrypoint drops the image's command, a given command replaces it. Raises Permanent."""
    entrypoint = spec.entrypoint if spec.entrypoint is not None else tuple(process.entrypoint or ())
    command = spec.command or (tuple(process.cmd or ()) if spec.entrypoint is None else ())
    argv = [*entrypoint, *command]
    if not argv:
        raise Permanent(f"component {spec.name}: neither the image nor the spec says which command to run")
    for part in (*argv, *(text for pair in spec.env for text in pair)):
        if "\0" in part:
            raise Permanent(f"component {spec.name}: a NUL in its command or environment; none is allowed")
    return argv


def build_archive(spec: ComponentSpec) -> bytes:
    """The spec's files as a tar. Folders on the way are not in it, so those of the image stay as they are.

    Raises Permanent for a path that is none of a file.
    """
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for path, content in spec.files:
            parts = [part for part in path.split("/") if part not in ("", ".")]
            if not path.startswith("/") or not parts or ".." in parts or "\0" in path:
                raise Permanent(f"file {path[:80]!r}: allowed are absolute paths without ..")
            header = tarfile.TarInfo("/".join(parts))
            header.size, header.mode = len(content), 0o644
            archive.addfile(header, io.BytesIO(content))
    return raw.getvalue()


def build_exec(argv: tuple[str, ...], *, tty: bool) -> dict[str, Any]:
    """Raises Permanent."""
    if not argv or any("\0" in part for part in argv):
        raise Permanent("command: allowed are one or more words without NUL")
    return {
        "AttachStdin": True,
        "AttachStdout": True,
        "AttachStderr": True,
        "Tty": tty,
        "Cmd": list(argv),
        "Env": ["TERM=xterm-256color"] if tty else [],
    }


def _build_limits(spec: ComponentSpec) -> dict[str, Any]:
    memory = spec.memory_mib << 20
    scratch = max(memory // 2, 16 << 20)
    return {
        "Memory": memory,
        "MemorySwap": memory,  # together with swap: so none
        "CpuPeriod": _PERIOD_US,
        "CpuQuota": spec.mcpu * _PERIOD_US // 1000,
        "PidsLimit": spec.pids,
        "ShmSize": scratch,
        "Tmpfs": {"/tmp": f"rw,exec,nosuid,nodev,mode=1777,size={scratch}"},  # noqa: S108  (in the container)
    }


def _build_rights(spec: ComponentSpec) -> dict[str, Any]:
    return {
        "CapDrop": ["ALL"],
        "CapAdd": list(ROOT_CAPABILITIES),
        "SecurityOpt": ["no-new-privileges"],
        "ReadonlyRootfs": spec.read_only,
        "IpcMode": "private",
        "Init": False,
        "RestartPolicy": {"Name": "no"},  # the agent restarts, with its own backoff
    }
