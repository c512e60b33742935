"""Tunnels: one TCP stream inside a WebSocket, with each direction's end, slowness and breaking kept.

Binary messages carry bytes; an empty one ends its direction, the other goes on. A side that is not read from stops the
other side's reading: at most a few chunks are held here. A WebSocket that closes before both ends were said means that
the stream broke, and the other connection is reset rather than closed, so nobody takes half an answer for a whole one.
Node (`node/api/forward.py`) and client (`fluxcloud port-forward`) join their connection by the same function.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

import aiohttp

REASON_HEADER = "FluxCloud-Reason"
"""`code message` of a refused upgrade, for clients of WebSockets that do not get at an answer's body."""

CHUNK_BYTES = 32 * 1024
MESSAGE_BYTES_MAX = 64 * 1024
IDLE_S = 3600.0
WRITE_BUFFER_BYTES = 64 * 1024


class Socket(Protocol):
    """What client's and server's WebSockets of aiohttp have in common."""

    async def send_bytes(self, data: bytes) -> None: ...
    async def receive(self) -> aiohttp.WSMessage: ...


class _Activity:
    """When a byte last went through, in either direction."""

    def __init__(self) -> None:
        self._now = asyncio.get_running_loop().time
        self._last_s = self._now()

    def note(self) -> None:
        self._last_s = self._now()

    @property
    def idle_s(self) -> float:
        return self._now() - self._last_s


async def join(
    socket: Socket, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, idle_s: float = IDLE_S
) -> bool:
    """Carry bytes both ways until both directions have ended, one breaks, or nothing moves for `idle_s`.

    Whether both ended well. The connection is closed then, reset otherwise; the WebSocket is the caller's to close.
    """
    writer.transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
    activity = _Activity()
    out = asyncio.create_task(_send(socket, reader, activity))
    back = asyncio.create_task(_receive(socket, writer, activity))
    is_whole = False
    try:
        is_whole = await _wait_both(out, back, activity, idle_s)
    finally:
        for task in (out, back):
            task.cancel()
        await asyncio.gather(out, back, return_exceptions=True)
        if is_whole:
            writer.close()
        else:
            writer.transport.abort()
    return is_whole


async def _wait_both(out: asyncio.Task[bool], back: asyncio.Task[bool], activity: _Activity, idle_s: float) -> bool:
    """Until both have ended well (True), or one has not, or the tunnel is idle."""
    waiting = {out, back}
    while waiting:
        left_s = max(0.0, idle_s - activity.idle_s)
        done, waiting = await asyncio.wait(waiting, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
        is_idle = not done and activity.idle_s >= idle_s
        if is_idle or not all(task.result() for task in done):
            return False
    return True


async def _send(socket: Socket, reader: asyncio.StreamReader, activity: _Activity) -> bool:
    """Whether the connection ended, rather than broke. `send_bytes` waits where the other side does not read."""
    try:
        while chunk := await reader.read(CHUNK_BYTES):
            await socket.send_bytes(chunk)
            activity.note()
        await socket.send_bytes(b"")
    except (ConnectionError, RuntimeError, aiohttp.ClientError):  # RuntimeError: the WebSocket is closing
        return False
    return True


async def _receive(socket: Socket, writer: asyncio.StreamWriter, activity: _Activity) -> bool:
    """Whether the other side said its end, rather than went away. `drain` waits where the connection is not read."""
    try:
        while True:
            message = await socket.receive()
            if message.type is not aiohttp.WSMsgType.BINARY:
                return False
            if not message.data:
                writer.write_eof()
                return True
            writer.write(message.data)
            await writer.drain()
            activity.note()
    except (OSError, RuntimeError):
        return False
