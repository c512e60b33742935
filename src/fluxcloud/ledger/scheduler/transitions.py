"""Scheduler: what its neighbours call: the steps of a block's end, and what follows a change of a node's state.

Order at the end of a block, after verdicts: `process_due_placements`, `process_touched`, `process_queue`. A slot that
loses its node in a block, or an app that is registered in it, is so placed in the same block.
Reads apps and nodes; writes placements, assignments, routes, slots, the queue. Source: RECORDS.md 2, APPS.md 3 and 4.
"""

from __future__ import annotations

from msgspec.structs import replace

from ...ids import AppId, NodeId
from ..apps.model import ASSIGN, PLACEMENTS, PLACEMENTS_BY_DEADLINE, TOUCHED, Placement
from ..apps.transitions import touch_group
from ..module import Context
from ..state import State
from .copies import change_copy, get_copy, remove_copy
from .reports import fail_copy, forget_superseded
from .routes import write_routes
from .settle import settle_group

DEADLINES_PER_BLOCK = 1_000


def handle_node_change(state: State, node_id: NodeId) -> None:
    """A node's state is another one: settle every group that has a copy on it, at the end of this block.

    suspect: standbys start for its slots, its copies are routed last, nothing is stopped. Refuted: its copies are
    routed as before, standbys leave the routes and stop later. down: standbys become active, what has none is queued,
    its copies are orphans. probation: slots still queued get their copies back. draining: its copies are replaced, then
    leave; active again: what could not be replaced stays. Settling looks at the state, so one handler does for all.
    """
    assign = state.get(ASSIGN, node_id)
    for entry in assign.entries if assign else ():
        touch_group(state, AppId(entry.app), entry.group)


def process_due_placements(state: State, ctx: Context) -> None:
    """End-block step: copies that are late, standbys that have run on long enough, stops that nobody reported."""
    for deadline, app_id, generation in state.index(PLACEMENTS, PLACEMENTS_BY_DEADLINE)[:DEADLINES_PER_BLOCK]:
        if deadline > ctx.tick_ms:
            break
        _end_wait(state, app_id, generation, get_copy(state, app_id, generation), ctx)


def process_touched(state: State, ctx: Context) -> None:
    """End-block step: settle each touched group once, then write the routes of its app."""
    keys = [key for key, _ in state.items(TOUCHED)]
    for app_id, name in keys:
        settle_group(state, app_id, name, ctx)
        state.delete(TOUCHED, (app_id, name))
    for at, (app_id, _) in enumerate(keys):
        if at == 0 or keys[at - 1][0] != app_id:
            write_routes(state, app_id)


def _end_wait(state: State, app_id: AppId, generation: int, placement: Placement, ctx: Context) -> None:
    if placement.stop_tick:
        remove_copy(state, app_id, generation, ctx)
        forget_superseded(state, app_id, placement.group, generation)
    elif placement.phase == "assigned":
        fail_copy(state, app_id, generation, placement, "deadline", "it did not start in time", ctx)
    else:
        assert placement.role == "standby", (app_id.hex(), generation, placement)
        change_copy(state, app_id, generation, replace(placement, phase="ready", deadline_tick=0), ctx)
