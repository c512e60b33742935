"""Accounts: transfers, fees, and the locking of collateral for the modules above.

Sums are conserved: what leaves one account enters another, or is counted as burned. Amounts in base units.
Source: LEDGER.md 2, MONEY.md 1, docs/adr/0003-failed-transactions-pay.md; tests/vectors/accounts/.
"""

from __future__ import annotations

from ...ids import ADDRESS_BYTES, KIND_MULTISIG, Address
from ...units import AMOUNT_MAX
from ..module import Context
from ..params import Params
from ..state import State
from .errors import BadAmount, BadRecipient, InsufficientBalance
from .messages import Transfer, Transferred
from .model import ACCOUNTS, SUPPLY, Account, Supply
from .queries import get_account, get_supply


def process_transfer(state: State, msg: Transfer, ctx: Context) -> None:
    """Move `msg.amount` from the sender to `msg.to`.

    Emits: Transferred. Raises, first that applies: BadRecipient (accounts/3), BadAmount (accounts/2),
        InsufficientBalance (accounts/1).
    """
    validate_address("to", msg.to)
    if not 1 <= msg.amount <= AMOUNT_MAX:
        raise BadAmount(f"amount: {msg.amount}; allowed are 1..{AMOUNT_MAX} base units")
    decrease_balance(state, ctx.sender, msg.amount)
    increase_balance(state, Address(msg.to), msg.amount)
    ctx.emit(Transferred(ctx.sender, msg.to, msg.amount))


def validate_address(name: str, address: bytes) -> None:
    """Raises BadRecipient (accounts/3), naming the field."""
    if len(address) != ADDRESS_BYTES or address[0] > KIND_MULTISIG:
        raise BadRecipient(f"{name}: an address is a kind byte of 0..{KIND_MULTISIG} and 20 bytes")


def increase_balance(state: State, address: Address, amount: int) -> None:
    account = get_account(state, address)
    state.set(ACCOUNTS, address, Account(account.balance + amount, account.locked, account.nonce))


def decrease_balance(state: State, address: Address, amount: int) -> None:
    """Raises InsufficientBalance (accounts/1)."""
    account = get_account(state, address)
    _require(account, amount)
    state.set(ACCOUNTS, address, Account(account.balance - amount, account.locked, account.nonce))


def lock(state: State, address: Address, amount: int) -> None:
    """Make free balance collateral. Raises InsufficientBalance (accounts/1)."""
    account = get_account(state, address)
    _require(account, amount)
    state.set(ACCOUNTS, address, Account(account.balance - amount, account.locked + amount, account.nonce))


def unlock(state: State, address: Address, amount: int) -> None:
    """Make collateral free balance again; whoever locked it knows that it is there."""
    account = get_account(state, address)
    assert 0 <= amount <= account.locked, (address.hex(), amount, account.locked)
    state.set(ACCOUNTS, address, Account(account.balance + amount, account.locked - amount, account.nonce))


def charge(state: State, address: Address, account: Account, fee: int) -> None:
    """Take the fee and use up the nonce, after the envelope's checks have found both right."""
    assert account.balance >= fee
    state.set(ACCOUNTS, address, Account(account.balance - fee, account.locked, account.nonce + 1))


def distribute_fees(state: State, total: int, proposer: Address | None) -> None:
    """Half of a block's fees (rounded down) to the proposer's account, the rest burned; all where nobody is known."""
    if total == 0:
        return
    paid = 0 if proposer is None else total // 2
    if proposer is not None and paid:
        increase_balance(state, proposer, paid)
    supply = get_supply(state)
    state.set(SUPPLY, "", Supply(supply.minted, supply.burned + total - paid))


def mint(state: State, address: Address, amount: int) -> None:
    """New units, counted as minted."""
    increase_balance(state, address, amount)
    supply = get_supply(state)
    state.set(SUPPLY, "", Supply(supply.minted + amount, supply.burned))


def check_supply(state: State, params: Params) -> None:
    """Invariant: minted = burned + all balances + all locked; no account is below zero."""
    held = 0
    for address, account in state.items(ACCOUNTS):
        assert account.balance >= 0, address.hex()
        assert account.locked >= 0, address.hex()
        assert account.nonce >= 0, address.hex()
        held += account.balance + account.locked
    supply = get_supply(state)
    assert supply.minted == supply.burned + held, (supply, held)
    assert 0 <= supply.minted <= AMOUNT_MAX


def _require(account: Account, amount: int) -> None:
    if account.balance < amount:
        raise InsufficientBalance(f"the free balance is {account.balance} base units; {amount} are needed")
