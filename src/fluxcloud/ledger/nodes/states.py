"""Node states: which follows which, and the one function that changes a node's state (RECORDS.md 4)."""

from __future__ import annotations

import msgspec

from ...ids import NodeId
from ..module import Context
from ..state import State
from .messages import NodeCordoned, NodeStateChanged
from .model import NODES, Node, NodeState

DAY_MS = 86_400_000
REASON_CHARS_MAX = 120

ALLOWED: dict[NodeState, tuple[NodeState, ...]] = {
    "pending": ("active", "probation", "deactivated", "retired"),
    "active": ("suspect", "draining", "deactivated", "retired"),
    "draining": ("active", "suspect", "drained", "deactivated", "retired"),
    "drained": ("active", "pending", "deactivated", "retired"),
    "probation": ("active", "suspect", "deactivated", "retired"),
    "suspect": ("active", "draining", "probation", "down", "deactivated", "retired"),
    "down": ("pending", "deactivated", "retired"),
    "deactivated": ("pending", "retired"),
    "retired": (),
}
"""A drained node whose endpoint moves is pending: its panel has to see it at the new one."""


def set_node_state(
    state: State, node_id: NodeId, new: NodeState, reason: str, ctx: Context, until_tick: int = 0
) -> Node:
    """The only writer of `Node.state`. Returns the node as it is now.

    A suspect remembers what it was in `before`, and keeps `until_tick` for its return to that. A verdict (`down`) is
    added to `downs`, which holds those of the last 24 h. Emits: NodeStateChanged.
    """
    node = state.get(NODES, node_id)
    assert node is not None, node_id.hex()
    assert new in ALLOWED[node.state], (node_id.hex(), node.state, new)
    if until_tick == 0 and (new == "suspect" or (node.state == "suspect" and new == node.before)):
        until_tick = node.until_tick
    changed = msgspec.structs.replace(
        node,
        state=new,
        since_tick=ctx.tick_ms,
        before=node.state if new == "suspect" else node.before,
        until_tick=until_tick,
        downs=_add_down(node.downs, ctx.tick_ms) if new == "down" else node.downs,
        reason=_shorten(reason),
    )
    state.set(NODES, node_id, changed)
    ctx.emit(NodeStateChanged(node_id, node.state, new, changed.reason))
    return changed


def set_cordon(state: State, node_id: NodeId, cordoned: bool, reason: str, ctx: Context) -> None:
    """A cordoned node keeps its copies and gets no new ones. Emits: NodeCordoned, where it changes anything."""
    node = state.get(NODES, node_id)
    assert node is not None, node_id.hex()
    if node.cordoned != cordoned:
        changed = msgspec.structs.replace(node, cordoned=cordoned, reason=_shorten(reason))
        state.set(NODES, node_id, changed)
        ctx.emit(NodeCordoned(node_id, cordoned, changed.reason))


def _add_down(downs: tuple[int, ...], tick_ms: int) -> tuple[int, ...]:
    return (*(tick for tick in downs if tick > tick_ms - DAY_MS), tick_ms)


def _shorten(reason: str) -> str:
    assert reason.isascii(), reason
    return reason[:REASON_CHARS_MAX]
