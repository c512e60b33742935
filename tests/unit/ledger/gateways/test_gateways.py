from __future__ import annotations

from typing import Any

import msgspec
import pytest

from factories import LedgerRunner, make_address_of, make_cert, make_genesis, make_key, sign_hot_proof
from factories_vectors import check_vector
from fluxcloud.ids import GatewayId, compute_gateway_id, render_gateway
from fluxcloud.ledger.accounts.messages import Transfer
from fluxcloud.ledger.accounts.queries import get_account
from fluxcloud.ledger.gateways.messages import GatewayRegister, GatewayRegistered, GatewayRetire, GatewayRetired
from fluxcloud.ledger.gateways.model import GATEWAYS, Gateways
from fluxcloud.ledger.gateways.queries import get_gateway, get_gateways
from fluxcloud.ledger.gateways.transitions import GATEWAYS_MAX
from fluxcloud.ledger.nodes.model import Location

ALICE = make_address_of("alice")


@pytest.fixture
def runner() -> LedgerRunner:
    return LedgerRunner(make_genesis(3))


def next_id(runner: LedgerRunner) -> GatewayId:
    return compute_gateway_id(runner.genesis.chain_id, ALICE, get_account(runner.state, ALICE).nonce, 0)


def register(runner: LedgerRunner, key: str = "gateway-hot/9", **fields: Any) -> GatewayRegister:
    gateway_id = next_id(runner)
    message = GatewayRegister(
        operator=ALICE,
        hot=make_key(key).public,
        hot_proof=sign_hot_proof(key, ALICE, gateway_id),
        cert=make_cert(key, render_gateway(gateway_id)),
        host="127.0.0.9",
        http_port=80,
        zones=("a.example", "b.example"),
        location=Location("EU", "DE"),
    )
    return msgspec.structs.replace(message, **fields)


def test_register_and_retire(runner: LedgerRunner) -> None:
    gateway_id, bond = next_id(runner), runner.params.gateway_bond
    receipt = check_vector(runner, runner.user("alice", register(runner)), "gateways", "gateway_register")
    assert receipt.events == (GatewayRegistered(gateway_id, "127.0.0.9"),)
    assert get_gateway(runner.state, gateway_id).bond == bond
    assert get_account(runner.state, ALICE).locked == bond
    ids = [gateway.id for gateway in get_gateways(runner.state)]
    assert (len(ids), ids) == (2, sorted(ids))
    receipt = check_vector(runner, runner.user("alice", GatewayRetire(gateway_id)), "gateways", "gateway_retire")
    assert receipt.events == (GatewayRetired(gateway_id),)
    assert get_account(runner.state, ALICE).locked == 0
    assert len(get_gateways(runner.state)) == 1


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"operator": b""}, "nodes/4"),
        ({"hot": bytes(32)}, "nodes/4"),
        ({"host": "localhost"}, "nodes/4"),
        ({"http_port": 0}, "nodes/4"),
        ({"location": Location("europe")}, "nodes/4"),
        ({"zones": ()}, "gateways/3"),
        ({"zones": ("b.example", "a.example")}, "gateways/3"),
        ({"zones": ("a.example", "a.example")}, "gateways/3"),
        ({"zones": tuple(f"a{i}.example" for i in range(9))}, "gateways/3"),
        ({"zones": ("A.example",)}, "gateways/3"),
        ({"zones": ("a..example",)}, "gateways/3"),
        ({"zones": ("-a.example",)}, "gateways/3"),
        ({"zones": ("a" * 64 + ".example",)}, "gateways/3"),
        ({"zones": (".".join(["a" * 50] * 4),)}, "gateways/3"),
        ({"hot_proof": bytes(64)}, "nodes/8"),
        ({"cert": b""}, "nodes/9"),
        ({"host": "127.0.0.1", "http_port": 8_080}, "gateways/6"),
    ],
)
def test_invalid_field(runner: LedgerRunner, fields: dict[str, Any], code: str) -> None:
    assert runner.reject(runner.user("alice", register(runner, **fields))).code == code


@pytest.mark.parametrize("hot", ["gateway-hot/1", "hot/1"])
def test_invalid_hot_key_taken(runner: LedgerRunner, hot: str) -> None:
    assert runner.reject(runner.user("alice", register(runner, hot))).code == "gateways/5"


def test_invalid_too_many(runner: LedgerRunner) -> None:
    (one,) = get_gateways(runner.state)
    many = tuple(msgspec.structs.replace(one, id=i.to_bytes(20)) for i in range(GATEWAYS_MAX))
    runner.state.set(GATEWAYS, "", Gateways(many))
    assert runner.reject(runner.user("alice", register(runner))).code == "gateways/4"


def test_invalid_bond(runner: LedgerRunner) -> None:
    balance = get_account(runner.state, ALICE).balance
    left = runner.params.gateway_bond + 2_000_000 - 1
    runner.apply(runner.user("alice", Transfer(make_address_of("bob"), balance - 1_000_000 - left)))
    assert runner.reject(runner.user("alice", register(runner), fee=2_000_000)).code == "accounts/1"


def test_invalid_retire(runner: LedgerRunner) -> None:
    assert runner.reject(runner.user("alice", GatewayRetire(bytes(20)))).code == "gateways/1"
    (one,) = get_gateways(runner.state)
    assert runner.reject(runner.user("alice", GatewayRetire(one.id))).code == "gateways/2"
