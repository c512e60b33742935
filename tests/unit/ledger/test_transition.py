"""A block: its clock, its order, atomicity, what is caught and what is not."""

from __future__ import annotations

import dataclasses

import pytest

from factories import (
    BLOCK_MS,
    CHAIN_ID,
    FEE,
    LedgerRunner,
    make_address_of,
    make_genesis,
    make_key,
    make_proposer_tx,
    make_user_tx,
)
from fluxcloud.ledger import transition
from fluxcloud.ledger.accounts.messages import Transfer
from fluxcloud.ledger.accounts.module import MODULE as ACCOUNTS_MODULE
from fluxcloud.ledger.accounts.queries import get_account
from fluxcloud.ledger.accounts.transitions import process_transfer
from fluxcloud.ledger.block import Block, get_clock
from fluxcloud.ledger.envelope_errors import BadProposal
from fluxcloud.ledger.lanes import compute_share, select_txs
from fluxcloud.ledger.module import Context, Message, Module
from fluxcloud.ledger.nodes.messages import NodeUp
from fluxcloud.ledger.proposal import validate_block
from fluxcloud.ledger.registry import Registry
from fluxcloud.ledger.state import State
from fluxcloud.ledger.transition import MODULES, TABLES, apply_block

SEND = Transfer(make_address_of("bob"), 1)


class Twin(Message, tag=0x0101):
    """A message that declares another one's tag."""


@pytest.fixture
def runner() -> LedgerRunner:
    return LedgerRunner(make_genesis(4))


def test_tick_clock__moves_with_the_header_and_no_further(runner: LedgerRunner) -> None:
    runner.block(after_ms=700)
    assert runner.tick_ms == 700
    runner.block(after_ms=0)
    assert runner.tick_ms == 700
    runner.block(after_ms=3_600_000)
    assert runner.tick_ms == 5_700
    clock = get_clock(runner.state)
    assert (clock.height, clock.time_ms, clock.chain_id) == (3, runner.genesis.time_ms + 3_600_700, CHAIN_ID)


@pytest.mark.parametrize(("height", "after_ms"), [(2, BLOCK_MS), (0, BLOCK_MS), (1, -1)])
def test_a_block_out_of_turn_is_a_bug_of_consensus(runner: LedgerRunner, height: int, after_ms: int) -> None:
    block = Block(height, runner.time_ms + after_ms, runner.proposer, ())
    with pytest.raises(AssertionError):
        apply_block(runner.state, runner.params, block, runner.cache)


def test_receipts_stand_in_the_order_of_transactions(runner: LedgerRunner) -> None:
    txs = (
        runner.user("alice", SEND),
        b"no transaction",
        runner.user("bob", Transfer(b"", 1)),
        runner.user("alice", SEND),
    )
    receipts = runner.block(*txs).receipts
    assert [receipt.code for receipt in receipts] == ["", "", "tx/2", "accounts/3", ""]
    assert [receipt.number for receipt in receipts] == [0, 0, 10 * 256 + 2, 256 + 3, 0]
    assert [receipt.fee for receipt in receipts] == [0, FEE, 0, FEE, FEE]


def test_a_refused_transaction_leaves_its_fee_and_nonce(runner: LedgerRunner) -> None:
    """ADR 3: as if it had carried no message at all."""
    alice = make_address_of("alice")
    before = get_account(runner.state, alice)
    runner.reject(runner.user("alice", SEND, Transfer(b"", 1)))
    assert get_account(runner.state, alice) == type(before)(before.balance - FEE, 0, 1)
    assert {change.table for change in runner.changes} == {"accounts", "clock", "supply", "validators"}


def test_what_is_no_rejection_ends_the_process(runner: LedgerRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    """A receipt made of a bug would fork the chain."""

    def fail(state: State, msg: Transfer, ctx: Context) -> None:
        raise KeyError("a bug")

    monkeypatch.setitem(transition.REGISTRY.process, Transfer, fail)
    block = Block(1, runner.time_ms + BLOCK_MS, runner.proposer, (runner.user("alice", SEND),))
    with pytest.raises(KeyError):
        apply_block(runner.state, runner.params, block, runner.cache)


def test_registry__asserts_ranges_and_uniqueness() -> None:
    with pytest.raises(AssertionError, match="not in the range"):
        Registry((dataclasses.replace(ACCOUNTS_MODULE, number=2),))
    twin = dataclasses.replace(ACCOUNTS_MODULE, messages={Transfer: process_transfer, Twin: process_transfer})
    with pytest.raises(AssertionError, match="share tag"):
        Registry((twin,))
    with pytest.raises(AssertionError):
        Registry((ACCOUNTS_MODULE, Module("other", 10)))


def test_tables_have_names_of_their_own() -> None:
    names = [table.name for table in TABLES]
    assert len(set(names)) == len(names)
    assert [module.name for module in MODULES] == [
        "accounts", "nodes", "liveness", "apps", "scheduler", "gateways", "validators",
    ]  # fmt: skip


# lanes


def test_select_txs__shares_are_kept_under_a_flood(runner: LedgerRunner) -> None:
    params = runner.params
    watch, report, user = [b"w" * 1_000] * 2_000, [b"r" * 1_000] * 2_000, [b"u" * 1_000] * 2_000
    taken = select_txs({"watch": watch, "report": report, "user": user}, params)
    assert [taken.count(lane[0]) for lane in (watch, report, user)] == [500, 250, 250]
    assert taken == sorted(taken, key=lambda raw: b"wru".index(raw[:1]))
    assert [compute_share(lane, params) for lane in ("watch", "report", "user")] == [500_000, 250_000, 250_000]  # type: ignore[arg-type]


def test_select_txs__what_a_lane_leaves_goes_to_the_others(runner: LedgerRunner) -> None:
    user = [b"u" * 1_000] * 2_000
    assert len(select_txs({"user": user}, runner.params)) == 1_000
    taken = select_txs({"watch": [b"w" * 1_000] * 100, "user": user}, runner.params, proposer=[b"p" * 500])
    assert [taken.count(raw) for raw in (b"p" * 500, b"w" * 1_000, b"u" * 1_000)] == [1, 100, 899]
    assert taken[0] == b"p" * 500


def test_select_txs__a_lane_ends_at_what_does_not_fit(runner: LedgerRunner) -> None:
    """Taking a later one would leave a gap in somebody's nonces."""
    user = [b"1" * 600_000, b"2" * 600_000, b"3"]
    assert select_txs({"user": user}, runner.params) == user[:1]


# proposals


def validate(runner: LedgerRunner, *txs: bytes, after_ms: int = BLOCK_MS) -> str:
    block = Block(runner.height + 1, runner.time_ms + after_ms, runner.proposer, txs)
    try:
        validate_block(runner.state, runner.params, block, runner.cache)
    except BadProposal as error:
        return error.message
    return ""


def test_validate_block(runner: LedgerRunner) -> None:
    reveal, user, report = runner.reveal(), runner.user("alice", SEND), runner.report(1, NodeUp())
    assert validate(runner) == ""
    assert validate(runner, reveal, report, user) == ""
    assert validate(runner, reveal, user, report) == "transaction 2: the report lane's come before"
    assert validate(runner, user, reveal).startswith("transaction 1: tx/22")
    assert validate(runner, make_proposer_tx(2, runner.next_reveal())).startswith("transaction 0: tx/22")
    assert validate(runner, b"").startswith("transaction 0: tx/2")
    assert validate(runner, user, after_ms=7_200_000).startswith("transaction 0: tx/8")
    assert validate(runner, make_user_tx(make_key("alice"), 0, SEND, chain_id="x")).startswith("transaction 0: tx/7")
    assert validate(runner, *[user] * 6_000) == f"{6_000 * len(user)} bytes; at most 1000000 are allowed"


def test_validate_block__leaves_the_state(runner: LedgerRunner) -> None:
    assert validate(runner, runner.reveal()) == ""
    assert runner.state.take_changes() == []


def test_what_is_proposed_from_a_mempool_is_accepted(runner: LedgerRunner) -> None:
    pending = {"report": [runner.report(1, NodeUp())], "user": [runner.user("alice", SEND) for _ in range(3)]}
    txs = select_txs(pending, runner.params, [runner.reveal()])  # type: ignore[arg-type]
    assert validate(runner, *txs) == ""
