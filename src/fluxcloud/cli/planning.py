"""A dry run of a deploy: the ledger's own rules, applied here to the records that matter, block after block. Pure.

The registration (or update) is applied, what waits is placed, copies are taken to start well, replaced ones to leave,
until nothing moves any more. Where there are no more nodes than the scheduler looks at in one round this is what it
will do, if the network stays as it is; on a larger one the draw of a later block decides, and this is one example.
"""

from __future__ import annotations

from dataclasses import dataclass

from msgspec.structs import replace

from ..codec import encode
from ..ids import Address, AppId, NodeId
from ..ledger.apps.messages import RegisterApp, UpdateApp
from ..ledger.apps.model import (
    APPS,
    GROUPS,
    NAMES,
    PLACEMENTS,
    REVISIONS,
    App,
    AppGroup,
    NameRecord,
    Placement,
    Revision,
)
from ..ledger.apps.queries import get_app_by_name
from ..ledger.apps.transitions import process_register_app, process_update_app, touch_app
from ..ledger.block import LedgerClock
from ..ledger.module import Context
from ..ledger.nodes.model import NODES, Node
from ..ledger.params import Params
from ..ledger.registry import Registry
from ..ledger.scheduler.copies import change_copy
from ..ledger.scheduler.model import QUEUE, QUEUE_ORDER
from ..ledger.scheduler.queries import GroupPlan, SlotStatus, get_app_status, plan_spec
from ..ledger.scheduler.queue import process_queue
from ..ledger.scheduler.transitions import process_due_placements, process_touched
from ..ledger.state import State
from ..ledger.transition import MODULES
from ..sdk.bundle import Bundle

BLOCK_MS = 60_000
"""Longer than a copy takes to leave, so that few blocks show the end of a rollout."""

BLOCKS_PER_COPY = 4


@dataclass(frozen=True, slots=True)
class KnownApp:
    """An app that is on the ledger already, with all that it holds."""

    app: App
    revisions: tuple[tuple[tuple[AppId, int], Revision], ...]
    groups: tuple[tuple[tuple[AppId, str], AppGroup], ...]
    placements: tuple[tuple[tuple[AppId, int], Placement], ...]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a placement depends on. `name`: who has the app's name now; `known`: the app, where it lives."""

    chain_id: str
    clock: LedgerClock
    params: Params
    nodes: tuple[tuple[NodeId, Node], ...]
    name: NameRecord | None = None
    known: KnownApp | None = None


@dataclass(frozen=True, slots=True)
class PlannedSlot:
    """Where a slot or spare ends up, or why nowhere. `is_new`: by a copy that does not exist yet."""

    status: SlotStatus
    node: Node | None
    is_new: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """`groups` say how many nodes would take one copy now, and why the others would not."""

    groups: tuple[GroupPlan, ...]
    slots: tuple[PlannedSlot, ...]
    is_update: bool
    is_exact: bool

    @property
    def is_whole(self) -> bool:
        """Every slot has a node; spares may wait."""
        return all(slot.node is not None for slot in self.slots if not slot.status.is_spare)


def plan_deploy(snapshot: Snapshot, bundle: Bundle, sender: Address) -> Plan:
    """What a deploy by `sender` would become. Raises as RegisterApp and UpdateApp do, but for NoNodeFits."""
    state, ctx = _load(snapshot, bundle.spec.name), _make_context(snapshot, sender)
    groups = plan_spec(state, bundle.spec, bundle.images, snapshot.params)
    spec, before = encode(bundle.spec), 0
    if snapshot.known is not None:
        before = snapshot.known.app.gen_counter
        process_update_app(state, UpdateApp(snapshot.known.app.id, spec, b"", bundle.images), ctx)
    else:
        process_register_app(state, RegisterApp(spec, b"", bundle.images), ctx)
    app_id = AppId(get_app_by_name(state, bundle.spec.name).id)
    _run_blocks(state, app_id, ctx, sum(plan.copies for plan in groups))
    app = get_app_by_name(state, bundle.spec.name)
    statuses = get_app_status(state, app, snapshot.params, ctx.tick_ms)
    slots = tuple(_make_slot(state, status, before) for status in statuses)
    is_exact = len(snapshot.nodes) <= snapshot.params.draws_per_round
    return Plan(groups, slots, snapshot.known is not None, is_exact)


def _load(snapshot: Snapshot, name: str) -> State:
    """The records that matter. The queue is not among them: settling the app's groups makes it anew."""
    state = State(Registry(MODULES).tables)
    for node_id, node in snapshot.nodes:
        state.set(NODES, node_id, node)
    if snapshot.name is not None:
        state.set(NAMES, name, snapshot.name)
    known = snapshot.known
    if known is not None:
        state.set(APPS, AppId(known.app.id), known.app)
        for revision_key, revision in known.revisions:
            state.set(REVISIONS, revision_key, revision)
        for group_key, group in known.groups:
            state.set(GROUPS, group_key, group)
        for placement_key, placement in known.placements:
            state.set(PLACEMENTS, placement_key, placement)
    return state


def _make_context(snapshot: Snapshot, sender: Address) -> Context:
    clock = snapshot.clock
    return Context(
        chain_id=snapshot.chain_id,
        params=snapshot.params,
        height=clock.height + 1,
        time_ms=clock.time_ms,
        tick_ms=clock.tick_ms,
        beacon=clock.beacon,
        proposer=b"",
        sender=sender,
    )


def _run_blocks(state: State, app_id: AppId, ctx: Context, copies: int) -> None:
    """Block after block until nothing moves, as the ledger ends its blocks and agents would report."""
    for _ in range(BLOCKS_PER_COPY * copies):
        touch_app(state, app_id)
        process_due_placements(state, ctx)
        process_touched(state, ctx)
        _place_waiting(state, ctx)
        is_moving = _start_copies(state, app_id, ctx)
        leaving = (p for _, p in state.items(PLACEMENTS) if p.role in ("leaving", "orphan"))
        if not is_moving and not any(p.stop_tick for p in leaving):
            return
        ctx.tick_ms += BLOCK_MS


def _place_waiting(state: State, ctx: Context) -> None:
    """Everything that waits is tried once: a block has a budget, so it takes as many as are needed."""
    process_queue(state, ctx)  # wakes what was refused in the block before
    while state.index(QUEUE, QUEUE_ORDER):
        process_queue(state, ctx)
    for key, waiting in list(state.items(QUEUE)):
        state.set(QUEUE, key, replace(waiting, not_before_tick=ctx.tick_ms + BLOCK_MS))


def _start_copies(state: State, app_id: AppId, ctx: Context) -> bool:
    """Every assigned copy starts well. Whether there was one."""
    started = False
    for (_, generation), placement in list(state.items(PLACEMENTS)):
        if placement.phase == "assigned":
            phase = "ready" if placement.role == "standby" and placement.backs < 0 else "running"
            change_copy(state, app_id, generation, replace(placement, phase=phase, deadline_tick=0), ctx)
            started = True
    return started


def _make_slot(state: State, status: SlotStatus, before: int) -> PlannedSlot:
    placement = status.placement
    node = state.get(NODES, NodeId(placement.node)) if placement is not None else None
    return PlannedSlot(status, node, is_new=status.generation > before)
