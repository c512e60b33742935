"""What always holds of panels, duties and cases between blocks. Proportional to the state: for tests and readers."""

from __future__ import annotations

from ...ids import NodeId
from ..nodes.model import NODES
from ..params import Params
from ..state import State
from .model import CASES, DUTY, SEATS


def check_panels(state: State, params: Params) -> None:
    """A panel has all its seats, filled ones with a term, by nodes of different operators, never the target's."""
    for target, panel in state.items(SEATS):
        assert len(panel.seats) == params.panel_size, target.hex()
        owners = [node.owner for seat in panel.seats if (node := state.get(NODES, NodeId(seat.monitor)))]
        node = state.get(NODES, target)
        assert len(set(owners)) == len(owners), target.hex()
        assert node is None or node.owner not in owners, target.hex()
        assert all((seat.until_epoch > 0) == bool(seat.monitor) for seat in panel.seats), target.hex()


def check_duty(state: State, params: Params) -> None:
    """DUTY says, sorted, what SEATS and CASES say; a node that is not active may have lost its juries already."""
    expected: dict[bytes, list[bytes]] = {}
    for target, panel in state.items(SEATS):
        for seat in panel.seats:
            if seat.monitor:
                expected.setdefault(seat.monitor, []).append(target)
    for node_id, duty in state.items(DUTY):
        assert list(duty.targets) == expected.pop(node_id, []), node_id.hex()
        assert duty.targets or duty.juries, node_id.hex()
        for jury in duty.juries:
            case = state.get(CASES, NodeId(jury.target))
            assert case is not None, node_id.hex()
            assert (case.opened_height, case.round) == (jury.opened_height, jury.round), node_id.hex()
            assert node_id in case.jurors, node_id.hex()
    assert not expected


def check_cases(state: State, params: Params) -> None:
    """Every suspect has a case, and votes are its jurors'."""
    for node_id, node in state.items(NODES):
        assert node.state != "suspect" or state.get(CASES, node_id) is not None, node_id.hex()
    for target, case in state.items(CASES):
        voters = [juror for juror, _ in case.votes]
        assert len(set(voters)) == len(voters), target.hex()
        assert set(voters) <= set(case.jurors), target.hex()
        assert case.round <= params.jury_rounds_max, target.hex()
