"""Genesis: the first state, its file, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import msgspec
import pytest

from factories import (
    CHAIN_ID,
    GENESIS_MS,
    dump,
    make_address_of,
    make_gateway,
    make_genesis,
    make_node,
    make_validator,
)
from factories_vectors import compare_vector
from fluxcloud.ids import compute_node_id
from fluxcloud.ledger.accounts.model import Account, Supply
from fluxcloud.ledger.accounts.queries import get_account, get_supply
from fluxcloud.ledger.block import get_clock, get_params
from fluxcloud.ledger.gateways.queries import get_gateways
from fluxcloud.ledger.genesis import (
    BadGenesis,
    Genesis,
    build_state,
    compute_genesis_hash,
    compute_genesis_node_id,
    parse_genesis,
    render_genesis,
)
from fluxcloud.ledger.nodes.model import Capacity
from fluxcloud.ledger.nodes.queries import count_nodes_in_state
from fluxcloud.ledger.params import MAINNET, MINIMAL
from fluxcloud.tree import Tree, compute_tree_key
from fluxcloud.units import AMOUNT_MAX, FLUX, U64_MAX

BALANCE = 1_000_000 * FLUX


def test_build_state() -> None:
    genesis = make_genesis(4)
    state = build_state(genesis)
    assert get_params(state) == MINIMAL
    clock = get_clock(state)
    assert (clock.height, clock.tick_ms, clock.time_ms) == (0, 0, GENESIS_MS)
    assert clock.beacon == compute_genesis_hash(genesis)
    assert count_nodes_in_state(state, "active") == 4
    assert get_account(state, make_address_of("owner/1")) == Account(BALANCE - 1_000 * FLUX, 1_000 * FLUX, 0)
    assert get_supply(state) == Supply(len(genesis.accounts) * BALANCE, 0)
    assert len(get_gateways(state)) == 1


def test_build_state__root() -> None:
    """The root of a fixed genesis: a change of it is a change of the chain."""
    changes = build_state(make_genesis(4)).take_changes()
    tree = Tree.build([(compute_tree_key(c.table, c.key), c.value) for c in changes if c.value is not None])
    vector = {"genesis": render_genesis(make_genesis(4)), "records": len(changes), "root": tree.root.hex()}
    compare_vector(vector, "genesis", "four_nodes")


def test_build_state__alone() -> None:
    """A network may begin with its validator only."""
    state = build_state(make_genesis(0, gateways=0, people=()))
    assert [change.table for change in dump(state) if change.table in ("nodes", "gateways", "accounts")] == []


@pytest.mark.parametrize("preset", [MINIMAL, MAINNET], ids=["minimal", "mainnet"])
def test_file_round_trip(preset: Any) -> None:
    genesis = make_genesis(3, preset=preset, epoch_ms=1_234, collateral=(1, 2, AMOUNT_MAX))
    text = render_genesis(genesis)
    assert parse_genesis(text) == genesis
    assert render_genesis(parse_genesis(text)) == text
    assert '"overrides": {\n      "collateral": [\n        "1",\n        "2",\n        "9223372036854775807"' in text


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('"chain_id": "flux-test-1",', "", "missing required field `chain_id`"),
        ('"time_ms": 1', '"time_ms": "1', "genesis file: "),
        ('"preset": "minimal"', '"preset": "tiny"', "params.preset: 'tiny'; allowed are mainnet, minimal"),
        ('"overrides": {}', '"overrides": {"spam": 1}', "params.overrides: there is no parameter 'spam'"),
        ('"overrides": {}', '"overrides": {"epoch_ms": "x"}', "genesis file: "),
        ('"address": "flux1q', '"address": "flux1p', "genesis file: "),
        ('"balance": "100000000000000"', '"balance": "-1"', "is not an amount"),
        ('"hot": "', '"hot": "zz', "is not hexadecimal"),
        ('"asn": ', '"spam": 1, "asn": ', "unknown field `spam` - at `$.nodes["),
        ('"tier": 1', '"tier": 4', "].tier`"),
    ],
)
def test_invalid_file(old: str, new: str, problem: str) -> None:
    text = render_genesis(make_genesis(2))
    assert old in text
    with pytest.raises(BadGenesis) as caught:
        parse_genesis(text.replace(old, new, 1))
    assert problem in caught.value.message


def change(**fields: Any) -> Genesis:
    return msgspec.structs.replace(make_genesis(2), **fields)


NODE, GATEWAY, VALIDATOR = make_node(1, 1), make_gateway(1), make_validator(1)
RICH = (make_address_of("owner/1"), BALANCE)


@pytest.mark.parametrize(
    ("genesis", "problem"),
    [
        (change(chain_id=""), "chain_id: "),
        (change(chain_id="ü"), "chain_id: "),
        (change(time_ms=-1), "time_ms: -1"),
        (change(validators=()), "validators: "),
        (change(accounts=((b"", 1),)), "accounts[0]: address: "),
        (change(accounts=(RICH, RICH)), "accounts[1]: this address is listed twice"),
        (change(accounts=((RICH[0], -1),)), "accounts[0]: balance: -1"),
        (change(accounts=(RICH, (make_address_of("x"), AMOUNT_MAX))), "accounts[1]: balance: "),
        (change(accounts=()), "nodes[0]: the free balance is 0"),
        (change(nodes=(NODE, NODE)), "nodes[1]: this id is listed twice"),
        (change(nodes=(make_node(1, 1, capacity=Capacity(0, 0, 0)),)), "nodes[0]: capacity.mcpu: 0"),
        (change(nodes=(make_node(1, 1, cert=b""),)), "nodes[0]: cert: "),
        (change(nodes=(msgspec.structs.replace(NODE, state="pending"),)), "nodes[0]: a node begins active"),
        (change(gateways=(GATEWAY, GATEWAY)), "gateways[1]: id: "),
        (change(gateways=(msgspec.structs.replace(GATEWAY, bond=1),)), "gateways[0]: bond: 1"),
        (change(validators=(VALIDATOR, VALIDATOR)), "validators[1]: this key is listed twice"),
        (change(validators=(msgspec.structs.replace(VALIDATOR, pub=bytes(32)),)), "validators[0]: pub: "),
        (change(validators=(msgspec.structs.replace(VALIDATOR, tip=b""),)), "validators[0]: a validator begins with"),
        (change(validators=(msgspec.structs.replace(VALIDATOR, power=0),)), "validators[0]: power: 0"),
    ],
)
def test_invalid_genesis(genesis: Genesis, problem: str) -> None:
    with pytest.raises(BadGenesis) as caught:
        build_state(genesis)
    assert caught.value.message.startswith(problem)


def test_ids_of_genesis_are_nobodys_later() -> None:
    """No transaction can have the nonce that they stand for."""
    owner = make_address_of("owner/1")
    assert compute_genesis_node_id(CHAIN_ID, owner, 3) == compute_node_id(CHAIN_ID, owner, U64_MAX, 3)


def test_optimised_python_is_refused() -> None:
    code = "from fluxcloud.ledger.assertions import require_assertions; require_assertions()"
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0
    optimised = subprocess.run([sys.executable, "-O", "-c", code], check=False, capture_output=True, text=True)
    assert optimised.returncode == 1
    assert "assertions are switched off" in optimised.stderr
