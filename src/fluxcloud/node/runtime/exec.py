"""Commands started in a running component, for people: their streams, terminal and exit code."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ...errors import Permanent
from ..images.cache import UnpackedImage
from .base import ComponentSpec
from .bwrap import ROOT_CAPABILITIES
from .process import plan_process
from .waiting import wait_readable, wake

_HELPER = Path(__file__).parent / "execin.py"
_CHUNK_BYTES = 65_536

Stream = Literal["out", "err"]


@dataclass(frozen=True, slots=True)
class ExecTarget:
    """Where a command goes: the container's first process, the copy's holder, the component's control groups."""

    pid: int
    holder: int
    groups: tuple[Path, ...]
    as_root: bool


def build_request(
    target: ExecTarget, spec: ComponentSpec, image: UnpackedImage, argv: tuple[str, ...], *, tty: bool
) -> dict[str, object]:
    """What execin.py is told, in a pipe: the environment is nobody else's business. Pure but for the image's tables."""
    if not argv or any("\0" in part for part in argv):
        raise Permanent("command: allowed are one or more words without NUL")
    process = plan_process(spec, image)
    limits = {"RLIMIT_CORE": 0}
    if not target.groups:
        limits |= {"RLIMIT_DATA": spec.memory_mib << 20, "RLIMIT_NPROC": spec.pids + 2}
    return {
        "pid": target.pid,
        "holder": target.holder,
        "groups": [str(group) for group in target.groups],
        "as_root": target.as_root,
        "uid": process.user.uid,
        "gid": process.user.gid,
        "keep": list(ROOT_CAPABILITIES) if target.as_root and not process.user.uid else [],
        "limits": limits,
        "tty": tty,
        "folder": process.folder,
        "env": {**dict(process.env), **({"TERM": "xterm-256color"} if tty else {})},
        "argv": list(argv),
    }


async def start_exec(request: dict[str, object]) -> OciExec:
    """Raises OSError."""
    reader, writer = os.pipe()
    terminal, slave = pty.openpty() if request["tty"] else (-1, subprocess.PIPE)
    try:
        process = subprocess.Popen(  # noqa: ASYNC220  (a fork takes a millisecond)
            [sys.executable, "-I", "-S", str(_HELPER), str(reader)],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            pass_fds=(reader,),
            start_new_session=True,
            cwd="/",
            env={},
        )
    except BaseException:
        os.close(writer)
        if terminal >= 0:
            os.close(terminal)
        raise
    finally:
        os.close(reader)
        if slave >= 0:
            os.close(slave)
    await asyncio.to_thread(_write_all, writer, json.dumps(request).encode())
    return OciExec(process, terminal)


def _write_all(file: int, raw: bytes) -> None:
    with contextlib.suppress(BrokenPipeError), os.fdopen(file, "wb") as opened:
        opened.write(raw)


class OciExec:
    """See `ExecStream`. With a terminal (`terminal` >= 0) all output is `out`."""

    def __init__(self, process: subprocess.Popen[bytes], terminal: int) -> None:
        self.exit_code: int | None = None
        self._process = process
        self._terminal = terminal
        self._input = terminal if terminal >= 0 else _take(process.stdin)
        outputs: list[tuple[Stream, int]] = [("out", terminal)]
        if terminal < 0:
            outputs = [("out", _take(process.stdout)), ("err", _take(process.stderr))]
        self._outputs = outputs
        for file in {self._input, *(file for _, file in outputs)}:
            os.set_blocking(file, False)

    async def write(self, chunk: bytes) -> None:
        """Waits while the command doesn't read. What it will never read is dropped."""
        view = memoryview(chunk)
        while view and self._input >= 0:
            try:
                view = view[os.write(self._input, view) :]
            except BlockingIOError:
                await _wait_writable(self._input)
            except OSError:  # it has ended or closed its input
                return

    async def close_input(self) -> None:
        if self._terminal >= 0:
            await self.write(b"\x04")
        elif self._input >= 0:
            os.close(self._input)
            self._input = -1

    async def resize(self, rows: int, columns: int) -> None:
        if self._terminal >= 0:
            fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    async def read(self) -> AsyncIterator[tuple[Stream, bytes]]:
        chunks: asyncio.Queue[tuple[Stream, bytes] | None] = asyncio.Queue(maxsize=4)
        tasks = [asyncio.create_task(_pump(file, name, chunks)) for name, file in self._outputs]
        left = len(tasks)
        try:
            while left:
                chunk = await chunks.get()
                if chunk is None:
                    left -= 1
                else:
                    yield chunk
            self.exit_code = await self._wait()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._close()

    async def kill(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self.exit_code = await self._wait()

    async def _wait(self) -> int:
        if self._process.poll() is None:
            descriptor = os.pidfd_open(self._process.pid)
            try:
                while not await wait_readable(descriptor, 60.0):
                    pass
            finally:
                os.close(descriptor)
        code = self._process.wait()
        return code if code >= 0 else 128 - code

    def _close(self) -> None:
        for file in {self._input, *(file for _, file in self._outputs)} - {-1}:
            os.close(file)
        self._input, self._terminal, self._outputs = -1, -1, []


def _take(stream: object) -> int:
    """A descriptor of our own, so that nobody else closes it."""
    assert hasattr(stream, "fileno")
    copy = os.dup(stream.fileno())
    stream.close()  # type: ignore[attr-defined]
    return copy


async def _pump(file: int, name: Stream, chunks: asyncio.Queue[tuple[Stream, bytes] | None]) -> None:
    while True:
        try:
            chunk = os.read(file, _CHUNK_BYTES)
        except BlockingIOError:
            await wait_readable(file, 60.0)
            continue
        except OSError:  # a terminal whose other end is closed
            chunk = b""
        if not chunk:
            await chunks.put(None)
            return
        await chunks.put((name, chunk))


async def _wait_writable(file: int) -> None:
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    loop.add_writer(file, wake, ready)
    try:
        await ready
    finally:
        loop.remove_writer(file)
