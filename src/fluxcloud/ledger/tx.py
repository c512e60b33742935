"""Transactions: what is signed, by whom, and how it is laid out on the wire.

Three bodies: `UserTx` of an account (fee, nonce), `RoleTx` of a registered node (free, a sequence number per lane), and
`ProposerTx`, first in a block, unsigned: the proposal vouches for it and no mempool takes it.
Messages stand in a body as their own canonical bytes; `transition.py` knows their types.
"""

from __future__ import annotations

import msgspec

from ..codec import Codec, Record, compute_hash
from ..crypto import Sig
from ..ids import TxId

Messages = tuple[msgspec.Raw, ...]


class UserTx(Record, tag=1):
    """`valid_until_ms` is header time; `fee` in base units. 1..16 messages of the user lane."""

    chain_id: str
    sender: bytes
    nonce: int
    valid_until_ms: int
    fee: int
    messages: Messages


class RoleTx(Record, tag=2):
    """Signed by the node's hot key. `seq = max(last_seq + 1, now_ms)`: gaps are allowed, repeats never.

    1..16 messages, all of the lane that is named: `watch` or `report`.
    """

    chain_id: str
    node: bytes
    lane: str
    seq: int
    messages: Messages


class ProposerTx(Record, tag=3):
    """`height` is the block's, so that no proposal can carry another one's."""

    height: int
    messages: Messages


class SignedTx(Record):
    """The wire form. `body` is the canonical encoding of a body; a ProposerTx is signed by nobody (empty `Sig`)."""

    body: bytes
    sig: Sig


TxBody = UserTx | RoleTx | ProposerTx
TX_BODY: Codec[TxBody] = Codec(TxBody, max_bytes=65_536)
SIGNED_TX: Codec[SignedTx] = Codec(SignedTx, max_bytes=65_536 + 256)


def compute_tx_id(body: bytes) -> TxId:
    """SHA-256("fluxcloud/tx/1" || body): without the signature, so that nobody else can change it."""
    return TxId(compute_hash("fluxcloud/tx/1", body))
