"""Mempool: transactions that wait for a block, in three lanes with bounds of their own.

An account's transactions follow one another by nonce; a node has at most one waiting in each of its lanes, and a newer
one takes its place. What a block has touched is checked again after it, so that nothing waits that can't be applied.
Whoever waits for a transaction is told what became of it, exactly once. Pure: no clock, no I/O.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from ..errors import Rejected
from ..ids import TxId
from ..ledger.envelope import NO_OVERLAY, Overlay
from ..ledger.module import Lane
from ..ledger.transition import TxMeta
from .config import MempoolConfig
from .errors import Expired, MempoolFull, Replaced, TooManyPending

CheckTx = Callable[[bytes, Overlay], TxMeta]
"""The application's check against the newest state, beside what already waits of this sender. Raises Rejected."""

OnDropped = Callable[[TxId, Rejected], None]

MIB = 1 << 20
USER_LANE: Lane = "user"
LANES: tuple[Lane, ...] = ("watch", "report", "user")


@dataclass(frozen=True, slots=True)
class Pending:
    raw: bytes
    meta: TxMeta
    height: int  # newest block when it was taken


@dataclass(slots=True)
class _LanePool:
    """Transactions of a lane in the order in which they came, and by sender in the order of their numbers."""

    txs_max: int
    size_max: int
    size: int = 0
    places: dict[bytes, Pending] = field(default_factory=dict)  # by sender where one may wait of each, else by id
    by_id: dict[TxId, bytes] = field(default_factory=dict)
    by_sender: dict[bytes, list[Pending]] = field(default_factory=dict)

    def add(self, place: bytes, pending: Pending) -> Pending | None:
        """Returns the one whose place it takes."""
        old = self.places.get(place)
        if old is not None:
            self._forget(old)
        self.places[place] = pending  # an existing place keeps its turn
        self.by_id[pending.meta.tx_id] = place
        self.by_sender.setdefault(pending.meta.sender, []).append(pending)
        self.size += len(pending.raw)
        return old

    def remove(self, tx_id: TxId) -> Pending | None:
        place = self.by_id.get(tx_id)
        if place is None:
            return None
        pending = self.places.pop(place)
        self._forget(pending)
        return pending

    def _forget(self, pending: Pending) -> None:
        del self.by_id[pending.meta.tx_id]
        self.size -= len(pending.raw)
        of_sender = self.by_sender[pending.meta.sender]
        of_sender.remove(pending)
        if not of_sender:
            del self.by_sender[pending.meta.sender]


class Mempool:
    """Not thread-safe: its owner is the event loop."""

    def __init__(self, config: MempoolConfig, check: CheckTx, on_dropped: OnDropped) -> None:
        size_max = config.lane_mib_max * MIB
        self._config = config
        self._check = check
        self._on_dropped = on_dropped
        self._lanes: dict[Lane, _LanePool] = {
            "watch": _LanePool(config.watch_txs_max, size_max),
            "report": _LanePool(config.report_txs_max, size_max),
            "user": _LanePool(config.user_txs_max, size_max),
        }

    def __len__(self) -> int:
        return sum(len(pool.by_id) for pool in self._lanes.values())

    def __contains__(self, tx_id: TxId) -> bool:
        return any(tx_id in pool.by_id for pool in self._lanes.values())

    def count(self, lane: Lane) -> int:
        return len(self._lanes[lane].by_id)

    def add(self, raw: bytes, lane: Lane, sender: bytes, height: int) -> TxMeta:
        """Take a transaction; `lane` and `sender` are what its body says. Raises tx/n, or mempool/1, /2."""
        pool = self._lanes[lane]
        waiting = pool.by_sender.get(sender, [])
        if lane == USER_LANE and len(waiting) >= self._config.sender_txs_max:
            raise TooManyPending(f"{len(waiting)} transactions of this account wait; at most that many may")
        takes_place = bool(waiting) and lane != USER_LANE
        if not takes_place and (len(pool.by_id) >= pool.txs_max or pool.size + len(raw) > pool.size_max):
            raise MempoolFull(f"the {lane} lane is full: {len(pool.by_id)} transactions wait")
        meta = self._check(raw, _make_overlay(lane, waiting))
        # the age of an older word stays with its place, so that what is sent again and again doesn't live for ever
        since = waiting[0].height if takes_place else height
        old = pool.add(meta.tx_id if lane == USER_LANE else sender, Pending(raw, meta, since))
        if old is not None:
            self._on_dropped(old.meta.tx_id, Replaced())
        return meta

    def get_waiting(self, lane: Lane) -> list[bytes]:
        """In the order in which a block should take them."""
        return [pending.raw for pending in self._lanes[lane].places.values()]

    def update(self, included: Iterable[TxId], height: int, time_ms: int) -> None:
        """After a block: forget what it holds, then what has expired or can't be applied any more."""
        touched: dict[tuple[Lane, bytes], None] = {}
        for tx_id in included:
            for lane, pool in self._lanes.items():
                pending = pool.remove(tx_id)
                if pending is not None:
                    touched[lane, pending.meta.sender] = None
        self._drop_expired(height, time_ms, touched)
        for lane, sender in touched:
            self._recheck(lane, sender)

    def _drop_expired(self, height: int, time_ms: int, touched: dict[tuple[Lane, bytes], None]) -> None:
        for lane, pool in self._lanes.items():
            for pending in [p for p in pool.places.values() if self._is_expired(p, lane, height, time_ms)]:
                pool.remove(pending.meta.tx_id)
                touched[lane, pending.meta.sender] = None
                self._on_dropped(pending.meta.tx_id, Expired())

    def _is_expired(self, pending: Pending, lane: Lane, height: int, time_ms: int) -> bool:
        if lane == USER_LANE:
            return pending.meta.valid_until_ms < time_ms
        return height - pending.height >= self._config.role_wait_blocks

    def _recheck(self, lane: Lane, sender: bytes) -> None:
        """Check what a sender still has waiting, each after those before it."""
        pool = self._lanes[lane]
        kept: list[Pending] = []
        for pending in list(pool.by_sender.get(sender, ())):
            try:
                self._check(pending.raw, _make_overlay(lane, kept))
                kept.append(pending)
            except Rejected as error:
                pool.remove(pending.meta.tx_id)
                self._on_dropped(pending.meta.tx_id, error)


def _make_overlay(lane: Lane, waiting: list[Pending]) -> Overlay:
    """What those that wait already take of their sender. A node's one is replaced, so only its number counts."""
    if not waiting:
        return NO_OVERLAY
    if lane != USER_LANE:
        return Overlay(seq=waiting[-1].meta.number)
    return Overlay(nonce=waiting[-1].meta.number + 1, spent=sum(pending.meta.fee for pending in waiting))
