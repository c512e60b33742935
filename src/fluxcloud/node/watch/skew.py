"""This node's clock against the network's: headers tell, as they arrive.

A header carries the time of the commit before it, so a small lag is right. Over 2 s is worth a warning; over 30 s means
that this clock is wrong or the chain node far behind, and either way this node's word on others is worth nothing.
Source: LIVENESS.md 4.
"""

from __future__ import annotations

import logging
from typing import Literal

SkewLevel = Literal["ok", "warn", "stop"]

WARN_MS = 2_000
STOP_MS = 30_000

_log = logging.getLogger(__name__)


def compute_skew_level(skew_ms: int) -> SkewLevel:
    """What to do about a difference between the wall clock and a header that has just come."""
    distance_ms = abs(skew_ms)
    return "stop" if distance_ms > STOP_MS else "warn" if distance_ms > WARN_MS else "ok"


class SkewGauge:
    """The last difference seen. Until a header has come, nothing is trusted."""

    def __init__(self) -> None:
        self.skew_ms = 0
        self.level: SkewLevel = "stop"
        self._has_seen = False

    def note(self, header_ms: int, wall_ms: int) -> None:
        """A header has come in at this time of day."""
        self.skew_ms = wall_ms - header_ms
        level = compute_skew_level(self.skew_ms)
        if level != self.level and (self._has_seen or level != "ok"):
            _log.log(
                logging.INFO if level == "ok" else logging.WARNING,
                "clock against headers: %s -> %s (%d ms); over %d ms nothing is said of other nodes",
                self.level,
                level,
                self.skew_ms,
                STOP_MS,
            )
        self.level, self._has_seen = level, True
