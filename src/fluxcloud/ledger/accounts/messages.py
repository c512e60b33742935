"""Messages of accounts."""

from __future__ import annotations

from ...ids import ADDRESS_BYTES, Address, render_address
from ...units import render_flux
from ..module import Event, Message, render_fields


class Transfer(Message, tag=0x0101):
    """Move `amount` base units (1..2^63-1) from the sender to the account `to`, which comes to be if it is new."""

    to: bytes
    amount: int

    def render_action(self) -> str:
        if len(self.to) != ADDRESS_BYTES:
            return render_fields(self)  # it will be rejected; a text must still be possible
        return f"send {render_flux(self.amount)} FLUX to {render_address(Address(self.to))}"


class Transferred(Event, tag=0x0181):
    sender: bytes
    to: bytes
    amount: int
