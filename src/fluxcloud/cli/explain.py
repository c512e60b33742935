"""`fluxcloud app explain`: for each slot, where it is and since when, or why no node takes it."""

from __future__ import annotations

from typing import Any

from ..ids import NodeId
from ..ledger.apps.model import AppGroup, Placement, Slot
from ..ledger.nodes.model import NODES
from ..ledger.scheduler.explain import render_refusals
from ..ledger.scheduler.messages import CopyUnplaced
from ..sdk.apps import AppView, find_view
from .output import render_age
from .session import Session


async def explain_app(session: Session, name: str) -> dict[str, Any]:
    """`{"app", "slots": [{"slot", "where", "why"}]}`, spares named `spare 0`."""
    view = await find_view(session.chain, name)
    status = await session.chain.status()
    unplaced = await _last_refusals(session, view, max(1, status.first_height))
    slots = []
    for group_name, group in sorted(view.groups.items()):
        for spare, index, slot in _list_slots(group):
            label = _name_slot(group_name, spare, index)
            placement = view.placements.get(slot.generation) if slot.state == "placed" else None
            if placement is not None:
                row = await _explain_placed(session, label, slot, placement, status.tick_ms)
            else:
                row = {"slot": label, "where": None, "why": unplaced.get((group_name, spare, index)) or slot.reason}
            slots.append(row)
    return {"app": view.app.name, "slots": slots}


async def explain_waiting(session: Session, name: str, from_height: int) -> list[str]:
    """Each reason why the scheduler could not place slots, as it said from that block on, with the slots:
    `main slot 5, main slot 6: 5 nodes: 5 same operator`."""
    view = await find_view(session.chain, name)
    status = await session.chain.status()
    refusals = await _last_refusals(session, view, max(1, from_height, status.first_height))
    slots: dict[str, list[str]] = {}
    for group_name, group in sorted(view.groups.items()):
        for spare, index, slot in _list_slots(group):
            why = refusals.get((group_name, spare, index))
            if why is not None and slot.state != "placed":
                slots.setdefault(why, []).append(_name_slot(group_name, spare, index))
    return [f"{', '.join(names)}: {why}" for why, names in slots.items()]


def _name_slot(group: str, spare: bool, index: int) -> str:
    return f"{group} {'spare' if spare else 'slot'} {index}"


def _list_slots(group: AppGroup) -> list[tuple[bool, int, Slot]]:
    active = [(False, index, slot) for index, slot in enumerate(group.slots)]
    return active + [(True, index, slot) for index, slot in enumerate(group.spares)]


async def _explain_placed(
    session: Session, label: str, slot: Slot, placement: Placement, tick_ms: int
) -> dict[str, Any]:
    node = await session.chain.read(NODES, NodeId(placement.node))
    where = session.name_node(NodeId(placement.node))
    place = f"{node.location.country}, AS{node.asn}, {node.state}" if node else "unknown"
    age = render_age(max(0, tick_ms - placement.since_tick) / 1000)
    why = f"{placement.phase} for {age} on {where} ({place}), generation {slot.generation}"
    if placement.reason:
        why += f": {placement.reason}"
    return {"slot": label, "where": where, "why": why}


async def _last_refusals(session: Session, view: AppView, from_height: int) -> dict[tuple[str, bool, int], str]:
    """What the scheduler last said about slots it could not place."""
    waiting = any(slot.state != "placed" for group in view.groups.values() for _, _, slot in _list_slots(group))
    if not waiting:
        return {}
    found = {}
    async for block in session.chain.events(from_height, follow=False):
        for _, event in block.events:
            if isinstance(event, CopyUnplaced) and event.app == view.id:
                nodes = sum(refusal.count for refusal in event.refusals)
                found[event.group, event.spare, event.slot] = render_refusals(nodes, event.refusals)
    return found


def render_explanation(explanation: dict[str, Any]) -> str:
    return "\n".join(f"{row['slot']:<16}{row['why']}" for row in explanation["slots"])
