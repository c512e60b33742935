"""What is kept of a copy beside it, and what of its components is read back from there."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import msgspec

from ...files import write_atomically
from .base import ComponentState, CopySpec
from .layout import ComponentPaths, CopyPaths
from .procs import ProcessRef, is_alive, observe_ref, read_ref, read_stat

_CHILD = re.compile(rb'"child-pid": (\d+)')
_SETUP_FAILED = frozenset({1, 125, 126, 127})
_KILLED = 137
PLAIN_MARK = b'"plain"'  # in the status of what runs without bubblewrap
_MAX_BYTES = 16 << 20


class BrokenRecord(Exception):
    """A copy's own file can't be read back."""


@dataclass(frozen=True, slots=True)
class CopyRecord:
    """`ids` is the first of the copy's host ids, 0 when all is the agent's own."""

    spec: CopySpec
    ids: int


@dataclass(frozen=True, slots=True)
class Exit:
    code: int
    oom_kills: int


def write_record(paths: CopyPaths, record: CopyRecord) -> None:
    """The copy exists from here on. Raises OSError."""
    write_atomically(paths.spec, msgspec.json.encode(record))


def read_record(paths: CopyPaths) -> CopyRecord | None:
    """None when there is no such copy. Raises BrokenRecord."""
    try:
        raw = paths.spec.read_bytes()
        return msgspec.json.decode(raw[:_MAX_BYTES], type=CopyRecord)
    except FileNotFoundError:
        return None
    except (msgspec.DecodeError, OSError) as error:
        raise BrokenRecord(f"{paths.spec.name}: {error}") from error


def get_container(paths: ComponentPaths) -> ProcessRef | None:
    """The container's first process, if it runs below its shim as bubblewrap said."""
    shim = read_ref(paths.shim)
    if not is_alive(shim):
        return None
    found = _CHILD.search(_read(paths.status))
    container = observe_ref(int(found[1])) if found else None
    if container is None or shim is None:
        return None
    outer = read_stat(container.pid)
    parent = read_stat(outer.parent) if outer else None
    above = {outer.parent if outer else 0, parent.parent if parent else 0}
    return container if shim.pid in above else None


def has_begun(container: ProcessRef) -> bool:
    """Whether it runs its own program: before, it is a child of bubblewrap that still builds the container."""
    found = read_stat(container.pid)
    try:
        return found is None or not os.path.samefile(f"/proc/{container.pid}/exe", f"/proc/{found.parent}/exe")
    except OSError:  # it ended this moment
        return False


def observe_component(paths: ComponentPaths, name: str) -> ComponentState:
    starts = int(_read(paths.starts) or 0)
    if not starts:
        return ComponentState(name, "created")
    container = get_container(paths)
    started_ms = paths.shim.stat().st_mtime_ns // 1_000_000 if paths.shim.exists() else None
    if container is not None:
        return ComponentState(name, "running", container.pid, started_ms, restarts=starts - 1)
    if is_alive(read_ref(paths.shim)) and read_exit(paths) is None:
        return ComponentState(name, "created", None, started_ms, restarts=starts - 1)
    return _render_end(paths, name, starts - 1, started_ms)


def read_exit(paths: ComponentPaths) -> Exit | None:
    fields = _read(paths.exit).split()
    return Exit(int(fields[0]), int(fields[1])) if len(fields) == 2 else None


def _render_end(paths: ComponentPaths, name: str, restarts: int, started_ms: int | None) -> ComponentState:
    ended = read_exit(paths)
    if ended is None:  # the shim itself was killed, or the machine stopped
        return ComponentState(name, "exited", None, started_ms, _KILLED, "engine", restarts)
    status = _read(paths.status)
    if b"exit-code" not in status and PLAIN_MARK not in status and ended.code in _SETUP_FAILED:
        return ComponentState(name, "exited", None, started_ms, ended.code, "engine", restarts)
    reason = "oom" if ended.oom_kills and ended.code == _KILLED else "exit"
    return ComponentState(name, "exited", None, started_ms, ended.code, reason, restarts)  # type: ignore[arg-type]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
