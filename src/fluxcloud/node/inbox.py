"""The inbox: what wakes the agent, and the outcomes of steps that it has not taken in yet."""

from __future__ import annotations

import asyncio

from .execute import Outcome


class Inbox:
    """Filled by callbacks, emptied by the agent's loop."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._outcomes: list[Outcome] = []

    def wake(self) -> None:
        self._event.set()

    def note_outcome(self, outcome: Outcome) -> None:
        """A step has ended."""
        self._outcomes.append(outcome)
        self._event.set()

    def take_outcomes(self) -> list[Outcome]:
        outcomes, self._outcomes = self._outcomes, []
        return outcomes

    async def wait(self, timeout_s: float) -> None:
        """Until something wakes, or the timeout is over."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._event.wait()
        except TimeoutError:
            pass
        self._event.clear()
