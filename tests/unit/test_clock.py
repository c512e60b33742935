"""The clock that tests set."""

from __future__ import annotations

from fluxcloud.clock import Clock, ManualClock, SystemClock


def test_manual_clock() -> None:
    clock = ManualClock(wall_ms=1_000)
    assert (clock.monotonic_s(), clock.wall_ms()) == (0.0, 1_000)
    clock.advance_ms(250)
    assert (clock.monotonic_s(), clock.wall_ms()) == (0.25, 1_250)
    clock.set_wall_ms(10)
    assert (clock.monotonic_s(), clock.wall_ms()) == (0.25, 10)


def test_system_clock() -> None:
    clock: Clock = SystemClock()
    before = clock.monotonic_s()
    assert clock.monotonic_s() >= before
    assert clock.wall_ms() > 1_700_000_000_000
