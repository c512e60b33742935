"""Shims while they begin and end: waiting until the last one has written its word, and until the new one has begun."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time

from .layout import ComponentPaths
from .procs import is_alive, open_pidfd, read_ref, send_signal
from .record import get_container, has_begun
from .waiting import read_until, wait_readable

START_TIMEOUT_S = 15.0
KILL_TIMEOUT_S = 10.0
_STEP_S = 0.001


async def end_shim(folder: ComponentPaths) -> None:
    """The shim of the start before may still be writing down how it ended."""
    shim = read_ref(folder.shim)
    descriptor = open_pidfd(shim) if shim else None
    if descriptor is not None:
        try:
            if not await wait_readable(descriptor, START_TIMEOUT_S):
                send_signal(shim, signal.SIGKILL)
                await wait_readable(descriptor, KILL_TIMEOUT_S)
        finally:
            os.close(descriptor)


async def await_shim(folder: ComponentPaths, shim: subprocess.Popen[bytes]) -> None:
    """Until it has said which process it is, or has ended: before, nothing tells it from one that was killed."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if read_ref(folder.shim) is not None or shim.poll() is not None:
            return
        await asyncio.sleep(_STEP_S)


async def await_container(folder: ComponentPaths, reader: int) -> None:
    """Until bubblewrap has started the command, or has failed to; the latter shows as the phase `exited`."""
    await read_until(reader, (b"}",), START_TIMEOUT_S)
    deadline = time.monotonic() + START_TIMEOUT_S
    while is_alive(read_ref(folder.shim)) and time.monotonic() < deadline:
        container = get_container(folder)
        if container is not None and has_begun(container):
            return
        await asyncio.sleep(_STEP_S)
