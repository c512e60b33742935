"""Nodes: registering one with its collateral, draining, moving and retiring it.

Agents' keys can spend nothing: collateral and payout are the owner's, keys and drains the operator's. States change
through `states.set_node_state` alone. Reads nothing above accounts; writes nodes and accounts. Times in ticks, except
unbonding, which is header time. Source: LEDGER.md 2, RECORDS.md 1 and 4, MONEY.md 1; tests/vectors/nodes/.
"""

from __future__ import annotations

import msgspec

from ...ids import Address, NodeId, compute_node_id, render_node
from ..accounts.transitions import lock, unlock
from ..module import Context
from ..params import Params
from ..state import State
from .capacity import compute_admissible
from .certificates import validate_certificate
from .errors import DrainTooLong, EncKeyTaken, EndpointTaken, HotKeyTaken, NotOperator, NotOwner, WrongState
from .messages import (
    NodeAddress,
    NodeDrain,
    NodeRegister,
    NodeRegistered,
    NodeReplaceHot,
    NodeResume,
    NodeRetire,
    NodeUp,
)
from .model import LANES, NODES, NODES_BY_HOT, NODES_EMPTIED, Capacity, Endpoint, Node
from .queries import find_node_by_enc, find_node_by_endpoint, find_node_by_hot, get_due_nodes, get_node
from .states import set_cordon, set_node_state
from .validation import (
    reject,
    validate_account,
    validate_asn,
    validate_capacity,
    validate_enc_key,
    validate_endpoint,
    validate_hot_key,
    validate_hot_proof,
    validate_location,
)

TIMERS_PER_BLOCK = 100
"""Nodes whose drain or unbonding ends in one block; the others wait for the next."""
UNBONDING_RETRY_MS = 3_600_000

_UP_STATES = ("pending", "down", "deactivated")
_MOVE_STATES = ("pending", "drained", "down", "deactivated")
_RETIRE_STATES = ("pending", "drained", "down", "deactivated")


def process_node_register(state: State, msg: NodeRegister, ctx: Context) -> None:
    """Make a node of the sender and lock the collateral of its tier; it is pending until its panel has seen it.

    Emits: NodeRegistered. Raises, first that applies: BadField (nodes/4), BadHotProof (nodes/8), BadCertificate
        (nodes/9), HotKeyTaken (nodes/5), EncKeyTaken (nodes/6), EndpointTaken (nodes/7),
        InsufficientBalance (accounts/1).
    """
    node_id = compute_node_id(ctx.chain_id, ctx.sender, ctx.nonce, ctx.index)
    collateral = ctx.params.collateral[msg.tier - 1]
    node = Node(
        id=node_id,
        owner=ctx.sender,
        operator=msg.operator,
        hot=msg.hot,
        enc=msg.enc,
        cert=msg.cert,
        payout=msg.payout,
        tier=msg.tier,
        collateral=collateral,
        endpoint=msg.endpoint,
        arch=msg.arch,
        capacity=msg.capacity,
        used=Capacity(),
        location=msg.location,
        asn=msg.asn,
        isolation=msg.isolation,
        state="pending",
        since_tick=ctx.tick_ms,
        reason="registered; not yet seen by its panel",
    )
    validate_node(node, ctx.params)
    validate_hot_proof(ctx.chain_id, ctx.sender, node_id, msg.hot, msg.hot_proof)
    validate_certificate(msg.cert, msg.hot, render_node(node_id))
    add_node(state, node, ctx.params)
    ctx.emit(NodeRegistered(node_id, ctx.sender))


def validate_node(node: Node, params: Params) -> None:
    """Bounds of every claimed field. Raises BadField (nodes/4)."""
    validate_account("operator", node.operator)
    validate_account("payout", node.payout)
    validate_hot_key(node.hot)
    validate_enc_key(node.enc)
    validate_endpoint(node.endpoint, params)
    validate_capacity(node.capacity)
    validate_location(node.location)
    validate_asn(node.asn)


def add_node(state: State, node: Node, params: Params) -> None:
    """Write a new node, the system's reserve taken off what it claims, and lock its owner's collateral.

    Raises nodes/5 .. nodes/7, accounts/1.
    """
    assert state.get(NODES, NodeId(node.id)) is None
    _require_free_keys(state, node.hot, node.enc)
    _require_free_endpoint(state, node.endpoint)
    lock(state, Address(node.owner), node.collateral)
    admissible = compute_admissible(node.capacity, params.system_reserve_ppm)
    state.set(NODES, NodeId(node.id), msgspec.structs.replace(node, capacity=admissible))


def process_node_retire(state: State, msg: NodeRetire, ctx: Context) -> None:
    """Take a node out for good; its collateral is free after `params.unbonding_ms` of header time.

    Raises, first that applies: UnknownNode (nodes/1), NotOwner (nodes/2), WrongState (nodes/10).
    """
    node = get_node(state, NodeId(msg.node))
    if ctx.sender != node.owner:
        raise NotOwner
    _require_state(node, _RETIRE_STATES, "drain it first")
    node = set_node_state(state, NodeId(node.id), "retired", "retired by its owner", ctx)
    state.set(NODES, NodeId(node.id), msgspec.structs.replace(node, unbond_ms=ctx.time_ms + ctx.params.unbonding_ms))


def process_node_drain(state: State, msg: NodeDrain, ctx: Context) -> None:
    """Begin to empty a node; it is back to active at `until_tick` (at most `params.drain_ms_max` ahead).

    Raises, first that applies: UnknownNode (nodes/1), NotOperator (nodes/3), WrongState (nodes/10), DrainTooLong
        (nodes/11).
    """
    node = _get_operated(state, msg.node, ctx)
    _require_state(node, ("active",), "only an active node can be drained")
    latest = ctx.tick_ms + ctx.params.drain_ms_max
    if not ctx.tick_ms < msg.until_tick <= latest:
        raise DrainTooLong(f"until_tick: {msg.until_tick}; allowed are {ctx.tick_ms + 1}..{latest}")
    set_node_state(state, NodeId(node.id), "draining", "drained by its operator", ctx, msg.until_tick)


def process_node_resume(state: State, msg: NodeResume, ctx: Context) -> None:
    """End draining, or lift a cordon.

    Emits: NodeCordoned, NodeStateChanged. Raises, first that applies: UnknownNode (nodes/1), NotOperator (nodes/3),
        WrongState (nodes/10).
    """
    node = _get_operated(state, msg.node, ctx)
    is_drained = node.state in ("draining", "drained")
    if not is_drained and not node.cordoned:
        raise WrongState(f"the node is {node.state} and not cordoned; there is nothing to resume")
    set_cordon(state, NodeId(node.id), False, "cordon lifted by its operator", ctx)
    if is_drained:
        set_node_state(state, NodeId(node.id), "active", "resumed by its operator", ctx)


def process_node_replace_hot(state: State, msg: NodeReplaceHot, ctx: Context) -> None:
    """Give a node new hot and enc keys and a certificate for them; the old ones are void from this block on.

    Raises, first that applies: UnknownNode (nodes/1), NotOperator (nodes/3), WrongState (nodes/10), BadField (nodes/4),
        BadHotProof (nodes/8), BadCertificate (nodes/9), HotKeyTaken (nodes/5), EncKeyTaken (nodes/6).
    """
    node = _get_operated(state, msg.node, ctx)
    if node.state == "retired":
        raise WrongState("the node is retired")
    validate_hot_key(msg.hot)
    validate_enc_key(msg.enc)
    validate_hot_proof(ctx.chain_id, node.owner, node.id, msg.hot, msg.hot_proof)
    validate_certificate(msg.cert, msg.hot, render_node(NodeId(node.id)))
    _require_free_keys(state, msg.hot, msg.enc, node)
    state.set(NODES, NodeId(node.id), msgspec.structs.replace(node, hot=msg.hot, enc=msg.enc, cert=msg.cert))


def process_node_address(state: State, msg: NodeAddress, ctx: Context) -> None:
    """Move a node that serves nothing to another endpoint; its panel has to see it there before it counts again.

    Raises, first that applies: UnknownNode (nodes/1), NotOperator (nodes/3), WrongState (nodes/10), BadField (nodes/4),
        EndpointTaken (nodes/7).
    """
    node = _get_operated(state, msg.node, ctx)
    _require_state(node, _MOVE_STATES, "drain it first, or wait until it is down")
    validate_endpoint(msg.endpoint, ctx.params)
    if node.ports_used and msg.endpoint.port_base != node.endpoint.port_base:
        reject("endpoint.port_base", "public ports are in use; it can't change now")
    _require_free_endpoint(state, msg.endpoint, node)
    state.set(NODES, NodeId(node.id), msgspec.structs.replace(node, endpoint=msg.endpoint))
    if node.state == "drained":
        set_node_state(state, NodeId(node.id), "pending", "moved to another endpoint", ctx)


def process_node_up(state: State, msg: NodeUp, ctx: Context) -> None:
    """A node that was down says that it is back; a pending one may say so again.

    Raises: WrongState (nodes/10).
    """
    node = get_node(state, ctx.node)
    _require_state(node, _UP_STATES, "it is up already")
    if node.state != "pending":
        set_node_state(state, ctx.node, "pending", "back; not yet seen by its panel", ctx)


def is_node_up_assigned(state: State, msg: NodeUp, node_id: NodeId) -> bool:
    node = state.get(NODES, node_id)
    return node is not None and node.state in _UP_STATES


def process_node_timers(state: State, ctx: Context) -> None:
    """Begin of a block: drains that end by their time, and collateral that is free."""
    for node_id in get_due_nodes(state, "draining", ctx.tick_ms, TIMERS_PER_BLOCK):
        set_node_state(state, node_id, "active", "its drain's time is over", ctx)
    for node_id in get_due_nodes(state, "drained", ctx.tick_ms, TIMERS_PER_BLOCK):
        set_node_state(state, node_id, "active", "its drain's time is over", ctx)
    for node_id in get_due_nodes(state, "retired", ctx.time_ms, TIMERS_PER_BLOCK):
        _remove_unbonded(state, node_id, ctx)


def process_emptied_nodes(state: State, ctx: Context) -> None:
    """End of a block: draining nodes that hold no copy any more are drained, until their time is over."""
    for (node_id,) in list(state.index(NODES, NODES_EMPTIED)[:TIMERS_PER_BLOCK]):
        node = get_node(state, node_id)
        set_node_state(state, node_id, "drained", "it holds no copy any more", ctx, node.until_tick)


def check_nodes(state: State, params: Params) -> None:
    """Invariant: keys stand under their ids, use is within capacity, collateral is locked."""
    for node_id, node in state.items(NODES):
        assert node_id == node.id
        for used, most in zip(_get_parts(node.used), _get_parts(node.capacity), strict=True):
            assert 0 <= used <= most, node_id.hex()
        assert (node.unbond_ms > 0) == (node.state == "retired"), node_id.hex()
        assert not node.ports_used.endswith(b"\x00"), node_id.hex()
    hots = [hot for hot, _ in state.index(NODES, NODES_BY_HOT)]
    assert len(set(hots)) == len(hots), "two nodes share a hot key"


def _remove_unbonded(state: State, node_id: NodeId, ctx: Context) -> None:
    node = get_node(state, node_id)
    if node.used != Capacity():  # an orphan without a successor is still placed here
        later = msgspec.structs.replace(node, unbond_ms=ctx.time_ms + UNBONDING_RETRY_MS)
        state.set(NODES, node_id, later)
        return
    unlock(state, Address(node.owner), node.collateral)
    state.delete(NODES, node_id)
    for lane in ("watch", "report"):
        state.delete(LANES, (node_id, lane))


def _get_parts(capacity: Capacity) -> tuple[int, int, int]:
    return capacity.mcpu, capacity.mem_mib, capacity.disk_mib


def _get_operated(state: State, node_id: bytes, ctx: Context) -> Node:
    node = get_node(state, NodeId(node_id))
    if ctx.sender not in (node.operator, node.owner):
        raise NotOperator
    return node


def _require_state(node: Node, allowed: tuple[str, ...], advice: str) -> None:
    if node.state not in allowed:
        raise WrongState(f"the node is {node.state}; allowed are {', '.join(allowed)}: {advice}")


def _require_free_keys(state: State, hot: bytes, enc: bytes, own: Node | None = None) -> None:
    own_id = own.id if own else None
    if find_node_by_hot(state, hot) not in (None, own_id):
        raise HotKeyTaken
    if find_node_by_enc(state, enc) not in (None, own_id):
        raise EncKeyTaken


def _require_free_endpoint(state: State, endpoint: Endpoint, own: Node | None = None) -> None:
    if find_node_by_endpoint(state, endpoint.host, endpoint.api_port) not in (None, own.id if own else None):
        raise EndpointTaken(f"endpoint: {endpoint.host}:{endpoint.api_port} is another node's")
