from __future__ import annotations

import hashlib
from collections import Counter
from typing import Any

import msgspec
import pytest

from factories_liveness import make_id, make_node
from fluxcloud.ids import NodeId
from fluxcloud.ledger.liveness.draw import draw
from fluxcloud.ledger.liveness.electorate import Electorate, make_member
from fluxcloud.ledger.nodes.model import NODES, Endpoint, Node
from fluxcloud.ledger.params import MAINNET, MINIMAL


def make_electorate(nodes: list[Node]) -> Electorate:
    electorate = Electorate()
    for node in nodes:
        electorate.follow(NODES, NodeId(node.id), None, node)
    return electorate


def make_nodes(count: int, **claims: Any) -> list[Node]:
    return [make_node(k, **claims) for k in range(1, count + 1)]


def make_seed(number: int) -> bytes:
    return hashlib.sha256(b"seed/%d" % number).digest()


def get_numbers(drawn: tuple[NodeId, ...]) -> list[int]:
    known = {make_id(k): k for k in range(1, 1_000)}
    return [known[node_id] for node_id in drawn]


def at(host: str) -> Endpoint:
    return Endpoint(host, 1, 2, 3, 20_000)


def test_draw__exact_values() -> None:
    """These numbers are consensus: a draw that gives others forks the chain."""
    nodes = make_nodes(100)
    drawn = [draw(make_electorate(nodes), make_seed(i), nodes[0], 5, MAINNET) for i in range(3)]
    assert [get_numbers(one) for one in drawn] == EXPECTED


EXPECTED = [[65, 52, 47, 2, 29], [16, 96, 40, 88, 55], [93, 59, 33, 70, 13]]


def test_draw__operators_and_prefixes_are_distinct_and_not_the_targets() -> None:
    # three nodes an operator, and each prefix shared by nodes of two operators
    nodes = [
        make_node(k, operator=k // 3, endpoint=at(f"10.0.{k % 40}.{k // 40 + 1}"), asn=k % 7) for k in range(1, 121)
    ]
    electorate = make_electorate(nodes)
    by_id = {node.id: make_member(node) for node in nodes}
    for i in range(200):
        target = nodes[i % len(nodes)]
        members = [
            by_id[target.id],
            *(by_id[node_id] for node_id in draw(electorate, make_seed(i), target, 5, MAINNET)),
        ]
        assert len(members) == 6
        assert len({member.operator for member in members}) == 6
        assert len({member.compute_prefix(24) for member in members}) == 6
        assert len({member.asn for member in members[1:]}) >= 3


def test_draw__ipv6_prefix_is_48_bits() -> None:
    nodes = [make_node(1), *(make_node(k, endpoint=at(f"2001:db8:1:{k}::1")) for k in (2, 3))]
    other = make_node(4, endpoint=at("2001:db8:2::1"))
    electorate = make_electorate([*nodes, other])
    for i in range(20):
        first, second = get_numbers(draw(electorate, make_seed(i), nodes[0], 2, MAINNET))
        assert 4 in (first, second)


def test_draw__rare_asns_get_their_seats() -> None:
    nodes = make_nodes(60, asn=1)
    nodes[10] = make_node(11, asn=2)
    nodes[20] = make_node(21, asn=3)
    for i in range(20):
        drawn = get_numbers(draw(make_electorate(nodes), make_seed(i), nodes[0], 5, MAINNET))
        assert {11, 21} < set(drawn)


def test_draw__asns_relaxed_when_short() -> None:
    nodes = [*make_nodes(6, asn=1), make_node(7, asn=2), make_node(8, asn=3, operator=7)]
    drawn = get_numbers(draw(make_electorate(nodes), make_seed(1), nodes[0], 6, MAINNET))
    assert sorted(drawn) in ([2, 3, 4, 5, 6, 7], [2, 3, 4, 5, 6, 8])


def test_draw__prefixes_relaxed_when_short_operators_never() -> None:
    nodes = [make_node(k, endpoint=at(f"10.0.0.{k}")) for k in range(1, 6)] + [make_node(6, operator=5)]
    drawn = get_numbers(draw(make_electorate(nodes), make_seed(1), nodes[0], 5, MAINNET))
    assert len(drawn) == 4
    assert sorted(drawn) in ([2, 3, 4, 5], [2, 3, 4, 6])


def test_draw__excluded_and_taken() -> None:
    nodes = make_nodes(8)
    electorate = make_electorate(nodes)
    taken = [make_member(nodes[1]), make_member(nodes[2])]
    drawn = draw(electorate, make_seed(1), nodes[0], 5, MINIMAL, excluded=(make_id(4),), taken=taken)
    assert sorted(get_numbers(drawn)) == [5, 6, 7, 8]


@pytest.mark.parametrize("state", ["pending", "suspect", "down", "draining", "drained", "probation", "deactivated"])
def test_draw__only_active_nodes(state: Any) -> None:
    nodes = [*make_nodes(3), make_node(4, state=state)]
    assert sorted(get_numbers(draw(make_electorate(nodes), make_seed(1), nodes[0], 5, MINIMAL))) == [2, 3]


def test_draw__nobody_eligible() -> None:
    node = make_node(1)
    assert draw(make_electorate([]), make_seed(1), node, 5, MINIMAL) == ()
    assert draw(make_electorate([node]), make_seed(1), node, 5, MINIMAL) == ()


def test_cap__heavy_operator_is_drawn_two_percent_of_the_time() -> None:
    nodes = [make_node(1, collateral=10_000_000), *(make_node(k, collateral=1_000) for k in range(2, 201))]
    counts = count_draws(nodes, 20_000)
    assert 360 <= counts[1] <= 440  # 400 expected, standard deviation 20
    assert max(counts[k] for k in range(2, 201)) < 145  # 98.5 expected, standard deviation 10


def test_cap__an_operators_nodes_count_together() -> None:
    nodes = [make_node(k, operator=1 if k <= 100 else k) for k in range(1, 301)]
    counts = count_draws(nodes, 20_000)
    assert 360 <= sum(counts[k] for k in range(1, 101)) <= 440


def test_cap__few_operators_are_equal() -> None:
    nodes = [make_node(k, collateral=1_000 * 10**k) for k in range(1, 6)]
    counts = count_draws(nodes, 10_000)
    assert all(1_850 <= counts[k] <= 2_150 for k in range(1, 6))


def test_cap__many_light_operators_are_drawn_by_collateral() -> None:
    nodes = [make_node(k, collateral=1_000 if k <= 100 else 3_000) for k in range(1, 201)]
    counts = count_draws(nodes, 20_000)
    assert 4_700 <= sum(counts[k] for k in range(1, 101)) <= 5_300


def count_draws(nodes: list[Node], draws: int) -> Counter[int]:
    electorate = make_electorate(nodes)
    target = make_node(900)
    drawn = [draw(electorate, make_seed(i), target, 1, MAINNET) for i in range(draws)]
    return Counter(get_numbers(tuple(one for (one,) in drawn)))


def test_electorate__same_as_a_plain_weighted_choice() -> None:
    """Two operators of 60 are capped; everything else is one walk over a list."""
    nodes = [make_node(k, operator=min(k, 60), collateral=5_000 if k > 90 else 40 + k % 7) for k in range(1, 101)]
    nodes[0] = make_node(1, collateral=900)
    electorate = make_electorate(nodes)
    weights = {owner: sum(n.collateral for n in nodes if n.owner == owner) for owner in {n.owner for n in nodes}}
    rest = sum(weights.values()) - weights[nodes[59].owner] - weights[nodes[0].owner]
    cap = 20_000 * rest // (1_000_000 - 2 * 20_000)
    assert sum(weight > cap for weight in weights.values()) == 2
    heavy = sorted((weight, owner) for owner, weight in weights.items() if weight > cap)[::-1]
    light = sorted((weight, owner) for owner, weight in weights.items() if weight <= cap)
    order = [(owner, cap) for _, owner in heavy] + [(owner, weight) for weight, owner in light]
    for i in range(1_000):
        numbers = int.from_bytes(make_seed(i)[:16]), int.from_bytes(make_seed(i)[16:])
        owner = pick_plainly(order, numbers[0])
        mine = sorted((n.id, n.collateral) for n in nodes if n.owner == owner)
        assert electorate.pick(*numbers, 20_000).node == pick_plainly(mine, numbers[1])


def pick_plainly(weighted: list[tuple[bytes, int]], number: int) -> bytes:
    offset = number % sum(weight for _, weight in weighted)
    for key, weight in weighted:
        if offset < weight:
            return key
        offset -= weight
    raise AssertionError


def test_electorate__same_whatever_the_way_to_it() -> None:
    nodes = [make_node(k, operator=k % 70, collateral=1_000 * (1 + k % 4)) for k in range(1, 301)]
    one = make_electorate(nodes)
    other = make_electorate([msgspec.structs.replace(node, collateral=7, asn=9) for node in reversed(nodes)])
    for node in nodes:
        light = msgspec.structs.replace(node, collateral=7, asn=9)
        other.follow(NODES, NodeId(node.id), light, msgspec.structs.replace(light, state="suspect"))
        other.follow(NODES, NodeId(node.id), msgspec.structs.replace(light, state="suspect"), node)
    assert (one.size, one.asn_count) == (other.size, other.asn_count) == (300, 5)
    for i in range(500):
        assert draw(one, make_seed(i), nodes[0], 5, MAINNET) == draw(other, make_seed(i), nodes[0], 5, MAINNET)


def test_electorate__counts_operators() -> None:
    nodes = [make_node(1), make_node(2), make_node(3, operator=2), make_node(4, state="suspect")]
    electorate = make_electorate(nodes)
    assert electorate.count_operators(without=nodes[0].owner) == 1
    assert electorate.count_operators(without=nodes[3].owner) == 2
