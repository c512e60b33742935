"""Processes by pid and start time: a pid alone may belong to a stranger after the machine has reused it.

A record is a line `pid start boot`: start time in clock ticks since the machine's start (field 22 of /proc/PID/stat)
and the id of that start. `list_pids` finds all processes of a runtime's folder, whether or not an agent runs.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple


class ProcessRef(NamedTuple):
    pid: int
    start: int
    boot: str


class Stat(NamedTuple):
    """What /proc/PID/stat says; `cpu_ticks` of the process without its children."""

    state: str
    parent: int
    start: int
    cpu_ticks: int


def get_boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def read_stat(pid: int) -> Stat | None:
    """None when there is no such process."""
    try:
        raw = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name in parentheses may hold anything, also spaces and parentheses.
    fields = raw[raw.rindex(b")") + 2 :].split()
    return Stat(fields[0].decode(), int(fields[1]), int(fields[19]), int(fields[11]) + int(fields[12]))


def read_ref(path: Path) -> ProcessRef | None:
    """A record, or None when there is none or only half of one."""
    try:
        pid, start, boot = path.read_text().split()
        return ProcessRef(int(pid), int(start), boot)
    except (OSError, ValueError):
        return None


def is_alive(ref: ProcessRef | None) -> bool:
    """Whether this very process runs. One that ended and waits for its parent does not."""
    if ref is None or ref.boot != get_boot_id():
        return False
    found = read_stat(ref.pid)
    return found is not None and found.start == ref.start and found.state not in "ZX"


def open_pidfd(ref: ProcessRef) -> int | None:
    """A descriptor that becomes readable when the process ends; None when it has ended."""
    try:
        descriptor = os.pidfd_open(ref.pid)
    except OSError:
        return None
    if is_alive(ref):
        return descriptor
    os.close(descriptor)
    return None


def send_signal(ref: ProcessRef | None, number: signal.Signals) -> bool:
    """Signal exactly this process; False when it is gone."""
    descriptor = open_pidfd(ref) if ref is not None else None
    if descriptor is None:
        return False
    try:
        signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
    return True


def observe_ref(pid: int) -> ProcessRef | None:
    """A record of a process that runs now."""
    found = read_stat(pid)
    return None if found is None or found.state in "ZX" else ProcessRef(pid, found.start, get_boot_id())


def list_children() -> dict[int, list[int]]:
    """Parent -> children, of all processes of the machine."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and (found := read_stat(int(name))) is not None and found.state not in "ZX":
            children.setdefault(found.parent, []).append(int(name))
    return children


def list_descendants(pids: Iterable[int]) -> list[int]:
    """These processes and all below them, parents first."""
    children = list_children()
    found: list[int] = []
    pending = list(pids)
    while pending:
        pid = pending.pop(0)
        if pid not in found:
            found.append(pid)
            pending.extend(children.get(pid, ()))
    return found


def list_pids(root: Path) -> list[int]:
    """All processes of the copies in a runtime's folder: shims, relays, containers, commands started in them.

    Needs no agent. For whoever stops or kills a whole node: signal these, look again, until none is left.
    """
    return find_pids([copy for copy in root.glob("copies/*") if copy.is_dir()])


def find_pids(copies: list[Path]) -> list[int]:
    """All processes of the copies in these folders."""
    records = [path for copy in copies for path in (*copy.glob("pod/*.pid"), *copy.glob("c/*/shim.pid"))]
    alive = [ref.pid for path in records if is_alive(ref := read_ref(path)) and ref is not None]
    namespaces = {link for copy in copies if (link := _read_namespace(read_ref(copy / "pod" / "holder.pid")))}
    joined = [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if _read_net(pid) in namespaces]
    return [pid for pid in list_descendants([*alive, *joined]) if pid != os.getpid()]


def _read_namespace(holder: ProcessRef | None) -> str | None:
    """The copy's network namespace, unless it is the machine's own (plain processes)."""
    if holder is None or not is_alive(holder):
        return None
    found = _read_net(holder.pid)
    return None if found == _read_net(os.getpid()) else found


def _read_net(pid: int) -> str | None:
    with contextlib.suppress(OSError):
        return os.readlink(f"/proc/{pid}/ns/net")
    return None
