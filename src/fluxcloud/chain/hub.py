"""Hub: tells followers of each block, and keeps for every watcher what it has not been told yet.

A watcher is level-triggered: it has a set of keys that are new to it, never a queue of frames. One that reads slowly
gets fewer, fuller frames, all proven by the newest header, and costs no more than the keys it watches.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from .proofs import ProvenView, TableAndKey


class Watcher:
    """What one follower wants, and what of it has changed since it was last told."""

    def __init__(self, keys: Iterable[TableAndKey], tables: Iterable[str], known: Iterable[TableAndKey]) -> None:
        self.keys = frozenset(keys)
        self.tables = frozenset(tables)
        self.untold: dict[TableAndKey, None] = dict.fromkeys((*self.keys, *known))

    def take(self, view: ProvenView, items_max: int, bytes_max: int) -> list[TableAndKey]:
        """Some of what is untold, up to about so many bytes of values; it counts as told."""
        taken: list[TableAndKey] = []
        size = 0
        for place in self.untold:
            if len(taken) == items_max or size > bytes_max:
                break
            taken.append(place)
            size += len(view.get_item(*place).value or b"")
        for place in taken:
            del self.untold[place]
        return taken


class Hub:
    """Owned by the event loop. `height` is the newest block's, `view` what it proves."""

    def __init__(self, height: int) -> None:
        self.height = height
        self.view: ProvenView | None = None
        self.watchers: dict[Watcher, None] = {}
        self.txs_total = 0
        self.block_ms = 0
        self._published = asyncio.Event()

    def publish(self, height: int, view: ProvenView, *, txs: int, block_ms: int) -> None:
        """A block is durable: note what it proves for every watcher, and wake all."""
        self.txs_total += txs
        self.block_ms = block_ms
        self.height = height
        self.view = view
        changed = dict.fromkeys(view.changed)
        by_table: dict[str, list[TableAndKey]] = {}
        for place in changed:
            by_table.setdefault(place[0], []).append(place)
        for watcher in self.watchers:
            for place in changed.keys() & watcher.keys:
                watcher.untold[place] = None
            for table in watcher.tables:
                watcher.untold.update(dict.fromkeys(by_table.get(table, ())))
        published, self._published = self._published, asyncio.Event()
        published.set()

    async def wait_above(self, height: int) -> None:
        """Until the newest block is higher than that and what it proves is known."""
        while self.height <= height or self.view is None:
            await self._published.wait()
