from __future__ import annotations

from typing import Any

import pytest

from factories_liveness import Network, make_id, make_node
from fluxcloud.ids import NodeId
from fluxcloud.ledger.liveness.messages import CaseOpened, Observation, Observe
from fluxcloud.ledger.liveness.model import CASES, WATCHES, Case, Sighting, Watch
from fluxcloud.ledger.liveness.panels import get_monitors
from fluxcloud.ledger.liveness.transitions import is_observe_assigned
from fluxcloud.ledger.nodes.messages import NodeStateChanged
from fluxcloud.ledger.params import MAINNET

TARGET = make_id(1)


def make_network(nodes: int = 9, **numbers: Any) -> Network:
    return Network([make_node(k) for k in range(1, nodes + 1)], **numbers)


def monitors(network: Network) -> tuple[NodeId, ...]:
    return get_monitors(network.state, TARGET)


def say(network: Network, *seats: int, miss: bool = True, last_ok_tick: int = 0) -> list[tuple[NodeId, Observe]]:
    """The target's monitors in these seats say a miss (or ok) of it."""
    seated = monitors(network)
    return [(seated[j], network.observe(seated[j], [TARGET], miss=miss, last_ok_tick=last_ok_tick + j)) for j in seats]


def test_observe__below_quorum() -> None:
    network = make_network()
    m = monitors(network)
    assert network.block(say(network, 0, 2, last_ok_tick=400)) == ()
    sightings = (Sighting(m[0], True, 500, 400), Sighting(m[2], True, 500, 402))
    assert network.state.get(WATCHES, TARGET) == Watch(sightings)
    assert network.node(1).state == "active"
    assert network.state.get(CASES, TARGET) is None


def test_observe__at_quorum() -> None:
    network = make_network()
    m = monitors(network)
    assert network.block(say(network, 0, 2, 4, last_ok_tick=400)) == (("suspect", TARGET),)
    reporters = tuple(sorted((m[0], m[2], m[4])))
    assert network.state.get(CASES, TARGET) == Case(1, 500, reporters, last_ok_tick=404)
    node = network.node(1)
    assert (node.state, node.before, node.since_tick) == ("suspect", "active", 500)
    assert network.events == [
        NodeStateChanged(TARGET, "active", "suspect", "3 monitors have no answer from it"),
        CaseOpened(TARGET, reporters),
    ]


@pytest.mark.parametrize(("nodes", "quorum"), [(2, 1), (3, 2), (4, 2), (5, 3), (6, 3), (20, 3)])
def test_observe__quorum_by_size_of_network(nodes: int, quorum: int) -> None:
    network = make_network(nodes)
    assert network.block(say(network, *range(quorum - 1))) == ()
    assert network.block(say(network, quorum - 1)) == (("suspect", TARGET),)


def test_observe__misses_count_for_ten_seconds() -> None:
    network = make_network()
    network.block(say(network, 0, 1))
    for _ in range(19):
        network.block()
    assert network.tick_ms == 10_000
    assert network.block(say(network, 2)) == ()  # 10.0 s after the first two
    assert network.block(say(network, 0, 1)) == (("suspect", TARGET),)


def test_observe__misses_at_the_edge_of_the_window() -> None:
    network = make_network()
    network.block(say(network, 0, 1))
    for _ in range(18):
        network.block()
    assert network.block(say(network, 2)) == (("suspect", TARGET),)  # 9.5 s after


def test_observe__one_seat_counts_once() -> None:
    network = make_network()
    assert network.block(say(network, 0, 0, 0, 1)) == ()


def test_observe__ok_withdraws_a_miss() -> None:
    network = make_network()
    network.block(say(network, 0, 1))
    network.block(say(network, 0, miss=False))
    assert network.block(say(network, 2)) == ()
    network.block(say(network, 1, 2, miss=False))
    assert network.state.get(WATCHES, TARGET) is None


def test_observe__ok_of_an_active_node_leaves_no_record() -> None:
    network = make_network()
    network.block(say(network, 0, miss=False))
    assert network.rejected == []
    assert network.state.get(WATCHES, TARGET) is None


def test_observe__last_answer_in_the_future_is_now() -> None:
    network = make_network()
    network.block(say(network, 0, last_ok_tick=9_999))
    watch = network.state.get(WATCHES, TARGET)
    assert watch is not None
    assert watch.sightings[0].last_ok_tick == 500


@pytest.mark.parametrize("state", ["draining", "probation"])
def test_observe__draining_and_probation_can_be_suspect(state: Any) -> None:
    network = Network([make_node(1, state=state, until_tick=90_000), *(make_node(k) for k in range(2, 10))])
    assert network.block(say(network, 0, 1, 2)) == (("suspect", TARGET),)
    assert (network.node(1).before, network.node(1).until_tick) == (state, 90_000)


@pytest.mark.parametrize("state", ["pending", "drained", "down", "deactivated"])
def test_observe__others_cannot(state: Any) -> None:
    network = Network([make_node(1, state=state), *(make_node(k) for k in range(2, 10))])
    assert network.block(say(network, 0, 1, 2, 3, 4)) == ()
    assert network.rejected == []
    assert network.state.get(WATCHES, TARGET) is None


def test_observe__word_of_a_lost_seat_does_not_count() -> None:
    network = make_network(30)
    network.block(say(network, 0, 1))
    lost = next(k for k in range(1, 31) if make_id(k) == monitors(network)[0])
    network.set_state(lost, "draining")
    network.block()
    assert network.block(say(network, 2)) == ()
    assert network.block(say(network, 0)) == (("suspect", TARGET),)  # whoever has the seat now


def test_observe__word_of_a_monitor_that_became_suspect_in_the_same_block_does_not_count() -> None:
    network = make_network(6)
    first = say(network, 0, 1)
    gone = monitors(network)[0]
    others = [monitor for monitor in get_monitors(network.state, gone) if monitor != TARGET][:3]
    against = [(monitor, network.observe(monitor, [gone], miss=True)) for monitor in others]
    outcomes = network.block([*first, *against, *say(network, 2)])
    assert outcomes == (("suspect", gone),)


def test_observe__panel_below_the_minimum_opens_no_case() -> None:
    network = Network([make_node(k) for k in range(1, 6)], MAINNET)
    assert network.block(say(network, 0, 1, 2, 3)) == ()
    network = Network([make_node(k) for k in range(1, 7)], MAINNET)
    assert network.block(say(network, 0, 1, 2)) == (("suspect", TARGET),)


def test_observe__a_batch_leaves_out_what_is_not_seated() -> None:
    network = make_network(30)
    sender = monitors(network)[0]
    stranger = next(make_id(k) for k in range(2, 31) if sender not in get_monitors(network.state, make_id(k)))
    network.block([(sender, network.observe(sender, [TARGET, stranger], miss=True))])
    assert network.rejected == []
    assert network.state.get(WATCHES, TARGET) is not None
    assert network.state.get(WATCHES, stranger) is None


def test_observe__of_the_epoch_before() -> None:
    network = make_network()
    messages = say(network, 0)
    network.checks = False
    for _ in range(120):
        network.block()
    network.block(messages)
    assert "liveness/2" not in network.rejected
    for _ in range(120):
        network.block()
    network.block(messages)
    assert network.rejected == ["liveness/2"]


def test_invalid_future_epoch() -> None:
    network = make_network()
    sender = monitors(network)[0]
    network.block([(sender, Observe(3, (Observation(TARGET, True, 0),)))])
    assert network.rejected == ["liveness/2"]


def test_invalid_not_seated() -> None:
    network = make_network(30)
    stranger = next(make_id(k) for k in range(2, 31) if make_id(k) not in monitors(network))
    message = network.observe(stranger, [TARGET], miss=True)
    network.block([(stranger, message)])
    assert network.rejected == ["liveness/4"]
    assert not is_observe_assigned(network.state, message, stranger)
    assert is_observe_assigned(network.state, message, monitors(network)[0])


def test_invalid_not_active() -> None:
    network = make_network()
    sender = monitors(network)[0]
    message = network.observe(sender, [TARGET], miss=True)
    network.set_state(next(k for k in range(1, 10) if make_id(k) == sender), "draining")
    network.block([(sender, message), (NodeId(b"\x01" * 20), message)])
    assert network.rejected == ["liveness/3", "liveness/3"]


TOO_MANY = [*(bytes([i, 0]) for i in range(256)), b"\xff\xff"]


@pytest.mark.parametrize("targets", [[], TOO_MANY, [TARGET, TARGET], [b"\x02" * 20, b"\x01" * 20]])
def test_invalid_batch(targets: list[bytes]) -> None:
    network = make_network()
    observations = tuple(Observation(target, True, 0) for target in targets)
    network.block([(monitors(network)[0], Observe(2, observations))])
    assert network.rejected == ["liveness/1"]
