"""Upstream: connections that requests go out on, and the pool of idle ones to one place.

An `Upstream` carries one exchange at a time. What happened is in its state (`head`, `failure`, `body_done`); whoever
sent the request waits on its own `Wake` and looks. A `Link` is the way to one place, a peer or a local endpoint: it
dials, keeps idle connections, and ends all of them when the place is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from fluxcloud.errors import Temporary

from .body import RawBody, build_decoder
from .flow import Flow, Wake
from .http1 import HEAD_END, BadMessage, Response, has_bare_line_end, parse_response

HEAD_MAX: Final = 64 * 1024
_INTERIMS_MAX: Final = 32
"""Answers before the answer: they pass without regard to how fast the visitor reads, so they are few."""


class DialFailed(Temporary):
    """No connection to the place, or it is not who it should be. Nothing was sent."""


class Dial(Protocol):
    """Opens a connection whose protocol `make` makes. Raises DialFailed."""

    async def __call__(self, make: Callable[[], Upstream]) -> Upstream: ...


class Upstream(Flow):
    """One connection to a peer's ingress or to an app."""

    def __init__(self, loop: asyncio.AbstractEventLoop, link: Link) -> None:
        super().__init__(loop, Wake(loop))
        self.link = link
        self.head: Response | None = None
        self.failure = ""  # why there will be no (whole) answer
        self.reused = False
        self.idle_since = 0.0
        self.on_interim: Callable[[Response], None] | None = None
        self._busy = False
        self._sent = False  # the request, to its last byte
        self._method = b""
        self._upgrading = False
        self._interims = 0
        self._buffer = b""

    def send(
        self, wake: Wake, data: bytes, *, whole: bool, method: bytes, upgrading: bool = False, chunked: bool = False
    ) -> None:
        """Begin an exchange. Unless `data` is the whole request, its body comes from a flow attached to this one."""
        self.wake, self.head, self.failure = wake, None, ""
        self._busy, self._method, self._upgrading, self._interims = True, method, upgrading, 0
        self.chunked_out = chunked
        self.body_done = False
        self.moved_at = self.loop.time()
        self._sent = whole
        self.write(data)
        if self.closed:
            self._fail("closed")

    @property
    def reusable(self) -> bool:
        """Whether the exchange has ended so that another may follow."""
        head = self.head
        ended = head is not None and head.keep_alive and self.body_done and self._sent and not self.failure
        return ended and not self.closed and not self.transport.is_closing()

    def send_part(self, piece: bytes, *, last: bool) -> None:
        self._sent = self._sent or last
        super().send_part(piece, last=last)

    def reset(self) -> None:
        """Forget the exchange that has ended."""
        self.detach()
        self.head, self.on_interim, self._busy, self.reused = None, None, False, True
        self.wake = Wake(self.loop)
        self.idle_since = self.loop.time()

    # -- called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.link.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.link.forget(self)
        if isinstance(self.decoder, RawBody) and not self.tunnelled and exc is None:
            decoder, self.decoder, self.body_done = self.decoder, None, True
            decoder.done = True
            if self._sink is not None:
                self._sink.send_part(b"", last=True)
        elif self._busy and not (self.head is not None and self.body_done):
            self._fail("closed")
        if self.tunnelled and self._sink is not None:
            self._sink.close()
        super().connection_lost(exc)

    def eof_received(self) -> bool:
        return False

    def data_received(self, data: bytes) -> None:
        self.moved_at = self.loop.time()
        if self.decoder is not None:
            self.read_body(data)
            if self.broken is not None:
                self._fail("junk")
        elif self._busy and (self.head is None or self.head.status == 101):
            self._buffer = self._buffer + data if self._buffer else data
            self._read_head()
        else:  # nobody asked for this: the connection is out of step
            self.abort()

    def on_body_end(self, rest: bytes) -> None:
        if rest:
            self.abort()

    # -- the answer's head

    def _read_head(self) -> None:
        while self.head is None and not self.failure and self._buffer:
            end = self._buffer.find(HEAD_END)
            if end < 0:
                self._judge_part(self._buffer)
                return
            head, self._buffer = self._buffer[:end], self._buffer[end + 4 :]
            try:
                self._take_head(parse_response(head, self._method))
            except BadMessage:
                self._fail("junk")

    def _take_head(self, head: Response) -> None:
        if head.status == 101:
            if not self._upgrading:
                self._fail("junk")
                return
            self.head = head
        elif head.status < 200:
            self._take_interim(head)
            return
        else:
            self.head = head
            rest, self._buffer = self._buffer, b""
            self.start_body(build_decoder(head.length), rest)
        self.wake.set()

    def _take_interim(self, head: Response) -> None:
        self._interims += 1
        if self._interims > _INTERIMS_MAX:
            self._fail("junk")
        elif self.on_interim is not None:
            self.on_interim(head)

    def _judge_part(self, part: bytes) -> None:
        if not b"HTTP/1.".startswith(part[:7]) or len(part) > HEAD_MAX or has_bare_line_end(part):
            self._fail("junk")

    def take_rest(self) -> bytes:
        """What came after the head of a 101."""
        rest, self._buffer = self._buffer, b""
        return rest

    def _fail(self, reason: str) -> None:
        if not self.failure:
            self.failure = reason
            self.wake.set()
        if not self.closed:
            self.abort()


class Link:
    """The way to one place: its dial and its connections.

    `fresh_s`: how recently a connection must have been used to be trusted with a request that can't be sent twice.
    """

    def __init__(self, dial: Dial, *, idle_max: int, idle_s: float, fresh_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._dial = dial
        self._idle: list[Upstream] = []  # the last used at the end
        self._idle_max = idle_max
        self._idle_s = idle_s
        self._fresh_s = fresh_s
        self._purge: asyncio.TimerHandle | None = None
        self.connections: set[Upstream] = set()
        self.retired = False

    def take(self, *, fresh: bool) -> Upstream | None:
        """An idle connection; with `fresh`, only one that carried an answer a moment ago."""
        oldest = self._loop.time() - (self._fresh_s if fresh else self._idle_s)
        while self._idle:
            upstream = self._idle[-1]
            if upstream.idle_since < oldest:
                return None  # the others are older still; `_purge_idle` ends them
            self._idle.pop()
            if not upstream.transport.is_closing():
                return upstream
        return None

    async def connect(self) -> Upstream:
        return await self._dial(lambda: Upstream(self._loop, self))

    def give_back(self, upstream: Upstream) -> None:
        """End an exchange: keep the connection where it can serve again."""
        if not upstream.reusable or self.retired or len(self._idle) >= self._idle_max:
            upstream.abort()
            return
        upstream.reset()
        self._idle.append(upstream)
        if self._purge is None:
            self._purge = self._loop.call_later(self._idle_s, self._purge_idle)

    def forget(self, upstream: Upstream) -> None:
        self.connections.discard(upstream)
        if upstream in self._idle:
            self._idle.remove(upstream)

    def retire(self) -> None:
        """Take nothing new; exchanges under way go on."""
        self.retired = True
        for upstream in self._idle:
            upstream.abort()
        self._idle.clear()
        if self._purge is not None:
            self._purge.cancel()
            self._purge = None

    def abort_all(self) -> None:
        """End every connection, with what is under way on it."""
        self._idle.clear()
        for upstream in tuple(self.connections):
            upstream.abort()

    def _purge_idle(self) -> None:
        self._purge = None
        oldest = self._loop.time() - self._idle_s
        while self._idle and self._idle[0].idle_since <= oldest:
            self._idle.pop(0).abort()
        if self._idle:
            self._purge = self._loop.call_at(self._idle[0].idle_since + self._idle_s, self._purge_idle)
