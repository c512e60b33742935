"""Reads of the scheduler: what waits and why, and what would become of a spec if it were registered now."""

from __future__ import annotations

from dataclasses import dataclass

from ...codec import encode
from ...ids import AppId, NodeId
from ..apps.model import ASSIGN, App, Image, Placement
from ..apps.queries import get_copies, get_group, get_spec
from ..apps.spec import Spec
from ..params import Params
from ..state import State
from .admission import explain_idle
from .copies import get_copy
from .explain import Refusal
from .messages import NodeReport
from .model import QUEUE
from .need import Need, compute_need
from .request import build_request, start_request
from .search import count_fitting, explain


@dataclass(frozen=True, slots=True)
class SlotStatus:
    """A slot or spare as people see it. `refusals` only where it waits for a node."""

    group: str
    index: int
    is_spare: bool
    state: str
    reason: str
    generation: int
    placement: Placement | None
    retry_tick: int
    refusals: tuple[Refusal, ...]


@dataclass(frozen=True, slots=True)
class GroupPlan:
    """What a dry run of one group finds: how many nodes would take a copy now, and why the others would not.

    `could` are the refusals if every node were empty and active: without any node left the app is refused.
    """

    group: str
    copies: int
    need: Need
    fitting: int
    refusals: tuple[Refusal, ...]
    could: tuple[Refusal, ...]


def is_assigned(state: State, node_id: NodeId, app: bytes, generation: int) -> bool:
    """Whether the node has been given this copy."""
    assign = state.get(ASSIGN, node_id)
    return assign is not None and any((e.app, e.generation) == (app, generation) for e in assign.entries)


def is_report_assigned(state: State, msg: NodeReport, node_id: NodeId) -> bool:
    """Whether any copy in the report is the node's: the mempool takes no other report."""
    return any(is_assigned(state, node_id, report.app, report.generation) for report in msg.copies)


def get_slot_status(
    state: State, app: App, name: str, index: int, is_spare: bool, params: Params, tick_ms: int
) -> SlotStatus:
    """One slot, with every filter's refusals where it waits (a full scan: for queries, not for blocks)."""
    app_id = AppId(app.id)
    group = get_group(state, app_id, name)
    slot = (group.spares if is_spare else group.slots)[index]
    waiting = state.get(QUEUE, (app_id, int(is_spare), index, name))
    placement = get_copy(state, app_id, slot.generation) if slot.state == "placed" else None
    refusals: tuple[Refusal, ...] = ()
    if waiting is not None:
        request = build_request(state, app, name, -1 - index if is_spare else index, slot, params, tick_ms)
        refusals = explain(state, request)
    reason = (placement.reason if placement else "") or (waiting.reason if waiting else "") or slot.reason
    retry = waiting.not_before_tick if waiting else 0
    return SlotStatus(name, index, is_spare, slot.state, reason, slot.generation, placement, retry, refusals)


def get_app_status(state: State, app: App, params: Params, tick_ms: int) -> tuple[SlotStatus, ...]:
    """Every slot and spare of an app, by group in the spec's order."""
    found = []
    for group in get_spec(state, app).groups:
        record = get_group(state, AppId(app.id), group.name)
        for is_spare, slots in ((False, record.slots), (True, record.spares)):
            for index in range(len(slots)):
                found.append(get_slot_status(state, app, group.name, index, is_spare, params, tick_ms))
    return tuple(found)


def get_all_copies(state: State, app: App) -> tuple[tuple[int, Placement], ...]:
    """Every copy of an app by generation, superseded ones included."""
    groups = (get_group(state, AppId(app.id), group.name) for group in get_spec(state, app).groups)
    return tuple(sorted((c for group in groups for c in get_copies(state, AppId(app.id), group)), key=lambda c: c[0]))


def plan_spec(state: State, spec: Spec, images: tuple[Image, ...], params: Params) -> tuple[GroupPlan, ...]:
    """A dry run: nothing is written. The spec must be valid."""
    public = encode(spec)
    plans = []
    for group in spec.groups:
        need = compute_need(public, group.name, images)
        request = start_request(b"", group.name, 0, 0, need, params)
        plan = GroupPlan(
            group=group.name,
            copies=group.replicas + group.spares,
            need=need,
            fitting=count_fitting(state, request),
            refusals=explain(state, request),
            could=explain_idle(state, request),
        )
        plans.append(plan)
    return tuple(plans)
