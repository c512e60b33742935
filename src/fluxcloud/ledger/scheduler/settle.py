"""Settle: make a group's slots, spares and superseded copies what its spec and the states of its nodes ask for.

Level-triggered: it looks at what is, not at what happened, so a slot may have met a deletion, a verdict and an update
in one block and still comes out right. Whoever changes something about a group touches it; each touched group is
settled once, at the end of the block. Choosing nodes is not done here (`queue.py`). Source: RECORDS.md 2, APPS.md 4.
"""

from __future__ import annotations

from msgspec.structs import replace

from ...ids import AppId
from ..apps.model import APPS, GROUPS, Placement, Slot
from ..apps.queries import get_revision
from ..apps.transitions import take_generation
from ..module import Context
from ..nodes.model import SERVING_STATES
from ..state import State
from .copies import add_copy
from .group import Group
from .need import compute_deadline
from .queue import sync_queue


def settle_group(state: State, app_id: AppId, name: str, ctx: Context) -> None:
    """Bring one group in order and its slots that need a node into the queue."""
    app = state.get(APPS, app_id)
    if app is None or state.get(GROUPS, (app_id, name)) is None:
        return
    group = Group(state, app, name, ctx)
    if app.status == "deleted":
        _stop_all(group)
    else:
        _fit_size(group)
        _handle_lost(group)
        _move_away(group)
        _roll(group)
        _give_back(group)
        _promote_standbys(group)
        _back_suspects(group)
    _hand_over(group)
    group.save()
    sync_queue(group)


def _stop_all(group: Group) -> None:
    for slots in (group.slots, group.spares):
        for index, slot in enumerate(slots):
            if slot.state == "placed":
                group.stop(slot.generation)
            slots[index] = Slot("queued")
    for generation in list(group.superseded):
        if not group.get(generation).stop_tick:
            group.stop(generation)


def _fit_size(group: Group) -> None:
    """As many slots as replicas, as many spares as the spec says. What is too many stops, the highest first."""
    for slots, wanted in ((group.slots, group.record.replicas), (group.spares, group.spec.spares)):
        while len(slots) > wanted:
            slot = slots.pop()
            if slot.state == "placed":
                group.stop(slot.generation)
        while len(slots) < wanted:
            slots.append(Slot("queued"))


def _handle_lost(group: Group) -> None:
    """Copies on nodes that are down (or gone): an active becomes an orphan, a standby ends, a leaving one an orphan."""
    for generation in list(group.superseded):
        placement = group.get(generation)
        state = group.get_node(placement).state
        if state == "retired" or (group.is_lost(placement) and placement.role == "leaving" and placement.stop_tick):
            group.remove(generation)
        elif group.is_lost(placement) and placement.role == "leaving":
            group.change(generation, role="orphan")
    for index, generation, placement in group.get_placed(group.spares):
        if group.is_lost(placement):
            group.remove(generation)
            group.queue(group.spares, index, "its node is down")
    for index, generation, placement in group.get_placed(group.slots):
        if group.is_lost(placement):
            group.queue(group.slots, index, "its node is down")
            if group.get_node(placement).state == "retired":
                group.remove(generation)
            else:
                group.supersede(generation, "orphan")


def _move_away(group: Group) -> None:
    """Copies on nodes that are drained, or from which the owner has evicted the group: the new one runs first."""
    for index, generation, placement in group.get_placed(group.slots):
        reason = _get_reason_to_move(group, placement)
        if reason:
            group.queue(group.slots, index, reason)
            group.supersede(generation, "leaving")
    for index, generation, placement in group.get_placed(group.spares):
        reason = _get_reason_to_move(group, placement)
        if reason and placement.backs < 0:
            group.remove(generation)
            group.queue(group.spares, index, reason)


def _get_reason_to_move(group: Group, placement: Placement) -> str:
    if group.get_node(placement).state == "draining":
        return "its node is drained"
    return "moved by the owner" if group.is_evicted(placement) else ""


def _roll(group: Group) -> None:
    """Replace copies of an older revision: what doesn't run at once, the rest one slot and one spare at a time."""
    slots = [(i, g, p) for i, g, p in group.get_placed(group.slots) if group.is_outdated(p)]
    for index, generation, placement in slots:
        if placement.phase != "running":
            group.remove(generation)
            group.queue(group.slots, index, "replaced by a new revision")
    running = [(i, g) for i, g, p in slots if p.phase == "running"]
    if running and not _is_moving(group):
        index, generation = running[0]
        group.queue(group.slots, index, "replaced by a new revision")
        group.supersede(generation, "leaving")
    spares = [(i, g) for i, g, p in group.get_placed(group.spares) if p.backs < 0 and group.is_outdated(p)]
    if spares and not _is_waiting_for_spare(group):
        index, generation = spares[0]
        group.remove(generation)
        group.queue(group.spares, index, "replaced by a new revision")


def _is_waiting_for_spare(group: Group) -> bool:
    """Whether a spare is still to be placed, or its image to be fetched."""
    fetching = (not group.is_outdated(p) and p.phase == "assigned" for _, _, p in group.get_placed(group.spares))
    return any(slot.state == "queued" for slot in group.spares) or any(fetching)


def _is_moving(group: Group) -> bool:
    """Whether a slot's new copy is still to run while the old one serves, or a copy is just being started."""
    if any(placement.phase != "running" for _, _, placement in group.get_placed(group.slots)):
        return True
    old = (group.get(generation) for generation in group.superseded)
    return any(placement.role == "leaving" and not placement.stop_tick for placement in old)


def _give_back(group: Group) -> None:
    """A waiting slot whose superseded copy still runs on a node that may keep it gets that one back."""
    for generation in list(group.superseded):
        placement = group.get(generation)
        if placement.stop_tick or not 0 <= placement.slot < len(group.slots):
            continue
        if group.slots[placement.slot].state != "placed" and _may_keep(group, placement):
            _take_back(group, generation, placement)


def _may_keep(group: Group, placement: Placement) -> bool:
    node = group.get_node(placement)
    if node.state not in ("active", "probation") or group.is_evicted(placement) or group.is_outdated(placement):
        return False
    others = (p for slots in (group.slots, group.spares) for _, _, p in group.get_placed(slots))
    return all(group.get_node(other).owner != node.owner for other in others)


def _take_back(group: Group, generation: int, placement: Placement) -> None:
    """A leaving copy was never away and goes on under its generation; an orphan is adopted under a new one."""
    failures = group.slots[placement.slot].failures
    if placement.role == "leaving":
        group.superseded.remove(generation)
        group.change(generation, role="active", successor=0)
        group.slots[placement.slot] = Slot("placed", generation, failures)
        return
    group.remove(generation)
    adopted = take_generation(group.state, group.app)
    group.app = replace(group.app, gen_counter=adopted)
    new = replace(
        placement,
        role="active",
        phase="assigned",
        adopts=generation,
        successor=0,
        deadline_tick=_compute_deadline(group, placement.revision),
        since_tick=group.ctx.tick_ms,
    )
    add_copy(group.state, group.app_id, adopted, new, group.ctx)
    group.slots[placement.slot] = Slot("placed", adopted, failures)


def _promote_standbys(group: Group) -> None:
    """A slot that waits for a node takes a standby, if need be one of the revision before. A new spare is queued.

    Not where the app itself has failed: that would waste the standby, too.
    """
    for index, slot in enumerate(group.slots):
        if slot.state != "queued" or any(not node for node, _ in slot.failures):
            continue
        standbys = [
            (_rank(group, index, placement), spare, generation, placement)
            for spare, generation, placement in group.get_placed(group.spares)
            if _may_stand_in(group, index, placement)
        ]
        if standbys:
            _, spare, generation, placement = min(standbys, key=lambda standby: standby[:3])
            is_running = placement.phase == "running"
            deadline = 0 if is_running else _compute_deadline(group, placement.revision)
            phase = "running" if is_running else "assigned"
            group.change(generation, role="active", slot=index, spare=-1, backs=-1, phase=phase, deadline_tick=deadline)
            group.slots[index] = Slot("placed", generation, slot.failures)
            group.queue(group.spares, spare, "it has become active")


def _may_stand_in(group: Group, index: int, placement: Placement) -> bool:
    if placement.backs not in (-1, index) or placement.phase not in ("ready", "running"):
        return False
    served = any(
        old.slot == index and old.role == "leaving" and not old.stop_tick
        for old in (group.get(generation) for generation in group.superseded)
    )
    return placement.backs == index or not (served and group.is_outdated(placement))


def _rank(group: Group, index: int, placement: Placement) -> tuple[bool, bool, bool, bool]:
    """The least is taken: on a healthy node, standing in already, of the newest revision, running."""
    return (
        not group.is_serving(placement),
        placement.backs != index,
        group.is_outdated(placement),
        placement.phase != "running",
    )


def _back_suspects(group: Group) -> None:
    """While a slot's node is suspect a standby runs and is routed for it, the lowest slot first."""
    suspects = [
        index
        for index, _, placement in group.get_placed(group.slots)
        if placement.phase == "running" and group.get_node(placement).state == "suspect"
    ]
    standbys = group.get_placed(group.spares)
    for _, generation, placement in standbys:
        if placement.backs >= 0 and placement.backs not in suspects:
            _send_back(group, generation, placement)
    for index in suspects:
        backed = any(p.backs == index and group.is_serving(p) for _, _, p in group.get_placed(group.spares))
        free = [
            generation
            for _, generation, placement in group.get_placed(group.spares)
            if placement.backs < 0 and placement.phase in ("ready", "running") and group.is_serving(placement)
        ]
        if free and not backed:
            group.change(free[0], backs=index, deadline_tick=0)


def _send_back(group: Group, generation: int, placement: Placement) -> None:
    """The suspicion was refuted: the standby is out of the routes and stops a little later."""
    is_running = placement.phase == "running"
    deadline = group.ctx.tick_ms + group.ctx.params.standby_stop_ms if is_running else 0
    group.change(generation, backs=-1, deadline_tick=deadline)


def _hand_over(group: Group) -> None:
    """Superseded copies learn their successor, and when to stop once it runs."""
    params, now = group.ctx.params, group.ctx.tick_ms
    for generation in list(group.superseded):
        placement = group.get(generation)
        if placement.stop_tick:
            continue
        if not 0 <= placement.slot < len(group.slots):
            group.stop(generation)
            continue
        slot = group.slots[placement.slot]
        successor = slot.generation if slot.state == "placed" else 0
        if successor != placement.successor:
            group.change(generation, successor=successor)
        if successor and group.get(successor).phase == "running":
            if placement.role == "leaving":
                delay = params.leaving_ms
            else:
                is_up = group.get_node(placement).state in SERVING_STATES
                delay = params.orphan_stop_ms if is_up else params.orphan_down_ms
            group.set_stop(generation, now + delay)


def _compute_deadline(group: Group, revision: int) -> int:
    images = get_revision(group.state, group.app_id, revision).images
    return compute_deadline(group.name, images, group.ctx.tick_ms, group.ctx.params)
