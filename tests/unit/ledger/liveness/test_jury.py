from __future__ import annotations

from typing import Any

import pytest

from factories_liveness import Moved, Network, make_id, make_node
from fluxcloud.ids import NodeId
from fluxcloud.ledger.liveness.duty import get_duty
from fluxcloud.ledger.liveness.messages import CaseClosed, JuryDrawn, JuryVote, Vote
from fluxcloud.ledger.liveness.model import CASES, DEMERITS, WATCHES, Case, Demerits, Jury, Watch
from fluxcloud.ledger.liveness.panels import get_monitors
from fluxcloud.ledger.liveness.transitions import is_jury_vote_assigned
from fluxcloud.ledger.nodes.messages import NodeStateChanged
from fluxcloud.ledger.params import MAINNET

TARGET = make_id(1)


def open_case(nodes: int = 20, *, miss: int | None = None, **numbers: Any) -> Network:
    """A case against node 1, opened in block 1 by a quorum of its monitors (or by `miss` of them)."""
    network = Network(
        [make_node(k, **numbers.pop("claims", {}) if k == 1 else {}) for k in range(1, nodes + 1)], **numbers
    )
    seated = get_monitors(network.state, TARGET)
    quorum = seated[: miss or len(seated) // 2 + 1]
    messages = [(monitor, network.observe(monitor, [TARGET], miss=True)) for monitor in quorum]
    assert network.block(messages) == (("suspect", TARGET),)
    return network


def get_case(network: Network) -> Case:
    case = network.state.get(CASES, TARGET)
    assert case is not None
    return case


def vote(network: Network, misses: int, oks: int = 0, skip: int = 0) -> list[tuple[NodeId, JuryVote]]:
    """The first jurors say miss, the following ones ok."""
    case = get_case(network)
    said = [True] * misses + [False] * oks
    return [
        (NodeId(juror), JuryVote((Vote(TARGET, case.opened_height, case.round, miss),)))
        for juror, miss in zip(case.jurors[skip:], said, strict=False)
    ]


def wait(network: Network, tick_ms: int) -> list[tuple[Moved, ...]]:
    outcomes = []
    while network.tick_ms < tick_ms:
        outcomes.append(network.block())
    return outcomes


def test_jury__drawn_in_the_next_block_without_the_reporters() -> None:
    network = open_case()
    assert get_case(network).jurors == ()
    assert network.block() == ()
    case = get_case(network)
    assert len(set(case.jurors)) == 7
    assert not {TARGET, *case.reporters} & set(case.jurors)
    assert (case.round, case.deadline_tick) == (1, 4_000)
    assert network.events == [JuryDrawn(TARGET, 1, case.jurors)]
    for juror in case.jurors:
        assert get_duty(network.state, NodeId(juror)).juries == (Jury(TARGET, 1, 1),)


def test_jury__beacon_of_the_next_block_decides() -> None:
    one, other = open_case(), open_case()
    other.height = 50  # another height: another beacon
    one.block()
    other.block()
    assert get_case(one).jurors != get_case(other).jurors


@pytest.mark.parametrize(("nodes", "size"), [(2, 1), (3, 2), (5, 4), (7, 6), (8, 7), (9, 7)])
def test_jury__reporters_sit_where_too_few_remain(nodes: int, size: int) -> None:
    network = open_case(nodes)
    network.block()
    case = get_case(network)
    assert len(set(case.jurors)) == size
    strangers = nodes - 1 - len(case.reporters)
    assert len(set(case.jurors) - set(case.reporters)) == min(size, strangers)


@pytest.mark.parametrize(("nodes", "misses"), [(2, 1), (3, 2), (4, 3), (5, 3), (6, 4), (7, 5), (8, 5), (20, 5)])
def test_verdict__down_at_the_threshold(nodes: int, misses: int) -> None:
    network = open_case(nodes)
    network.block()
    assert network.block(vote(network, misses - 1)) == ()
    assert network.block(vote(network, 1, skip=misses - 1)) == (("down", TARGET),)
    node = network.node(1)
    jury = min(nodes - 1, 7)
    assert (node.state, node.downs) == ("down", (2_000,))
    assert node.reason == f"{misses} of {jury} jurors had no answer from it"
    assert network.events == [
        CaseClosed(TARGET, "down", misses, 0),
        NodeStateChanged(TARGET, "suspect", "down", node.reason),
    ]
    assert network.state.get(CASES, TARGET) is None
    assert network.state.get(WATCHES, TARGET) == Watch(fallen=True)
    assert all(not get_duty(network.state, make_id(k)).juries for k in range(1, nodes + 1))


@pytest.mark.parametrize(("nodes", "oks"), [(2, 1), (3, 1), (4, 1), (5, 2), (6, 2), (7, 2), (8, 3), (20, 3)])
def test_verdict__refuted_at_the_threshold(nodes: int, oks: int) -> None:
    network = open_case(nodes)
    reporters = get_case(network).reporters
    network.block()
    network.block(vote(network, 0, oks - 1))
    assert network.node(1).state == "suspect"
    assert network.block(vote(network, 0, 1, skip=oks - 1)) == (("active", TARGET),)
    node = network.node(1)
    assert (node.state, node.downs, node.reason) == ("active", (), "a jury had answers from it")
    assert CaseClosed(TARGET, "refuted", 0, oks) in network.events
    assert network.state.get(WATCHES, TARGET) == Watch(paused=tuple((reporter, 4_000) for reporter in reporters))


def test_verdict__all_votes_of_the_block_count() -> None:
    network = open_case()
    network.block()
    assert network.block(vote(network, 6, 1)) == (("down", TARGET),)
    assert CaseClosed(TARGET, "down", 6, 1) in network.events


def test_verdict__split_jury_waits_for_the_last_vote() -> None:
    network = open_case()
    network.block()
    assert network.block(vote(network, 4, 2)) == ()
    assert network.block(vote(network, 1, 0, skip=6)) == (("down", TARGET),)


@pytest.mark.parametrize("before", ["draining", "probation"])
def test_verdict__refuted_returns_to_what_it_was(before: Any) -> None:
    network = open_case(claims={"state": before, "until_tick": 60_000})
    network.block()
    network.block(vote(network, 0, 3))
    assert (network.node(1).state, network.node(1).until_tick) == (before, 60_000)


def test_refuted__reporters_pause() -> None:
    network = open_case()
    reporters = get_case(network).reporters
    network.block()
    network.block(vote(network, 0, 3))  # at 1,500; they may report again at 3,500
    seated = get_monitors(network.state, TARGET)
    paused = [monitor for monitor in seated if monitor in reporters]
    others = [monitor for monitor in seated if monitor not in reporters]
    assert (len(paused), len(others)) == (3, 2)
    miss = [(monitor, network.observe(monitor, [TARGET], miss=True)) for monitor in seated]
    assert wait(network, 2_500) == [(), ()]
    assert network.block(miss) == ()  # two of five
    assert network.block(miss[:3]) == (("suspect", TARGET),)


def test_refuted__demerits_of_a_day() -> None:
    network = open_case()
    reporters = get_case(network).reporters
    network.block()
    network.block(vote(network, 0, 3))
    assert [network.state.get(DEMERITS, NodeId(reporter)) for reporter in reporters] == [Demerits(1_500, 1)] * 3
    for tick_ms, expected in ((10_000, Demerits(1_500, 2)), (86_401_500, Demerits(86_403_000, 1))):
        network.tick_ms = tick_ms
        again = [(NodeId(r), network.observe(NodeId(r), [TARGET], miss=True)) for r in reporters]
        assert network.block(again) == (("suspect", TARGET),)
        network.block()
        network.block(vote(network, 0, 3))
        assert [network.state.get(DEMERITS, NodeId(reporter)) for reporter in reporters] == [expected] * 3


def test_refuted__no_demerits_in_a_small_network() -> None:
    network = open_case(11)  # ten are eligible while node 1 is suspect
    network.block()
    network.block(vote(network, 0, 3))
    assert network.state.count(DEMERITS) == 0


def test_rounds__fresh_jurors_each_time_then_undecided() -> None:
    network = open_case(50)
    network.block()
    served: set[bytes] = set()
    for round_number, end_tick in ((1, 4_000), (2, 7_000), (3, 10_000)):
        case = get_case(network)
        assert (case.round, case.deadline_tick, len(case.jurors)) == (round_number, end_tick, 7)
        assert not served & set(case.jurors)
        served |= set(case.jurors)
        network.block(vote(network, 4, 2))  # not enough of either
        assert wait(network, end_tick) == [()] * 5
        assert get_case(network).votes == ()
    assert get_case(network).round == 4
    assert len(served | set(get_case(network).jurors)) == 28
    assert wait(network, 13_000)[-1] == (("active", TARGET),)
    assert CaseClosed(TARGET, "undecided", 0, 0) in network.events
    node = network.node(1)
    assert (node.state, node.reason) == ("active", "no jury could tell whether it answers")
    assert network.state.get(WATCHES, TARGET) == Watch(not_before_tick=16_000)
    assert network.state.count(DEMERITS) == 0


def test_undecided__no_new_case_before_the_pause_is_over() -> None:
    network = open_case()
    wait(network, 13_000)
    seated = get_monitors(network.state, TARGET)
    miss = [(monitor, network.observe(monitor, [TARGET], miss=True)) for monitor in seated]
    wait(network, 15_000)
    assert network.block(miss) == ()
    assert network.block(miss[:1]) == (("suspect", TARGET),)


def test_rounds__earlier_jurors_sit_again_where_there_are_no_others() -> None:
    network = open_case(5)
    network.block()
    first = set(get_case(network).jurors)
    wait(network, 4_000)
    assert get_case(network).round == 2
    assert set(get_case(network).jurors) == first


def test_jury__below_the_minimum_gives_no_verdict() -> None:
    network = Network([make_node(k) for k in range(1, 8)], MAINNET)
    seated = get_monitors(network.state, TARGET)[:3]
    network.block([(monitor, network.observe(monitor, [TARGET], miss=True)) for monitor in seated])
    network.block()
    assert len(get_case(network).jurors) == 6
    assert network.block(vote(network, 6)) == ()
    assert wait(network, 13_000)[-1] == (("active", TARGET),)


def test_vote__of_a_juror_that_left_is_missing() -> None:
    network = open_case()
    network.block()
    messages = vote(network, 5)
    network.set_state(next(k for k in range(2, 21) if make_id(k) == messages[0][0]), "draining")
    assert network.block(messages) == ()
    assert network.rejected == ["liveness/3"]
    assert get_duty(network.state, messages[0][0]).juries == ()


def test_case__of_a_node_that_was_taken_out_is_void() -> None:
    network = open_case()
    network.block()
    network.set_state(1, "deactivated")
    outcomes = network.block(vote(network, 5))
    assert outcomes == ()
    assert network.state.get(CASES, TARGET) is None
    assert network.node(1).state == "deactivated"


def test_invalid_not_juror() -> None:
    network = open_case()
    network.block()
    case = get_case(network)
    stranger = next(make_id(k) for k in range(2, 21) if make_id(k) not in case.jurors)
    juror = NodeId(case.jurors[0])
    good = JuryVote((Vote(TARGET, 1, 1, True),))
    bad = (
        (stranger, good),
        (juror, JuryVote((Vote(TARGET, 1, 2, True),))),
        (juror, JuryVote((Vote(TARGET, 2, 1, True),))),
        (juror, JuryVote((Vote(make_id(2), 1, 1, True),))),
    )
    assert not any(is_jury_vote_assigned(network.state, message, sender) for sender, message in bad)
    network.block(bad)
    assert network.rejected == ["liveness/5"] * 4
    assert is_jury_vote_assigned(network.state, good, juror)
    network.block([(juror, good)])
    assert network.rejected == []
    network.block([(juror, JuryVote((Vote(TARGET, 1, 1, False),)))])
    assert network.rejected == ["liveness/5"]
    assert get_case(network).votes == ((juror, True),)


def test_vote__a_batch_leaves_out_closed_cases() -> None:
    network = open_case()
    network.block()
    juror = NodeId(get_case(network).jurors[0])
    votes = sorted((Vote(TARGET, 1, 1, True), Vote(make_id(2), 1, 1, True)), key=lambda one: one.target)
    network.block([(juror, JuryVote(tuple(votes)))])
    assert network.rejected == []
    assert get_case(network).votes == ((juror, True),)


def test_invalid_votes_not_sorted() -> None:
    network = open_case()
    network.block()
    juror = NodeId(get_case(network).jurors[0])
    network.block([(juror, JuryVote((Vote(TARGET, 1, 1, True),) * 2)), (juror, JuryVote(()))])
    assert network.rejected == ["liveness/1", "liveness/1"]
