"""Balance: which server takes a request. Plain state and decisions; the clock comes as an argument.

A server is taken from the best of these classes that has any with room, then the one with the fewest requests in
flight, in turn where that is equal: ready; last; ready but suspected; last but suspected. A peer is *suspected* after a
connection to it failed, for 1 s at first and at most 10 s; it is *down* when its checks say so, and then takes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Final

from .routes import Route, Server
from .upstream import Link

_SUSPECT_MIN_S: Final = 1.0
_SUSPECT_MAX_S: Final = 10.0
_CLASSES: Final = {"ready": 0, "last": 1}


@dataclass(slots=True)
class Health:
    """What is thought of one peer."""

    down: bool = False
    suspected_until: float = 0.0
    _next_s: float = _SUSPECT_MIN_S

    def suspect(self, now: float) -> None:
        """A connection failed. What fails while it is suspected already tells nothing new."""
        if now >= self.suspected_until:
            self.suspected_until = now + self._next_s
            self._next_s = min(2 * self._next_s, _SUSPECT_MAX_S)

    def note_answer(self, now: float) -> None:
        """It has answered a request."""
        if now >= self.suspected_until:
            self._next_s = _SUSPECT_MIN_S

    def trust(self) -> None:
        """It has come back."""
        self.suspected_until, self._next_s = 0.0, _SUSPECT_MIN_S


@dataclass(slots=True, eq=False)
class LiveServer:
    """A server and what is going on with it."""

    server: Server
    link: Link
    health: Health
    prompt_check: Callable[[], None]  # it looks slow: check it now
    in_flight: int = 0


@dataclass(slots=True, eq=False)
class LiveRoute:
    """A route, its servers, and who waits for one."""

    route: Route
    servers: list[LiveServer]
    waiters: dict[Callable[[], None], None] = field(default_factory=dict)  # in order of arrival
    turn: int = 0

    def choose(self, now: float, tried: Collection[LiveServer], preferred: str = "") -> LiveServer | None:
        """A server not tried yet, or None. `preferred`: an id to take if it is in the best class."""
        self.turn += 1
        servers, count = self.servers, len(self.servers)
        best: LiveServer | None = None
        best_rank = (9, 0, 0)
        for step in range(count):
            live = servers[(self.turn + step) % count]
            rank = self._rank(live, now, preferred)
            if rank is not None and rank < best_rank and live not in tried:
                best, best_rank = live, rank
        return best

    def _rank(self, live: LiveServer, now: float, preferred: str) -> tuple[int, int, int] | None:
        position = _CLASSES.get(live.server.state)
        if position is None or live.health.down or live.in_flight >= self.route.connections_max:
            return None
        suspected = now < live.health.suspected_until
        return position + 2 * suspected, live.server.id != preferred, live.in_flight

    def release(self, live: LiveServer) -> None:
        """A request has left a server: the one waiting longest may go."""
        live.in_flight -= 1
        if self.waiters:
            wake = next(iter(self.waiters))
            del self.waiters[wake]
            wake()

    def wake_all(self) -> None:
        """Servers have come or are well again."""
        waiters, self.waiters = tuple(self.waiters), {}
        for wake in waiters:
            wake()
