"""This node's clock against the network's: headers tell, as they arrive. Pure.

A header carries the time of the commit before it, so a small lag is right. Over 2 s is worth a warning; over 30 s means
that this clock is wrong or the chain node far behind, and either way this node's word on others is worth nothing.
Source: LIVENESS.md 4.
"""

from __future__ import annotations

from typing import Literal

SkewLevel = Literal["ok", "warn", "stop"]

WARN_MS = 2_000
STOP_MS = 30_000


def compute_skew_level(skew_ms: int) -> SkewLevel:
    """What to do about a difference between the wall clock and a header that has just come."""
    distance_ms = abs(skew_ms)
    return "stop" if distance_ms > STOP_MS else "warn" if distance_ms > WARN_MS else "ok"
