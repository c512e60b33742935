"""The feed: what is known, what is live, and following other keys."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

from fluxcloud.clock import ManualClock
from fluxcloud.errors import Rejected
from fluxcloud.ids import NodeId
from fluxcloud.ledger.apps.model import ASSIGN, Assign
from fluxcloud.ledger.nodes.model import NODES
from fluxcloud.node.feed import LIVE_S, Feed
from fluxcloud.sdk.client import Update

ME, OTHER = NodeId(b"\x01" * 20), NodeId(b"\x02" * 20)


class Source:
    """Gives the updates that a test puts in; notes what is watched."""

    def __init__(self) -> None:
        self.watched: list[set[Any]] = []
        self.updates: asyncio.Queue[Update | Exception] = asyncio.Queue()

    async def watch(self, keys: Sequence[tuple[Any, Any]]) -> AsyncIterator[Update]:
        self.watched.append({key for _, key in keys})
        while True:
            update = await self.updates.get()
            if isinstance(update, Exception):
                raise update
            yield update


def make_update(height: int, *records: tuple[Any, Any, Any], complete: bool = True) -> Update:
    return Update(height, height * 500, height * 500 + 7, complete, records)


async def test_feed__knows_what_was_proven_and_is_live_while_headers_come() -> None:
    source, clock, came = Source(), ManualClock(), asyncio.Queue[int]()
    feed = Feed(source, [(ASSIGN, ME)], clock.monotonic_s)  # type: ignore[arg-type]
    task = asyncio.create_task(feed.run(lambda: came.put_nowait(feed.head.height if feed.head else 0)))
    assert (feed.is_live, feed.is_known(ASSIGN, ME)) == (False, False)
    source.updates.put_nowait(make_update(4, complete=False))
    source.updates.put_nowait(make_update(5, (ASSIGN, ME, None)))
    assert await asyncio.wait_for(came.get(), 5) == 5
    assert (feed.is_live, feed.is_known(ASSIGN, ME), feed.get(ASSIGN, ME)) == (True, True, None)
    source.updates.put_nowait(make_update(6, (ASSIGN, ME, Assign())))
    await asyncio.wait_for(came.get(), 5)
    assert feed.get(ASSIGN, ME) == Assign()
    clock.advance_ms(int(LIVE_S * 1000) + 1)
    assert not feed.is_live
    task.cancel()


async def test_other_keys__begin_a_new_watch_and_keep_what_is_known() -> None:
    source, came = Source(), asyncio.Queue[None]()
    feed = Feed(source, [(ASSIGN, ME)], ManualClock().monotonic_s)  # type: ignore[arg-type]
    task = asyncio.create_task(feed.run(lambda: came.put_nowait(None)))
    source.updates.put_nowait(make_update(5, (ASSIGN, ME, Assign())))
    await asyncio.wait_for(came.get(), 5)
    feed.set_keys([(ASSIGN, ME)])
    feed.set_keys([(ASSIGN, ME), (NODES, OTHER)])
    async with asyncio.timeout(5):
        while len(source.watched) < 2:
            await asyncio.sleep(0)
    source.updates.put_nowait(make_update(6, (NODES, OTHER, None)))
    await asyncio.wait_for(came.get(), 5)
    assert source.watched == [{ME}, {ME, OTHER}]
    assert (feed.get(ASSIGN, ME), feed.is_known(NODES, OTHER)) == (Assign(), True)
    task.cancel()


async def test_lying_chain_node__is_asked_again() -> None:
    source, came = Source(), asyncio.Queue[None]()
    feed = Feed(source, [(ASSIGN, ME)], ManualClock().monotonic_s)  # type: ignore[arg-type]
    task = asyncio.create_task(feed.run(lambda: came.put_nowait(None)))
    source.updates.put_nowait(Rejected("a proof is wrong"))
    source.updates.put_nowait(make_update(6, (ASSIGN, ME, None)))
    await asyncio.wait_for(came.get(), 5)
    assert source.watched == [{ME}, {ME}]
    task.cancel()
