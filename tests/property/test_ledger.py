"""The whole ledger under every message, valid and not; and that two machines agree whatever their way to a state.

After each block: every module's invariants, indexes equal to their rebuild, undo and repeat (`LedgerRunner`); what is
refused leaves no trace; what is stored and sent has one encoding.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from factories import LedgerRunner, dump, make_address_of, make_genesis
from factories_world import WAITS_MS, World
from fluxcloud.codec import Codec, encode
from fluxcloud.ledger.block import Receipt
from fluxcloud.ledger.envelope import decode_tx
from fluxcloud.ledger.module import Message
from fluxcloud.ledger.nodes.messages import NodeUp
from fluxcloud.ledger.state import Change
from fluxcloud.ledger.transition import MODULES, REGISTRY, TABLES
from fluxcloud.ledger.tx import SIGNED_TX, TX_BODY, RoleTx, UserTx

EXAMPLES = int(os.environ.get("FLUXCLOUD_EXAMPLES", "50"))
STEPS = 25
KINDS = sorted(REGISTRY.process, key=lambda kind: kind.__name__)
TABLE_BY_NAME = {table.name: table for table in TABLES}

kinds = st.sampled_from(KINDS)
seeds = st.integers(0, 2**32)


class LedgerMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.runner = LedgerRunner(make_genesis(7, 6, epoch_ms=10_000))
        self.world = World(self.runner, lambda n: 0)

    def make_txs(self, kinds: list[type[Message]], choose: Callable[[int], int]) -> list[bytes]:
        self.world.choose = choose
        return [self.world.make_tx(kind) for kind in kinds]

    @rule(kind=kinds, data=st.data())
    def apply_one(self, kind: type[Message], data: st.DataObject) -> None:
        """One transaction in a block of its own; what it may leave behind where it is refused is known."""
        (tx,) = self.make_txs([kind], lambda n: data.draw(st.integers(0, n - 1)))
        is_proposers = kind.LANE == "proposer"
        _, without = self.runner.peek()
        check_one_encoding_of_tx(tx)
        receipt = self.runner.block(tx, reveal=not is_proposers).receipts[-1]
        if not is_proposers:
            check_traces(self.runner, receipt, tx, without)
        check_one_encoding_of_records(self.runner.changes)

    @rule(some=st.lists(kinds, min_size=2, max_size=8), seed=seeds, wait_ms=st.sampled_from(WAITS_MS))
    def apply_many(self, some: list[type[Message]], seed: int, wait_ms: int) -> None:
        source = random.Random(seed)
        txs = self.make_txs(some, source.randrange)
        self.runner.block(*txs, after_ms=wait_ms, reveal=source.random() < 0.9)

    @rule(k=st.integers(1, 7), is_dead=st.booleans(), comes_back=st.booleans())
    def lose_a_node(self, k: int, is_dead: bool, comes_back: bool) -> None:
        """All its monitors find it dead, a jury decides, perhaps it comes back."""
        self.runner.block(*self.world.accuse(self.runner.node_id(k), miss=True))
        for _ in range(3):
            self.runner.block(*self.world.judge(miss=is_dead))
        if comes_back:
            self.runner.block(self.runner.report(k, NodeUp()))
            self.runner.block(*self.world.accuse(self.runner.node_id(k), miss=False))
            self.runner.block(after_ms=self.runner.params.seen_ms)

    @rule(kind=kinds, seed=seeds, at=st.integers(0, 2**16), bit=st.integers(0, 7))
    def apply_damaged(self, kind: type[Message], seed: int, at: int, bit: int) -> None:
        """A flipped bit is refused by the envelope and changes nothing."""
        tx = bytearray(self.make_txs([kind], random.Random(seed).randrange)[0])
        tx[at % len(tx)] ^= 1 << bit
        _, without = self.runner.peek()
        receipt = self.runner.block(bytes(tx)).receipts[-1]
        assert receipt.code.startswith("tx/"), receipt
        assert dump(self.runner.state) == without

    @rule(wait_ms=st.sampled_from(WAITS_MS), blocks=st.integers(1, 5))
    def pass_time(self, wait_ms: int, blocks: int) -> None:
        for _ in range(blocks):
            self.runner.block(after_ms=wait_ms)


def check_traces(runner: LedgerRunner, receipt: Receipt, tx: bytes, without: list[Change]) -> None:
    """A refused envelope leaves nothing; refused messages leave fee and nonce, or sequence number and tokens."""
    if receipt.code == "":
        return
    traces = {(change.table, change.key) for change in set(dump(runner.state)) ^ set(without)}
    if receipt.code.startswith("tx/"):
        assert traces == set()
        return
    body = TX_BODY.decode(SIGNED_TX.decode(tx).body)
    assert isinstance(body, UserTx | RoleTx)
    if isinstance(body, UserTx):
        allowed = {("accounts", body.sender), ("accounts", make_address_of("validator/1")), ("supply", b"")}
    else:
        allowed = {("lanes", body.node + body.lane.encode())}
    assert traces <= allowed, (receipt, traces - allowed)


def check_one_encoding_of_tx(tx: bytes) -> None:
    decoded = decode_tx(tx, REGISTRY, make_genesis(0).params)
    for message in decoded.messages:
        assert REGISTRY.codec.decode(encode(message)) == message


def check_one_encoding_of_records(changes: list[Change]) -> None:
    for change in changes:
        table = TABLE_BY_NAME[change.table]
        assert table.encode_key(table.decode_key(change.key)) == change.key
        if change.value is not None:
            assert encode(table.codec.decode(change.value)) == change.value


def test_every_message_in_any_order() -> None:
    run_state_machine_as_test(
        LedgerMachine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_every_message_has_a_maker() -> None:
    world = World(LedgerRunner(make_genesis(1)), lambda n: 0)
    assert set(world.makers) == set(REGISTRY.process)


def test_every_event_round_trips() -> None:
    """Whatever a long random story emits can be stored and read again by its type."""
    runner, source = LedgerRunner(make_genesis(7, 6), checks=False), random.Random(1)
    world, seen = World(runner, source.randrange), set()
    for _ in range(300):
        result = runner.block(*(world.make_tx(source.choice(KINDS)) for _ in range(4)))
        for event in (*result.events, *(event for receipt in result.receipts for event in receipt.events)):
            assert Codec(type(event)).decode(encode(event)) == event
            seen.add(type(event))
    known = {event for module in MODULES for event in module.events}
    assert seen <= known
    assert len(seen) > len(known) // 2


@pytest.mark.slow
def test_two_machines_agree(tmp_path: Path) -> None:
    """The same blocks under two hash seeds, replayed and from a snapshot in the middle: equal roots at each height."""
    script = Path(__file__).parent / "replay_ledger.py"

    def run(seed: str, mode: str) -> list[str]:
        paths = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
        result = subprocess.run(
            [sys.executable, str(script), mode, str(tmp_path / "blocks")],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )
        assert result.returncode == 0, result.stderr
        return result.stdout.split()

    made = run("1", "make")
    assert len(set(made)) == len(made) == 201
    assert run("1", "replay") == made
    assert run("2", "replay") == made
    assert run("3", "snapshot") == made
