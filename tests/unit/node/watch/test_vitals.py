"""The age of the last good check grows while engine or disk are not well."""

from __future__ import annotations

from pathlib import Path

from fluxcloud.clock import ManualClock
from fluxcloud.errors import Temporary
from fluxcloud.node.watch.vitals import HealthAge


async def test_age__grows_while_the_engine_is_away_or_the_disk_dead(tmp_path: Path) -> None:
    clock, is_well = ManualClock(), True

    async def check_engine() -> None:
        if not is_well:
            raise Temporary("the engine is away")

    age = HealthAge(check_engine, tmp_path, clock.monotonic_s)
    clock.advance_ms(1500)
    await age.check()
    assert (age.age_ms, age.problem) == (0, "")
    is_well = False
    clock.advance_ms(4000)
    await age.check()
    assert (age.age_ms, age.problem) == (4000, "Temporary: the engine is away")
    is_well = True
    await age.check()
    assert (age.age_ms, age.problem) == (0, "")
    assert list(tmp_path.iterdir()) == []
    tmp_path.rmdir()
    clock.advance_ms(100)
    await age.check()
    assert age.age_ms == 100
    assert "FileNotFoundError" in age.problem
