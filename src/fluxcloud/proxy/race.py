"""Race: getting a request answered by one of several servers, as often as it may be tried and no more often.

A request that may be sent twice (`Payload.replayable`) is started on a second server when the first does not answer
within the attempt timeout, while the first goes on: the first head wins. A failed attempt is followed by one elsewhere,
up to the policy's retries, on the same server only when no other is left. Any other request goes elsewhere only while
nothing of it was sent: what may have been executed is never executed again.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from .answers import ErrorAnswer, no_server, upstream_failed, upstream_timeout
from .balance import LiveRoute, LiveServer
from .http1 import Response
from .routes import ERROR_HEADER
from .upstream import DialFailed, Upstream
from .visitor import Counters, Visitor, VisitorGone

_ERROR_HEADER = ERROR_HEADER.lower().encode()
_QUEUE_LOOK_S = 0.25  # how often a waiting request looks by itself: a wake taken by one that gave up costs no more


@dataclass(slots=True, eq=False)
class Policy:
    """How hard a role tries, and the room its waiting requests share."""

    retries: int
    attempt_timeout_s: float
    again_after_s: float  # before the same server is tried again; doubles
    queue_timeout_s: float
    queue_max: int
    reads_errors: bool  # the far side's FluxCloud-Error is a proxy's own
    stale_only: bool  # try again only what failed on a kept connection
    counters: Counters
    queued: int = 0
    dials: set[asyncio.Task[Upstream]] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Payload:
    """A request, ready to send. `body` is None when it comes from the visitor as it goes."""

    method: bytes
    head: bytes
    body: bytes | None
    chunked: bool
    upgrading: bool
    replayable: bool


class RaceLost(Exception):
    """No server has answered; `answer` is what the visitor is told."""

    def __init__(self, answer: ErrorAnswer) -> None:
        super().__init__(answer.code)
        self.answer = answer


class Attempt:
    """One try on one server."""

    def __init__(self, route: LiveRoute, live: LiveServer, upstream: Upstream | None) -> None:
        self.route = route
        self.live = live
        self.upstream = upstream
        self.dialing: asyncio.Task[Upstream] | None = None
        live.in_flight += 1

    def finish(self) -> None:
        """Give the server free, and the connection back or up."""
        self.route.release(self.live)
        if self.upstream is not None:
            self.live.link.give_back(self.upstream)
        elif self.dialing is not None and not self.dialing.cancel() and not self.dialing.exception():
            self.dialing.result().abort()


class Race:
    """One request's way to an answer."""

    def __init__(self, policy: Policy, visitor: Visitor, route: LiveRoute, payload: Payload, preferred: str) -> None:
        self._policy = policy
        self._visitor = visitor
        self._route = route
        self._payload = payload
        self._preferred = preferred
        self._loop = visitor.loop
        self._began = visitor.loop.time()
        self._running: list[Attempt] = []
        self._tried: list[LiveServer] = []
        self._started = 0
        self._last_start = 0.0
        self._not_before = 0.0
        self._again_after_s = policy.again_after_s
        self._queued_at: float | None = None
        self._lost = upstream_failed()

    async def run(self) -> Attempt:
        """The attempt whose answer's head has come. Raises RaceLost, VisitorGone or BadMessage."""
        wake = self._visitor.wake
        winner: Attempt | None = None
        try:
            while True:
                if (winner := self._collect()) is not None:
                    return winner
                if self._visitor.closed:
                    raise VisitorGone
                self._visitor.check_sending()
                await wake.wait(self._advance(self._loop.time()))
        finally:
            self._leave_queue()
            for attempt in self._running:
                if attempt is not winner:
                    attempt.finish()

    # -- what has come

    def _collect(self) -> Attempt | None:
        """Look at what runs: the attempt that has won, after dropping those that failed."""
        for attempt in tuple(self._running):
            if attempt.dialing is not None and attempt.dialing.done():
                self._end_dial(attempt, attempt.dialing)
            upstream = attempt.upstream
            if upstream is None:
                continue
            if upstream.failure:
                self._drop_broken(attempt, upstream)
            elif upstream.head is not None:
                if not self._is_proxy_error(upstream.head):
                    attempt.live.health.note_answer(self._loop.time())
                    return attempt
                self._drop_refused(attempt, upstream.head)
        return None

    def _end_dial(self, attempt: Attempt, dialing: asyncio.Task[Upstream]) -> None:
        attempt.dialing = None
        try:
            attempt.upstream = dialing.result()
        except DialFailed:
            attempt.live.health.suspect(self._loop.time())
            self._drop(attempt)
            if self._policy.stale_only:
                raise RaceLost(self._lost) from None
        else:
            self._send(attempt.upstream)

    def _is_proxy_error(self, head: Response) -> bool:
        return self._policy.reads_errors and head.status in (502, 503, 504) and _ERROR_HEADER in head.index

    def _drop_refused(self, attempt: Attempt, head: Response) -> None:
        """The far proxy could not get an answer either."""
        timed_out = head.status == 504
        failed = upstream_timeout(self._route.route.timeout_s) if timed_out else upstream_failed()
        self._lost = no_server() if head.status == 503 else failed
        self._drop(attempt)
        if not self._payload.replayable:
            raise RaceLost(self._lost)

    def _drop_broken(self, attempt: Attempt, upstream: Upstream) -> None:
        self._lost = upstream_failed()
        if upstream.failure == "closed":
            attempt.live.health.suspect(self._loop.time())
        if upstream.reused:  # it may have been closed for its age: the server itself need not wait
            self._again_after_s = 0.0
        self._drop(attempt)
        if not self._payload.replayable or (self._policy.stale_only and not upstream.reused):
            raise RaceLost(self._lost)

    def _drop(self, attempt: Attempt) -> None:
        self._running.remove(attempt)
        attempt.finish()

    # -- what to do next

    def _advance(self, now: float) -> float:
        """Start what is due; how long to wait for anything to happen."""
        left_s = self._deadline() - now
        if left_s <= 0:
            raise RaceLost(upstream_timeout(self._route.route.timeout_s))
        may_start = self._started <= self._policy.retries
        if not self._visitor.body_done:
            left_s = min(left_s, self._visitor.front.config.client_idle_timeout_s)
        if self._running:
            if not may_start or not self._payload.replayable:
                return left_s
            hedge_s = self._last_start + self._policy.attempt_timeout_s - now
            if hedge_s > 0:
                return min(left_s, hedge_s)
            self._hedge(now)
            return min(left_s, self._policy.attempt_timeout_s)
        if not may_start:
            raise RaceLost(self._lost)
        if now < self._not_before:
            return min(left_s, self._not_before - now)
        return min(left_s, self._start_next(now))

    def _deadline(self) -> float:
        began = self._began if self._payload.body is not None else max(self._began, self._visitor.moved_at)
        return began + self._route.route.timeout_s

    def _hedge(self, now: float) -> None:
        self._last_start = now
        for attempt in self._running:
            attempt.live.prompt_check()
        if (live := self._route.choose(now, self._tried)) is not None:
            self._start(live, now)

    def _start_next(self, now: float) -> float:
        live = self._route.choose(now, self._tried, self._preferred)
        if live is not None:
            self._start(live, now)
            return self._policy.attempt_timeout_s
        if self._tried:  # every one that could be has been: from the beginning, after a pause
            self._tried.clear()
            pause_s = self._again_after_s
            self._not_before = now + pause_s
            self._again_after_s = 2 * (pause_s or self._policy.again_after_s)
            return pause_s
        return self._queue(now)

    def _start(self, live: LiveServer, now: float) -> None:
        self._leave_queue()
        if self._started:
            self._policy.counters.retries += 1
        self._started += 1
        self._last_start = now
        self._tried.append(live)
        attempt = Attempt(self._route, live, live.link.take(fresh=not self._payload.replayable))
        self._running.append(attempt)
        if attempt.upstream is not None:
            self._send(attempt.upstream)
            return
        attempt.dialing = dialing = self._loop.create_task(live.link.connect())
        self._policy.dials.add(dialing)
        dialing.add_done_callback(self._end_dialing)

    def _end_dialing(self, dialing: asyncio.Task[Upstream]) -> None:
        self._policy.dials.discard(dialing)
        if not dialing.cancelled():
            dialing.exception()  # looked at, for a race that has ended meanwhile
        self._visitor.wake.set()

    def _send(self, upstream: Upstream) -> None:
        payload = self._payload
        head = payload.head + payload.body if payload.body else payload.head
        upstream.send(
            self._visitor.wake,
            head,
            whole=payload.body is not None,
            method=payload.method,
            upgrading=payload.upgrading,
            chunked=payload.chunked,
        )
        upstream.on_interim = self._visitor.relay_interim
        if payload.body is None:
            self._visitor.attach(upstream)

    # -- waiting for a server

    def _queue(self, now: float) -> float:
        policy = self._policy
        if self._queued_at is None:
            if policy.queued >= policy.queue_max:
                raise RaceLost(no_server())
            policy.queued += 1
            self._queued_at = now
        left_s = self._queued_at + policy.queue_timeout_s - now
        if left_s <= 0:
            raise RaceLost(no_server())
        self._route.waiters[self._visitor.wake.set] = None
        return min(left_s, _QUEUE_LOOK_S)

    def _leave_queue(self) -> None:
        if self._queued_at is not None:
            self._queued_at = None
            self._policy.queued -= 1
            self._route.waiters.pop(self._visitor.wake.set, None)
