"""Processes that a local network may have left: daemons of an `up` that was killed, and copies of its nodes.

A process is known by pid and start time together, so that a pid that was given away again is never signalled.
"""

from __future__ import annotations

import json
import os
import signal
import time
from contextlib import suppress

from ..files import write_atomically
from ..node.runtime.procs import ProcessRef, is_alive, list_pids, observe_ref, send_signal
from .layout import Layout

GRACE_S = 5.0


class PidFile:
    """`pids.json`: name -> process of every daemon that runs now."""

    def __init__(self, layout: Layout) -> None:
        self._path = layout.root / "pids.json"

    def write(self, pids: dict[str, int]) -> None:
        refs = {name: ref for name, pid in pids.items() if (ref := observe_ref(pid)) is not None}
        write_atomically(self._path, json.dumps(refs).encode())

    def read_alive(self) -> dict[str, ProcessRef]:
        try:
            refs = {name: ProcessRef(*ref) for name, ref in json.loads(self._path.read_text()).items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}
        return {name: ref for name, ref in refs.items() if is_alive(ref)}


def end_leftovers(layout: Layout) -> int:
    """End the daemons and copies that an earlier `up` has left behind. Returns how many processes were ended."""
    daemons = PidFile(layout).read_alive()
    _end(list(daemons.values()))
    copies = list_copy_pids(layout)
    kill_copies(layout)
    return len(daemons) + len(copies)


def list_copy_pids(layout: Layout, name: str = "") -> list[int]:
    """All processes of the copies of one node, or of all nodes."""
    folders = [layout.node(name)] if name else sorted((layout.root / "nodes").glob("*"))
    return [pid for folder in folders for pid in list_pids(folder / "runtime")]


def kill_copies(layout: Layout, name: str = "") -> None:
    """SIGKILL the copies of one node, or of all; again until none is left, for they may have been forking."""
    for _ in range(20):
        pids = list_copy_pids(layout, name)
        if not pids:
            return
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


def wait_ended(ref: ProcessRef | None) -> None:
    """Until this process is gone."""
    while is_alive(ref):
        time.sleep(0.05)


def _end(refs: list[ProcessRef]) -> None:
    for number in (signal.SIGCONT, signal.SIGTERM):
        for ref in refs:
            send_signal(ref, number)
    deadline = time.monotonic() + GRACE_S
    while any(map(is_alive, refs)) and time.monotonic() < deadline:
        time.sleep(0.05)
    for ref in refs:
        send_signal(ref, signal.SIGKILL)
