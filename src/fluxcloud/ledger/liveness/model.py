"""Liveness: who watches whom, what was observed, cases and their juries (LIVENESS.md 1, 2)."""

from __future__ import annotations

from ...codec import Record
from ...ids import NodeId
from ..state import IndexKey, TableKey


class Seat(Record):
    """One place in a target's panel; `monitor` is empty while vacant. Re-drawn when `until_epoch` begins."""

    monitor: bytes
    until_epoch: int


class Panel(Record, tag=1):
    seats: tuple[Seat, ...]


class Jury(Record):
    """A jury duty: vote on whether `target` answers, in this round of the case opened at this height."""

    target: bytes
    opened_height: int
    round: int


class Duty(Record, tag=1):
    """All that a node has to watch, sorted: targets by seat, and open juries it sits on."""

    targets: tuple[bytes, ...] = ()
    juries: tuple[Jury, ...] = ()


class Epoch(Record, tag=1):
    """`beacon` at the epoch's last block; `start_tick` of the epoch."""

    beacon: bytes
    start_tick: int


class Sighting(Record):
    """The last word of a monitor about a target: a miss (with the tick of the last answer), or seen since `tick`."""

    monitor: bytes
    miss: bool
    tick: int
    last_ok_tick: int


class Watch(Record, tag=1):
    """What the seats of a target have said lately. `paused`: reporters whose last case was refuted, until a tick."""

    sightings: tuple[Sighting, ...] = ()
    paused: tuple[tuple[bytes, int], ...] = ()
    not_before_tick: int = 0  # no new case before (after an undecided one)


class Case(Record, tag=1):
    """`jurors` is empty until the beacon of the next block has drawn them. Votes are (juror, miss) of this round."""

    opened_height: int
    opened_tick: int
    reporters: tuple[bytes, ...]
    round: int
    jurors: tuple[bytes, ...]
    votes: tuple[tuple[bytes, bool], ...]
    deadline_tick: int
    last_ok_tick: int
    served: tuple[bytes, ...] = ()  # jurors of earlier rounds


class LivenessClock(Record, tag=1):
    """Where the epoch and its spread re-draw stand. `cursor`: the last target whose seats were looked at."""

    epoch: int
    epoch_start_tick: int
    cursor: bytes
    vacancies: tuple[bytes, ...] = ()  # targets with a vacant seat to fill, oldest first, bounded


def _case_deadlines(target: NodeId, case: Case) -> tuple[tuple[int, bytes], ...]:
    return ((case.deadline_tick, target),)


SEATS: TableKey[NodeId, Panel] = TableKey("seats", (20,), Panel)
DUTY: TableKey[NodeId, Duty] = TableKey("duty", (20,), Duty)
EPOCHS: TableKey[int, Epoch] = TableKey("epochs", ("u64",), Epoch)
WATCHES: TableKey[NodeId, Watch] = TableKey("watches", (20,), Watch)
CASE_DEADLINES: IndexKey[NodeId, Case] = IndexKey("deadline", _case_deadlines)
CASES: TableKey[NodeId, Case] = TableKey("cases", (20,), Case, CASE_DEADLINES)
LIVENESS_CLOCK: TableKey[str, LivenessClock] = TableKey("liveness_clock", ("text",), LivenessClock)
