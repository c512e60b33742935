"""Ending all that runs of a copy and deleting what it left on the disk."""

from __future__ import annotations

import contextlib
import os
import signal
import time

from ...images.deletion import delete_folder
from .cgroups import Cgroups
from .layout import CopyPaths
from .pod import stop_pod
from .procs import find_pids

_KILL_TIMEOUT_S = 10.0


def name_group(paths: CopyPaths, component: str) -> str:
    """The control group of a component."""
    return f"{paths.folder.name}.{component}"


def kill_copy(paths: CopyPaths, cgroups: Cgroups | None) -> None:
    """Blocking. Raises OSError when a process can't be killed in time."""
    if not paths.folder.is_dir():
        return
    deadline = time.monotonic() + _KILL_TIMEOUT_S
    stop_pod(paths)
    while pids := _list_pids(paths, cgroups):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            raise TimeoutError(f"processes {pids[:8]} do not end")
        time.sleep(0.002)
    if cgroups:
        for component in _list_components(paths):
            cgroups.remove(name_group(paths, component))


def remove_folders(copies: list[CopyPaths]) -> None:
    """Blocking. Raises OSError."""
    for paths in copies:
        for folder in (paths.sockets, paths.folder):
            delete_folder(folder)


def _list_pids(paths: CopyPaths, cgroups: Cgroups | None) -> list[int]:
    grouped = (
        [pid for name in _list_components(paths) for pid in cgroups.list_pids(name_group(paths, name))]
        if cgroups
        else []
    )
    return sorted({*find_pids([paths.folder]), *grouped})


def _list_components(paths: CopyPaths) -> list[str]:
    with contextlib.suppress(FileNotFoundError):
        return sorted(os.listdir(paths.folder / "c"))
    return []
