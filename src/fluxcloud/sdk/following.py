"""Following: proven records of keys and tables, everything first, then what changes, an update for every block.

The ledger's clock is followed beside what is asked for, so that the tick of an update is proven as well. A watch
begins anew where it breaks, and now and then by itself, so that a node which withholds a change is found out; what is
gone from a table by then is proven to be gone.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, TypeVar

from ..codec import Codec, encode
from ..errors import Temporary
from ..ledger.block import CLOCK
from ..ledger.state import TableKey
from ..rpc import FRAME_BYTES_MAX, Item, Key, WatchFrame, WatchRequest
from .light import LightClient
from .reading import LyingNode, TableAny, decode_value, make_key, read_items
from .transport import Transport, Unreachable

logger = logging.getLogger(__name__)

K = TypeVar("K")
V = TypeVar("V")

SILENCE_S = 10.0
"""A header comes with every block; a connection without one for so long is dead."""

REPROVE_S = 30.0
REPROVE_TABLES_S = 900.0
"""How often a watch begins anew; of whole tables rarely, for that is much to send."""

RETRY_MIN_S = 0.1
RETRY_MAX_S = 2.0

_WATCH: Codec[WatchFrame] = Codec(WatchFrame, max_bytes=FRAME_BYTES_MAX)
_CLOCK_KEY = make_key(CLOCK, "")


@dataclass(frozen=True, slots=True)
class Update:
    """What one header proves of what is watched: all of it in the first update, then what changed.

    `height` is the proven one, the header's less one. `complete` is False while more of the first state is to come.
    """

    height: int
    tick_ms: int
    header_ms: int
    complete: bool
    records: tuple[tuple[TableAny, Any, Any], ...]

    def get(self, table: TableKey[K, V]) -> Mapping[K, V | None]:
        """Changed records of one table; None where one is gone."""
        return {key: record for changed, key, record in self.records if changed.name == table.name}


class Follower:
    """One watch, over as many connections as it takes."""

    def __init__(
        self,
        transport: Transport,
        light: LightClient,
        keys: Sequence[tuple[TableAny, Any]],
        tables: Sequence[TableAny],
    ) -> None:
        self._transport = transport
        self._light = light
        self._by_name = {table.name: table for table, _ in keys} | {table.name: table for table in tables}
        self._keys = frozenset(make_key(table, key) for table, key in keys)
        self._tables = frozenset(table.name for table in tables)
        self._request = encode(WatchRequest(_in_order(self._keys | {_CLOCK_KEY}), tuple(sorted(self._tables))))
        self._known: set[Key] = set()
        self._tick_ms = 0
        self._reprove_s = REPROVE_TABLES_S if tables else REPROVE_S

    async def run(self) -> AsyncGenerator[Update, None]:
        """For ever. What is temporary is tried again; Rejected (a node that lies, a wrong network) is raised."""
        pause_s = RETRY_MIN_S
        while True:
            try:
                async with aclosing(self._follow_once()) as updates:
                    async for update in updates:
                        pause_s = RETRY_MIN_S
                        yield update
            except Temporary as error:
                logger.warning("the chain can't be followed: %s", error)
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, RETRY_MAX_S)

    async def _follow_once(self) -> AsyncGenerator[Update, None]:
        began_s = time.monotonic()
        height, seen = 0, set[Key]()
        is_whole = False
        async with aclosing(self._transport.stream("watch", self._request)) as frames:
            while not is_whole or time.monotonic() - began_s < self._reprove_s:
                frame = await _read_frame(frames)
                self._light.believe(frame.header, at_least=height)
                self._light.verify_items(frame.header, frame.items)
                height = frame.header.header.height
                items = list(frame.items)
                self._note(items, seen)
                if frame.complete and not is_whole:
                    items += await self._prove_gone(seen)
                    is_whole = True
                yield self._build_update(frame, items)

    def _note(self, items: Sequence[Item], seen: set[Key]) -> None:
        """Keep what a later beginning anew has to compare with, and the clock."""
        for item in items:
            key = Key(item.table, item.key)
            if key == _CLOCK_KEY and item.value is not None:
                self._tick_ms = CLOCK.codec.decode(item.value).tick_ms
            if item.table in self._tables:
                seen.add(key)
                (self._known.discard if item.value is None else self._known.add)(key)

    async def _prove_gone(self, seen: set[Key]) -> list[Item]:
        """Records of watched tables that were known and are not listed any more."""
        missing = _in_order(self._known - seen)
        items = await read_items(self._transport, self._light, missing)
        for item in items:
            if item.value is not None:
                raise LyingNode(f"table {item.table!r}: a record that exists was not listed")
        self._known.difference_update(missing)
        return items

    def _build_update(self, frame: WatchFrame, items: Sequence[Item]) -> Update:
        records = tuple(self._decode(item) for item in items if self._is_wanted(item))
        header = frame.header.header
        return Update(header.height - 1, self._tick_ms, header.time_ns // 1_000_000, frame.complete, records)

    def _is_wanted(self, item: Item) -> bool:
        key = Key(item.table, item.key)
        if key in self._keys or item.table in self._tables:
            return True
        if key != _CLOCK_KEY:
            raise LyingNode(f"table {item.table[:32]!r}: a record that was not asked for")
        return False

    def _decode(self, item: Item) -> tuple[TableAny, Any, Any]:
        table = self._by_name[item.table]
        return table, table.decode_key(item.key), decode_value(table, item)


async def _read_frame(frames: AsyncGenerator[bytes, None]) -> WatchFrame:
    try:
        async with asyncio.timeout(SILENCE_S):
            return _WATCH.decode(await anext(frames))
    except StopAsyncIteration:
        raise Unreachable("the chain node ended the watch") from None
    except TimeoutError:
        raise Unreachable(f"the chain node has sent no header for {SILENCE_S:g} s") from None


def _in_order(keys: set[Key] | frozenset[Key]) -> tuple[Key, ...]:
    return tuple(sorted(keys, key=lambda key: (key.table, key.key)))
