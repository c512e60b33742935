"""Nodes through whole blocks: each message, each refusal, timers."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from factories import (
    CAPACITY,
    LedgerRunner,
    make_address_of,
    make_cert,
    make_enc_pub,
    make_endpoint,
    make_genesis,
    make_key,
    make_node_register,
    sign_hot_proof,
)
from factories_vectors import check_vector
from fluxcloud.ids import NodeId, compute_node_id, render_node
from fluxcloud.ledger.accounts.messages import Transfer
from fluxcloud.ledger.accounts.queries import get_account
from fluxcloud.ledger.nodes.capacity import release, reserve
from fluxcloud.ledger.nodes.messages import (
    NodeAddress,
    NodeCordoned,
    NodeDrain,
    NodeRegister,
    NodeRegistered,
    NodeReplaceHot,
    NodeResume,
    NodeRetire,
    NodeStateChanged,
    NodeUp,
)
from fluxcloud.ledger.nodes.model import NODES, Capacity, Endpoint, Location, Node
from fluxcloud.ledger.nodes.queries import find_node_by_hot, get_node
from fluxcloud.ledger.nodes.states import set_cordon, set_node_state
from fluxcloud.ledger.params import MAINNET
from fluxcloud.units import FLUX

ALICE = make_address_of("alice")
COLLATERAL = 1_000 * FLUX
COPY = Capacity(500, 512, 2_048)


@pytest.fixture
def runner() -> LedgerRunner:
    return LedgerRunner(make_genesis(3))


def next_id(runner: LedgerRunner, owner: str = "alice") -> NodeId:
    address = make_address_of(owner)
    return compute_node_id(runner.genesis.chain_id, address, get_account(runner.state, address).nonce, 0)


def register(runner: LedgerRunner, k: int = 9, owner: str = "alice", **claims: Any) -> NodeRegister:
    return make_node_register(k, owner, next_id(runner, owner), **claims)


def refuse(runner: LedgerRunner, name: str, message: Any) -> str:
    return runner.reject(runner.user(name, message)).code


def node_of(runner: LedgerRunner, k: int = 1) -> Node:
    return get_node(runner.state, runner.node_id(k))


def put_state(runner: LedgerRunner, k: int, *states: Any) -> None:
    """Take node `k` through states, as liveness does."""
    for new in states:
        set_node_state(runner.state, runner.node_id(k), new, "for the test", runner.context())
    runner.block()


# registering


def test_register(runner: LedgerRunner) -> None:
    node_id = next_id(runner)
    receipt = check_vector(runner, runner.user("alice", register(runner)), "nodes", "node_register")
    assert receipt.events == (NodeRegistered(node_id, ALICE),)
    node = get_node(runner.state, node_id)
    assert (node.state, node.collateral, node.owner, node.used) == ("pending", COLLATERAL, ALICE, Capacity())
    assert get_account(runner.state, ALICE).locked == COLLATERAL
    assert find_node_by_hot(runner.state, make_key("hot/9").public) == node_id


def test_register__tiers(runner: LedgerRunner) -> None:
    node_id = next_id(runner)
    runner.apply(runner.user("alice", register(runner, tier=3)))
    assert get_node(runner.state, node_id).collateral == 40_000 * FLUX


ENDPOINT = make_endpoint(9)


@pytest.mark.parametrize(
    ("claims", "field"),
    [
        ({"operator": b"\x00" * 20}, "operator"),
        ({"payout": b"\x07" * 21}, "payout"),
        ({"hot": bytes(31)}, "hot"),
        ({"hot": b"\x01" + bytes(31)}, "hot"),
        ({"enc": bytes(65)}, "enc"),
        ({"enc": make_enc_pub("x")[:64]}, "enc"),
        ({"endpoint": Endpoint("example.org", 1, 2, 3, 20_000)}, "host"),
        ({"endpoint": Endpoint("127.0.0.01", 1, 2, 3, 20_000)}, "host"),
        ({"endpoint": Endpoint("2001:DB8::1", 1, 2, 3, 20_000)}, "host"),
        ({"endpoint": Endpoint("fe80::1%eth0", 1, 2, 3, 20_000)}, "host"),
        ({"endpoint": Endpoint("::ffff:1.2.3.4", 1, 2, 3, 20_000)}, "host"),
        ({"endpoint": Endpoint("::ffff:102:304", 1, 2, 3, 20_000)}, "host"),
        ({"endpoint": Endpoint("127.0.0.1", 0, 2, 3, 20_000)}, "endpoint.api_port"),
        ({"endpoint": Endpoint("127.0.0.1", 1, 65_536, 3, 20_000)}, "endpoint.ingress_port"),
        ({"endpoint": Endpoint("127.0.0.1", 1, 1, 3, 20_000)}, "endpoint.ingress_port"),
        ({"endpoint": Endpoint("127.0.0.1", 1, 2, 20_999, 20_000)}, "endpoint.probe_port"),
        ({"endpoint": Endpoint("127.0.0.1", 1, 2, 3, 1_023)}, "endpoint.port_base"),
        ({"endpoint": Endpoint("127.0.0.1", 1, 2, 3, 64_537)}, "endpoint.port_base"),
        ({"capacity": Capacity(0, 1, 1)}, "capacity.mcpu"),
        ({"capacity": Capacity(1, 2**24 + 1, 1)}, "capacity.mem_mib"),
        ({"capacity": Capacity(1, 1, -1)}, "capacity.disk_mib"),
        ({"location": Location("Eu", "DE")}, "location.continent"),
        ({"location": Location("EU", "DEU")}, "location.country"),
        ({"location": Location("EU", "DE", "a b")}, "location.region"),
        ({"location": Location("EU", "DE", "x" * 33)}, "location.region"),
        ({"asn": -1}, "asn"),
        ({"asn": 2**32}, "asn"),
    ],
)
def test_invalid_field(runner: LedgerRunner, claims: dict[str, Any], field: str) -> None:
    receipt = runner.reject(runner.user("alice", register(runner, **claims)))
    assert receipt.code == "nodes/4"
    assert receipt.message.startswith(f"{field}: ")


@pytest.mark.parametrize(
    ("host", "code"),
    [("127.0.0.1", "nodes/4"), ("10.1.2.3", "nodes/4"), ("100.64.0.1", "nodes/4"), ("224.0.0.1", "nodes/4"),
     ("fd00::1", "nodes/4"), ("::1", "nodes/4"), ("8.8.8.8", ""), ("2606:4700::1", "")],
)  # fmt: skip
def test_mainnet_wants_routed_addresses(host: str, code: str) -> None:
    runner = LedgerRunner(make_genesis(0, gateways=0, preset=MAINNET))
    endpoint = Endpoint(host, 16_127, 16_128, 16_129, 20_000)
    assert runner.block(runner.user("alice", register(runner, endpoint=endpoint))).receipts[-1].code == code


def test_register__takes_the_reserve_off() -> None:
    runner = LedgerRunner(make_genesis(0, gateways=0, preset=MAINNET))
    endpoint = Endpoint("8.8.8.8", 16_127, 16_128, 16_129, 20_000)
    node_id = next_id(runner)
    runner.apply(runner.user("alice", register(runner, endpoint=endpoint)))
    node = runner.state.get(NODES, node_id)
    assert node is not None
    assert node.capacity == Capacity(3_800, 7_782, 48_640)


def test_invalid_hot_proof(runner: LedgerRunner) -> None:
    for proof in (sign_hot_proof("hot/8", ALICE, next_id(runner)), sign_hot_proof("hot/9", ALICE, NodeId(bytes(20)))):
        assert refuse(runner, "alice", register(runner, hot_proof=proof)) == "nodes/8"


def test_invalid_certificate(runner: LedgerRunner) -> None:
    name = render_node(next_id(runner))
    assert refuse(runner, "alice", register(runner, cert=b"")) == "nodes/9"
    assert refuse(runner, "alice", register(runner, cert=make_cert("hot/9", name))) == "nodes/9"  # of the nonce before


def test_invalid_taken(runner: LedgerRunner) -> None:
    hot = {"hot": make_key("hot/1").public, "hot_proof": sign_hot_proof("hot/1", ALICE, next_id(runner))}
    cert = make_cert("hot/1", render_node(next_id(runner)))
    assert refuse(runner, "alice", register(runner, **hot, cert=cert)) == "nodes/5"
    assert refuse(runner, "alice", register(runner, enc=make_enc_pub("enc/1"))) == "nodes/6"
    assert refuse(runner, "alice", register(runner, endpoint=make_endpoint(1))) == "nodes/7"


def test_invalid_collateral(runner: LedgerRunner) -> None:
    runner.apply(runner.user("alice", Transfer(make_address_of("poor"), COLLATERAL)))
    assert refuse(runner, "poor", register(runner, owner="poor")) == "accounts/1"


def test_unknown_node(runner: LedgerRunner) -> None:
    nobody = bytes(20)
    for message in (NodeRetire(nobody), NodeDrain(nobody, 5), NodeResume(b""), NodeAddress(nobody, ENDPOINT)):
        assert refuse(runner, "alice", message) == "nodes/1"


# draining


def test_drain_and_resume(runner: LedgerRunner) -> None:
    node_id, until = runner.node_id(1), runner.tick_ms + 60_000
    reserve(runner.state, node_id, COPY)
    tx = runner.user("owner/1", NodeDrain(node_id, until))
    mark = runner.state.mark()
    runner.checks = False  # the reservation has no placement, which the scheduler's invariants would find
    receipt = runner.block(tx).receipts[-1]
    assert receipt.events == (NodeStateChanged(node_id, "active", "draining", "drained by its operator"),)
    assert (node_of(runner).state, node_of(runner).until_tick, mark > 0) == ("draining", until, True)
    release(runner.state, node_id, COPY)
    assert NodeStateChanged(node_id, "draining", "drained", "it holds no copy any more") in runner.apply()
    assert node_of(runner).until_tick == until
    runner.apply(runner.user("owner/1", NodeResume(node_id)))
    assert node_of(runner).state == "active"


def test_drain__an_empty_node_is_drained_at_once(runner: LedgerRunner) -> None:
    tx = runner.user("owner/1", NodeDrain(runner.node_id(1), runner.tick_ms + 60_000))
    assert check_vector(runner, tx, "nodes", "node_drain").code == ""
    assert node_of(runner).state == "drained"
    assert (
        check_vector(runner, runner.user("owner/1", NodeResume(runner.node_id(1))), "nodes", "node_resume").code == ""
    )


def test_drain__ends_by_itself(runner: LedgerRunner) -> None:
    runner.apply(runner.user("owner/1", NodeDrain(runner.node_id(1), runner.tick_ms + 1_500)))
    runner.run_ms(500)
    assert node_of(runner).state == "drained"
    runner.run_ms(500)
    assert (node_of(runner).state, node_of(runner).until_tick) == ("active", 0)


def test_drain__at_limit(runner: LedgerRunner) -> None:
    node_id = runner.node_id(1)
    now, most = runner.tick_ms + 500, runner.params.drain_ms_max
    assert refuse(runner, "owner/1", NodeDrain(node_id, now)) == "nodes/11"
    assert refuse(runner, "owner/1", NodeDrain(node_id, now + 500 + most + 1)) == "nodes/11"
    runner.apply(runner.user("owner/1", NodeDrain(node_id, now + 1_000 + most)))


def test_invalid_drain(runner: LedgerRunner) -> None:
    node_id = runner.node_id(1)
    assert refuse(runner, "alice", NodeDrain(node_id, runner.tick_ms + 5_000)) == "nodes/3"
    assert refuse(runner, "owner/1", NodeResume(node_id)) == "nodes/10"
    runner.checks = False  # a suspect without a case
    put_state(runner, 1, "suspect")
    assert refuse(runner, "owner/1", NodeDrain(node_id, runner.tick_ms + 5_000)) == "nodes/10"


def test_resume__lifts_a_cordon(runner: LedgerRunner) -> None:
    node_id, ctx = runner.node_id(1), runner.context()
    set_cordon(runner.state, node_id, True, "for the test", ctx)
    set_cordon(runner.state, node_id, True, "again", ctx)  # changes nothing, says nothing
    assert ctx.events == [NodeCordoned(node_id, True, "for the test")]
    events = runner.apply(runner.user("owner/1", NodeResume(node_id)))
    assert events == [NodeCordoned(node_id, False, "cordon lifted by its operator")]
    assert not node_of(runner).cordoned


def test_a_suspicion_keeps_the_drain(runner: LedgerRunner) -> None:
    until = runner.tick_ms + 60_000
    ctx = runner.context()
    set_node_state(runner.state, runner.node_id(1), "draining", "", ctx, until)
    set_node_state(runner.state, runner.node_id(1), "suspect", "", ctx)
    assert node_of(runner).before == "draining"
    set_node_state(runner.state, runner.node_id(1), "draining", "", ctx)
    assert (node_of(runner).state, node_of(runner).until_tick) == ("draining", until)


# back, away, elsewhere


def test_node_up(runner: LedgerRunner) -> None:
    put_state(runner, 1, "suspect", "down")
    runner.apply(runner.report(1, NodeUp()))
    assert node_of(runner).state == "pending"
    runner.apply(runner.report(1, NodeUp()))  # said again: nothing changes
    assert node_of(runner).state == "pending"


def test_downs_of_the_last_day(runner: LedgerRunner) -> None:
    day = 86_400_000
    for tick in (1_000, 2_000, day + 1_000):
        ctx = runner.context(tick_ms=tick)
        for new in ("suspect", "down", "pending", "active"):
            set_node_state(runner.state, runner.node_id(1), new, "", ctx)  # type: ignore[arg-type]
    assert node_of(runner).downs == (2_000, day + 1_000)


def test_retire_and_unbond(runner: LedgerRunner) -> None:
    node_id, owner = runner.node_id(1), make_address_of("owner/1")
    assert refuse(runner, "owner/1", NodeRetire(node_id)) == "nodes/10"
    assert refuse(runner, "alice", NodeRetire(node_id)) == "nodes/2"
    runner.apply(runner.user("owner/1", NodeDrain(node_id, runner.tick_ms + 60_000)))
    assert check_vector(runner, runner.user("owner/1", NodeRetire(node_id)), "nodes", "node_retire").code == ""
    assert node_of(runner).state == "retired"
    assert get_account(runner.state, owner).locked == COLLATERAL
    runner.block(after_ms=runner.params.unbonding_ms - 1)
    assert node_of(runner).state == "retired"
    runner.block(after_ms=1)
    assert runner.state.get(NODES, node_id) is None
    assert get_account(runner.state, owner).locked == 0


def test_retired__its_endpoint_is_free_its_keys_are_not(runner: LedgerRunner) -> None:
    runner.apply(runner.user("owner/1", NodeDrain(runner.node_id(1), runner.tick_ms + 60_000)))
    runner.apply(runner.user("owner/1", NodeRetire(runner.node_id(1))))
    assert refuse(runner, "alice", register(runner, enc=make_enc_pub("enc/1"))) == "nodes/6"
    runner.apply(runner.user("alice", register(runner, endpoint=make_endpoint(1))))
    assert refuse(runner, "owner/1", make_replace_hot(runner, "hot/8")) == "nodes/10"


def make_replace_hot(runner: LedgerRunner, key: str, **fields: Any) -> NodeReplaceHot:
    node = node_of(runner)
    message = NodeReplaceHot(
        node.id,
        make_key(key).public,
        sign_hot_proof(key, make_address_of("owner/1"), NodeId(node.id)),
        make_enc_pub(key),
        make_cert(key, render_node(NodeId(node.id))),
    )
    return msgspec.structs.replace(message, **fields)


def test_replace_hot(runner: LedgerRunner) -> None:
    tx = runner.user("owner/1", make_replace_hot(runner, "hot/8"))
    assert check_vector(runner, tx, "nodes", "node_replace_hot").code == ""
    assert node_of(runner).hot == make_key("hot/8").public
    assert find_node_by_hot(runner.state, make_key("hot/1").public) is None


def test_invalid_replace_hot(runner: LedgerRunner) -> None:
    assert refuse(runner, "alice", make_replace_hot(runner, "hot/8")) == "nodes/3"
    assert refuse(runner, "owner/1", make_replace_hot(runner, "hot/8", hot=bytes(32))) == "nodes/4"
    assert refuse(runner, "owner/1", make_replace_hot(runner, "hot/8", hot_proof=bytes(64))) == "nodes/8"
    assert refuse(runner, "owner/1", make_replace_hot(runner, "hot/8", cert=bytes(64))) == "nodes/9"
    assert refuse(runner, "owner/1", make_replace_hot(runner, "hot/2")) == "nodes/5"
    assert refuse(runner, "owner/1", make_replace_hot(runner, "hot/8", enc=make_enc_pub("enc/2"))) == "nodes/6"


def test_address(runner: LedgerRunner) -> None:
    node_id = runner.node_id(1)
    assert refuse(runner, "owner/1", NodeAddress(node_id, ENDPOINT)) == "nodes/10"
    runner.apply(runner.user("owner/1", NodeDrain(node_id, runner.tick_ms + 60_000)))
    assert refuse(runner, "owner/1", NodeAddress(node_id, make_endpoint(2))) == "nodes/7"
    assert refuse(runner, "owner/1", NodeAddress(node_id, Endpoint("x", 1, 2, 3, 20_000))) == "nodes/4"
    assert (
        check_vector(runner, runner.user("owner/1", NodeAddress(node_id, ENDPOINT)), "nodes", "node_address").code == ""
    )
    assert (node_of(runner).endpoint, node_of(runner).state) == (ENDPOINT, "pending")


def test_address__public_ports_in_use_keep_their_base(runner: LedgerRunner) -> None:
    put_state(runner, 1, "suspect", "down")
    runner.checks = False  # a reservation without a placement
    reserve(runner.state, runner.node_id(1), COPY, (20_000,))
    moved = msgspec.structs.replace(ENDPOINT, port_base=30_000)
    assert refuse(runner, "owner/1", NodeAddress(runner.node_id(1), moved)) == "nodes/4"
    runner.apply(runner.user("owner/1", NodeAddress(runner.node_id(1), ENDPOINT)))


def test_capacity_of_the_fixture_is_that_of_up() -> None:
    assert (CAPACITY.mcpu, CAPACITY.mem_mib, CAPACITY.disk_mib) == (4_000, 8_192, 51_200)
