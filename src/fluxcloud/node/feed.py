"""The feed: the ledger's records that this node follows, as the newest proven header has them.

It keeps one watch open and begins anew when what has to be followed changes or the chain node goes away. What it knows
stays known; `is_live` tells whether headers still come, and only then may an absence mean anything.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, TypeVar

from ..errors import FluxCloudError
from ..ledger.state import TableKey
from .chain import FeedKey, NodeChain

_log = logging.getLogger(__name__)

K = TypeVar("K")
V = TypeVar("V")

LIVE_S = 10.0
RETRY_S = 1.0


@dataclass(frozen=True, slots=True)
class Head:
    """The newest proven height, the ledger's clock there, and when (and with which time) its header came."""

    height: int
    tick_ms: int
    header_ms: int
    came_s: float


class Feed:
    """`now` in seconds, monotonic; `on_update` is called after each header."""

    def __init__(self, source: NodeChain, keys: Iterable[FeedKey], now: Callable[[], float]) -> None:
        self._source = source
        self._keys = _index(keys)
        self._now = now
        self._known: dict[tuple[str, Any], Any] = {}
        self._changed = asyncio.Event()
        self.head: Head | None = None

    @property
    def is_live(self) -> bool:
        """Whether headers come: the last one at most LIVE_S ago."""
        return self.head is not None and self._now() - self.head.came_s <= LIVE_S

    def get(self, table: TableKey[K, V], key: K) -> V | None:
        """The record as last proven; None too where it is not known yet."""
        value: V | None = self._known.get((table.name, key))
        return value

    def is_known(self, table: TableKey[K, V], key: K) -> bool:
        """Whether presence or absence was proven since the start."""
        return (table.name, key) in self._known

    def set_keys(self, keys: Iterable[FeedKey]) -> None:
        """Follow these from now on."""
        wanted = _index(keys)
        if wanted.keys() != self._keys.keys():
            self._known = {place: value for place, value in self._known.items() if place in wanted}
            self._keys = wanted
            self._changed.set()

    async def run(self, on_update: Callable[[], None]) -> None:
        """Follow until cancelled."""
        while True:
            self._changed.clear()
            following = asyncio.create_task(self._follow(on_update))
            changed = asyncio.create_task(self._changed.wait())
            try:
                await asyncio.wait((following, changed), return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (following, changed):
                    task.cancel()
                outcomes = await asyncio.gather(following, changed, return_exceptions=True)
            if isinstance(outcomes[0], Exception):
                raise outcomes[0]
            if not self._changed.is_set():
                await asyncio.sleep(RETRY_S)

    async def _follow(self, on_update: Callable[[], None]) -> None:
        """One watch, until it breaks."""
        try:
            async with aclosing(self._source.watch(tuple(self._keys.values()))) as updates:  # type: ignore[type-var]
                async for update in updates:
                    for table, key, record in update.records:
                        self._known[table.name, key] = record
                    if update.complete:
                        self.head = Head(update.height, update.tick_ms, update.header_ms, self._now())
                        on_update()
            _log.warning("the chain node ended the watch")
        except FluxCloudError as error:
            _log.warning("the chain can't be followed: %s", error)


def _index(keys: Iterable[FeedKey]) -> dict[tuple[str, Any], FeedKey]:
    return {(table.name, key): (table, key) for table, key in keys}
