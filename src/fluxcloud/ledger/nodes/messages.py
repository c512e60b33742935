"""Messages of nodes: from owners and operators in the user lane, from agents in the report lane."""

from __future__ import annotations

from typing import ClassVar, Literal

from ..module import Event, Lane, Message
from .model import Capacity, Endpoint, Location, NodeState, Tier


class NodeRegister(Message, tag=0x0301):
    """Make a node of the sender (its owner) and lock its collateral.

    `hot_proof` is the hot key's signature over H("fluxcloud/hot/1", encode([chain_id, owner, node id])); the node id
    follows from the transaction (`ids.compute_node_id`). `cert` is self-signed by the hot key for the node id's text.
    """

    COST: ClassVar[int] = 20

    operator: bytes
    hot: bytes
    hot_proof: bytes
    enc: bytes
    cert: bytes
    payout: bytes
    tier: Tier
    endpoint: Endpoint
    arch: Literal["amd64", "arm64"]
    capacity: Capacity
    location: Location
    asn: int
    isolation: Literal["none", "namespaces", "full"]


class NodeRetire(Message, tag=0x0302):
    """The owner takes a node out for good: it must be drained (or down); its collateral unbonds."""

    node: bytes


class NodeDrain(Message, tag=0x0303):
    """The operator empties a node: its copies are replaced first, then stop. It is back to active at `until_tick`."""

    node: bytes
    until_tick: int


class NodeResume(Message, tag=0x0304):
    """The operator ends draining, or lifts a cordon."""

    node: bytes


class NodeReplaceHot(Message, tag=0x0305):
    """The operator gives a node a new hot key (and certificate, and enc key). Proof as in NodeRegister."""

    node: bytes
    hot: bytes
    hot_proof: bytes
    enc: bytes
    cert: bytes


class NodeAddress(Message, tag=0x0306):
    """The operator moves a node to another endpoint."""

    node: bytes
    endpoint: Endpoint


class NodeUp(Message, tag=0x0307):
    """The agent of a pending, down or deactivated node says that it is back. It counts once its panel has seen it."""

    LANE: ClassVar[Lane] = "report"


class NodeRegistered(Event, tag=0x0381):
    node: bytes
    owner: bytes


class NodeStateChanged(Event, tag=0x0382):
    """`old -> new`, with the reason for people."""

    node: bytes
    old: NodeState
    new: NodeState
    reason: str


class NodeCordoned(Event, tag=0x0383):
    """It gets no new copies from here on; or, with `cordoned` false, it gets them again."""

    node: bytes
    cordoned: bool
    reason: str
