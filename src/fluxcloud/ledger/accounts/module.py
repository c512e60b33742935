"""The module's table."""

from __future__ import annotations

from ..module import Module
from .errors import BadAmount, BadRecipient, InsufficientBalance
from .messages import Transfer, Transferred
from .model import ACCOUNTS, SUPPLY
from .transitions import check_supply, process_transfer

MODULE = Module(
    "accounts",
    1,
    tables=(ACCOUNTS, SUPPLY),
    messages={Transfer: process_transfer},
    events=(Transferred,),
    errors=(InsufficientBalance, BadAmount, BadRecipient),
    invariants=(check_supply,),
)
