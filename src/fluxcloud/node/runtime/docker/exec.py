"""Commands started in a running component: the engine turns an HTTP call into a plain stream both ways."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator

from ....errors import Permanent, Temporary
from .api import DockerApi
from .frames import Stream, read_pieces
from .transport import build_error

_HEAD_BYTES_MAX = 65_536
_CHUNK_BYTES = 65_536
_ENDING_S = 10.0
_POLL_S = 0.02
_END_OF_INPUT = b"\x04"  # what a terminal takes for it
_ENDED = (200, 101)
_KILLED = 137


async def start_exec(api: DockerApi, container: str, body: dict[str, object], *, tty: bool) -> DockerExec:
    """Raises Temporary, Permanent; Conflict when the container does not run."""
    command = await api.create_exec(container, body)
    reader, writer = await api.transport.connect()
    try:
        path = f"{api.transport.prefix}/exec/{command}/start"
        writer.write(build_upgrade(path, tty=tty))
        async with asyncio.timeout(_ENDING_S * 3):
            await _read_head(reader)
    except BaseException as error:
        writer.close()
        if isinstance(error, TimeoutError | OSError | asyncio.IncompleteReadError | asyncio.LimitOverrunError):
            raise Temporary(f"Docker did not start the command: {error or type(error).__name__}") from error
        raise
    return DockerExec(api, command, reader, writer, tty=tty)


def build_upgrade(path: str, *, tty: bool) -> bytes:
    body = b'{"Detach":false,"Tty":%s}' % (b"true" if tty else b"false")
    head = (
        f"POST {path} HTTP/1.1\r\nHost: docker\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        "Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
    )
    return head.encode() + body


async def _read_head(reader: asyncio.StreamReader) -> None:
    """The answer up to where the plain stream begins. Raises what `build_error` makes of a refusal."""
    lines = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
    words = lines[0].split()
    status = int(words[1]) if len(words) > 1 and words[1].isdigit() else 500
    if status not in _ENDED:
        raise build_error(status, await _read_refusal(reader, lines[1:]))


async def _read_refusal(reader: asyncio.StreamReader, headers: list[bytes]) -> bytes:
    for line in headers:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length" and value.strip().isdigit():
            return await reader.readexactly(min(int(value), _HEAD_BYTES_MAX))
    return b""


class DockerExec:
    """See `ExecStream`. With a terminal all output is `out`."""

    def __init__(
        self,
        api: DockerApi,
        command: str,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        tty: bool,
    ) -> None:
        self.exit_code: int | None = None
        self._api = api
        self._command = command
        self._reader = reader
        self._writer = writer
        self._tty = tty
        self._has_input = True

    async def write(self, chunk: bytes) -> None:
        """Waits while the command doesn't read. What it will never read is dropped."""
        if self._has_input:
            with contextlib.suppress(OSError):
                self._writer.write(chunk)
                await self._writer.drain()

    async def close_input(self) -> None:
        if self._tty:
            await self.write(_END_OF_INPUT)
        elif self._has_input:
            self._has_input = False
            with contextlib.suppress(OSError):
                self._writer.write_eof()

    async def resize(self, rows: int, columns: int) -> None:
        if self._tty:
            await self._api.resize_exec(self._command, rows, columns)

    async def read(self) -> AsyncIterator[tuple[Stream, bytes]]:
        try:
            if self._tty:
                while chunk := await self._reader.read(_CHUNK_BYTES):
                    yield "out", chunk
            else:
                async for piece in read_pieces(self._reader):
                    yield piece
            if self.exit_code is None:
                self.exit_code = await self._wait()
        except OSError as error:
            raise Temporary(f"the command's connection broke: {error}") from error
        finally:
            self._has_input = False
            self._writer.close()

    async def kill(self) -> None:
        """The engine has no call for it, so the process itself is signalled. Raises Permanent where that is refused."""
        self.exit_code = await self._wait(kill=True)

    async def _signal(self, pid: int) -> None:
        """A descriptor first, then the question whether it is still that command's: so never a stranger."""
        try:
            descriptor = os.pidfd_open(pid)
        except OSError:
            return
        try:
            again = await self._api.inspect_exec(self._command)
            if again.running and again.pid == pid:
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        except ProcessLookupError:
            return
        except PermissionError:
            raise Permanent("commands in containers can be killed by an agent that runs as root only") from None
        finally:
            os.close(descriptor)

    async def _wait(self, *, kill: bool = False) -> int:
        """Output may come before the engine knows the process, and end before it knows the exit code."""
        deadline = time.monotonic() + _ENDING_S
        while (found := await self._api.inspect_exec(self._command)).running:
            if time.monotonic() > deadline:
                raise Temporary("the command does not end")
            if kill and found.pid:
                await self._signal(found.pid)
            await asyncio.sleep(_POLL_S)
        return _KILLED if found.exit_code is None else found.exit_code
