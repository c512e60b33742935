"""Messages of liveness: what monitors and jurors say, in the watch lane, signed by hot keys."""

from __future__ import annotations

from typing import ClassVar

from ...codec import Record
from ..module import Event, Lane, Message


class Observation(Record):
    """`miss`: three probes in a row had no answer, the last one came at `last_ok_tick`. Else: it answers (again)."""

    target: bytes
    miss: bool
    last_ok_tick: int


class Observe(Message, tag=0x0401):
    """What a monitor has seen of the targets it holds a seat for: at most 256, sorted by target, each once."""

    LANE: ClassVar[Lane] = "watch"

    epoch: int
    observations: tuple[Observation, ...]


class Vote(Record):
    target: bytes
    opened_height: int
    round: int
    miss: bool


class JuryVote(Message, tag=0x0402):
    """Votes of a juror on cases it was drawn for: at most 256, sorted by target."""

    LANE: ClassVar[Lane] = "watch"

    votes: tuple[Vote, ...]


class CaseOpened(Event, tag=0x0481):
    target: bytes
    reporters: tuple[bytes, ...]


class JuryDrawn(Event, tag=0x0482):
    target: bytes
    round: int
    jurors: tuple[bytes, ...]


class CaseClosed(Event, tag=0x0483):
    """`verdict`: `down`, `refuted` or `undecided`; the counted votes of the deciding round."""

    target: bytes
    verdict: str
    misses: int
    oks: int
