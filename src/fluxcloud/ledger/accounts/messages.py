"""Messages of accounts."""

from __future__ import annotations

from ..module import Event, Message


class Transfer(Message, tag=0x0101):
    """Move `amount` base units (1..2^63-1) from the sender to the account `to`, which comes to be if it is new."""

    to: bytes
    amount: int


class Transferred(Event, tag=0x0181):
    sender: bytes
    to: bytes
    amount: int
