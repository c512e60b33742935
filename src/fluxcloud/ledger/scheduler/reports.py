"""Reports: what agents say became of their copies, who is to blame for a failure, and what follows.

Source: APPS.md 3 (blame), 4; RECORDS.md 2, 3.
"""

from __future__ import annotations

import itertools
from typing import get_args

from msgspec.structs import replace

from ...ids import AppId, NodeId
from ..apps.model import GROUPS, PLACEMENTS, Placement, Slot
from ..apps.queries import get_group
from ..apps.transitions import touch_group
from ..module import Context
from ..nodes.states import set_cordon
from ..params import Params
from ..state import State
from .copies import change_copy, remove_copy
from .errors import BadReport
from .messages import CopyReport, HostReason, NodeReport, SlotHeld
from .model import NODE_FAILURES, QUEUE, NodeFailures
from .queue import compute_backoff, make_waiting

COPIES_MAX = 256
DETAIL_CHARS_MAX = 200
GENERATION_MAX = 2**63 - 1
HOST_REASONS = get_args(HostReason)
NO_NODE = b""
"""Stands for the node in a failure for which the app is to blame."""


def process_node_report(state: State, msg: NodeReport, ctx: Context) -> None:
    """Apply what the sender says of its copies. What is no longer its own is skipped: the report crossed a change.

    Emits: CopyChanged, CopyRemoved, SlotHeld, NodeCordoned. Raises: BadReport (scheduler/1).
    """
    validate_report(msg)
    for report in msg.copies:
        placement = state.get(PLACEMENTS, (AppId(report.app), report.generation))
        if placement is not None and placement.node == ctx.node:
            _apply(state, AppId(report.app), report, placement, ctx)


def validate_report(msg: NodeReport) -> None:
    """Raises BadReport (scheduler/1)."""
    keys = [(report.app, report.generation) for report in msg.copies]
    if not 1 <= len(keys) <= COPIES_MAX or any(a >= b for a, b in itertools.pairwise(keys)):
        raise BadReport(
            f"copies: {len(keys)} of them; allowed: 1..{COPIES_MAX}, sorted by (app, generation), each once"
        )
    for report in msg.copies:
        if len(report.app) != 20 or not 1 <= report.generation <= GENERATION_MAX:
            raise BadReport("copies: an app id is 20 bytes, a generation 1..2^63-1")
        if (report.outcome == "failed") != (report.reason != ""):
            raise BadReport("reason: given with the outcome failed, and only with it")
        detail = report.detail
        if len(detail) > DETAIL_CHARS_MAX or not all(" " <= char <= "~" for char in detail):
            raise BadReport(f"detail: at most {DETAIL_CHARS_MAX} characters of printable ASCII")


def fail_copy(
    state: State, app_id: AppId, generation: int, placement: Placement, reason: str, detail: str, ctx: Context
) -> None:
    """End a copy that failed; its slot goes elsewhere, waits (the app's blame), or is held after too many failures."""
    text = f"{reason}: {detail}" if detail else reason
    change_copy(state, app_id, generation, replace(placement, phase="failed", reason=text), ctx)
    remove_copy(state, app_id, generation, ctx)
    is_host_blamed = reason in HOST_REASONS
    if is_host_blamed:
        _count_node_failure(state, app_id, NodeId(placement.node), ctx)
    if placement.role in ("orphan", "leaving"):
        forget_superseded(state, app_id, placement.group, generation)
    else:
        _fail_slot(state, app_id, placement, text, is_host_blamed, ctx)
        touch_group(state, app_id, placement.group)


def count_failures(slot: Slot, tick_ms: int, params: Params) -> tuple[int, int]:
    """(different nodes to blame within the window, failures for which the app is to blame)."""
    since = tick_ms - params.held_window_ms
    nodes = {node for node, tick in slot.failures if node and tick > since}
    return len(nodes), sum(not node for node, _ in slot.failures)


def _apply(state: State, app_id: AppId, report: CopyReport, placement: Placement, ctx: Context) -> None:
    new: Placement | None = None
    if report.outcome == "failed":
        if not placement.stop_tick:
            fail_copy(state, app_id, report.generation, placement, report.reason, report.detail, ctx)
    elif report.outcome == "stopped":
        if placement.stop_tick:
            _remove_stopped(state, app_id, report.generation, placement, ctx)
        elif placement.role != "standby" and placement.phase == "running":
            new = replace(placement, phase="stopped", since_tick=ctx.tick_ms)
    elif report.outcome == "ready":
        if placement.role == "standby" and placement.phase == "assigned":
            new = replace(placement, phase="ready", deadline_tick=0, since_tick=ctx.tick_ms)
    elif _may_run(placement):
        new = replace(placement, phase="running", deadline_tick=0, since_tick=ctx.tick_ms)
    if new is not None:
        change_copy(state, app_id, report.generation, new, ctx)
        touch_group(state, app_id, placement.group)


def _may_run(placement: Placement) -> bool:
    """Whether `running` is news: a standby's only while it stands in, nobody's twice."""
    if placement.role == "standby" and placement.backs < 0:
        return False
    return placement.phase in ("assigned", "ready", "stopped") and not placement.stop_tick


def _remove_stopped(state: State, app_id: AppId, generation: int, placement: Placement, ctx: Context) -> None:
    remove_copy(state, app_id, generation, ctx)
    forget_superseded(state, app_id, placement.group, generation)


def forget_superseded(state: State, app_id: AppId, name: str, generation: int) -> None:
    """A superseded copy is gone: the group forgets it, and is settled again."""
    group = get_group(state, app_id, name)
    rest = tuple(old for old in group.superseded if old != generation)
    state.set(GROUPS, (app_id, name), replace(group, superseded=rest))
    touch_group(state, app_id, name)


def _fail_slot(
    state: State, app_id: AppId, placement: Placement, text: str, is_host_blamed: bool, ctx: Context
) -> None:
    """Count the failure; hold the slot, or queue it: at once for the host's blame, after a wait for the app's."""
    key = (app_id, placement.group)
    group = get_group(state, *key)
    is_spare = placement.spare >= 0
    index = placement.spare if is_spare else placement.slot
    slots = group.spares if is_spare else group.slots
    slot = _add_failure(slots[index], placement, text, is_host_blamed, ctx)
    hosts, own = count_failures(slot, ctx.tick_ms, ctx.params)
    if max(hosts, own) >= ctx.params.held_failures:
        slot = replace(slot, state="held")
        ctx.emit(SlotHeld(app_id, placement.group, index, text))
    elif not is_host_blamed:
        not_before = ctx.tick_ms + compute_backoff(own, ctx.params)
        waiting = replace(make_waiting(app_id, 0, ctx), not_before_tick=not_before, reason=text)
        state.set(QUEUE, (app_id, int(is_spare), index, placement.group), waiting)
    changed = (*slots[:index], slot, *slots[index + 1 :])
    state.set(GROUPS, key, replace(group, spares=changed) if is_spare else replace(group, slots=changed))


def _add_failure(slot: Slot, placement: Placement, text: str, is_host_blamed: bool, ctx: Context) -> Slot:
    """Old ones are forgotten: the hosts' after the window, the app's when this copy had run well for as long."""
    since = ctx.tick_ms - ctx.params.held_window_ms
    ran_well = placement.phase == "running" and placement.since_tick <= since
    kept = tuple((node, tick) for node, tick in slot.failures if (tick > since if node else not ran_well))
    blamed = placement.node if is_host_blamed else NO_NODE
    return Slot("queued", failures=(*kept, (blamed, ctx.tick_ms)), reason=text)


def _count_node_failure(state: State, app_id: AppId, node_id: NodeId, ctx: Context) -> None:
    """A node that fails copies of `cordon_apps` different apps within the window gets no new copies."""
    since = ctx.tick_ms - ctx.params.held_window_ms
    record = state.get(NODE_FAILURES, node_id)
    before = record.apps if record else ()
    apps = (*((app, tick) for app, tick in before if tick > since and app != app_id), (bytes(app_id), ctx.tick_ms))
    if len(apps) < ctx.params.cordon_apps:
        state.set(NODE_FAILURES, node_id, NodeFailures(apps))
    else:  # and it begins anew once its operator has lifted the cordon
        state.delete(NODE_FAILURES, node_id)
        reason = f"failed copies of {len(apps)} apps in {ctx.params.held_window_ms // 1000} s"
        set_cordon(state, node_id, True, reason, ctx)
