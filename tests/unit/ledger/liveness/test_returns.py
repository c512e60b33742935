from __future__ import annotations

from typing import Any

import msgspec
import pytest

from factories_liveness import Messages, Moved, Network, make_id, make_node
from fluxcloud.ledger.liveness.model import WATCHES, Watch
from fluxcloud.ledger.liveness.panels import get_monitors
from fluxcloud.ledger.liveness.returns import compute_probation_ms
from fluxcloud.ledger.nodes.model import NODES
from fluxcloud.ledger.params import MAINNET, MINIMAL

TARGET = make_id(1)


def make_network(nodes: int = 9, *, fallen: bool = False, **numbers: Any) -> Network:
    """Node 1 is pending; `fallen` after a verdict at tick 0."""
    first = make_node(1, state="pending", downs=(0,) if fallen else ())
    network = Network([first, *(make_node(k) for k in range(2, nodes + 1))], **numbers)
    if fallen:
        network.state.set(WATCHES, TARGET, Watch(fallen=True))
        network.state.take_changes()
    return network


def say(network: Network, *seats: int, miss: bool = False) -> Messages:
    seated = get_monitors(network.state, TARGET)
    return [(seated[j], network.observe(seated[j], [TARGET], miss=miss)) for j in seats]


def wait(network: Network, tick_ms: int) -> list[tuple[Moved, ...]]:
    outcomes = []
    while network.tick_ms < tick_ms:
        outcomes.append(network.block())
    return outcomes


@pytest.mark.parametrize(("nodes", "quorum"), [(2, 1), (3, 2), (5, 3), (9, 3)])
def test_new_node__active_once_a_quorum_has_seen_it(nodes: int, quorum: int) -> None:
    network = make_network(nodes)
    assert network.block(say(network, *range(quorum - 1))) == ()
    assert network.block(say(network, quorum - 1)) == (("active", TARGET),)
    assert (network.node(1).state, network.node(1).reason) == ("active", "its panel has seen it")
    assert network.state.get(WATCHES, TARGET) is None


def test_new_node__a_miss_takes_the_word_back() -> None:
    network = make_network()
    network.block(say(network, 0, 1))
    network.block(say(network, 0, miss=True))
    assert network.block(say(network, 2)) == ()
    assert network.block(say(network, 0)) == (("active", TARGET),)


@pytest.mark.parametrize(("nodes", "needed"), [(2, 1), (3, 2), (4, 2), (5, 3), (9, 4)])
def test_return__probation_after_being_seen(nodes: int, needed: int) -> None:
    network = make_network(nodes, fallen=True)
    network.block(say(network, *range(needed - 1)))
    assert wait(network, 4_000) == [()] * 7
    network.block(say(network, needed - 1))  # at 4,500; seen for 2,000
    assert wait(network, 6_500) == [(), (), (), (("probation", TARGET),)]
    assert (network.node(1).state, network.node(1).until_tick) == ("probation", 8_500)
    assert wait(network, 8_500) == [(), (), (), (("active", TARGET),)]
    assert (network.node(1).state, network.node(1).reason) == ("active", "its probation is over")
    assert network.state.get(WATCHES, TARGET) is None


def test_return__a_miss_while_it_is_seen_begins_anew() -> None:
    network = make_network(5, fallen=True)
    network.block(say(network, 0, 1, 2))
    wait(network, 2_000)
    network.block(say(network, 1, miss=True))
    assert wait(network, 5_000) == [()] * 5
    network.block(say(network, 1))  # at 5,500
    assert wait(network, 7_500)[-1] == (("probation", TARGET),)


def test_return__said_before_it_came_back_counts_from_then_on() -> None:
    network = make_network(5, fallen=True)
    down = msgspec.structs.replace(network.node(1), state="down")
    network.state.set(NODES, TARGET, down)
    network.block(say(network, 0, 1, 2, 3))
    wait(network, 10_000)
    assert network.node(1).state == "down"
    network.set_state(1, "pending")  # NodeUp, at 10,000
    network.block(say(network, 0))
    assert wait(network, 12_000) == [(), (), (("probation", TARGET),)]


def test_return__seats_that_leave_do_not_count() -> None:
    network = make_network(5, fallen=True)
    network.block(say(network, 0, 1, 2))
    gone = get_monitors(network.state, TARGET)[0]
    network.set_state(next(k for k in range(2, 6) if make_id(k) == gone), "draining")
    assert wait(network, 2_500)[-1] == (("probation", TARGET),)  # two of now three are max(2, 2)


def test_return__one_too_few_after_a_seat_passed_on() -> None:
    network = make_network(20, fallen=True)
    network.block(say(network, 0, 1, 2, 3))
    gone = get_monitors(network.state, TARGET)[0]
    network.set_state(next(k for k in range(2, 21) if make_id(k) == gone), "draining")
    assert wait(network, 6_000) == [()] * 11
    network.block(say(network, 0))
    assert wait(network, 8_500)[-1] == (("probation", TARGET),)


@pytest.mark.parametrize(
    ("downs", "probation_ms"),
    [(0, 60_000), (1, 120_000), (3, 480_000), (8, 15_360_000), (9, 21_600_000), (99, 21_600_000)],
)
def test_probation__doubles_with_each_verdict_of_the_day(downs: int, probation_ms: int) -> None:
    assert compute_probation_ms(downs, MAINNET) == probation_ms
    assert compute_probation_ms(downs, MINIMAL) == 2_000


def test_probation__verdicts_older_than_a_day_do_not_count() -> None:
    network = make_network(7, fallen=True, params=MAINNET)
    network.tick_ms = 86_400_000
    node = msgspec.structs.replace(network.node(1), downs=(0, 86_000_000), since_tick=86_400_000)
    network.state.set(NODES, TARGET, node)
    network.block(say(network, 0, 1, 2, 3))
    assert wait(network, 86_430_500)[-1] == (("probation", TARGET),)
    assert network.node(1).until_tick == 86_430_500 + 120_000


def test_probation__a_case_in_between() -> None:
    network = make_network(5, fallen=True, probation_ms=3_000)
    network.block(say(network, 0, 1, 2))
    wait(network, 2_500)
    assert network.node(1).until_tick == 5_500
    network.block(say(network, 0, 1, 2, miss=True))
    assert network.node(1).state == "suspect"
    # nobody votes: four rounds of 3 s from 3,500 on, and the probation has ended meanwhile
    assert wait(network, 15_500)[-1] == (("probation", TARGET), ("active", TARGET))
    assert network.node(1).state == "active"
