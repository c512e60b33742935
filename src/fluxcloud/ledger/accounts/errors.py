"""What accounts refuse."""

from __future__ import annotations

from ...errors import Rejected


class InsufficientBalance(Rejected):
    """The account's free balance is smaller than the amount."""

    CODE = "accounts/1"


class BadAmount(Rejected):
    """An amount is 1..2^63-1 base units."""

    CODE = "accounts/2"


class BadRecipient(Rejected):
    """`to` must be an address: a kind byte that is known, and 20 bytes."""

    CODE = "accounts/3"
