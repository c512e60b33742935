"""Role lanes: the token bucket that bounds what one node may send for free (LEDGER.md 2)."""

from __future__ import annotations

from ..params import Params
from .model import LaneState

TOKEN = 1_000
"""Milli-tokens that a message takes."""


def refill(lane: LaneState | None, tick_ms: int, params: Params) -> int:
    """Milli-tokens in the bucket at `tick_ms`; a lane that was never used is full."""
    full = params.lane_tokens_max * TOKEN
    if lane is None:
        return full
    elapsed_ms = tick_ms - lane.tick_ms
    return min(full, lane.millitokens + elapsed_ms * params.lane_millitokens_per_s // 1_000)
