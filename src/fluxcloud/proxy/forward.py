"""Forwarding: one request from its head to the end of its answer, the same in both roles.

A role finds the route and says what it adds to the heads; `Forwarder` decides whether the request may be sent twice,
runs the race for an answer and relays it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from .answers import ErrorAnswer
from .balance import LiveRoute, LiveServer
from .headers import render_request
from .http1 import CHUNKED, Request
from .race import Attempt, Payload, Policy, Race, RaceLost
from .relay import relay
from .routes import RETRY_STATUS, RETRY_STATUS_HEADER
from .visitor import Visitor

REPLAY_BODY_MAX: Final = 16 * 1024
"""A request that may be sent twice is kept whole until it is answered; a larger one is sent once."""

_RETRY_STATUS_HEADER: Final = RETRY_STATUS_HEADER.lower().encode()
_SAFE_METHODS: Final = frozenset((b"GET", b"HEAD", b"OPTIONS"))


@dataclass(frozen=True, slots=True)
class Passage:
    """A request's way through a role."""

    route: LiveRoute
    request_extra: bytes  # header lines for the next hop
    response_extra: Callable[[LiveServer], bytes]  # header lines for the visitor
    from_visitor: bool  # and so not to be believed about who it is
    preferred: str = ""  # id of the server to take if it can


def is_repeatable(request: Request) -> bool:
    """Whether doing it twice is the same as once: by its method, or because the app removes duplicates itself."""
    return request.method in _SAFE_METHODS or b"idempotency-key" in request.index


async def forward(policy: Policy, visitor: Visitor, request: Request, passage: Passage) -> None:
    """Answer the request. Raises VisitorGone or BadMessage when the visitor doesn't finish it."""
    payload = await _build_payload(visitor, request, passage)
    try:
        attempt = await Race(policy, visitor, passage.route, payload, passage.preferred).run()
    except RaceLost as lost:
        fail(policy, visitor, request, lost.answer)
        return
    try:
        await _relay(visitor, request, passage, attempt)
    finally:
        attempt.finish()


def fail(policy: Policy, visitor: Visitor, request: Request, answer: ErrorAnswer) -> None:
    if answer.status >= 500:
        policy.counters.failed += 1
    asks_status = not policy.reads_errors and request.index.get(_RETRY_STATUS_HEADER) == b"%d" % RETRY_STATUS
    if asks_status and answer.status in (502, 503):
        answer = replace(answer, status=RETRY_STATUS)
    visitor.detach()
    visitor.answer(answer, request)


async def _build_payload(visitor: Visitor, request: Request, passage: Passage) -> Payload:
    repeatable = is_repeatable(request)
    body: bytes | None = None
    if request.length == 0:
        body = b""
    elif repeatable and request.length <= REPLAY_BODY_MAX:
        body = await visitor.read_whole_body(REPLAY_BODY_MAX)
    head = render_request(
        request,
        extra=passage.request_extra,
        body=body,
        from_visitor=passage.from_visitor,
        sticky=passage.route.route.sticky,
    )
    return Payload(
        method=request.method,
        head=head,
        body=body,
        chunked=request.length == CHUNKED and body is None,
        upgrading=bool(request.upgrade),
        replayable=repeatable and body is not None,
    )


async def _relay(visitor: Visitor, request: Request, passage: Passage, attempt: Attempt) -> None:
    upstream = attempt.upstream
    assert upstream is not None
    extra = passage.response_extra(attempt.live)
    await relay(visitor, request, upstream, extra=extra, timeout_s=passage.route.route.timeout_s)
