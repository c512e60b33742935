"""Copies: the one writer of placements, and with them of each node's assignment and reservation.

PLACEMENTS, ASSIGN and `Node.used` stay in step because nothing else writes them. Source: RECORDS.md 2.
"""

from __future__ import annotations

from bisect import bisect_left

from ...ids import AppId, NodeId
from ..apps.model import ASSIGN, PLACEMENTS, Assign, AssignEntry, Placement
from ..apps.queries import get_revision
from ..module import Context
from ..nodes.capacity import release, reserve
from ..nodes.model import Capacity
from ..state import State
from .messages import CopyChanged, CopyPlaced, CopyRemoved


def get_copy(state: State, app_id: AppId, generation: int) -> Placement:
    placement = state.get(PLACEMENTS, (app_id, generation))
    assert placement is not None, (app_id.hex(), generation)
    return placement


def add_copy(state: State, app_id: AppId, generation: int, placement: Placement, ctx: Context) -> None:
    """Place a copy: reserve what it needs on its node and assign it. Emits: CopyPlaced."""
    assert state.get(PLACEMENTS, (app_id, generation)) is None
    reserve(state, NodeId(placement.node), Capacity(*placement.reserved), placement.ports)
    state.set(PLACEMENTS, (app_id, generation), placement)
    _write_entry(state, placement.node, app_id, generation, make_entry(state, app_id, generation, placement))
    is_spare = placement.spare >= 0
    index = placement.spare if is_spare else placement.slot
    ctx.emit(CopyPlaced(app_id, placement.group, index, is_spare, generation, placement.node))


def change_copy(state: State, app_id: AppId, generation: int, new: Placement, ctx: Context) -> None:
    """Write a copy anew; node and reservation stay. Emits: CopyChanged, where its role or phase is another."""
    old = get_copy(state, app_id, generation)
    assert (old.node, old.reserved, old.ports) == (new.node, new.reserved, new.ports)
    state.set(PLACEMENTS, (app_id, generation), new)
    entry = make_entry(state, app_id, generation, new)
    if entry != make_entry(state, app_id, generation, old):
        _write_entry(state, new.node, app_id, generation, entry)
    if (old.role, old.phase) != (new.role, new.phase):
        ctx.emit(CopyChanged(app_id, generation, new.node, new.role, new.phase, new.reason))


def remove_copy(state: State, app_id: AppId, generation: int, ctx: Context) -> None:
    """End a placement: its node stops what still runs of it. Emits: CopyRemoved."""
    placement = get_copy(state, app_id, generation)
    release(state, NodeId(placement.node), Capacity(*placement.reserved), placement.ports)
    state.delete(PLACEMENTS, (app_id, generation))
    _write_entry(state, placement.node, app_id, generation, None)
    ctx.emit(CopyRemoved(app_id, generation, placement.node))


def make_entry(state: State, app_id: AppId, generation: int, placement: Placement) -> AssignEntry:
    return AssignEntry(
        app=app_id,
        generation=generation,
        revision=placement.revision,
        spec_hash=get_revision(state, app_id, placement.revision).spec_hash,
        group=placement.group,
        slot=placement.slot,
        role=placement.role,
        phase=placement.phase,
        backs=placement.backs,
        stop_tick=placement.stop_tick,
        adopts=placement.adopts,
    )


def _write_entry(state: State, node: bytes, app_id: AppId, generation: int, entry: AssignEntry | None) -> None:
    """Put, replace or (None) take out one entry of a node's assignment, which stays sorted."""
    assign = state.get(ASSIGN, NodeId(node))
    entries = assign.entries if assign else ()
    at = bisect_left(entries, (app_id, generation), key=_get_order)
    is_there = at < len(entries) and _get_order(entries[at]) == (app_id, generation)
    added = () if entry is None else (entry,)
    entries = entries[:at] + added + entries[at + is_there :]
    if entries:
        state.set(ASSIGN, NodeId(node), Assign(entries))
    else:
        state.delete(ASSIGN, NodeId(node))


def _get_order(entry: AssignEntry) -> tuple[AppId, int]:
    return AppId(entry.app), entry.generation
