"""Reserving, releasing, public ports, states."""

from __future__ import annotations

from itertools import product

import msgspec
import pytest

from factories import LedgerRunner, make_genesis
from fluxcloud.ledger.nodes.capacity import (
    PORTS_PER_NODE,
    compute_admissible,
    find_free_ports,
    is_port_used,
    release,
    reserve,
)
from fluxcloud.ledger.nodes.lanes import refill
from fluxcloud.ledger.nodes.model import Capacity, LaneState
from fluxcloud.ledger.nodes.queries import (
    compute_free,
    count_nodes_in_state,
    get_due_nodes,
    get_node,
    get_nodes_in_state,
)
from fluxcloud.ledger.nodes.states import ALLOWED, set_node_state
from fluxcloud.ledger.params import MINIMAL

BASE = 20_000


@pytest.fixture
def runner() -> LedgerRunner:
    return LedgerRunner(make_genesis(3))


def test_admissible__the_rest_is_the_systems() -> None:
    assert compute_admissible(Capacity(4_000, 8_192, 51_201), 50_000) == Capacity(3_800, 7_782, 48_640)
    assert compute_admissible(Capacity(4_000, 8_192, 51_201), 0) == Capacity(4_000, 8_192, 51_201)


def test_genesis__takes_the_reserve_off() -> None:
    genesis = make_genesis(1)
    params = msgspec.structs.replace(genesis.params, system_reserve_ppm=50_000)
    runner = LedgerRunner(msgspec.structs.replace(genesis, params=params))
    assert get_node(runner.state, runner.node_id(1)).capacity == Capacity(3_800, 7_782, 48_640)


def test_reserve_and_release(runner: LedgerRunner) -> None:
    state, node_id = runner.state, runner.node_id(1)
    before = get_node(state, node_id)
    node = reserve(state, node_id, Capacity(4_000, 8_192, 51_200))
    assert compute_free(node) == Capacity()
    with pytest.raises(AssertionError):
        reserve(state, node_id, Capacity(1, 0, 0))
    assert release(state, node_id, Capacity(4_000, 8_192, 51_200)) == before
    with pytest.raises(AssertionError):
        release(state, node_id, Capacity(0, 1, 0))


def test_ports(runner: LedgerRunner) -> None:
    state, node_id, none = runner.state, runner.node_id(1), Capacity()
    before = get_node(state, node_id)
    assert find_free_ports(before, 2) == (BASE, BASE + 1)
    node = reserve(state, node_id, none, (BASE, BASE + 9, BASE + PORTS_PER_NODE - 1))
    assert [is_port_used(node, BASE + i) for i in (0, 1, 9, 998, 999)] == [True, False, True, False, True]
    assert find_free_ports(node, 9) == (*range(BASE + 1, BASE + 9), BASE + 10)
    assert len(find_free_ports(node, PORTS_PER_NODE)) == PORTS_PER_NODE - 3
    with pytest.raises(AssertionError):
        reserve(state, node_id, none, (BASE + 9,))
    with pytest.raises(AssertionError):
        release(state, node_id, none, (BASE + 1,))
    with pytest.raises(AssertionError):
        reserve(state, node_id, none, (BASE + PORTS_PER_NODE,))
    assert release(state, node_id, none, (BASE + PORTS_PER_NODE - 1, BASE, BASE + 9)) == before


@pytest.mark.parametrize(
    ("old", "new"), [pair for pair in product(ALLOWED, ALLOWED) if pair[1] not in ALLOWED[pair[0]]]
)
def test_states_that_must_not_follow(runner: LedgerRunner, old: str, new: str) -> None:
    path = {
        "pending": ("suspect", "down", "pending"),
        "active": (),
        "draining": ("draining",),
        "drained": ("draining", "drained"),
        "probation": ("suspect", "down", "pending", "probation"),
        "suspect": ("suspect",),
        "down": ("suspect", "down"),
        "deactivated": ("deactivated",),
        "retired": ("retired",),
    }[old]
    for step in path:
        set_node_state(runner.state, runner.node_id(1), step, "", runner.context())  # type: ignore[arg-type]
    with pytest.raises(AssertionError):
        set_node_state(runner.state, runner.node_id(1), new, "", runner.context())  # type: ignore[arg-type]


def test_queries_by_state(runner: LedgerRunner) -> None:
    state = runner.state
    set_node_state(state, runner.node_id(2), "draining", "", runner.context(), 900)
    set_node_state(state, runner.node_id(1), "draining", "", runner.context(), 800)
    assert list(get_nodes_in_state(state, "draining")) == [runner.node_id(1), runner.node_id(2)]
    assert list(get_nodes_in_state(state, "active")) == [runner.node_id(3)]
    assert [count_nodes_in_state(state, name) for name in ("active", "draining", "drained")] == [1, 2, 0]
    assert get_due_nodes(state, "draining", 799, 9) == []
    assert get_due_nodes(state, "draining", 900, 1) == [runner.node_id(1)]
    assert get_due_nodes(state, "draining", 900, 9) == [runner.node_id(1), runner.node_id(2)]


def test_reasons_are_shortened(runner: LedgerRunner) -> None:
    node = set_node_state(runner.state, runner.node_id(1), "suspect", "x" * 200, runner.context())
    assert node.reason == "x" * 120


def test_refill() -> None:
    assert refill(None, 5, MINIMAL) == 20_000
    assert refill(LaneState(1, 0, 1_000), 1_250, MINIMAL) == 1_000
    assert refill(LaneState(1, 19_999, 1_000), 9_000, MINIMAL) == 20_000
