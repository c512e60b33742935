"""Flow: what both ends of the proxy share: reading a body into a sink, with backpressure, and waking one coroutine.

A `Flow` is one connection. A body read from it goes to its `sink`, another flow, as it comes; when the sink's transport
takes no more, this flow stops reading. Without a sink, a bounded part of the body is stored.
A coroutine that serves a connection waits on its `Wake` and then looks at the state of its flows: no event can be lost.
"""

from __future__ import annotations

import asyncio
from typing import Final

from .body import LAST_CHUNK, Decoder, RawBody, render_chunk
from .http1 import BadMessage

STORED_MAX: Final = 64 * 1024
"""Bytes of a body (or of pipelined requests) kept while nobody takes them; then reading stops."""

_HELD_FULL: Final = 1  # too much is stored
_HELD_BY_SINK: Final = 2  # the sink takes no more


class Wake:
    """A flag that one coroutine waits for and anybody sets."""

    __slots__ = ("_flag", "_future", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._future: asyncio.Future[None] | None = None
        self._flag = False

    def set(self) -> None:
        self._flag = True
        if self._future is not None and not self._future.done():
            self._future.set_result(None)

    async def wait(self, timeout_s: float) -> None:
        """Return once set since the last wait, or after `timeout_s`: the caller looks itself at what has changed."""
        if not self._flag and timeout_s > 0:
            self._future = self._loop.create_future()
            timer = self._loop.call_later(timeout_s, self.set)
            try:
                await self._future
            finally:
                timer.cancel()
                self._future = None
        self._flag = False


class Flow(asyncio.Protocol):
    """One connection, in the part that does not depend on its role."""

    def __init__(self, loop: asyncio.AbstractEventLoop, wake: Wake) -> None:
        self.loop = loop
        self.wake = wake
        self.transport: asyncio.Transport = None  # type: ignore[assignment]  # set by connection_made, before any use
        self.closed = False
        self.moved_at = loop.time()  # when bytes last came
        self.stalled_at = 0.0  # since when the transport takes no more; 0: it takes
        self.broken: BadMessage | None = None  # what came was not HTTP
        self.decoder: Decoder | None = None  # of the body being read; None: no body is
        self.body_done = True
        self.tunnelled = False
        self.chunked_out = False  # how the body written to this connection is framed
        self._sink: Flow | None = None
        self._source: Flow | None = None
        self._stored: list[bytes] = []
        self._stored_size = 0
        self._held = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # loops have transport classes of their own

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self.detach()
        self.wake.set()

    # -- writing

    def write(self, data: bytes) -> None:
        if not self.closed:
            self.transport.write(data)

    def send_part(self, piece: bytes, *, last: bool) -> None:
        """Write a part of a body."""
        framed = self.frame(piece, last=last)
        if framed and not self.closed:
            self.transport.write(framed)

    def frame(self, piece: bytes, *, last: bool) -> bytes:
        """A part of a body as this connection's message frames it."""
        if not self.chunked_out:
            return piece
        framed = render_chunk(piece) if piece else b""
        return framed + LAST_CHUNK if last else framed

    def pause_writing(self) -> None:
        self.stalled_at = self.loop.time()
        if self._source is not None:
            self._source._hold(_HELD_BY_SINK)

    def resume_writing(self) -> None:
        self.stalled_at = 0.0
        self.wake.set()
        if self._source is not None:
            self._source._unhold(_HELD_BY_SINK)

    def close(self) -> None:
        """Close once all that was written is sent."""
        if self.transport is not None:
            self.transport.close()

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    # -- reading a body

    def attach(self, sink: Flow) -> None:
        """Send this body to `sink`: first what is stored, then all that comes, as fast as the sink takes it."""
        self._sink, sink._source = sink, self
        if sink.stalled_at:
            self._hold(_HELD_BY_SINK)
        stored = self.take_stored()
        if stored or (self.body_done and sink.chunked_out):
            sink.send_part(stored, last=self.body_done)

    def detach(self) -> None:
        """Undo `attach`, on both sides of this flow."""
        sink, source, self._sink, self._source = self._sink, self._source, None, None
        if sink is not None:
            sink._source = None
            self._unhold(_HELD_BY_SINK)
        if source is not None:
            source._sink = None
            source._unhold(_HELD_BY_SINK)

    def take_stored(self) -> bytes:
        stored, self._stored, self._stored_size = self._stored, [], 0
        self._unhold(_HELD_FULL)
        return stored[0] if len(stored) == 1 else b"".join(stored)

    @property
    def stored_size(self) -> int:
        return self._stored_size

    def start_body(self, decoder: Decoder, data: bytes) -> None:
        """Read a body, of which `data` has come with the head."""
        self.decoder, self.body_done = decoder, decoder.done
        if decoder.done:
            self.decoder = None
            self.on_body_end(data)
        elif data:
            self.read_body(data)

    def read_body(self, data: bytes) -> None:
        decoder = self.decoder
        assert decoder is not None
        try:
            piece = decoder.feed(data)
        except BadMessage as bad:
            self.broken = bad
            self._hold(_HELD_FULL)
            self.wake.set()
            return
        done = decoder.done
        self.body_done = done
        if self._sink is not None:
            if piece or done:
                self._sink.send_part(piece, last=done)
        elif piece:
            self._stored.append(piece)
            self._stored_size += len(piece)
            if self._stored_size > STORED_MAX:
                self._hold(_HELD_FULL)
            self.wake.set()
        if done:
            self._end_body(decoder)

    def start_tunnel(self, data: bytes) -> None:
        """From now on every byte is body, in both directions."""
        self.chunked_out = False
        self.tunnelled = True
        self.start_body(RawBody(), data)

    def _end_body(self, decoder: Decoder) -> None:
        self.decoder = None
        self.body_done = True
        self.wake.set()
        self.on_body_end(decoder.rest)

    def on_body_end(self, rest: bytes) -> None:
        """A body has ended, `rest` came after it."""
        raise NotImplementedError

    # -- holding back

    def hold_if_full(self, size: int) -> None:
        """Stop reading while `size` bytes wait to be looked at, if that is too much."""
        if size > STORED_MAX:
            self._hold(_HELD_FULL)
        else:
            self._unhold(_HELD_FULL)

    def _hold(self, reason: int) -> None:
        if not self._held and not self.closed and not self.transport.is_closing():
            self.transport.pause_reading()
        self._held |= reason

    def _unhold(self, reason: int) -> None:
        if not self._held:
            return
        self._held &= ~reason
        if not self._held and not self.closed and not self.transport.is_closing():
            self.transport.resume_reading()
