from __future__ import annotations

import pytest

from factories import FEE, LedgerRunner, make_address_of
from factories_vectors import check_vector
from fluxcloud.ids import render_address
from fluxcloud.ledger.accounts.messages import Transfer, Transferred
from fluxcloud.ledger.accounts.queries import get_account, get_supply
from fluxcloud.units import AMOUNT_MAX, FLUX

ALICE, BOB = make_address_of("alice"), make_address_of("bob")
BALANCE = 1_000_000 * FLUX


@pytest.fixture
def runner() -> LedgerRunner:
    return LedgerRunner()


def test_transfer(runner: LedgerRunner) -> None:
    receipt = check_vector(runner, runner.user("alice", Transfer(BOB, 5 * FLUX)), "accounts", "transfer")
    assert receipt.code == ""
    assert receipt.events == (Transferred(ALICE, BOB, 5 * FLUX),)
    assert get_account(runner.state, ALICE).balance == BALANCE - 5 * FLUX - FEE
    assert get_account(runner.state, ALICE).nonce == 1
    assert get_account(runner.state, BOB).balance == BALANCE + 5 * FLUX


def test_transfer__makes_a_new_account(runner: LedgerRunner) -> None:
    new = make_address_of("nobody yet")
    runner.apply(runner.user("alice", Transfer(new, 1)))
    assert get_account(runner.state, new).balance == 1


def test_transfer__to_itself(runner: LedgerRunner) -> None:
    runner.apply(runner.user("alice", Transfer(ALICE, 7)))
    assert get_account(runner.state, ALICE).balance == BALANCE - FEE


def test_transfer__all_that_is_left(runner: LedgerRunner) -> None:
    runner.apply(runner.user("alice", Transfer(BOB, BALANCE - FEE)))
    assert get_account(runner.state, ALICE).balance == 0


def test_invalid_insufficient_balance(runner: LedgerRunner) -> None:
    """The fee is charged and the nonce used, nothing else happens."""
    tx = runner.user("alice", Transfer(BOB, BALANCE))
    receipt = check_vector(runner, tx, "accounts", "transfer_insufficient_balance")
    assert (receipt.code, receipt.number, receipt.fee, receipt.events) == ("accounts/1", 257, FEE, ())
    assert (get_account(runner.state, ALICE).balance, get_account(runner.state, ALICE).nonce) == (BALANCE - FEE, 1)
    assert get_account(runner.state, BOB).balance == BALANCE


@pytest.mark.parametrize("amount", [0, -1, AMOUNT_MAX + 1])
def test_invalid_amount(runner: LedgerRunner, amount: int) -> None:
    assert runner.reject(runner.user("alice", Transfer(BOB, amount))).code == "accounts/2"


@pytest.mark.parametrize("to", [b"", BOB[:-1], BOB + b"\x00", b"\x04" + BOB[1:]])
def test_invalid_recipient(runner: LedgerRunner, to: bytes) -> None:
    assert runner.reject(runner.user("alice", Transfer(to, 1))).code == "accounts/3"


def test_messages_are_all_or_none(runner: LedgerRunner) -> None:
    runner.reject(runner.user("alice", Transfer(BOB, 1), Transfer(BOB, BALANCE)))
    assert get_account(runner.state, BOB).balance == BALANCE


def test_fees__half_to_the_proposer_half_burned(runner: LedgerRunner) -> None:
    before = get_supply(runner.state)
    runner.apply(runner.user("alice", Transfer(BOB, 1), fee=FEE + 1), runner.user("bob", Transfer(ALICE, 1)))
    fees = 2 * FEE + 1
    assert get_account(runner.state, make_address_of("validator/1")).balance == fees // 2
    assert get_supply(runner.state).burned == before.burned + fees - fees // 2
    assert get_supply(runner.state).minted == before.minted


def test_fees__all_burned_where_the_proposer_is_unknown(runner: LedgerRunner) -> None:
    runner.proposer = bytes(20)
    runner.block(runner.user("alice", Transfer(BOB, 1)), reveal=False)
    assert get_supply(runner.state).burned == FEE


def test_render_action() -> None:
    assert Transfer(BOB, 150_000_000).render_action() == f"send 1.5 FLUX to {render_address(BOB)}"
    assert Transfer(b"\x01", 5).render_action() == "Transfer to=01 amount=5"
