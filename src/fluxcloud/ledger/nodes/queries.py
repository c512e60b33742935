"""Reading nodes."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

from ...ids import NodeId
from ..state import State
from .errors import UnknownNode
from .model import NODES, NODES_BY_ENC, NODES_BY_ENDPOINT, NODES_BY_HOT, NODES_BY_STATE, Capacity, Node, NodeState


def get_node(state: State, node_id: NodeId) -> Node:
    """Raises UnknownNode (nodes/1)."""
    node = state.get(NODES, node_id)
    if node is None:
        raise UnknownNode(f"node: no node has the id {node_id[:20].hex()}")
    return node


def find_node_by_hot(state: State, hot: bytes) -> NodeId | None:
    """The node that has this hot key, retired or not."""
    entries = state.index(NODES, NODES_BY_HOT)
    at = bisect_left(entries, (hot,))
    return entries[at][1] if at < len(entries) and entries[at][0] == hot else None


def find_node_by_enc(state: State, enc: bytes) -> NodeId | None:
    entries = state.index(NODES, NODES_BY_ENC)
    at = bisect_left(entries, (enc,))
    return entries[at][1] if at < len(entries) and entries[at][0] == enc else None


def find_node_by_endpoint(state: State, host: str, api_port: int) -> NodeId | None:
    """The node that is reached there; retired ones don't count."""
    entries = state.index(NODES, NODES_BY_ENDPOINT)
    at = bisect_left(entries, (host, api_port))
    return entries[at][2] if at < len(entries) and entries[at][:2] == (host, api_port) else None


def get_nodes_in_state(state: State, node_state: NodeState) -> Iterator[NodeId]:
    """Those whose state ends first come first; ties by id."""
    entries = state.index(NODES, NODES_BY_STATE)
    for at in range(bisect_left(entries, (node_state,)), len(entries)):
        found, _, node_id = entries[at]
        if found != node_state:
            return
        yield node_id


def count_nodes_in_state(state: State, node_state: NodeState) -> int:
    entries = state.index(NODES, NODES_BY_STATE)
    return bisect_left(entries, (node_state + "\x00",)) - bisect_left(entries, (node_state,))


def get_due_nodes(state: State, node_state: NodeState, now: int, limit: int) -> list[NodeId]:
    """At most `limit` nodes of a state whose `until_tick` (retired: `unbond_ms`) is set and not after `now`."""
    entries = state.index(NODES, NODES_BY_STATE)
    first = bisect_left(entries, (node_state, 1))
    last = bisect_left(entries, (node_state, now + 1))
    return [entry[2] for entry in entries[first : min(last, first + limit)]]


def compute_free(node: Node) -> Capacity:
    """What no placement has reserved."""
    return Capacity(
        node.capacity.mcpu - node.used.mcpu,
        node.capacity.mem_mib - node.used.mem_mib,
        node.capacity.disk_mib - node.used.disk_mib,
    )
