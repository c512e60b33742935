"""Genesis: the first state, built from what people agreed on before the first block.

Nodes start active with their collateral locked and their panels drawn. Its hash is the first beacon.
Source: LEDGER.md 3 and 5, RECORDS.md 4 and 5.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from ..crypto import ED25519_KEY_BYTES, is_small_order_key
from ..errors import Rejected
from ..ids import ID_BYTES, Address, GatewayId, NodeId, render_gateway, render_node
from ..units import AMOUNT_MAX
from .accounts.model import ACCOUNTS
from .accounts.queries import get_supply
from .accounts.transitions import mint, validate_address
from .block import CLOCK, PARAMS, LedgerClock
from .gateways.model import Gateway
from .gateways.queries import get_gateways
from .gateways.transitions import add_gateway, validate_gateway
from .genesis_file import parse_genesis, render_genesis
from .genesis_model import (
    BadGenesis,
    Genesis,
    compute_genesis_gateway_id,
    compute_genesis_hash,
    compute_genesis_node_id,
    make_genesis_node,
)
from .module import Context
from .nodes.certificates import validate_certificate
from .nodes.model import NODES, Node
from .nodes.transitions import add_node, validate_node
from .params import Params
from .state import State
from .transition import TABLES, check_invariants, finish_genesis
from .validators.model import VALIDATORS, Validator
from .validators.queries import compute_validator_address
from .validators.transitions import TIP_BYTES

__all__ = [
    "BadGenesis",
    "Genesis",
    "build_state",
    "compute_genesis_gateway_id",
    "compute_genesis_hash",
    "compute_genesis_node_id",
    "make_genesis_node",
    "parse_genesis",
    "render_genesis",
]

T = TypeVar("T")

CHAIN_ID_CHARS_MAX = 48
POWER_MAX = 2**40  # CometBFT's sums of power stay far below its bound


def build_state(genesis: Genesis) -> State:
    """The state of height 0, with its records in the journal. Raises BadGenesis (genesis/1), naming the entry."""
    state = State(TABLES)
    params = genesis.params
    if not 1 <= len(genesis.chain_id) <= CHAIN_ID_CHARS_MAX or not genesis.chain_id.isascii():
        raise BadGenesis(f"chain_id: allowed are 1..{CHAIN_ID_CHARS_MAX} ASCII characters")
    if genesis.time_ms < 0:
        raise BadGenesis(f"time_ms: {genesis.time_ms}; it must not be negative")
    if not genesis.validators:
        raise BadGenesis("validators: there must be one at least")
    beacon = compute_genesis_hash(genesis)
    state.set(PARAMS, "", params)
    state.set(CLOCK, "", LedgerClock(0, genesis.time_ms, beacon, 0, genesis.chain_id))
    _add_all("accounts", genesis.accounts, lambda entry: _add_account(state, *entry))
    _add_all("nodes", genesis.nodes, lambda node: _add_node(state, node, params))
    _add_all("gateways", genesis.gateways, lambda gateway: _add_gateway(state, gateway, params))
    _add_all("validators", genesis.validators, lambda validator: _add_validator(state, validator, params))
    finish_genesis(state, Context(genesis.chain_id, params, 0, genesis.time_ms, 0, beacon, b""))
    check_invariants(state, params)
    return state


def _add_all(field: str, entries: tuple[T, ...], add: Callable[[T], None]) -> None:
    for index, entry in enumerate(entries):
        try:
            add(entry)
        except Rejected as error:
            raise BadGenesis(f"{field}[{index}]: {error.message}") from error


def _add_account(state: State, address: bytes, balance: int) -> None:
    validate_address("address", address)
    if state.get(ACCOUNTS, Address(address)) is not None:
        raise BadGenesis("this address is listed twice")
    if not 0 <= balance <= AMOUNT_MAX - get_supply(state).minted:
        raise BadGenesis(f"balance: {balance}; all balances together are 0..{AMOUNT_MAX} base units")
    mint(state, Address(address), balance)


def _add_node(state: State, node: Node, params: Params) -> None:
    validate_node(node, params)
    validate_certificate(node.cert, node.hot, render_node(NodeId(node.id)))
    if state.get(NODES, NodeId(node.id)) is not None:
        raise BadGenesis("this id is listed twice")
    if node != make_genesis_node(node, params):
        raise BadGenesis("a node begins active, unused, with the collateral of its tier")
    add_node(state, node, params)


def _add_gateway(state: State, gateway: Gateway, params: Params) -> None:
    validate_gateway(gateway, params)
    validate_certificate(gateway.cert, gateway.hot, render_gateway(GatewayId(gateway.id)))
    if len(gateway.id) != ID_BYTES or any(other.id == gateway.id for other in get_gateways(state)):
        raise BadGenesis("id: allowed are 20 bytes, each once")
    if gateway.bond:
        raise BadGenesis(f"bond: {gateway.bond}; a gateway that is there from the beginning has none")
    add_gateway(state, gateway)


def _add_validator(state: State, validator: Validator, params: Params) -> None:
    address = compute_validator_address(validator.pub)
    if len(validator.pub) != ED25519_KEY_BYTES or is_small_order_key(validator.pub):
        raise BadGenesis("pub: allowed are 32 bytes of an ed25519 key that is not of small order")
    if state.get(VALIDATORS, address) is not None:
        raise BadGenesis("this key is listed twice")
    if len(validator.tip) != TIP_BYTES or not 0 <= validator.links_left <= params.tip_links or validator.faults:
        raise BadGenesis(
            f"a validator begins with a tip of {TIP_BYTES} bytes, at most {params.tip_links} links, no fault"
        )
    if not 1 <= validator.power <= POWER_MAX:
        raise BadGenesis(f"power: {validator.power}; allowed are 1..{POWER_MAX}")
    state.set(VALIDATORS, address, validator)
