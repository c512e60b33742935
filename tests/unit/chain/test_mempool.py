"""Mempool: lanes with bounds of their own, one word a node and lane, what a block leaves behind."""

from __future__ import annotations

import pytest

from fluxcloud.chain.config import MempoolConfig
from fluxcloud.chain.errors import MempoolFull, TooManyPending
from fluxcloud.chain.mempool import Mempool
from fluxcloud.errors import Rejected
from fluxcloud.ids import TxId
from fluxcloud.ledger.envelope import Overlay
from fluxcloud.ledger.envelope_errors import NonceGap, NonceUsed, SeqUsed
from fluxcloud.ledger.module import Lane
from fluxcloud.ledger.transition import TxMeta

FEE = 10


class FakeLedger:
    """Nonces by sender; a transaction is `lane:sender:number:valid_until` as text."""

    def __init__(self) -> None:
        self.nonces: dict[bytes, int] = {}

    def check(self, raw: bytes, overlay: Overlay) -> TxMeta:
        lane, sender, number_text, valid_text = raw.decode().split(":")
        number = int(number_text)
        if lane == "user":
            expected = self.nonces.get(sender.encode(), 0) if overlay.nonce is None else overlay.nonce
            if number != expected:
                raise NonceUsed if number < expected else NonceGap
            known: Lane = "user"
        else:
            if number <= max(overlay.seq, self.nonces.get(sender.encode(), 0)):
                raise SeqUsed
            known = "watch" if lane == "watch" else "report"
        return TxMeta(TxId(raw), known, sender.encode(), number, FEE, 1, int(valid_text))


class World:
    def __init__(self, config: MempoolConfig | None = None) -> None:
        self.ledger = FakeLedger()
        self.dropped: list[tuple[bytes, str]] = []
        self.pool = Mempool(config or MempoolConfig(), self.ledger.check, self._note)

    def _note(self, tx_id: TxId, error: Rejected) -> None:
        self.dropped.append((tx_id, error.code))

    def add(self, lane: Lane, sender: str, number: int, valid_until_ms: int = 1_000, height: int = 1) -> bytes:
        raw = f"{lane}:{sender}:{number}:{valid_until_ms}".encode()
        self.pool.add(raw, lane, sender.encode(), height)
        return raw


def test_user_lane_follows_nonces() -> None:
    world = World()
    first, second = world.add("user", "a", 0), world.add("user", "a", 1)
    with pytest.raises(NonceGap):
        world.add("user", "a", 3)
    with pytest.raises(NonceUsed):
        world.add("user", "a", 1)
    other = world.add("user", "b", 0)
    assert world.pool.get_waiting("user") == [first, second, other]
    assert (len(world.pool), world.pool.count("watch")) == (3, 0)
    assert TxId(first) in world.pool


def test_sender_and_lane_bounds() -> None:
    world = World(MempoolConfig(user_txs_max=3, sender_txs_max=2, watch_txs_max=1))
    world.add("user", "a", 0)
    world.add("user", "a", 1)
    with pytest.raises(TooManyPending, match="2 transactions of this account wait"):
        world.add("user", "a", 2)
    world.add("user", "b", 0)
    with pytest.raises(MempoolFull, match="user lane is full: 3"):
        world.add("user", "c", 0)
    world.add("watch", "n", 5)
    with pytest.raises(MempoolFull):
        world.add("watch", "m", 5)
    world.add("report", "m", 5)


def test_lane_bytes_bound() -> None:
    world = World(MempoolConfig(lane_mib_max=1, user_txs_max=10**6, sender_txs_max=1))
    for number in range(2):
        world.add("user", f"{number}" + "x" * 500_000, 0)
    with pytest.raises(MempoolFull):
        world.add("user", "2" + "x" * 500_000, 0)
    assert world.pool.count("user") == 2


def test_newer_word_of_a_node_takes_the_place_of_the_older() -> None:
    world = World(MempoolConfig(watch_txs_max=2))
    old = world.add("watch", "n", 5)
    other = world.add("watch", "m", 1)
    new = world.add("watch", "n", 6)
    assert world.pool.get_waiting("watch") == [new, other]
    assert world.dropped == [(old, "mempool/3")]
    with pytest.raises(SeqUsed):
        world.add("watch", "n", 6)
    world.add("report", "n", 5)


def test_block_takes_and_leaves() -> None:
    world = World()
    txs = [world.add("user", "a", number) for number in range(3)]
    world.ledger.nonces[b"a"] = 1
    world.pool.update([TxId(txs[0])], height=2, time_ms=500)
    assert world.pool.get_waiting("user") == txs[1:]
    assert world.dropped == []
    world.ledger.nonces[b"a"] = 3  # somebody else's proposal had both
    world.pool.update([TxId(txs[1])], height=3, time_ms=500)
    assert world.pool.get_waiting("user") == []
    assert world.dropped == [(txs[2], "tx/13")]


def test_expiry__user_by_time_and_what_follows_it() -> None:
    world = World()
    first = world.add("user", "a", 0, valid_until_ms=500)
    second = world.add("user", "a", 1, valid_until_ms=900)
    world.pool.update([], height=2, time_ms=500)
    assert world.pool.get_waiting("user") == [first, second]
    world.pool.update([], height=3, time_ms=501)
    assert world.dropped == [(first, "mempool/4"), (second, "tx/14")]
    assert len(world.pool) == 0


def test_expiry__role_by_blocks_also_where_it_is_sent_again() -> None:
    world = World(MempoolConfig(role_wait_blocks=5))
    world.add("watch", "n", 1, height=10)
    newer = world.add("watch", "n", 2, height=13)
    world.pool.update([], height=14, time_ms=0)
    assert world.pool.get_waiting("watch") == [newer]
    world.pool.update([], height=15, time_ms=0)
    assert world.dropped[-1] == (newer, "mempool/4")
