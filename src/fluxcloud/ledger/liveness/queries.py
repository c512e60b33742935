"""Reading liveness, and explaining to people what keeps a node where it is."""

from __future__ import annotations

from collections.abc import Callable

from ...ids import NodeId, render_node
from ..nodes.model import NODES, Node
from ..params import Params
from ..state import State
from .cases import count_votes
from .duty import get_duty
from .model import CASES, SEATS, SUSPECTABLE_STATES, WATCHES, Case, Panel, Watch
from .panels import compute_quorum

__all__ = ["explain_node", "explain_records", "get_case", "get_duty", "get_panel", "is_eligible"]


def get_panel(state: State, target: NodeId) -> Panel:
    return state.get(SEATS, target) or Panel(())


def get_case(state: State, target: NodeId) -> Case | None:
    return state.get(CASES, target)


def is_eligible(node: Node) -> bool:
    """Whether the node may watch others (of another operator) and sit on juries."""
    return node.state == "active"


def explain_node(state: State, node_id: NodeId, tick_ms: int, params: Params) -> str:
    """One line for people, as `explain_records`."""
    node = state.get(NODES, node_id)
    name = render_node(node_id)
    if node is None:
        return f"{name} is not registered"
    return explain_records(
        name,
        node,
        get_panel(state, node_id),
        get_case(state, node_id),
        lambda other: state.get(WATCHES, NodeId(other)),
        tick_ms,
        params,
    )


def explain_records(
    name: str,
    node: Node,
    panel: Panel,
    case: Case | None,
    get_watch: Callable[[bytes], Watch | None],
    tick_ms: int,
    params: Params,
) -> str:
    """`n3 is active`, `cannot decide n3: 2 of 4 seats answer`, `n3 is suspect: 2 misses and 0 oks of 7 jurors`…

    From records alone, so that a client which has read and verified them says the same. `get_watch` gives the watch of
    the node and of its monitors; most have none.
    """
    monitors = [seat.monitor for seat in panel.seats if seat.monitor]
    watch = get_watch(node.id) or Watch()
    if node.state == "suspect" and case is not None:
        return _explain_case(name, case, params)
    if node.state in SUSPECTABLE_STATES and (missing := _get_missing(watch, monitors, tick_ms, params)):
        return _explain_misses(name, missing, monitors, get_watch, tick_ms, params)
    if node.state == "pending":
        seen = sum(not s.miss and s.monitor in monitors for s in watch.sightings)
        return f"{name} is pending: {seen} of {len(monitors)} seats see it"
    if node.state == "probation":
        return f"{name} is on probation for {max(node.until_tick - tick_ms, 0) // 1_000} s more"
    return f"{name} is {node.state}" + (f": {node.reason}" if node.reason and node.state != "active" else "")


def _explain_case(name: str, case: Case, params: Params) -> str:
    if not case.deadline_tick:
        return f"{name} is suspect: {len(case.reporters)} monitors miss it, its jury is being drawn"
    if len(case.jurors) < max(params.jury_min, 1):
        return f"cannot decide {name}: a jury of {len(case.jurors)}, at least {max(params.jury_min, 1)} are needed"
    misses, oks = count_votes(case)
    return f"{name} is suspect: {misses} misses and {oks} oks of {len(case.jurors)} jurors, round {case.round}"


def _explain_misses(
    name: str,
    missing: list[bytes],
    monitors: list[bytes],
    get_watch: Callable[[bytes], Watch | None],
    tick_ms: int,
    params: Params,
) -> str:
    """Some seats miss the node, too few for a case: are the others gone themselves, or do they have answers?"""
    silent = [
        monitor
        for monitor in monitors
        if monitor not in missing and _get_missing(get_watch(monitor) or Watch(), None, tick_ms, params)
    ]
    quorum = compute_quorum(len(monitors))
    answering = len(monitors) - len(silent)
    if answering < quorum:
        return f"cannot decide {name}: {answering} of {len(monitors)} seats answer"
    return f"{name} is missed by {len(missing)} of {len(monitors)} seats; {quorum} open a case"


def _get_missing(watch: Watch, monitors: list[bytes] | None, tick_ms: int, params: Params) -> list[bytes]:
    """Who has said a miss lately; of these monitors, or of any."""
    after_tick = tick_ms - params.quorum_window_ms
    fresh = [s.monitor for s in watch.sightings if s.miss and s.tick > after_tick]
    return fresh if monitors is None else [monitor for monitor in fresh if monitor in monitors]
