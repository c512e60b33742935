"""Texts that btc and eth wallets sign: rendered from the body by the ledger itself, so what is shown is what happens.

ASCII, one fact a line.
Source: LEDGER.md 2; tests/vectors/tx/.
"""

from __future__ import annotations

from ..crypto import TX_FIRST_LINE
from ..ids import Address, TxId, render_address
from ..units import render_flux
from .module import Message
from .tx import UserTx


def render_text(body: UserTx, tx_id: TxId, messages: tuple[Message, ...]) -> str:
    """Lines without a final newline; `messages` are the decoded ones of the body."""
    actions = [f"action {i}: {_to_ascii(message.render_action())}" for i, message in enumerate(messages, 1)]
    return "\n".join(
        (
            TX_FIRST_LINE,
            f"chain: {_to_ascii(body.chain_id)}",
            f"from: {render_address(Address(body.sender))}",
            f"nonce: {body.nonce}",
            f"valid until: {body.valid_until_ms} ms",
            *actions,
            f"fee: {render_flux(body.fee)} FLUX",
            f"id: {tx_id.hex()}",
        )
    )


def _to_ascii(text: str) -> str:
    """No character that a wallet might show otherwise, and no line break: what isn't printable ASCII is escaped."""
    return "".join(char if " " <= char <= "~" else ascii(char)[1:-1] for char in text)
