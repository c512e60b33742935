"""DUTY, kept exactly in step with SEATS and CASES: all that a node has to watch, in one record."""

from __future__ import annotations

from bisect import bisect_left

from ...ids import NodeId
from ..state import State
from .model import DUTY, Duty, Jury

_NONE = Duty()


def get_duty(state: State, node_id: NodeId) -> Duty:
    """A node without a record has nothing to watch."""
    return state.get(DUTY, node_id) or _NONE


def add_target(state: State, monitor: NodeId, target: NodeId) -> None:
    duty = get_duty(state, monitor)
    at = bisect_left(duty.targets, target)
    _set_duty(state, monitor, Duty((*duty.targets[:at], target, *duty.targets[at:]), duty.juries))


def remove_target(state: State, monitor: NodeId, target: NodeId) -> None:
    duty = get_duty(state, monitor)
    at = bisect_left(duty.targets, target)
    assert duty.targets[at : at + 1] == (target,), (monitor, target)
    _set_duty(state, monitor, Duty(duty.targets[:at] + duty.targets[at + 1 :], duty.juries))


def has_target(state: State, monitor: NodeId, target: NodeId) -> bool:
    targets = get_duty(state, monitor).targets
    at = bisect_left(targets, target)
    return targets[at : at + 1] == (target,)


def add_jury(state: State, juror: NodeId, jury: Jury) -> None:
    duty = get_duty(state, juror)
    juries = sorted((*duty.juries, jury), key=_jury_order)
    _set_duty(state, juror, Duty(duty.targets, tuple(juries)))


def remove_jury(state: State, juror: NodeId, jury: Jury) -> None:
    """Nothing to do where the juror has left and lost its duties."""
    duty = get_duty(state, juror)
    _set_duty(state, juror, Duty(duty.targets, tuple(j for j in duty.juries if j != jury)))


def clear_juries(state: State, juror: NodeId) -> None:
    _set_duty(state, juror, Duty(get_duty(state, juror).targets, ()))


def _jury_order(jury: Jury) -> tuple[bytes, int, int]:
    return jury.target, jury.opened_height, jury.round


def _set_duty(state: State, node_id: NodeId, duty: Duty) -> None:
    if duty == _NONE:
        state.delete(DUTY, node_id)
    else:
        state.set(DUTY, node_id, duty)
