"""Lanes: how a block's bytes are shared, so that a flood of users can't starve liveness (LEDGER.md 2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .module import Lane
from .params import Params

PPM = 1_000_000
BLOCK_ORDER: tuple[Lane, ...] = ("proposer", "watch", "report", "user")
"""Lanes stand in this order in a block: what is said of nodes is known before what people ask of them."""


def compute_share(lane: Lane, params: Params) -> int:
    """Bytes of a block that a lane can count on; the proposer's transaction comes off the top."""
    shares = {"watch": params.watch_share_ppm, "report": params.report_share_ppm, "user": params.user_share_ppm}
    return params.block_bytes_max * shares.get(lane, 0) // PPM


def select_txs(pending: Mapping[Lane, Sequence[bytes]], params: Params, proposer: Sequence[bytes] = ()) -> list[bytes]:
    """The transactions of the next block, from what waits in each lane, in the order in which it waits.

    Each lane takes up to its share; what is left goes to the lanes in block order. A lane ends at the first transaction
    that doesn't fit, so that no account's nonces get a gap.
    """
    room = params.block_bytes_max - sum(map(len, proposer))
    lanes = BLOCK_ORDER[1:]
    taken: dict[Lane, int] = {}
    for lane in lanes:
        taken[lane], used = _take(pending.get(lane, ()), 0, min(room, compute_share(lane, params)))
        room -= used
    for lane in lanes:
        taken[lane], used = _take(pending.get(lane, ()), taken[lane], room)
        room -= used
    return [*proposer, *(raw for lane in lanes for raw in pending.get(lane, ())[: taken[lane]])]


def _take(waiting: Sequence[bytes], start: int, room: int) -> tuple[int, int]:
    """Up to where `waiting[start:]` fits into `room`, and the bytes it takes."""
    used = 0
    for at in range(start, len(waiting)):
        if used + len(waiting[at]) > room:
            return at, used
        used += len(waiting[at])
    return len(waiting), used
