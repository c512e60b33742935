"""Relay: sending an answer on to the visitor as it comes, and tunnels after a 101.

The head and what has come of the body leave in one write; the rest flows between the two connections without a task
waking. An answer that can't be finished is never given a clean end: the visitor's connection is torn down.
"""

from __future__ import annotations

from typing import Final

from .flow import Flow
from .headers import render_response
from .http1 import CHUNKED, UNTIL_CLOSE, Request
from .upstream import Upstream
from .visitor import Visitor

TUNNEL_IDLE_S: Final = 3600.0


async def relay(visitor: Visitor, request: Request, upstream: Upstream, *, extra: bytes, timeout_s: float) -> None:
    """Answer `request` with what `upstream` answered; `extra` are header lines to add."""
    response = upstream.head
    assert response is not None
    if response.status == 101:
        await _tunnel(visitor, upstream, extra)
        return
    unknown_length = response.length in (CHUNKED, UNTIL_CLOSE)
    chunked = unknown_length and request.minor == 1
    ends_by_close = unknown_length and not chunked
    keep = request.keep_alive and visitor.body_done and not ends_by_close and not visitor.front.draining
    connection = b"close" if not keep else b"" if request.minor else b"keep-alive"
    head = render_response(response, extra=extra, chunked=chunked, connection=connection)
    visitor.answered, visitor.chunked_out = True, chunked
    body, done = upstream.take_stored(), upstream.body_done
    visitor.write(head + visitor.frame(body, last=done))
    if not done:
        upstream.attach(visitor)
        await _wait_for_end(visitor, upstream, timeout_s)
    visitor.reusable = keep
    if not upstream.body_done or upstream.failure:
        visitor.abort()


async def _wait_for_end(visitor: Visitor, upstream: Upstream, timeout_s: float) -> None:
    """Until the body has ended, either side is gone or has stood still for too long."""
    loop, stall_s = visitor.loop, visitor.front.config.client_idle_timeout_s
    while not upstream.body_done and not upstream.failure and not visitor.closed and visitor.broken is None:
        if visitor.stalled_at:
            left_s = visitor.stalled_at + stall_s - loop.time()
        else:
            left_s = max(upstream.moved_at, visitor.moved_at) + timeout_s - loop.time()
        if left_s <= 0:
            return
        await visitor.wake.wait(min(left_s, stall_s))


async def _tunnel(visitor: Visitor, upstream: Upstream, extra: bytes) -> None:
    response = upstream.head
    assert response is not None
    visitor.answered = True
    visitor.write(render_response(response, extra=extra, chunked=False, connection=b"Upgrade"))
    upstream.start_tunnel(upstream.take_rest())
    visitor.start_tunnel(visitor.take_pipelined())
    upstream.attach(visitor)
    visitor.attach(upstream)
    while not visitor.closed and not upstream.closed:
        idle_s = visitor.loop.time() - max(visitor.moved_at, upstream.moved_at)
        if idle_s >= TUNNEL_IDLE_S:
            break
        await visitor.wake.wait(TUNNEL_IDLE_S - idle_s)
    end: Flow
    for end in (visitor, upstream):
        end.close()
