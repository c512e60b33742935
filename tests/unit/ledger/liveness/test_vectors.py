"""Liveness through the whole ledger: signed transactions, envelopes, the transition; written down as vectors."""

from __future__ import annotations

import hashlib

import pytest

from factories import LedgerRunner, make_genesis
from factories_liveness import make_node
from factories_vectors import check_vector, compare_vector
from fluxcloud.ids import NodeId
from fluxcloud.ledger.liveness.draw import draw
from fluxcloud.ledger.liveness.electorate import Electorate
from fluxcloud.ledger.liveness.messages import CaseOpened, JuryVote, Observation, Observe, Vote
from fluxcloud.ledger.liveness.model import CASES, Case
from fluxcloud.ledger.liveness.panels import get_monitors
from fluxcloud.ledger.nodes.model import NODES
from fluxcloud.ledger.params import MAINNET

NODE_COUNT = 9
EPOCH = 2


@pytest.fixture
def runner() -> LedgerRunner:
    runner = LedgerRunner(make_genesis(NODE_COUNT))
    runner.apply()
    return runner


def get_number(runner: LedgerRunner, node_id: bytes) -> int:
    return next(k for k in range(1, NODE_COUNT + 1) if runner.node_id(k) == node_id)


def observe(runner: LedgerRunner, seat: int, *, miss: bool = True, epoch: int = EPOCH) -> bytes:
    """The transaction of node 3's monitor in this seat."""
    target = runner.node_id(3)
    monitor = get_monitors(runner.state, target)[seat]
    return runner.watch(get_number(runner, monitor), Observe(epoch, (Observation(target, miss, 250),)))


def get_case(runner: LedgerRunner) -> Case:
    case = runner.state.get(CASES, runner.node_id(3))
    assert case is not None
    return case


def vote(runner: LedgerRunner, juror: int, *, miss: bool = True) -> bytes:
    case = get_case(runner)
    ballot = Vote(runner.node_id(3), case.opened_height, case.round, miss)
    return runner.watch(get_number(runner, case.jurors[juror]), JuryVote((ballot,)))


def open_case(runner: LedgerRunner) -> None:
    runner.apply(*(observe(runner, seat) for seat in range(3)))
    runner.apply()


def get_state(runner: LedgerRunner) -> str:
    node = runner.state.get(NODES, runner.node_id(3))
    assert node is not None
    return node.state


def test_observe(runner: LedgerRunner) -> None:
    assert check_vector(runner, observe(runner, 0), "liveness", "observe").code == ""


def test_observe__at_quorum(runner: LedgerRunner) -> None:
    runner.apply(observe(runner, 0), observe(runner, 1))
    receipt = check_vector(runner, observe(runner, 2), "liveness", "observe_at_quorum")
    assert isinstance(receipt.events[-1], CaseOpened)
    assert get_state(runner) == "suspect"


def test_observe__ok_withdraws(runner: LedgerRunner) -> None:
    runner.apply(observe(runner, 0))
    assert check_vector(runner, observe(runner, 0, miss=False), "liveness", "observe_ok").code == ""


def test_observe__invalid_stale_epoch(runner: LedgerRunner) -> None:
    receipt = check_vector(runner, observe(runner, 0, epoch=4), "liveness", "observe_stale_epoch")
    assert receipt.code == "liveness/2"


def test_jury_vote(runner: LedgerRunner) -> None:
    open_case(runner)
    assert check_vector(runner, vote(runner, 0), "liveness", "jury_vote").code == ""


def test_jury_vote__down(runner: LedgerRunner) -> None:
    open_case(runner)
    runner.apply(*(vote(runner, juror) for juror in range(4)))
    check_vector(runner, vote(runner, 4), "liveness", "jury_vote_down")
    assert get_state(runner) == "down"


def test_jury_vote__refuted(runner: LedgerRunner) -> None:
    open_case(runner)
    runner.apply(*(vote(runner, juror, miss=False) for juror in range(2)))
    check_vector(runner, vote(runner, 2, miss=False), "liveness", "jury_vote_refuted")
    assert get_state(runner) == "active"


def test_unassigned_messages_are_refused_before_their_signature(runner: LedgerRunner) -> None:
    open_case(runner)
    target, seated = runner.node_id(3), get_monitors(runner.state, runner.node_id(3))
    stranger = next(k for k in range(1, 10) if runner.node_id(k) not in seated and k != 3)
    assert runner.reject(runner.watch(stranger, Observe(EPOCH, (Observation(target, True, 0),)))).code == "tx/21"
    assert runner.reject(runner.watch(3, JuryVote((Vote(target, 2, 1, False),)))).code == "tx/21"


def test_draw() -> None:
    """Sixty operators of two nodes each; the heaviest is capped."""
    nodes = [make_node(k, operator=k % 60, collateral=(1, 12, 40)[k % 3] * 1_000) for k in range(1, 121)]
    nodes[59] = make_node(60, operator=0, collateral=2_000_000)
    electorate = Electorate()
    for node in nodes:
        electorate.follow(NODES, NodeId(node.id), None, node)
    seeds = [hashlib.sha256(b"seed/%d" % i).digest() for i in range(20)]
    vector = {
        "cap_ppm": MAINNET.draw_cap_ppm,
        "prefix_bits": MAINNET.prefix_bits,
        "nodes": [[n.id.hex(), n.owner.hex(), n.endpoint.host, n.asn, n.collateral] for n in nodes],
        "draws": [
            {
                "seed": seed.hex(),
                "target": nodes[i].id.hex(),
                "n": 5,
                "drawn": [drawn.hex() for drawn in draw(electorate, seed, nodes[i], 5, MAINNET)],
            }
            for i, seed in enumerate(seeds)
        ],
    }
    compare_vector(vector, "liveness", "draw")
