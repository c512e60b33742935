"""Reading accounts."""

from __future__ import annotations

from ...ids import Address
from ..state import State
from .model import ACCOUNTS, SUPPLY, Account, Supply

EMPTY = Account()


def get_account(state: State, address: Address) -> Account:
    """An address that was never used has an empty account."""
    return state.get(ACCOUNTS, address) or EMPTY


def get_supply(state: State) -> Supply:
    return state.get(SUPPLY, "") or Supply()
