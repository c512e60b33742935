"""Health probes: whether a component answers, asked through the runtime's own way to reach it.

A prober asks at once, then each 100 ms until the first success, then as the spec says. Failures in the start time do
not count; after it, `fail` in a row make the component unhealthy, and one success healthy again. HTTP wants 200..399,
TCP a connection. The answer is a sentence for people.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from ...ledger.apps.spec import Component, Health, Port
from ..model import ComponentHealth
from ..runtime.base import Endpoint

_log = logging.getLogger(__name__)

FIRST_PERIOD_S = 0.1
EXPLAIN_PERIOD_S = 2.0
HEAD_BYTES_MAX = 1024

Explain = Callable[[str, int], Awaitable[str]]
"""Turns what is wrong with a port into a sentence that says what to change."""


@dataclass(frozen=True, slots=True)
class Target:
    """What to ask, and where."""

    kind: str  # "http" or "tcp"
    path: str
    port: int
    endpoint: Endpoint
    timeout_s: float


def choose_port(component: Component) -> Port | None:
    """The port that is probed: the named one, else the first."""
    named = [port for port in component.ports if port.name == component.health.port]
    return next(iter((*named, *component.ports)), None)


def compute_effective_health(component: Component) -> Health:
    """A component without a TCP port that could be probed is healthy while it runs."""
    port = choose_port(component)
    if port is None or port.protocol == "udp":
        return Health(kind="none")
    return component.health


async def probe(target: Target) -> str:
    """Ask once. Returns what is wrong, in a sentence; empty when it answers as it should."""
    try:
        async with asyncio.timeout(target.timeout_s):
            return await (_probe_http(target) if target.kind == "http" else _probe_tcp(target))
    except TimeoutError:
        return f"port {target.port} gave no answer within {target.timeout_s:g} s"
    except ConnectionRefusedError:
        return f"nothing listens on port {target.port}"
    except ConnectionError:
        return f"nothing listens on port {target.port}, or it hung up without an answer"
    except OSError as error:
        return f"port {target.port} can't be reached: {error.strerror or error}"


async def _connect(endpoint: Endpoint) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if endpoint.unix:
        return await asyncio.open_unix_connection(endpoint.unix, limit=HEAD_BYTES_MAX)
    return await asyncio.open_connection(endpoint.host, endpoint.port, limit=HEAD_BYTES_MAX)


async def _probe_tcp(target: Target) -> str:
    reader, writer = await _connect(target.endpoint)
    try:
        if not target.endpoint.unix:
            return ""
        # A unix socket is the runtime's forwarder: it takes every connection, and hangs up where nobody listens behind.
        try:
            async with asyncio.timeout(min(FIRST_PERIOD_S, target.timeout_s / 2)):
                is_closed = not await reader.read(1)
        except TimeoutError:
            return ""
        return f"nothing listens on port {target.port}" if is_closed else ""
    finally:
        writer.transport.abort()


async def _probe_http(target: Target) -> str:
    reader, writer = await _connect(target.endpoint)
    path = target.path or "/"
    try:
        head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: fluxcloud-health\r\nConnection: close\r\n\r\n"
        writer.write(head.encode("ascii"))
        try:
            line = await reader.readuntil(b"\n")
        except asyncio.IncompleteReadError as error:
            if not error.partial:
                return f"nothing listens on port {target.port}, or it hung up without an answer"
            return f"GET {path} on port {target.port}: the answer is not HTTP"
        except asyncio.LimitOverrunError:
            return f"GET {path} on port {target.port}: the answer is not HTTP"
        return _judge_status(line, f"GET {path} on port {target.port}")
    finally:
        writer.transport.abort()


def _judge_status(line: bytes, what: str) -> str:
    parts = line.split(None, 2)
    if len(parts) < 2 or not parts[0].startswith(b"HTTP/") or not parts[1].isdigit():
        return f"{what}: the answer is not HTTP"
    status = int(parts[1])
    return "" if 200 <= status <= 399 else f"{what} answers {status}; wanted is 200 to 399"


class HealthProber:
    """Probes one running component until cancelled. `explain` adds to a failure what the component's sockets tell."""

    def __init__(
        self,
        health: Health,
        target: Target,
        on_change: Callable[[ComponentHealth], None],
        explain: Explain,
        now: Callable[[], float],
    ) -> None:
        self._health = health
        self._target = target
        self._on_change = on_change
        self._explain = explain
        self._now = now
        self._state = ComponentHealth("starting", "not asked yet")
        self._failures = 0
        self._explained = ""
        self._explained_s = 0.0
        self._explanation = ""

    async def run(self) -> None:
        began_s = self._now()
        while True:
            problem = await probe(self._target)
            await self._note(problem, is_start_over=self._now() - began_s >= self._health.start_s)
            first = self._state.verdict == "starting" and not self._state.late
            await asyncio.sleep(FIRST_PERIOD_S if first else self._health.every_s)

    async def _note(self, problem: str, *, is_start_over: bool) -> None:
        if not problem:
            self._failures = 0
            self._set(ComponentHealth("healthy", "answers"))
            return
        has_been_healthy = self._state.verdict != "starting"
        self._failures += 1 if has_been_healthy or is_start_over else 0
        is_unhealthy = self._failures >= self._health.fail
        if not is_unhealthy and has_been_healthy:
            return
        late = is_unhealthy and not has_been_healthy
        answer = await self._get_explanation(problem, is_fresh=late and not self._state.late)
        self._set(ComponentHealth("unhealthy" if has_been_healthy else "starting", answer, late))

    async def _get_explanation(self, problem: str, *, is_fresh: bool) -> str:
        """The sentence for people; sockets are looked at anew every 2 s only, and for what the ledger is told."""
        if is_fresh or problem != self._explained or self._now() - self._explained_s >= EXPLAIN_PERIOD_S:
            self._explained, self._explained_s = problem, self._now()
            self._explanation = await self._explain(problem, self._target.port)
        return self._explanation

    def _set(self, state: ComponentHealth) -> None:
        if state == self._state:
            return
        if state.verdict != self._state.verdict:
            _log.info("health: %s -> %s (%s)", self._state.verdict, state.verdict, state.answer)
        self._state = state
        self._on_change(state)
