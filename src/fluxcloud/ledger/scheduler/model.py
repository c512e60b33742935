"""Scheduler: what waits for a node, and which nodes have failed copies lately."""

from __future__ import annotations

from ...codec import Record
from ...ids import AppId, NodeId
from ..state import IndexKey, TableKey

QueueKey = tuple[AppId, int, int, str]
"""(app, 1 for a spare else 0, slot index, group)."""

TICK_BUCKET_MS = 10_000


class Waiting(Record, tag=1):
    """A place in the repair queue: the worst off first. `not_before_tick` > 0: it could not be placed, or failed."""

    live: int  # copies of the group that serve
    bucket: int  # 10-s tick bucket in which it was queued, or woke after it had to wait
    lot: bytes  # H(beacon, app) when it was queued: nobody can grind a place
    not_before_tick: int = 0
    tries: int = 0
    reason: str = ""


class NodeFailures(Record, tag=1):
    """Apps with copies that failed on a node by the host's blame, with the tick, oldest first, each app once."""

    apps: tuple[tuple[bytes, int], ...]


def _order(key: QueueKey, waiting: Waiting) -> tuple[tuple[object, ...], ...]:
    """Spares last: a copy that serves comes before one that stands by."""
    return () if waiting.not_before_tick else ((key[1], waiting.live, waiting.bucket, waiting.lot, key),)


def _wake(key: QueueKey, waiting: Waiting) -> tuple[tuple[object, ...], ...]:
    return ((waiting.not_before_tick, key),) if waiting.not_before_tick else ()


QUEUE_ORDER: IndexKey[QueueKey, Waiting] = IndexKey("order", _order)
QUEUE_WAKE: IndexKey[QueueKey, Waiting] = IndexKey("wake", _wake)
QUEUE: TableKey[QueueKey, Waiting] = TableKey("queue", (20, "u64", "u64", "text"), Waiting, QUEUE_ORDER, QUEUE_WAKE)
NODE_FAILURES: TableKey[NodeId, NodeFailures] = TableKey("node_failures", (20,), NodeFailures)
