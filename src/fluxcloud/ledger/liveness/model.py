"""Liveness: who watches whom, what was observed, cases and their juries (LIVENESS.md 1, 2)."""

from __future__ import annotations

from ...codec import Record
from ...ids import NodeId
from ..state import IndexKey, TableKey

SUSPECTABLE_STATES = ("active", "draining", "probation")
"""States in which a node should answer: a quorum of misses opens a case."""
AWAITED_STATES = ("pending", "down", "deactivated")
"""States in which a node is on its way (back): an `ok` counts as seen."""


class Seat(Record):
    """One place in a target's panel; `monitor` is empty while vacant. Re-drawn when `until_epoch` begins."""

    monitor: bytes
    until_epoch: int


class Panel(Record, tag=1):
    """Always `params.panel_size` seats; some stay vacant where there are fewer operators."""

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
    """The last word of a monitor: a miss said at `tick` (last answer at `last_ok_tick`), or seen ever since `tick`."""

    monitor: bytes
    miss: bool
    tick: int
    last_ok_tick: int


class Watch(Record, tag=1):
    """What the seats of a target have said lately; no record where all is as usual.

    `paused`: reporters whose last case was refuted, until a tick. `fallen`: a verdict took the node down, so it comes
    back through probation. `due_tick`: when enough seats will have seen it for long enough, 0 while too few do.
    """

    sightings: tuple[Sighting, ...] = ()
    paused: tuple[tuple[bytes, int], ...] = ()
    not_before_tick: int = 0  # no new case before (after an undecided one)
    fallen: bool = False
    due_tick: int = 0


class Case(Record, tag=1):
    """Votes are (juror, miss) of this round, in the order in which they came.

    `deadline_tick` is 0 until the first jury is drawn, with the beacon of the block after the opening one; it moves to
    the block's tick once the votes decide, so that the end of that block closes the case.
    """

    opened_height: int
    opened_tick: int
    reporters: tuple[bytes, ...]
    last_ok_tick: int  # the latest answer that any reporter has seen
    round: int = 1
    jurors: tuple[bytes, ...] = ()
    votes: tuple[tuple[bytes, bool], ...] = ()
    deadline_tick: int = 0
    served: tuple[bytes, ...] = ()  # jurors of earlier rounds


class Demerits(Record, tag=1):
    """Cases a node has reported that a jury refuted: `count` in the day that began at `day_tick`."""

    day_tick: int
    count: int


class LivenessClock(Record, tag=1):
    """Where the epoch stands. `cursor`: the last target whose vacant seats were looked at."""

    epoch: int
    epoch_start_tick: int
    cursor: bytes = b""


def _seats_due(target: NodeId, panel: Panel) -> tuple[tuple[int, bytes], ...]:
    terms = [seat.until_epoch for seat in panel.seats if seat.monitor]
    return ((min(terms), target),) if terms else ()


def _seats_vacant(target: NodeId, panel: Panel) -> tuple[tuple[bytes], ...]:
    return () if all(seat.monitor for seat in panel.seats) else ((target,),)


def _watches_due(target: NodeId, watch: Watch) -> tuple[tuple[int, bytes], ...]:
    return ((watch.due_tick, target),) if watch.due_tick else ()


def _cases_undrawn(target: NodeId, case: Case) -> tuple[tuple[int, bytes], ...]:
    return () if case.deadline_tick else ((case.opened_height, target),)


def _cases_due(target: NodeId, case: Case) -> tuple[tuple[int, bytes], ...]:
    return ((case.deadline_tick, target),) if case.deadline_tick else ()


SEATS_DUE: IndexKey[NodeId, Panel] = IndexKey("due", _seats_due)
SEATS_VACANT: IndexKey[NodeId, Panel] = IndexKey("vacant", _seats_vacant)
SEATS: TableKey[NodeId, Panel] = TableKey("seats", (20,), Panel, SEATS_DUE, SEATS_VACANT)
DUTY: TableKey[NodeId, Duty] = TableKey("duty", (20,), Duty)
EPOCHS: TableKey[int, Epoch] = TableKey("epochs", ("u64",), Epoch)
WATCHES_DUE: IndexKey[NodeId, Watch] = IndexKey("due", _watches_due)
WATCHES: TableKey[NodeId, Watch] = TableKey("watches", (20,), Watch, WATCHES_DUE)
CASES_UNDRAWN: IndexKey[NodeId, Case] = IndexKey("undrawn", _cases_undrawn)
CASES_DUE: IndexKey[NodeId, Case] = IndexKey("due", _cases_due)
CASES: TableKey[NodeId, Case] = TableKey("cases", (20,), Case, CASES_UNDRAWN, CASES_DUE)
DEMERITS: TableKey[NodeId, Demerits] = TableKey("demerits", (20,), Demerits)
LIVENESS_CLOCK: TableKey[str, LivenessClock] = TableKey("liveness_clock", ("text",), LivenessClock)
