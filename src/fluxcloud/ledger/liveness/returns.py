"""Returns: a node that its seats have seen is let in, a fallen one through probation (LIVENESS.md 3, RECORDS.md 4).

A newly registered node is active once a quorum of seats has had an answer. One that a verdict took down has to be seen
by max(quorum, n-1) seats for `params.seen_ms`, and is then on probation: it keeps what it had and gets nothing new.
"""

from __future__ import annotations

from bisect import bisect_right

import msgspec

from ...ids import NodeId
from ..module import Context
from ..nodes.model import NODES, Node
from ..nodes.queries import get_due_nodes
from ..nodes.states import DAY_MS, set_node_state
from ..params import Params
from ..state import State
from .model import WATCHES, WATCHES_DUE, Watch
from .panels import compute_panel_n, compute_quorum, get_monitors
from .watches import get_watch, set_watch

RETURNS_PER_BLOCK = 200
"""Nodes admitted, and probations ended, each."""


def plan_return(state: State, target: NodeId, node: Node, ctx: Context) -> None:
    """After a word about a pending node: when is it admitted, if nobody takes a word back?"""
    watch = get_watch(state, target)
    set_watch(state, target, msgspec.structs.replace(watch, due_tick=_compute_due_tick(state, node, watch, ctx.params)))


def process_due_returns(state: State, ctx: Context) -> None:
    """Admit the nodes that have been seen for long enough, and end probations whose time is over."""
    due = state.index(WATCHES, WATCHES_DUE)
    last = bisect_right(due, (ctx.tick_ms, b"\xff" * 20))
    for _, target in due[: min(last, RETURNS_PER_BLOCK)]:
        _admit(state, target, ctx)
    for node_id in get_due_nodes(state, "probation", ctx.tick_ms, RETURNS_PER_BLOCK):
        set_node_state(state, node_id, "active", "its probation is over", ctx)


def compute_probation_ms(downs: int, params: Params) -> int:
    """Doubled by each verdict of the last 24 h, up to a bound."""
    doublings = min(downs, 32) if params.probation_doubles else 0
    return min(params.probation_ms << doublings, max(params.probation_ms_max, params.probation_ms))


def _admit(state: State, target: NodeId, ctx: Context) -> None:
    node = state.get(NODES, target)
    watch = get_watch(state, target)
    due_tick = _compute_due_tick(state, node, watch, ctx.params) if node and node.state == "pending" else 0
    if node is None or due_tick == 0 or due_tick > ctx.tick_ms:  # seats or their number have changed
        set_watch(state, target, msgspec.structs.replace(watch, due_tick=due_tick))
        return
    set_watch(state, target, Watch())
    if not watch.fallen:
        set_node_state(state, target, "active", "its panel has seen it", ctx)
        return
    downs = sum(tick > ctx.tick_ms - DAY_MS for tick in node.downs)
    until_tick = ctx.tick_ms + compute_probation_ms(downs, ctx.params)
    set_node_state(state, target, "probation", "back; its panel has seen it", ctx, until_tick)


def _compute_due_tick(state: State, node: Node, watch: Watch, params: Params) -> int:
    """When enough of its seats will have seen the node for long enough; 0 where too few see it."""
    n = compute_panel_n(state, node, params)
    quorum = compute_quorum(n)
    needed = max(quorum, n - 1) if watch.fallen else quorum
    monitors = get_monitors(state, NodeId(node.id))
    # a word from before NodeUp counts from NodeUp on
    seen = sorted(max(s.tick, node.since_tick) for s in watch.sightings if not s.miss and s.monitor in monitors)
    if len(seen) < needed:
        return 0
    return max(seen[needed - 1] + (params.seen_ms if watch.fallen else 0), 1)
