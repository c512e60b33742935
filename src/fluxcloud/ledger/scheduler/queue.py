"""Queue: slots and spares that wait for a node, the worst off first, so many a block; and placing them.

Order: slots before spares, then (live copies, 10-s bucket, lot, app, slot): nobody can grind a place in it. What can't
be placed backs off and keeps its reason. Source: LIVENESS.md 3, APPS.md 3.
"""

from __future__ import annotations

from msgspec.structs import replace

from ...codec import compute_hash
from ...ids import AppId
from ..apps.model import GROUPS, App, AppGroup, Placement, Slot
from ..apps.queries import get_app, get_group, get_revision
from ..apps.transitions import take_generation
from ..module import Context
from ..params import Params
from ..state import State
from .copies import add_copy, change_copy, get_copy
from .explain import render_refusals
from .group import Group
from .messages import CopyUnplaced
from .model import QUEUE, QUEUE_ORDER, QUEUE_WAKE, TICK_BUCKET_MS, QueueKey, Waiting
from .need import compute_deadline
from .request import Request, build_request
from .search import Found, NotFound, draw, scan

REASON_CHARS_MAX = 300
WAKES_PER_BLOCK = 1_000


def sync_queue(group: Group) -> None:
    """Make the queue hold exactly the slots and spares of the group that wait for a node, with its live copies."""
    live = sum(p.phase == "running" and group.is_serving(p) for _, _, p in group.get_placed(group.slots))
    for is_spare, slots, before in (
        (0, group.slots, len(group.record.slots)),
        (1, group.spares, len(group.record.spares)),
    ):
        for index in range(max(len(slots), before)):
            key = (group.app_id, is_spare, index, group.name)
            is_queued = group.app.status == "active" and index < len(slots) and slots[index].state == "queued"
            waiting = group.state.get(QUEUE, key)
            if not is_queued:
                group.state.delete(QUEUE, key)
            elif waiting is None:
                group.state.set(QUEUE, key, make_waiting(group.app_id, live, group.ctx))
            elif waiting.live != live:
                group.state.set(QUEUE, key, replace(waiting, live=live))


def make_waiting(app_id: AppId, live: int, ctx: Context) -> Waiting:
    lot = compute_hash("fluxcloud/queue/1", ctx.beacon, app_id)[:8]
    return Waiting(live, ctx.tick_ms // TICK_BUCKET_MS, lot)


def compute_backoff(tries: int, params: Params) -> int:
    """After the first try `requeue_backoff_ms`, doubled for each one after it up to the most."""
    return min(params.requeue_backoff_ms << min(tries - 1, 20), params.requeue_backoff_ms_max)


def process_queue(state: State, ctx: Context) -> None:
    """End-block step: place what waits, as far as the block's budgets of placements and of scans go."""
    for _, key in state.index(QUEUE, QUEUE_WAKE)[:WAKES_PER_BLOCK]:
        waiting = state.get(QUEUE, key)
        assert waiting is not None
        if waiting.not_before_tick > ctx.tick_ms:
            break
        # into this moment's bucket: behind those that have waited without being tried
        state.set(QUEUE, key, replace(waiting, not_before_tick=0, bucket=ctx.tick_ms // TICK_BUCKET_MS))
    scans = ctx.params.scans_per_block
    refused: dict[tuple[bytes, str], NotFound] = {}
    for entry in state.index(QUEUE, QUEUE_ORDER)[: get_repairs_budget(ctx.params)]:
        key = entry[-1]
        app_id, _, _, name = key
        outcome = refused.get((app_id, name))  # what one slot was refused, its fellows are refused in the same block
        if outcome is None:
            answer, scans = _find(state, key, ctx, scans)
            if not isinstance(answer, NotFound):
                continue
            outcome = refused[app_id, name] = answer
        _back_off(state, key, outcome, ctx)


def get_repairs_budget(params: Params) -> int:
    """Placements a block. The modes of a storm will change it."""
    return params.repairs_per_block


def _find(state: State, key: QueueKey, ctx: Context, scans: int) -> tuple[Found | NotFound | None, int]:
    """Place the slot where draws, or a scan from the budget, find a node. None: wait for a block with a scan left."""
    app_id, is_spare, index, name = key
    app = get_app(state, app_id)
    group = get_group(state, app_id, name)
    slot = group.spares[index] if is_spare else group.slots[index]
    request = build_request(state, app, name, -1 - index if is_spare else index, slot, ctx.params, ctx.tick_ms)
    outcome: Found | NotFound | None = draw(state, request, ctx.params, ctx.beacon)
    if outcome is None and scans:
        scans -= 1
        outcome = scan(state, request)
    if isinstance(outcome, Found):
        _place(state, app, group, request, outcome, ctx)
    return outcome, scans


def _place(state: State, app: App, group: AppGroup, request: Request, found: Found, ctx: Context) -> None:
    app_id = AppId(app.id)
    generation = take_generation(state, app)
    assert generation == request.generation
    is_spare = request.slot < 0
    index = -1 - request.slot if is_spare else request.slot
    need = request.need
    images = get_revision(state, app_id, app.revision).images
    placement = Placement(
        group=request.group,
        slot=-1 if is_spare else index,
        spare=index if is_spare else -1,
        node=found.node,
        role="standby" if is_spare else "active",
        phase="assigned",
        revision=app.revision,
        reserved=(need.mcpu, need.mem_mib, need.disk_mib),
        deadline_tick=compute_deadline(request.group, images, ctx.tick_ms, ctx.params),
        since_tick=ctx.tick_ms,
        ports=found.ports,
    )
    add_copy(state, app_id, generation, placement, ctx)
    state.set(GROUPS, (app_id, request.group), _fill_slot(group, is_spare, index, generation))
    if not is_spare:
        _set_successor(state, app_id, group, index, generation, ctx)
    state.delete(QUEUE, (app_id, int(is_spare), index, request.group))


def _fill_slot(group: AppGroup, is_spare: bool, index: int, generation: int) -> AppGroup:
    slots = group.spares if is_spare else group.slots
    filled = (*slots[:index], Slot("placed", generation, slots[index].failures), *slots[index + 1 :])
    return replace(group, spares=filled) if is_spare else replace(group, slots=filled)


def _set_successor(state: State, app_id: AppId, group: AppGroup, slot: int, generation: int, ctx: Context) -> None:
    for old in group.superseded:
        placement = get_copy(state, app_id, old)
        if placement.slot == slot and not placement.stop_tick:
            change_copy(state, app_id, old, replace(placement, successor=generation), ctx)


def _back_off(state: State, key: QueueKey, outcome: NotFound, ctx: Context) -> None:
    """Wait longer after each try, with the reason. Emits: CopyUnplaced."""
    waiting = state.get(QUEUE, key)
    assert waiting is not None
    tries = waiting.tries + 1
    reason = render_refusals(outcome.nodes, outcome.refusals)[:REASON_CHARS_MAX]
    not_before = ctx.tick_ms + compute_backoff(tries, ctx.params)
    state.set(QUEUE, key, replace(waiting, not_before_tick=not_before, tries=tries, reason=reason))
    app_id, is_spare, index, name = key
    ctx.emit(CopyUnplaced(app_id, name, index, bool(is_spare), outcome.refusals))
