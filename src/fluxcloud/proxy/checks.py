"""Checks: whether the peers of an edge are there, asked of each at a steady pace.

One task per peer asks its ingress at the health path over one pinned connection of its own. A peer that did not answer
is asked again soon, and is *down* after `check_fall` failures in a row: its connections are cut, so that requests that
wait on it go elsewhere at once. A peer that answers, but not with 200, gets no new requests and keeps those it has.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Final, Literal

from .balance import Health
from .base import ProxyConfig
from .flow import Wake
from .routes import HEALTH_PATH, Peer
from .upstream import DialFailed, Link, Upstream

_log = logging.getLogger(__name__)

_FAST: Final = 0.3
"""Of the interval: when to ask again a peer that may be going down."""

Verdict = Literal["ok", "refused", "silent"]


class Check:
    """The checks of one peer."""

    def __init__(
        self,
        peer: Peer,
        link: Link,
        health: Health,
        config: ProxyConfig,
        gate: asyncio.Semaphore,
        on_up: Callable[[], None],
        on_down: Callable[[Verdict], None] | None = None,
        fast: float = _FAST,
    ) -> None:
        self._peer = peer
        self._link = link
        self._health = health
        self._config = config
        self._gate = gate
        self._on_up = on_up
        self._on_down = on_down  # called after every check that finds it down
        self._request = f"GET {HEALTH_PATH} HTTP/1.1\r\nHost: {peer.id}\r\n\r\n".encode()
        self._fast = fast
        self._prompted = Wake(asyncio.get_running_loop())
        self._fails = 0
        self._passes = 0

    def prompt(self) -> None:
        """Ask now: a request to this peer looks slow."""
        self._prompted.set()

    async def run(self) -> None:
        """Until cancelled."""
        upstream: Upstream | None = None
        try:
            while True:
                upstream, verdict = await self._ask(upstream)
                self._judge(verdict)
                await self._prompted.wait(self._compute_pause_s(verdict))
        finally:
            if upstream is not None:
                upstream.abort()

    async def _ask(self, upstream: Upstream | None) -> tuple[Upstream | None, Verdict]:
        """One check; the connection is kept for the next."""
        if upstream is None or upstream.closed:
            try:
                async with self._gate:
                    upstream = await self._link.connect()
            except DialFailed:
                return None, "silent"
        wake = Wake(upstream.loop)
        upstream.send(wake, self._request, whole=True, method=b"GET")
        try:
            async with asyncio.timeout(self._config.connect_timeout_s):
                while not upstream.body_done and not upstream.failure:
                    await wake.wait(self._config.connect_timeout_s)
        except TimeoutError:
            pass
        except asyncio.CancelledError:
            upstream.abort()
            raise
        if upstream.head is None or not upstream.reusable:
            head = upstream.head
            upstream.abort()
            return None, "silent" if head is None else "ok" if head.status == 200 else "refused"
        status = upstream.head.status
        upstream.take_stored()
        upstream.reset()
        return upstream, "ok" if status == 200 else "refused"

    def _judge(self, verdict: Verdict) -> None:
        health, config = self._health, self._config
        if verdict == "ok":
            self._fails, self._passes = 0, self._passes + 1
            if health.down and self._passes >= config.check_rise:
                health.down = False
                health.trust()
                _log.info("peer %s: down -> up", self._peer.id)
                self._on_up()
            return
        self._fails, self._passes = self._fails + 1, 0
        if verdict == "silent":
            health.suspect(asyncio.get_running_loop().time())
        if self._fails < config.check_fall:
            return
        if not health.down:
            health.down = True
            _log.warning("peer %s: up -> down (%s)", self._peer.id, verdict)
        if verdict == "silent":
            self._link.abort_all()
        if self._on_down is not None:
            self._on_down(verdict)

    def _compute_pause_s(self, verdict: Verdict) -> float:
        interval_s = self._config.check_interval_s
        if verdict != "ok" and not self._health.down:
            return interval_s * self._fast
        return interval_s * random.uniform(0.9, 1.1)  # noqa: S311  # spreads load, protects nothing
