"""Accounts: balances and nonces, and the sums that must hold."""

from __future__ import annotations

from ...codec import Record
from ...ids import Address
from ..state import TableKey


class Account(Record, tag=1):
    """`balance` is free to spend, `locked` is collateral; base units. `nonce` is the next one to use."""

    balance: int = 0
    locked: int = 0
    nonce: int = 0


class Supply(Record, tag=1):
    """Invariant: minted = burned + all balances + all locked."""

    minted: int = 0
    burned: int = 0


ACCOUNTS: TableKey[Address, Account] = TableKey("accounts", (21,), Account)
SUPPLY: TableKey[str, Supply] = TableKey("supply", ("text",), Supply)
"""One record, under the key ``."""
