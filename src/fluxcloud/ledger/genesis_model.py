"""The genesis record: what people agree on before the first block."""

from __future__ import annotations

from ..codec import Record, compute_hash, encode
from ..errors import Rejected
from ..ids import Address, GatewayId, NodeId, compute_gateway_id, compute_node_id
from ..units import U64_MAX
from .gateways.model import Gateway
from .nodes.model import Capacity, Node
from .params import Params
from .validators.model import Validator


class BadGenesis(Rejected):
    """The genesis contradicts itself or the rules; names the entry."""

    CODE = "genesis/1"


class Genesis(Record, tag=1):
    """Canonical: its hash names the chain's beginning. Entries of nodes and gateways are their first records."""

    chain_id: str
    time_ms: int
    params: Params
    accounts: tuple[tuple[bytes, int], ...]  # (address, balance with what will be locked)
    nodes: tuple[Node, ...]
    gateways: tuple[Gateway, ...]
    validators: tuple[Validator, ...]


def compute_genesis_node_id(chain_id: str, owner: Address, index: int) -> NodeId:
    """The id of a node that is there from the beginning: as if its owner's last transaction ever had made it."""
    return compute_node_id(chain_id, owner, U64_MAX, index)


def compute_genesis_gateway_id(chain_id: str, owner: Address, index: int) -> GatewayId:
    return compute_gateway_id(chain_id, owner, U64_MAX, index)


def compute_genesis_hash(genesis: Genesis) -> bytes:
    return compute_hash("fluxcloud/genesis/1", encode(genesis))


def make_genesis_node(node: Node, params: Params) -> Node:
    """The node as it begins: what it claims of itself is kept, all else is set."""
    return Node(
        id=node.id,
        owner=node.owner,
        operator=node.operator,
        hot=node.hot,
        enc=node.enc,
        cert=node.cert,
        payout=node.payout,
        tier=node.tier,
        collateral=params.collateral[node.tier - 1],
        endpoint=node.endpoint,
        arch=node.arch,
        capacity=node.capacity,
        used=Capacity(),
        location=node.location,
        asn=node.asn,
        isolation=node.isolation,
        state="active",
        since_tick=0,
    )
