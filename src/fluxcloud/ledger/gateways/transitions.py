"""Gateways: registering one with its bond, and retiring it.

All stand in one record, so that a node can prove that it knows each; the bond keeps that record short.
Reads nodes (a hot key is one thing's only); writes gateways and accounts.
Source: RECORDS.md 1, 2; tests/vectors/gateways/.
"""

from __future__ import annotations

from ...ids import Address, GatewayId, compute_gateway_id, render_gateway
from ..accounts.model import ACCOUNTS
from ..accounts.transitions import lock, unlock
from ..module import Context
from ..nodes.certificates import validate_certificate
from ..nodes.model import NODES
from ..nodes.queries import find_node_by_hot
from ..nodes.validation import (
    validate_account,
    validate_host,
    validate_hot_key,
    validate_hot_proof,
    validate_location,
    validate_port,
)
from ..params import Params
from ..state import State
from .errors import BadZone, HostTaken, HotKeyTaken, NotOwner, TooManyGateways
from .messages import GatewayRegister, GatewayRegistered, GatewayRetire, GatewayRetired
from .model import GATEWAYS, Gateway, Gateways
from .queries import get_gateway, get_gateways

GATEWAYS_MAX = 1_000
ZONES_MAX = 8
ZONE_CHARS_MAX = 200  # an app's name and a dot stand before it
_LABEL_CHARS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")


def process_gateway_register(state: State, msg: GatewayRegister, ctx: Context) -> None:
    """Make a gateway of the sender and lock its bond.

    Emits: GatewayRegistered. Raises, first that applies: BadField (nodes/4), BadZone (gateways/3), BadHotProof
        (nodes/8), BadCertificate (nodes/9), TooManyGateways (gateways/4), HotKeyTaken (gateways/5), HostTaken
        (gateways/6), InsufficientBalance (accounts/1).
    """
    gateway_id = compute_gateway_id(ctx.chain_id, ctx.sender, ctx.nonce, ctx.index)
    gateway = Gateway(
        id=gateway_id,
        owner=ctx.sender,
        operator=msg.operator,
        hot=msg.hot,
        cert=msg.cert,
        host=msg.host,
        http_port=msg.http_port,
        zones=msg.zones,
        location=msg.location,
        bond=ctx.params.gateway_bond,
    )
    validate_gateway(gateway, ctx.params)
    validate_hot_proof(ctx.chain_id, ctx.sender, gateway_id, msg.hot, msg.hot_proof)
    validate_certificate(msg.cert, msg.hot, render_gateway(gateway_id))
    add_gateway(state, gateway)
    ctx.emit(GatewayRegistered(gateway_id, msg.host))


def validate_gateway(gateway: Gateway, params: Params) -> None:
    """Bounds of every claimed field. Raises BadField (nodes/4), BadZone (gateways/3)."""
    validate_account("operator", gateway.operator)
    validate_hot_key(gateway.hot)
    validate_host(gateway.host, params)
    validate_port("http_port", gateway.http_port)
    validate_location(gateway.location)
    zones = gateway.zones
    if not 1 <= len(zones) <= ZONES_MAX or tuple(sorted(set(zones))) != zones:
        raise BadZone(f"zones: {len(zones)}; allowed are 1..{ZONES_MAX}, sorted, each once")
    for zone in zones:
        if not _is_domain(zone):
            raise BadZone(f"zones: {zone[:64]!a} is no lower-case domain name of at most {ZONE_CHARS_MAX} characters")


def add_gateway(state: State, gateway: Gateway) -> None:
    """Write a new gateway and lock its owner's bond. Raises gateways/4 .. gateways/6, accounts/1."""
    others = get_gateways(state)
    if len(others) >= GATEWAYS_MAX:
        raise TooManyGateways(f"there are {GATEWAYS_MAX}; one must retire first")
    if find_node_by_hot(state, gateway.hot) is not None or any(other.hot == gateway.hot for other in others):
        raise HotKeyTaken
    if any((other.host, other.http_port) == (gateway.host, gateway.http_port) for other in others):
        raise HostTaken(f"host: {gateway.host}:{gateway.http_port} is another gateway's")
    lock(state, Address(gateway.owner), gateway.bond)
    state.set(GATEWAYS, "", Gateways(tuple(sorted((*others, gateway), key=lambda entry: entry.id))))


def process_gateway_retire(state: State, msg: GatewayRetire, ctx: Context) -> None:
    """Take a gateway out at once and free its bond.

    Emits: GatewayRetired. Raises, first that applies: UnknownGateway (gateways/1), NotOwner (gateways/2).
    """
    gateway = get_gateway(state, GatewayId(msg.gateway))
    if ctx.sender != gateway.owner:
        raise NotOwner
    left = tuple(entry for entry in get_gateways(state) if entry.id != gateway.id)
    state.set(GATEWAYS, "", Gateways(left))
    unlock(state, Address(gateway.owner), gateway.bond)
    ctx.emit(GatewayRetired(gateway.id))


def check_gateways(state: State, params: Params) -> None:
    """Invariant: sorted by id, each once; all that is locked is collateral of a node or a gateway's bond."""
    entries = get_gateways(state)
    ids = [gateway.id for gateway in entries]
    assert ids == sorted(set(ids))
    locked = sum(account.locked for _, account in state.items(ACCOUNTS))
    held = sum(node.collateral for _, node in state.items(NODES)) + sum(gateway.bond for gateway in entries)
    assert locked == held, (locked, held)


def _is_domain(zone: str) -> bool:
    return 1 <= len(zone) <= ZONE_CHARS_MAX and all(_is_label(label) for label in zone.split("."))


def _is_label(label: str) -> bool:
    return (
        1 <= len(label) <= 63
        and all(char in _LABEL_CHARS for char in label)
        and not label.startswith("-")
        and not label.endswith("-")
    )
