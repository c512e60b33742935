"""Visitor: a connection that requests come in on, one after the other.

`Visitor` reads heads and bodies, keeps the time limits of a slow or silent client, and hands each request to the role's
`serve`. Pipelined requests wait in its buffer until the answer before them is out. One task per connection, none per
request. Whatever happens, the connection ends closed: cleanly after a whole answer, torn down after half of one.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import Final, Protocol

from .answers import ErrorAnswer, overloaded, render_error
from .base import ProxyConfig
from .body import build_decoder
from .flow import Flow, Wake
from .headers import render_response
from .http1 import HEAD_END, BadMessage, Request, Response, has_bare_line_end, parse_request

_log = logging.getLogger(__name__)

LINGER_S: Final = 1.0
"""How long a refused client may go on sending, so that it reads the answer before its connection is reset."""

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


@dataclass(slots=True)
class Counters:
    requests: int = 0
    failed: int = 0
    retries: int = 0
    refused: int = 0
    active: int = 0


class Role(Protocol):
    """What differs between edge and ingress, as far as a visitor sees it."""

    def admit(self, transport: asyncio.Transport) -> bool:
        """Whether this connection may send requests, by the present table. One that may not gets no byte."""

    async def serve(self, visitor: Visitor, request: Request) -> None:
        """Answer one request; sets `visitor.reusable` when the next may follow."""


@dataclass(slots=True, eq=False)
class Front:
    """What all visitors of one proxy share."""

    config: ProxyConfig
    role: Role
    header_max_bytes: int
    counters: Counters = field(default_factory=Counters)
    visitors: set[Visitor] = field(default_factory=set)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    draining: bool = False


class Visitor(Flow):
    """One connection from a client."""

    def __init__(self, loop: asyncio.AbstractEventLoop, front: Front) -> None:
        super().__init__(loop, Wake(loop))
        self.front = front
        self.idle = True  # between two requests
        self.reusable = False  # after this request
        self.answered = False  # a byte of the answer is out
        self.minor = 1  # of the present request's HTTP/1.x
        self.peer_host = ""
        self._expects_continue = False
        self._buffer = b""  # bytes not yet looked at: of the next requests
        self._ended = False  # the client has sent its last byte

    # -- called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if not self.front.role.admit(self.transport):
            self.abort()
            return
        if len(self.front.visitors) >= self.front.config.connections_max:
            self.write(render_error(overloaded(), accept=b"", keep_alive=False, with_body=True))
            self.close()
            return
        peer = transport.get_extra_info("peername")
        self.peer_host = peer[0] if isinstance(peer, tuple) else ""
        self.front.visitors.add(self)
        task = self.loop.create_task(self._run())
        self.front.tasks.add(task)
        task.add_done_callback(self.front.tasks.discard)

    def connection_lost(self, exc: Exception | None) -> None:
        self.front.visitors.discard(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self.moved_at = self.loop.time()
        if self.decoder is not None:
            if self.broken is None:
                self.read_body(data)
            return
        self._buffer = self._buffer + data if self._buffer else data
        self.hold_if_full(len(self._buffer))
        self.wake.set()

    def eof_received(self) -> bool:
        self._ended = True
        self.wake.set()
        if self.tunnelled and self._sink is not None:
            self._sink.close()
        # A client may close its half after its last request and still read the answer; TLS has no half-closed state.
        return self.transport.can_write_eof() and (not self.idle or bool(self._buffer))

    def on_body_end(self, rest: bytes) -> None:
        self._buffer = rest
        self.hold_if_full(len(rest))

    # -- called by the role

    async def read_whole_body(self, limit: int) -> bytes | None:
        """The body of this request if it has at most `limit` bytes; else None, and what was read stays stored."""
        if self.stored_size == 0 and not self.body_done:
            self.invite_body()
        while not self.body_done and self.stored_size <= limit:
            self.check_sending()
            await self.wake.wait(self._body_wait_s())
        return self.take_stored() if self.body_done and self.stored_size <= limit else None

    def invite_body(self) -> None:
        """Answer `Expect: 100-continue` of the present request."""
        if self._expects_continue:
            self._expects_continue = False
            self.write(CONTINUE)

    def relay_interim(self, head: Response) -> None:
        """Send on an answer before the answer: 100 where it is awaited, 103 and its like to who can read them."""
        if head.status == 100:
            self.invite_body()
        elif self.minor and not self.answered:
            self.write(render_response(head, extra=b"", chunked=False, connection=b""))

    def check_sending(self) -> None:
        """Raise if the rest of the body can't come: malformed, too slow, or the client is gone."""
        if self.broken is not None:
            raise self.broken
        if self.closed or (self._ended and not self.body_done):
            raise VisitorGone
        if not self.body_done and not self._held and self._body_wait_s() <= 0:
            raise BadMessage(408, "body_timeout", "The rest of the request did not come in time.")

    def take_pipelined(self) -> bytes:
        """What came after the present request."""
        taken, self._buffer = self._buffer, b""
        return taken

    def answer(self, error: ErrorAnswer, request: Request | None = None) -> None:
        """Answer with an error of the proxy's own."""
        accept = b"" if request is None else request.index.get(b"accept", b"")
        keep = request is not None and request.keep_alive and self.body_done and not self.front.draining
        with_body = request is None or request.method != b"HEAD"
        self.answered, self.reusable = True, keep
        self.write(render_error(error, accept=accept, keep_alive=keep, with_body=with_body))

    # -- the life of a connection

    async def _run(self) -> None:
        counters = self.front.counters
        try:
            while (request := await self._read_request()) is not None:
                counters.requests += 1
                counters.active += 1
                try:
                    await self.front.role.serve(self, request)
                finally:
                    counters.active -= 1
                    self.detach()
                if not self.reusable or self.closed:
                    break
            await self._end()
        except BadMessage as bad:
            await self._refuse(bad)
        except VisitorGone:
            self.abort()
        except Exception:
            _log.exception("a request failed inside the proxy")
            self.abort()
        finally:
            self.close()

    async def _read_request(self) -> Request | None:
        self.idle, self.reusable, self.answered = True, False, False
        config = self.front.config
        began = self.loop.time()
        await self._wait_for_reader()
        while not self.closed:
            if (request := self._take_request()) is not None:
                return request
            if self._ended:
                return None
            if self.idle and self._buffer:  # the first byte of a head
                self.idle, began = False, self.loop.time()
            limit_s = config.client_idle_timeout_s if self.idle else config.client_header_timeout_s
            left_s = began + limit_s - self.loop.time()
            if left_s <= 0:
                if self.idle:
                    return None
                raise BadMessage(408, "header_timeout", "The request's head did not come in time.")
            await self.wake.wait(left_s)
        return None

    async def _wait_for_reader(self) -> None:
        """Until the client has read most of what it was answered: one that only asks must not fill the memory."""
        while self.stalled_at and not self.closed:
            left_s = self.stalled_at + self.front.config.client_idle_timeout_s - self.loop.time()
            if left_s <= 0:
                raise VisitorGone
            await self.wake.wait(left_s)

    def _take_request(self) -> Request | None:
        """The next request, once its head is there; its body is being read from then on."""
        buffer = self._buffer
        if buffer.startswith(b"\r\n"):  # RFC 9112, 2.2: one empty line before a request is tolerated
            buffer = self._buffer = buffer[2:]
        if not buffer:
            return None
        end = buffer.find(HEAD_END)
        self._check_size(buffer, end)
        if end < 0:
            if has_bare_line_end(buffer):
                raise BadMessage(400, "bad_line_end", "Lines of a request must end in CR LF.")
            return None
        request = parse_request(buffer[:end])
        self.idle, self._buffer = False, b""
        self.minor = request.minor
        self._expects_continue = request.expects_continue
        self.start_body(build_decoder(request.length), buffer[end + 4 :])
        return request

    def _check_size(self, buffer: bytes, end: int) -> None:
        limit = self.front.header_max_bytes
        size = len(buffer) if end < 0 else end
        if size <= limit // 2:
            return
        if buffer.find(b"\r\n", 0, limit // 2 + 2) < 0:
            raise BadMessage(414, "uri_too_long", f"The request line may have {limit // 2} bytes.")
        if size > limit:
            raise BadMessage(431, "headers_too_large", f"The request's head may have {limit} bytes.")

    async def _refuse(self, bad: BadMessage) -> None:
        self.front.counters.refused += 1
        if self.answered or self.closed:
            self.abort()
            return
        self.answer(ErrorAnswer(bad.status, bad.reason, bad.message))
        await self._end()

    async def _end(self) -> None:
        """Close so that the client can read the answer, even if it is still sending."""
        unread = self._buffer or not self.body_done
        if not unread or self.closed or self._ended or not self.transport.can_write_eof():
            return
        self._discard()
        self.transport.write_eof()
        until = self.loop.time() + LINGER_S
        while not self.closed and not self._ended and self.loop.time() < until:
            self._discard()
            await self.wake.wait(until - self.loop.time())

    def _discard(self) -> None:
        self.detach()
        self.decoder, self._buffer = None, b""
        self.take_stored()

    def _body_wait_s(self) -> float:
        return self.moved_at + self.front.config.client_idle_timeout_s - self.loop.time()


class VisitorGone(Exception):
    """The client has closed its connection: nobody is left to answer."""
