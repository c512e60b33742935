"""Group: one group of an app while it is settled: its slots, spares and superseded copies as lists that may change."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from ...ids import AppId, NodeId
from ..apps.model import GROUPS, App, AppGroup, Placement, Slot
from ..apps.queries import find_group_spec, get_group, get_group_content, get_spec
from ..apps.spec import Group as GroupSpec
from ..module import Context
from ..nodes.model import NODES, SERVING_STATES, Node
from ..state import State
from .copies import change_copy, get_copy, remove_copy

LOST_STATES = ("pending", "down", "deactivated", "drained", "retired")
"""States of a node in which a copy on it has to be given to another."""
STOP_SLACK_MS = 30_000
"""After its stop's grace an agent that has reported nothing is not waited for any longer."""


class Group:
    """What settling one group reads and changes. `save` writes the lists back; copies are written as they change."""

    def __init__(self, state: State, app: App, name: str, ctx: Context) -> None:
        self.state = state
        self.app = app
        self.app_id = AppId(app.id)
        self.name = name
        self.ctx = ctx
        self.spec: GroupSpec = find_group_spec(get_spec(state, app), name)
        self.record: AppGroup = get_group(state, self.app_id, name)
        self.slots = list(self.record.slots)
        self.spares = list(self.record.spares)
        self.superseded = list(self.record.superseded)

    def save(self) -> None:
        now = self.ctx.tick_ms
        evictions = tuple(eviction for eviction in self.record.evictions if eviction.until_tick > now)
        superseded = tuple(sorted(self.superseded))
        new = AppGroup(self.record.replicas, tuple(self.slots), tuple(self.spares), evictions, superseded)
        if new != self.record:
            self.state.set(GROUPS, (self.app_id, self.name), new)

    def get(self, generation: int) -> Placement:
        return get_copy(self.state, self.app_id, generation)

    def change(self, generation: int, **fields: Any) -> None:
        change_copy(self.state, self.app_id, generation, replace(self.get(generation), **fields), self.ctx)

    def remove(self, generation: int) -> None:
        remove_copy(self.state, self.app_id, generation, self.ctx)
        if generation in self.superseded:
            self.superseded.remove(generation)

    def get_node(self, placement: Placement) -> Node:
        node = self.state.get(NODES, NodeId(placement.node))
        assert node is not None, placement.node.hex()
        return node

    def is_lost(self, placement: Placement) -> bool:
        return self.get_node(placement).state in LOST_STATES

    def is_serving(self, placement: Placement) -> bool:
        """Whether the copy's node is one whose copies are routed as ready."""
        return self.get_node(placement).state in SERVING_STATES

    def is_evicted(self, placement: Placement) -> bool:
        now = self.ctx.tick_ms
        return any(e.node == placement.node and e.until_tick > now for e in self.record.evictions)

    def is_outdated(self, placement: Placement) -> bool:
        """Whether the accepted revision would make another copy of it."""
        if placement.revision == self.app.revision:
            return False
        own = get_group_content(self.state, self.app_id, placement.revision, self.name)
        return own != get_group_content(self.state, self.app_id, self.app.revision, self.name)

    def get_placed(self, slots: list[Slot]) -> list[tuple[int, int, Placement]]:
        """(index, generation, placement) of the placed ones."""
        return [
            (index, slot.generation, self.get(slot.generation))
            for index, slot in enumerate(slots)
            if slot.state == "placed"
        ]

    def queue(self, slots: list[Slot], index: int, reason: str) -> None:
        """Let a slot (or spare) wait for a node; its failures are remembered."""
        slots[index] = Slot("queued", failures=slots[index].failures, reason=reason)

    def supersede(self, generation: int, role: str) -> None:
        """A copy runs on as `orphan` or `leaving` until its successor runs. One that doesn't run is removed."""
        if self.get(generation).phase == "running":
            self.change(generation, role=role, successor=0)
            self.superseded.append(generation)
        else:
            self.remove(generation)

    def stop(self, generation: int) -> None:
        """End a copy that nobody takes over from: out of the routes now, stopped after `leaving_ms`."""
        placement = self.get(generation)
        if placement.phase != "running" or self.is_lost(placement):
            self.remove(generation)
            return
        if placement.role in ("active", "standby"):
            self.superseded.append(generation)
            self.change(generation, role="leaving", backs=-1)
        self.set_stop(generation, self.ctx.tick_ms + self.ctx.params.leaving_ms)

    def set_stop(self, generation: int, stop_tick: int) -> None:
        gone_tick = stop_tick + STOP_SLACK_MS + max(c.stop.grace_s for c in self.spec.components) * 1_000
        self.change(generation, stop_tick=stop_tick, deadline_tick=gone_tick)
