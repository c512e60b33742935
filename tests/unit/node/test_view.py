"""The ledger as a node sees it: what was kept holds until headers prove something else."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from fluxcloud.clock import ManualClock
from fluxcloud.errors import Temporary
from fluxcloud.ids import NodeId
from fluxcloud.ledger.apps.model import ASSIGN, Assign
from fluxcloud.ledger.gateways.model import GATEWAYS, Gateways
from fluxcloud.ledger.liveness.model import DUTY, SEATS, Duty, Panel, Seat
from fluxcloud.ledger.nodes.model import NODES, Capacity, Endpoint, Location, Node
from fluxcloud.node.feed import Feed
from fluxcloud.node.view import LedgerView, list_own_keys
from fluxcloud.node.watch.contacts import make_contact
from fluxcloud.sdk.client import Update

ME, MONITOR, TARGET, OTHER = (NodeId(bytes([index]) * 20) for index in range(1, 5))


def make_node(node_id: NodeId) -> Node:
    endpoint = Endpoint(f"127.1.{node_id[0]}.1", 16_127, 16_128, 16_129, 20_000)
    return Node(
        node_id, b"", b"", b"hot" + node_id, b"", b"", b"", 1, 0, endpoint, "amd64", Capacity(), Capacity(),
        Location(), 1, "full", "active", 7,
    )  # fmt: skip


class Source:
    """One watch after another, each with the updates of a list, and then nothing more."""

    def __init__(self, *watches: list[Update]) -> None:
        self._watches = list(watches)

    async def watch(self, keys: Sequence[tuple[Any, Any]]) -> AsyncIterator[Update]:
        for update in self._watches.pop(0) if self._watches else ():
            yield update
        await asyncio.Event().wait()


class Absent:
    """A chain node that can't be reached."""

    async def watch(self, keys: Sequence[tuple[Any, Any]]) -> AsyncIterator[Update]:
        raise Temporary("away", retry_after_s=1)
        yield


async def make_view(path: Path, source: Any, headers: int) -> LedgerView:
    """A view after so many headers, each of which it looked at as an agent does."""
    feed = Feed(source, list_own_keys(ME), ManualClock().monotonic_s)
    view, came = LedgerView(feed, ME, path), asyncio.Queue[None]()

    def note() -> None:
        view.follow_peers()
        came.put_nowait(None)

    task = asyncio.create_task(feed.run(note))
    for _ in range(headers):
        await asyncio.wait_for(came.get(), 5)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    return view


def make_update(height: int, *records: tuple[Any, Any, Any]) -> Update:
    return Update(height, height * 500, height * 500, True, records)


OWN = (
    (ASSIGN, ME, Assign()), (GATEWAYS, "", Gateways()), (DUTY, ME, Duty((TARGET,))),
    (SEATS, ME, Panel((Seat(MONITOR, 5), Seat(b"", 0)))),
)  # fmt: skip
PEERS = tuple((NODES, peer, make_node(peer)) for peer in (MONITOR, TARGET))


async def test_peers__are_kept_for_a_start_without_the_chain(tmp_path: Path) -> None:
    path = tmp_path / "assignment"
    source = Source([make_update(4, *OWN)], [make_update(5, *OWN, *PEERS)])
    view = await make_view(path, source, headers=2)
    contacts = (make_contact(make_node(MONITOR)), make_contact(make_node(TARGET)))
    assert view.list_peers() == contacts
    assert view.has_unkept
    view.keep({})
    assert not view.has_unkept
    again = await make_view(path, Absent(), headers=0)
    assert (again.list_peers(), again.height, again.is_live) == (contacts, 5, False)


async def test_kept_peers__hold_until_their_records_are_proven_and_go_with_their_seats(tmp_path: Path) -> None:
    path = tmp_path / "assignment"
    view = await make_view(path, Source([make_update(4, *OWN)], [make_update(5, *OWN, *PEERS)]), headers=2)
    view.keep({})
    passed_on = (*OWN[:3], (SEATS, ME, Panel((Seat(OTHER, 9), Seat(b"", 0)))))
    view = await make_view(path, Source([make_update(6, *passed_on)]), headers=1)
    assert [peer.id for peer in view.list_peers()] == [TARGET]  # as kept; of the new monitor nothing is known yet
    gone = (NODES, TARGET, None)
    proven = make_update(7, *passed_on, gone, (NODES, OTHER, make_node(OTHER)))
    view = await make_view(path, Source([make_update(6, *passed_on)], [proven]), headers=2)
    assert view.list_peers() == (make_contact(make_node(OTHER)),)


async def test_kept_file__that_is_damaged_counts_as_none(tmp_path: Path) -> None:
    path = tmp_path / "assignment"
    path.write_bytes(b"\x93\x01")
    view = await make_view(path, Absent(), headers=0)
    assert (view.list_peers(), view.assign, view.gateways, view.height) == ((), Assign(), Gateways(), 0)
