"""What a monitor thinks of one target, and when the ledger has to hear of it. Pure.

Three misses in a row are an opinion; one answer ends it. Misses count only after the first answer, or 15 s after the
monitor's start, so that a monitor that can't be heard itself accuses nobody. A miss is said again every 5 s while it
lasts, for a case needs a quorum within 10 s. `ok` withdraws a miss, and is the "seen" of a node that returns: said
again, too, for a seat that was passed on starts with nothing.
Source: LIVENESS.md 2, 3; RECORDS.md 3, 4.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ...ids import NodeId
from ...ledger.liveness.messages import Observation
from ...ledger.liveness.model import SUSPECTABLE_STATES
from ...ledger.nodes.model import NodeState

MISSES = 3
START_MS = 15_000
REPEAT_MS = 5_000


@dataclass(slots=True)
class Opinion:
    """One target's answers as seen from here. Times are monotonic ms unless named tick; `started_ms`: the monitor's."""

    target: NodeId
    started_ms: int
    last_ok_tick: int
    misses: int = 0
    has_answered: bool = False
    is_answering: bool = False
    told_miss: bool | None = None
    told_ms: int = field(default=-REPEAT_MS)
    told_life: int = -1  # since_tick of the state in which it was told

    def note(self, ok: bool, *, now_ms: int, tick_ms: int) -> None:
        """Take in the outcome of one probe."""
        self.is_answering = ok
        if ok:
            self.has_answered, self.misses, self.last_ok_tick = True, 0, tick_ms
        elif self.has_answered or now_ms - self.started_ms >= START_MS:
            self.misses += 1

    def get_due(self, state: NodeState, since_tick: int, now_ms: int) -> Observation | None:
        """What has to be said now, if anything, about a target in this state since this tick."""
        told = self.told_miss if self.told_life == since_tick else None
        is_stale = now_ms - self.told_ms >= REPEAT_MS
        may_miss = state in SUSPECTABLE_STATES or (state == "pending" and told is not None)
        if self.misses >= MISSES and may_miss:
            return self._observe(True) if told is not True or is_stale else None
        if not self.is_answering:
            return None
        is_news = self.told_miss is True or (state == "pending" and (told is None or is_stale))
        return self._observe(False) if is_news else None

    def note_told(self, observation: Observation, since_tick: int, now_ms: int) -> None:
        """The ledger has it (or has refused it: it is said again later, where it still holds)."""
        self.told_miss, self.told_life, self.told_ms = observation.miss, since_tick, now_ms

    def _observe(self, miss: bool) -> Observation:
        return Observation(self.target, miss, self.last_ok_tick)
