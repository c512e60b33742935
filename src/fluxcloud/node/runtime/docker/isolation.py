"""What isolation copies get from an engine, by what it says of itself. Pure."""

from __future__ import annotations

from ....errors import Permanent
from ..base import Isolation
from .answers import Info
from .specs import Bounds


def build_isolation(info: Info, bounds: Bounds, *, open_network: str) -> Isolation:
    """`open_network`: why the network is open, empty when it is closed.

    Raises Permanent for an engine whose networks can't be reached from here.
    """
    features = {option.partition(",")[0].removeprefix("name=") for option in info.security_options or ()}
    if "rootless" in features:
        raise Permanent("this engine is rootless: its networks can't be reached from the agent; use a rootful one")
    notes = []
    missing = [
        name
        for name, found in (
            ("memory", info.memory_limit),
            ("pids", info.pids_limit),
            ("cpu", info.cpu_cfs_quota),
        )
        if not found
    ]
    if missing:
        notes.append(f"limits are soft: the engine can't bound {', '.join(missing)}; mount those control groups")
    if "userns" not in features:
        remedy = "start dockerd with --userns-remap=default"
        if bounds.is_podman:
            remedy = "Podman's API gives no user namespaces that work; use Docker"
        notes.append(f"root in a container is root of the machine: {remedy}")
    else:
        notes.append("copies share one range of ids, as the engine has one for all")
    if "seccomp" not in features:
        notes.append("system calls are not filtered: use an engine with seccomp")
    if open_network:
        notes.append(open_network)
    if not bounds.disk:
        notes.append("the limit of disk is soft: for a hard one, put the engine's data on xfs mounted with pquota")
    if not (info.live_restore_enabled or bounds.is_podman):
        notes.append("copies end with the engine: start dockerd with --live-restore to let them go on")
    full = not missing and {"userns", "seccomp"} <= features
    return Isolation(
        "docker",
        "full" if full else "namespaces",
        "soft" if missing else "hard",
        "open" if open_network else "closed",
        tuple(notes),
    )
