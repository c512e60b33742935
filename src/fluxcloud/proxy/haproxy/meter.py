"""Meter: the statistics of the process that runs, read at a steady pace and carried on over its successors."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Final

from .admin import Admin
from .stats import Counters, read_front, read_retries

_HUNG_S: Final = 2.0
"""Without an answer for so long HAProxy hangs."""

_BACKENDS_PER_S: Final = 2000
"""How many backends may be read a second: their rows are long."""


class Meter:
    """Reads counters of HAProxy."""

    def __init__(self) -> None:
        self._ended = Counters()  # of processes that have ended
        self._running = Counters()
        self._retries_at = 0.0
        self.active = 0

    @property
    def total(self) -> Counters:
        return self._ended + self._running

    async def read(self, admin: Admin, pool: int) -> None:
        """Raises AdminFailed."""
        front = await admin.ask("show stat front 1 -1", _HUNG_S)
        failed = await admin.ask("get var proc.failed", _HUNG_S)
        self._running, self.active = read_front(front, failed, self._running)
        now = asyncio.get_running_loop().time()
        if now >= self._retries_at:
            self._retries_at = now + pool / _BACKENDS_PER_S
            retries = read_retries(await admin.ask("show stat -1 2 -1", _HUNG_S))
            self._running = replace(self._running, retries=retries)

    def carry_on(self) -> None:
        """A new process begins at nothing."""
        self._ended, self._running = self.total, Counters()
        self._retries_at = 0.0
