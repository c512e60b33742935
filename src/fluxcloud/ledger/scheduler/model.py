"""Scheduler: what waits for a node, and which nodes have room."""

from __future__ import annotations

from ...codec import Record
from ...ids import AppId
from ..state import IndexKey, TableKey


class QueueKey(Record):
    """A slot or spare of a group that needs a node."""

    app: bytes
    group: str
    slot: int
    spare: bool


class Waiting(Record, tag=1):
    """A place in the repair queue: the worst off first. `not_before_tick` after it could not be placed."""

    live: int  # copies of the group that run
    bucket: int  # 10-s tick bucket in which it was queued
    lot: bytes  # H(beacon, app) when it was queued: nobody can grind a place
    not_before_tick: int
    tries: int
    reason: str


def _queue_order(key: tuple[AppId, int, int, str], waiting: Waiting) -> tuple[tuple[object, ...], ...]:
    return ((waiting.live, waiting.bucket, waiting.lot, key),)


QUEUE_ORDER: IndexKey[tuple[AppId, int, int, str], Waiting] = IndexKey("order", _queue_order)
QUEUE: TableKey[tuple[AppId, int, int, str], Waiting] = TableKey(
    "queue", (20, "u64", "u64", "text"), Waiting, QUEUE_ORDER
)
"""Key: (app, 1 for a spare else 0, slot index, group)."""
