"""Whole stories, block by block, with honest monitors and jurors; a block is 500 ms."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from factories_liveness import Network, make_id, make_node
from fluxcloud.ledger.liveness.duty import get_duty
from fluxcloud.ledger.liveness.model import CASES, WATCHES
from fluxcloud.ledger.liveness.panels import get_monitors
from fluxcloud.ledger.nodes.model import NODES
from fluxcloud.ledger.params import MAINNET


def test_one_of_nine_dies_and_comes_back() -> None:
    network = Network([make_node(k) for k in range(1, 10)])
    network.walk(lambda: network.height == 10, blocks_max=10)
    network.kill(3)
    outcomes = network.walk(lambda: network.node(3).state == "down", blocks_max=20)
    # dead after block 10: three misses until 17, the jury drawn with 18's beacon, its votes in 20
    assert outcomes == {17: (("suspect", make_id(3)),), 20: (("down", make_id(3)),)}
    assert network.node(3).downs == (10_000,)
    assert get_duty(network.state, make_id(3)).targets == ()
    assert all(make_id(3) not in get_monitors(network.state, make_id(k)) for k in range(1, 10))

    network.walk(lambda: network.height == 30, blocks_max=10)
    del network.dead[make_id(3)]
    network.set_state(3, "pending")  # NodeUp
    outcomes = network.walk(lambda: network.node(3).state == "active", blocks_max=20)
    # seen from block 31 on for 2 s, then 2 s of probation
    assert outcomes == {35: (("probation", make_id(3)),), 39: (("active", make_id(3)),)}
    assert (network.state.count(CASES), network.state.count(WATCHES)) == (0, 0)


def test_one_of_five_dies_then_another() -> None:
    network = Network([make_node(k) for k in range(1, 6)])
    network.walk(lambda: network.height == 10, blocks_max=10)
    network.kill(3)
    network.walk(lambda: network.node(3).state == "down", blocks_max=10)
    assert network.height == 20
    network.kill(5)
    network.walk(lambda: network.node(5).state == "down", blocks_max=10)
    assert network.height == 30
    assert [network.node(k).state for k in (1, 2, 4)] == ["active"] * 3


def test_three_of_five_die_at_once_and_nobody_is_declared() -> None:
    network = Network([make_node(k) for k in range(1, 6)])
    network.kill(1, 2, 3)
    outcomes = network.walk(lambda: network.height == 60, blocks_max=60)
    assert outcomes == {}
    assert [network.node(k).state for k in range(1, 6)] == ["active"] * 5


def test_a_third_of_two_hundred_die_at_once_and_all_are_declared() -> None:
    """35 %: too many monitors died with their targets, so seats have to pass on before all can be declared."""
    network = Network([make_node(k) for k in range(1, 201)], MAINNET)
    network.walk(lambda: network.height == 10, blocks_max=10)
    dead = [k for k in range(1, 201) if k % 20 < 7]
    assert len(dead) == 70
    alive_monitors = Counter(
        sum(monitor not in {make_id(d) for d in dead} for monitor in get_monitors(network.state, make_id(k)))
        for k in dead
    )
    assert sum(count for alive, count in alive_monitors.items() if alive < 3) == 12
    network.kill(*dead)
    outcomes = network.walk(lambda: all(network.node(k).state == "down" for k in dead), blocks_max=40)
    kinds = {height: Counter(state for state, _ in result) for height, result in outcomes.items()}
    assert kinds == {
        17: {"suspect": 58},
        20: {"down": 56},
        24: {"suspect": 12},
        26: {"down": 2},
        27: {"down": 12},
    }
    assert all(network.node(k).state == "active" for k in range(1, 201) if k not in dead)
    # every panel is whole again, by living nodes
    network.walk(lambda: network.height == 30, blocks_max=10)
    gone = {make_id(k) for k in dead}
    for k in range(1, 201):
        monitors = get_monitors(network.state, make_id(k))
        assert len(monitors) == 5
        assert not gone & set(monitors)


@pytest.mark.parametrize("seed", range(4))
def test_churn__invariants_indexes_and_views_hold(seed: int) -> None:
    """Nodes die, come back, drain, retire and register at random; `Network` checks the state after each block."""
    choose = random.Random(seed)
    network = Network([make_node(k, operator=k % 9) for k in range(1, 16)], epoch_ms=10_000)
    registered = 15
    for _ in range(200):
        k = choose.randrange(1, registered + 1)
        state, is_dead = network.node(k).state, make_id(k) in network.dead
        if state in ("down", "deactivated") and is_dead:
            del network.dead[make_id(k)]
            network.set_state(k, "pending")
        elif state == "active" and not is_dead and len(network.dead) < 5:
            if choose.random() < 0.2:
                network.kill(k)
            elif choose.random() < 0.1:
                network.set_state(k, "draining", network.tick_ms + 3_000)
        elif state == "draining":
            network.set_state(k, "active")
        elif state in ("down", "pending") and choose.random() < 0.1:
            network.set_state(k, "retired")
        if choose.random() < 0.02:
            registered += 1
            network.state.set(NODES, make_id(registered), make_node(registered, state="pending"))
        network.walk(lambda: True, blocks_max=1)
    # peace: who lives is up again, and everybody is watched by as many as can be
    network.dead.clear()
    for k in range(1, registered + 1):
        if network.node(k).state in ("down", "draining"):
            network.set_state(k, "pending" if network.node(k).state == "down" else "active")
    network.walk(lambda: network.height == 240, blocks_max=40)
    states = {k: network.node(k).state for k in range(1, registered + 1)}
    assert {*states.values()} <= {"active", "retired"}
    owners = {network.node(k).owner for k in states if states[k] == "active"}
    for k in states:
        seats = min(5, len(owners - {network.node(k).owner})) if states[k] == "active" else 0
        assert len(get_monitors(network.state, make_id(k))) == seats
