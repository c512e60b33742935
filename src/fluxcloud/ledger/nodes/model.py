"""Nodes: FluxNodes, who may speak for them, what they offer and in which state they are."""

from __future__ import annotations

from typing import Literal

from ...codec import Record
from ...ids import NodeId
from ..state import IndexKey, TableKey

NodeState = Literal[
    "pending", "active", "draining", "drained", "probation", "suspect", "down", "deactivated", "retired"
]
Tier = Literal[1, 2, 3]
TIERS = {1: "cumulus", 2: "nimbus", 3: "stratus"}
SERVING_STATES = ("active", "draining", "probation")
"""States in which a node's copies are routed as ready."""


class Capacity(Record, frozen=True):
    """CPU in millicores, memory and disk in MiB."""

    mcpu: int = 0
    mem_mib: int = 0
    disk_mib: int = 0


class Location(Record):
    """ISO codes as claimed (until measured): continent `EU`, country `DE`, region free ASCII of at most 32."""

    continent: str = ""
    country: str = ""
    region: str = ""


class Endpoint(Record):
    """Where a node is reached; all ports on one address. `port_base` begins its range of public raw ports."""

    host: str
    api_port: int
    ingress_port: int
    probe_port: int
    port_base: int


class Node(Record, tag=1):
    """`capacity` is what placements may use: what was claimed less the system's reserve; `used` is what they have
    reserved. `since_tick`: when `state` began. `before`: what to return to after a refuted suspicion. `downs`: ticks
    of the last verdicts (24 h). `until_tick`: end of draining or probation.
    """

    id: bytes
    owner: bytes
    operator: bytes
    hot: bytes
    enc: bytes
    cert: bytes
    payout: bytes
    tier: Tier
    collateral: int
    endpoint: Endpoint
    arch: Literal["amd64", "arm64"]
    capacity: Capacity
    used: Capacity
    location: Location
    asn: int
    isolation: Literal["none", "namespaces", "full"]
    state: NodeState
    since_tick: int
    before: NodeState = "active"
    until_tick: int = 0
    downs: tuple[int, ...] = ()
    cordoned: bool = False
    ports_used: bytes = b""  # bitmap of public raw ports taken, bit i of byte i//8
    reason: str = ""  # why it is in this state, for people: ASCII, at most 120
    unbond_ms: int = 0  # header time at which a retired node's collateral is free


class LaneState(Record, tag=1):
    """What a node has used of a role lane: highest sequence number, token bucket (milli-tokens at `tick_ms`)."""

    last_seq: int
    millitokens: int
    tick_ms: int


def _by_hot(node_id: NodeId, node: Node) -> tuple[tuple[bytes, bytes], ...]:
    return ((node.hot, node_id),)


def _by_endpoint(node_id: NodeId, node: Node) -> tuple[tuple[str, int, bytes], ...]:
    return () if node.state == "retired" else ((node.endpoint.host, node.endpoint.api_port, node_id),)


STANDARD_UNIT = Capacity(mcpu=500, mem_mib=512, disk_mib=2048)
"""A copy as the defaults of a spec make it: the unit in which a node's free room is told."""


def compute_room(mcpu: int, mem_mib: int, disk_mib: int) -> int:
    """Thousandths of a standard copy for which there is room in the scarcest of the three."""
    return min(
        mcpu * 1_000 // STANDARD_UNIT.mcpu,
        mem_mib * 1_000 // STANDARD_UNIT.mem_mib,
        disk_mib * 1_000 // STANDARD_UNIT.disk_mib,
    )


def _by_room(node_id: NodeId, node: Node) -> tuple[tuple[int, bytes], ...]:
    """Nodes that may be given copies, by free room, so that placement draws among those where a copy fits."""
    if node.state != "active" or node.cordoned:
        return ()
    capacity, used = node.capacity, node.used
    room = compute_room(capacity.mcpu - used.mcpu, capacity.mem_mib - used.mem_mib, capacity.disk_mib - used.disk_mib)
    return ((room, node_id),)


def _by_enc(node_id: NodeId, node: Node) -> tuple[tuple[bytes, bytes], ...]:
    return ((node.enc, node_id),)


def _by_state(node_id: NodeId, node: Node) -> tuple[tuple[str, int, bytes], ...]:
    until = node.unbond_ms if node.state == "retired" else node.until_tick
    return ((node.state, until, node_id),)


def _emptied(node_id: NodeId, node: Node) -> tuple[tuple[bytes], ...]:
    return ((node_id,),) if node.state == "draining" and node.used == Capacity() else ()


NODES_BY_HOT: IndexKey[NodeId, Node] = IndexKey("hot", _by_hot)
NODES_BY_ENDPOINT: IndexKey[NodeId, Node] = IndexKey("endpoint", _by_endpoint)
NODES_BY_ROOM: IndexKey[NodeId, Node] = IndexKey("room", _by_room)
NODES_BY_ENC: IndexKey[NodeId, Node] = IndexKey("enc", _by_enc)
NODES_BY_STATE: IndexKey[NodeId, Node] = IndexKey("state", _by_state)
"""(state, when it ends, id): all nodes of a state, those whose time comes first before the others."""
NODES_EMPTIED: IndexKey[NodeId, Node] = IndexKey("emptied", _emptied)
"""Draining nodes that hold no copy any more."""
NODES: TableKey[NodeId, Node] = TableKey(
    "nodes",
    (20,),
    Node,
    NODES_BY_HOT,
    NODES_BY_ENC,
    NODES_BY_ENDPOINT,
    NODES_BY_ROOM,
    NODES_BY_STATE,
    NODES_EMPTIED,
)
LANES: TableKey[tuple[bytes, str], LaneState] = TableKey("lanes", (20, "text"), LaneState)
