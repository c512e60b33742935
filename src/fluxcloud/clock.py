"""Time as an argument: daemons get a clock, tests and simulations set it by hand."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """`monotonic_s` measures durations and never goes back; `wall_ms` is the time of day since 1970."""

    def monotonic_s(self) -> float: ...

    def wall_ms(self) -> int: ...


class SystemClock:
    """This machine's clocks."""

    def monotonic_s(self) -> float:
        return time.monotonic()

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000


class ManualClock:
    """Stands still until it is moved."""

    def __init__(self, *, wall_ms: int = 0) -> None:
        self._passed_ms = 0
        self._wall_ms = wall_ms

    def monotonic_s(self) -> float:
        return self._passed_ms / 1_000

    def wall_ms(self) -> int:
        return self._wall_ms

    def advance_ms(self, duration_ms: int) -> None:
        """Time passes, on both clocks."""
        assert duration_ms >= 0
        self._passed_ms += duration_ms
        self._wall_ms += duration_ms

    def set_wall_ms(self, wall_ms: int) -> None:
        """Somebody sets the time of day; durations don't notice."""
        self._wall_ms = wall_ms
