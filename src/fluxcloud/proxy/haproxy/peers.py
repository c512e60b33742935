"""Peers: whether each is there, asked by the engine itself and told to HAProxy as the health of the peer's slot.

HAProxy can't follow a server that was added at run time, and those of its file can't be pinned to a node that appears
later. So the checks are those of the embedded engine: pinned to the certificate, on one kept connection per peer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from ..balance import Health
from ..base import ProxyConfig
from ..checks import Check, Verdict
from ..dial import PeerDial
from ..upstream import Link
from .layout import LivePeer

_DIALS_MAX: Final = 64

_FAST: Final = 0.1
"""Of the interval: when to ask again a peer that may be going down. Sooner than elsewhere: settling takes time too."""

_SETTLE_S: Final = 0.1
"""With the connect timeout, how long a slot takes nothing new before what is under way on it is cut. HAProxy gives up a
request for good when its server goes down while it still connects; one that is connected is tried elsewhere."""


@dataclass(slots=True, eq=False)
class _Watched:
    live: LivePeer
    link: Link
    health: Health
    task: asyncio.Task[None]


class PeerChecks:
    """`on_health` is called with a slot and `up`, `stopping` or `down` whenever that changes."""

    def __init__(self, config: ProxyConfig, on_health: Callable[[int, str], None]) -> None:
        self._config = config
        self._on_health = on_health
        self._gate = asyncio.Semaphore(_DIALS_MAX)
        self._watched: dict[str, _Watched] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._cutting: dict[int, asyncio.TimerHandle] = {}
        self._settle_s = config.connect_timeout_s + _SETTLE_S
        self.health: dict[int, str] = {}

    def update(self, peers: Mapping[str, LivePeer]) -> None:
        """Check exactly these."""
        for peer_id, watched in tuple(self._watched.items()):
            if peers.get(peer_id) != watched.live:
                self._drop(self._watched.pop(peer_id))
        for peer_id, live in peers.items():
            if peer_id not in self._watched:
                self._watched[peer_id] = self._watch(live)

    def get_down(self) -> tuple[str, ...]:
        return tuple(sorted(peer_id for peer_id, watched in self._watched.items() if watched.health.down))

    async def close(self) -> None:
        for watched in self._watched.values():
            self._drop(watched)
        self._watched.clear()
        await asyncio.gather(*self._ending, return_exceptions=True)

    def _watch(self, live: LivePeer) -> _Watched:
        health = Health()
        link = Link(PeerDial(live.peer, self._config), idle_max=1, idle_s=self._config.client_idle_timeout_s, fresh_s=0)
        self.health[live.slot] = "up"
        check = Check(
            live.peer,
            link,
            health,
            self._config,
            self._gate,
            on_up=partial(self._tell_up, live.slot),
            on_down=partial(self._tell_down, live.slot),
            fast=_FAST,
        )
        return _Watched(live, link, health, asyncio.get_running_loop().create_task(check.run()))

    def _drop(self, watched: _Watched) -> None:
        """Its slot stays as it is: what finishes on it finishes."""
        watched.task.cancel()
        self._ending.add(watched.task)
        watched.task.add_done_callback(self._ending.discard)
        self.health.pop(watched.live.slot, None)
        if (cut := self._cutting.pop(watched.live.slot, None)) is not None:
            cut.cancel()
        watched.link.retire()
        watched.link.abort_all()

    def _tell_down(self, slot: int, verdict: Verdict) -> None:
        if self.health[slot] == "up":
            self._tell(slot, "stopping")
        if verdict == "silent" and self.health[slot] != "down" and slot not in self._cutting:
            self._cutting[slot] = asyncio.get_running_loop().call_later(self._settle_s, self._cut, slot)

    def _cut(self, slot: int) -> None:
        del self._cutting[slot]
        self._tell(slot, "down")

    def _tell_up(self, slot: int) -> None:
        if (cut := self._cutting.pop(slot, None)) is not None:
            cut.cancel()
        self._tell(slot, "up")

    def _tell(self, slot: int, word: str) -> None:
        if self.health.get(slot) != word:
            self.health[slot] = word
            self._on_health(slot, word)
