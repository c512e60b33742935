"""Transport: how a request reaches a chain node and its answer comes back, frame by frame.

One method, so that tests and the simulator can put the node's service itself in its place. Nothing that arrives here is
trusted: sizes are bounded, and proofs are checked above (`light.py`, `client.py`). Every method of the RPC can be
repeated without harm (a transaction is known by its id), so what breaks before the first frame is tried anew.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Protocol

import aiohttp

from ..errors import Rejected, Temporary
from ..rpc import FRAME_BYTES_MAX, RPC_ERROR

CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 25.0
"""Longer than a node holds a submission back (`chain/service.py`)."""

_ERROR_BYTES_MAX = 65_536


class Transport(Protocol):
    def stream(self, method: str, body: bytes) -> AsyncGenerator[bytes, None]:
        """The frames of the answer. Close it (`contextlib.aclosing`) where it is not read to its end.

        Raises Rejected with the node's code, Temporary where the node can't be reached or has no room.
        """
        ...


class Unreachable(Temporary):
    """Nobody answers at this address, or the connection broke."""


class NodeBusy(Temporary):
    """The chain node asks to try again later. `code` is its reason."""

    def __init__(self, message: str, *, code: str, retry_after_s: float) -> None:
        super().__init__(message, retry_after_s=retry_after_s)
        self.code = code


async def call(transport: Transport, method: str, body: bytes) -> bytes:
    """The one frame of an answer that has one."""
    async with aclosing(transport.stream(method, body)) as frames:
        async for frame in frames:
            return frame
    raise Unreachable(f"the chain node ended its answer to `{method}` before it began")


class HttpTransport:
    """RPC over HTTP. `source_host` is the local address that connections start from (agents bind to their own)."""

    def __init__(self, url: str, source_host: str = "", *, connections: int = 128) -> None:
        self.url = url.rstrip("/")
        self._source_host = source_host
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def __aenter__(self) -> HttpTransport:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def stream(self, method: str, body: bytes) -> AsyncGenerator[bytes, None]:
        for attempt in (1, 2):
            began = False
            try:
                async with self._open().post(f"{self.url}/rpc/{method}", data=body) as response:
                    if response.status != 200:
                        raise await self._read_error(response)
                    async for frame in _read_frames(response.content):
                        began = True
                        yield frame
                return
            except aiohttp.ServerDisconnectedError as error:
                if began or attempt == 2:  # once anew: a kept connection that the node had closed meanwhile
                    raise self._unreachable(error) from error
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                raise self._unreachable(error) from error

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            source = (self._source_host, 0) if self._source_host else None
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._connections, local_addr=source),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=READ_TIMEOUT_S),
                auto_decompress=False,
            )
        return self._session

    async def _read_error(self, response: aiohttp.ClientResponse) -> Exception:
        raw = await response.content.read(_ERROR_BYTES_MAX)
        try:
            error = RPC_ERROR.decode(raw)
        except Rejected:
            return Unreachable(f"{self.url} answers {response.status} but not as a chain node does; is the URL right?")
        if error.retry_after_ms > 0:
            return NodeBusy(error.message, code=error.code, retry_after_s=error.retry_after_ms / 1000)
        return Rejected(error.message, code=error.code)

    def _unreachable(self, error: BaseException) -> Unreachable:
        reason = str(error) or type(error).__name__
        return Unreachable(
            f"the chain node at {self.url} does not answer ({reason}); check that it runs and that the URL is right"
        )


async def _read_frames(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    while True:
        head = await _read_exactly(content, 4)
        if head is None:
            return
        size = int.from_bytes(head, "big")
        if size > FRAME_BYTES_MAX:
            raise aiohttp.ClientPayloadError(f"a frame of {size} bytes; at most {FRAME_BYTES_MAX} are allowed")
        frame = await _read_exactly(content, size)
        if frame is None:
            raise aiohttp.ClientPayloadError("the answer is cut short")
        yield frame


async def _read_exactly(content: aiohttp.StreamReader, size: int) -> bytes | None:
    """None where the stream ends before it."""
    parts = []
    while size > 0:
        part = await content.read(size)
        if not part:
            return None
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
