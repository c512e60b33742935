"""Search against brute force: what it finds passes every filter, and it finds something whenever there is something."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from factories import make_node
from factories_apps import make_images, make_spec
from fluxcloud.codec import encode
from fluxcloud.ids import NodeId
from fluxcloud.ledger.apps.spec import Component, Place, Port
from fluxcloud.ledger.nodes.model import NODES, NODES_BY_ROOM, Capacity, Endpoint, Location, Node
from fluxcloud.ledger.params import MAINNET
from fluxcloud.ledger.scheduler.explain import Refusal, render_refusals
from fluxcloud.ledger.scheduler.filters import find_refusal
from fluxcloud.ledger.scheduler.need import compute_need
from fluxcloud.ledger.scheduler.places import compute_codes, compute_prefix
from fluxcloud.ledger.scheduler.request import Request, start_request
from fluxcloud.ledger.scheduler.search import Found, NotFound, draw, explain, search
from fluxcloud.ledger.state import State

BEACON = bytes(32)
BASE = make_node(1, 1)


def make_fleet_node(k: int, **fields: object) -> Node:
    """Node `k`: its own owner, prefix and keys, cheap to make."""
    owner = bytes(1) + k.to_bytes(20, "big")
    common = {
        "id": hashlib.sha256(b"node" + k.to_bytes(4, "big")).digest()[:20],
        "owner": owner,
        "hot": k.to_bytes(32, "big"),
        "enc": k.to_bytes(65, "big"),
        "endpoint": Endpoint(f"10.{k // 250}.{k % 250}.1", 16_127, 16_128, 16_129, 20_000),
    }
    return replace(BASE, **{**common, **fields})


def make_state(*nodes: Node) -> State:
    state = State((NODES,))
    for node in nodes:
        state.set(NODES, NodeId(node.id), node)
    return state


def make_request(component: Component | None = None, generation: int = 1, **place: object) -> Request:
    fields = {"place": Place(**place)}  # type: ignore[arg-type]
    if component is not None:
        fields["components"] = (component,)  # type: ignore[assignment]
    spec = make_spec(**fields)
    need = compute_need(encode(spec), "web", make_images(spec))
    return start_request(bytes(20), "web", 0, generation, need, MAINNET)


nodes = st.builds(
    lambda used, place, tier, asn, arch, state, cordoned: {
        "used": Capacity(*used),
        "location": Location(*place),
        "tier": tier,
        "asn": asn,
        "arch": arch,
        "state": state,
        "cordoned": cordoned,
    },
    st.tuples(st.integers(0, 4_000), st.integers(0, 8_192), st.integers(0, 51_200)),
    st.sampled_from((("EU", "DE", ""), ("EU", "FR", ""), ("NA", "US", "CA"), ("AF", "NA", ""))),
    st.sampled_from((1, 2, 3)),
    st.integers(1, 3),
    st.sampled_from(("amd64", "arm64")),
    st.sampled_from(("active", "active", "active", "probation", "suspect", "draining")),
    st.booleans(),
)
components = st.builds(
    lambda mcpu, memory, disk: Component("app", "x", mcpu=mcpu * 100, memory_mib=memory, disk_mib=disk),
    st.integers(1, 40),
    st.integers(64, 8_192),
    st.integers(0, 51_200),
)
places = st.fixed_dictionaries(
    {},
    optional={
        "allow": st.sampled_from((("EU",), ("US", "EU-FR"), ("NA",), ("AF-NA",))),
        "deny": st.sampled_from((("DE",), ("NA",), ("US-CA",))),
        "tier": st.sampled_from((1, 2, 3)),
        "distinct": st.sampled_from((("operator", "asn"), ("operator", "country"), ("operator", "region"))),
    },
)


@settings(max_examples=150, deadline=None)
@given(st.lists(nodes, max_size=60), components, places, st.integers(0, 3))
def test_search__finds_what_brute_force_finds(
    drawn: list[dict[str, object]], component: Component, place: dict[str, object], taken: int
) -> None:
    fleet = [make_fleet_node(k, **fields) for k, fields in enumerate(drawn)]
    state = make_state(*fleet)
    request = make_request(component, **place)
    for node in fleet[:taken]:
        request.operators.add(node.owner)
        request.asns.add(node.asn)
        request.countries.add(node.location.country)
        request.per_asn[node.asn] += 1
    fitting = [node.id for node in fleet if not find_refusal(node, request)]
    outcome = search(state, request, MAINNET, BEACON)
    if isinstance(outcome, Found):
        assert outcome.node in fitting
    else:
        assert fitting == []
        assert sum(refusal.count for refusal in outcome.refusals) == outcome.nodes == len(fleet)


@settings(max_examples=200, deadline=None)
@given(nodes, components)
def test_room__bounds_are_exact(fields: dict[str, object], component: Component) -> None:
    """Sure room is enough room; less than the least room is not."""
    node = make_fleet_node(1, **{**fields, "state": "active", "cordoned": False})
    need = make_request(component).need
    ((room, _),) = make_state(node).index(NODES, NODES_BY_ROOM)
    free = [getattr(node.capacity, name) - getattr(node.used, name) for name in ("mcpu", "mem_mib", "disk_mib")]
    fits = free[0] >= need.mcpu and free[1] >= need.mem_mib and free[2] >= need.disk_mib
    assert fits or room < need.sure_room
    assert not fits or room >= need.least_room


def test_search__is_a_function_of_beacon_and_generation() -> None:
    state = make_state(*(make_fleet_node(k) for k in range(200)))
    first = search(state, make_request(), MAINNET, BEACON)
    assert search(state, make_request(), MAINNET, BEACON) == first
    others = {search(state, make_request(generation=g), MAINNET, BEACON) for g in range(2, 12)}
    assert len(others | {first}) > 5


def test_search__odd_shape_on_a_full_fleet_is_found_by_scanning() -> None:
    full = Capacity(4_000, 8_000, 51_000)
    rare = make_fleet_node(777, used=Capacity(3_900, 0, 0))
    state = make_state(*(make_fleet_node(k, used=full) for k in range(700)), rare)
    request = make_request(Component("app", "x", mcpu=100, memory_mib=6_000, disk_mib=0))
    assert search(state, request, MAINNET, BEACON) == Found(NodeId(rare.id), ())


def test_score__spreads_over_asn_before_country_before_use() -> None:
    crowded = make_fleet_node(1, asn=1, location=Location("EU", "DE"))
    same_country = make_fleet_node(2, asn=2, location=Location("EU", "DE"), used=Capacity(0, 0, 0))
    busy = make_fleet_node(3, asn=3, location=Location("EU", "FR"), used=Capacity(3_000, 0, 0))
    request = make_request()
    request.per_asn[1] = request.per_country["DE"] = 1
    assert search(make_state(crowded, same_country, busy), request, MAINNET, BEACON) == Found(NodeId(busy.id), ())
    assert search(make_state(crowded, same_country), request, MAINNET, BEACON) == Found(NodeId(same_country.id), ())


def test_score__least_use_of_the_scarcer_resource() -> None:
    cpu = make_fleet_node(1, used=Capacity(3_000, 0, 0))
    memory = make_fleet_node(2, used=Capacity(0, 4_000, 0))
    assert search(make_state(cpu, memory), make_request(), MAINNET, BEACON) == Found(NodeId(memory.id), ())


def test_prefer__wins_where_it_fits() -> None:
    fleet = [make_fleet_node(k) for k in range(100)]
    wanted = fleet[63].id
    assert search(make_state(*fleet), make_request(prefer=(wanted,)), MAINNET, BEACON) == Found(NodeId(wanted), ())


def test_only__looks_at_these_alone() -> None:
    fleet = [make_fleet_node(k) for k in range(100)]
    wanted = fleet[5].id
    assert search(make_state(*fleet), make_request(only=(wanted,)), MAINNET, BEACON) == Found(NodeId(wanted), ())
    outcome = search(make_state(*fleet[6:]), make_request(only=(wanted,)), MAINNET, BEACON)
    assert outcome == NotFound(94, (Refusal("nodes", 94, "not in place.nodes.only"),))


def test_draw__gives_up_and_the_scan_decides() -> None:
    fleet = [make_fleet_node(k) for k in range(2_000)]
    request = make_request(never=())
    request.excluded.update((node.id, "evicted") for node in fleet[1:])
    state = make_state(*fleet)
    assert draw(state, request, MAINNET, BEACON) is None
    assert search(state, request, MAINNET, BEACON) == Found(NodeId(fleet[0].id), ())


def test_explain__first_refusal_in_the_declared_order() -> None:
    refused = (
        {"state": "down"},
        {"cordoned": True},
        {"used": Capacity(4_000, 8_192, 0)},
        {"used": Capacity(0, 8_192, 0)},
        {"location": Location("NA", "US")},
        {"state": "probation"},
    )
    state = make_state(*(make_fleet_node(k, **fields) for k, fields in enumerate(refused)))
    refusals = explain(state, make_request(deny=("US",)))
    assert refusals == (
        Refusal("state", 1, "not active"),
        Refusal("state", 1, "cordoned"),
        Refusal("capacity", 1, "lack CPU (need 0.5)"),
        Refusal("capacity", 1, "lack memory (need 512 MiB)"),
        Refusal("place", 1, "excluded by place.deny [US]"),
        Refusal("probation", 1, "on probation"),
    )
    assert render_refusals(6, refusals[3:5]) == ("6 nodes: 1 lack memory (need 512 MiB), 1 excluded by place.deny [US]")


def test_ports__raw_ones_are_the_lowest_free() -> None:
    component = Component("app", "x", ports=(Port("dns", 53, "udp"), Port("http", 80), Port("sql", 5432, "tcp")))
    node = make_fleet_node(1, ports_used=b"\x01")
    assert search(make_state(node), make_request(component), MAINNET, BEACON) == Found(
        NodeId(node.id), (20_001, 20_002)
    )


@pytest.mark.parametrize(
    ("host", "bits", "prefix"),
    [
        ("10.1.2.3", 24, (4, 0x0A0102)),
        ("10.1.2.3", 32, (4, 0x0A010203)),
        ("2001:db8:1:2::3", 24, (6, 0x20010DB80001)),
        ("node.example", 24, "node.example"),
    ],
)
def test_prefix(host: str, bits: int, prefix: object) -> None:
    assert compute_prefix(host, bits) == prefix


def test_codes__a_continent_wins_over_a_country_of_the_same_letters() -> None:
    assert "NA" not in compute_codes(Location("AF", "NA"))
    assert {"AF", "AF-NA"} <= compute_codes(Location("AF", "NA"))
    assert {"EU", "DE", "EU-DE", "DE-BY", "EU-DE-BY"} == compute_codes(Location("EU", "DE", "BY"))
