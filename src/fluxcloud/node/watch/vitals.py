"""This node's own health, as its PONGs tell it: how long ago engine and disk were last known to work.

The check looks at the engine and writes, syncs and deletes a small file. It runs apart from the answering, so a hung
engine or a dead disk lets the age grow while PINGs are still answered: monitors then see what is wrong. A full disk is
not a dead one: what runs still serves.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

_log = logging.getLogger(__name__)

PERIOD_S = 2.0


class HealthAge:
    """Runs the check for ever. `now` in seconds, monotonic."""

    def __init__(
        self, check_engine: Callable[[], Awaitable[object]], directory: Path, now: Callable[[], float]
    ) -> None:
        self._check_engine = check_engine
        self._file = directory / f".alive.{os.getpid()}"
        self._now = now
        self._ok_at_s = now()
        self._problem = ""

    @property
    def age_ms(self) -> int:
        """Since the last completed check, or since the start."""
        return round((self._now() - self._ok_at_s) * 1000)

    @property
    def problem(self) -> str:
        """What the last check found wrong, for people; empty when all is well."""
        return self._problem

    async def run(self) -> None:
        while True:
            await self.check()
            await asyncio.sleep(PERIOD_S)

    async def check(self) -> None:
        """One check. Whatever goes wrong is what the age tells, so nothing is raised."""
        try:
            await self._check_engine()
            await asyncio.to_thread(_write_and_sync, self._file)
        except Exception as error:  # the engine is foreign code, and any failure of it means the same
            self._set_problem(f"{type(error).__name__}: {error}")
        else:
            self._ok_at_s = self._now()
            self._set_problem("")

    def _set_problem(self, problem: str) -> None:
        if problem != self._problem:
            _log.warning("health check: %s -> %s", self._problem or "ok", problem or "ok")
        self._problem = problem


def _write_and_sync(path: Path) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(handle, b"alive\n")
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
    finally:
        os.close(handle)
        path.unlink(missing_ok=True)
