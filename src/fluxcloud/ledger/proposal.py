"""Proposals: what makes a block one that validators accept, before it is applied.

Only what every validator sees alike at that moment, and what the proposer could know: bytes, lanes in order, encodings,
the users' signatures and times, and the reveal. Whether a nonce or balance holds shows when the block is applied.
"""

from __future__ import annotations

from ..errors import Rejected
from .block import Block, get_clock
from .envelope import DecodedTx, Now, check_user_signed, decode_tx
from .envelope_errors import BadProposal
from .lanes import BLOCK_ORDER
from .module import Lane
from .params import Params
from .signatures import SignatureCache
from .state import State
from .transition import REGISTRY, try_proposer_tx
from .tx import UserTx


def validate_block(state: State, params: Params, block: Block, verify: SignatureCache) -> None:
    """Raises BadProposal (tx/23), naming the place of the transaction."""
    size = sum(map(len, block.txs))
    if size > params.block_bytes_max:
        raise BadProposal(f"{size} bytes; at most {params.block_bytes_max} are allowed")
    last = 0
    for index, raw in enumerate(block.txs):
        try:
            lane = check_proposable(state, params, raw, verify, block.time_ms)
            if lane == "proposer":
                try_proposer_tx(state, params, block, raw, index)
        except Rejected as error:
            raise BadProposal(f"transaction {index}: {error.code}: {error.message}") from error
        if BLOCK_ORDER.index(lane) < last:
            raise BadProposal(f"transaction {index}: the {lane} lane's come before")
        last = BLOCK_ORDER.index(lane)


def check_proposable(state: State, params: Params, raw: bytes, verify: SignatureCache, time_ms: int) -> Lane:
    """The lane of a transaction that a block of this time may carry. Raises Rejected (tx/1 .. tx/12).

    A proposer drops what fails here from its block: the others would refuse the block for it.
    """
    tx: DecodedTx = decode_tx(raw, REGISTRY, params)
    if isinstance(tx.body, UserTx):
        clock = get_clock(state)
        check_user_signed(tx, Now(clock.chain_id, time_ms, clock.tick_ms), params, verify)
    return tx.lane
