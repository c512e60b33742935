from __future__ import annotations

from typing import Any

from factories_liveness import Network, make_id, make_node
from fluxcloud.ids import NodeId, render_node
from fluxcloud.ledger.liveness.model import CASES, SEATS, WATCHES
from fluxcloud.ledger.liveness.panels import get_monitors
from fluxcloud.ledger.liveness.queries import explain_node, explain_records, get_case, get_duty, get_panel, is_eligible
from fluxcloud.ledger.nodes.model import NODES
from fluxcloud.ledger.params import MAINNET, MINIMAL, Params


def explain(network: Network, k: int) -> str:
    """As a client does that has read the records."""
    state, node_id = network.state, make_id(k)
    node, panel = state.get(NODES, node_id), state.get(SEATS, node_id)
    assert node is not None
    assert panel is not None
    case, tick_ms = state.get(CASES, node_id), network.tick_ms
    text = explain_records(
        f"n{k}", node, panel, case, lambda other: state.get(WATCHES, NodeId(other)), tick_ms, network.params
    )
    assert explain_node(state, node_id, tick_ms, network.params) == text.replace(f"n{k}", render_node(node_id), 1)
    return text


def miss(network: Network, k: int, *monitors: int) -> list[Any]:
    return [(make_id(m), network.observe(make_id(m), [make_id(k)], miss=True)) for m in monitors]


def make_network(nodes: int = 5, params: Params = MINIMAL, **claims: Any) -> Network:
    """`claims` are node 3's."""
    return Network([make_node(k, **(claims if k == 3 else {})) for k in range(1, nodes + 1)], params)


def test_explain__all_is_well() -> None:
    assert explain(make_network(), 3) == "n3 is active"


def test_explain__cannot_decide_where_too_few_seats_answer() -> None:
    """Nodes 1, 2 and 3 die at once: the two that live miss each of them, and nobody else says anything."""
    network = make_network()
    assert network.block([*miss(network, 1, 4, 5), *miss(network, 2, 4, 5), *miss(network, 3, 4, 5)]) == ()
    for k in (1, 2, 3):
        assert explain(network, k) == f"cannot decide n{k}: 2 of 4 seats answer"
    assert explain(network, 4) == "n4 is active"
    for _ in range(20):  # the window of 10 s
        network.block()
    assert explain(network, 3) == "n3 is active"


def test_explain__a_minority_misses_it() -> None:
    network = make_network()
    network.block(miss(network, 3, 4, 5))
    assert explain(network, 3) == "n3 is missed by 2 of 4 seats; 3 open a case"


def test_explain__a_case() -> None:
    network = make_network(20)
    seated = get_monitors(network.state, make_id(3))[:3]
    network.block([(monitor, network.observe(monitor, [make_id(3)], miss=True)) for monitor in seated])
    assert explain(network, 3) == "n3 is suspect: 3 monitors miss it, its jury is being drawn"
    network.block()
    assert explain(network, 3) == "n3 is suspect: 0 misses and 0 oks of 7 jurors, round 1"


def test_explain__a_jury_too_small() -> None:
    network = make_network(7, MAINNET)
    seated = get_monitors(network.state, make_id(3))[:3]
    network.block([(monitor, network.observe(monitor, [make_id(3)], miss=True)) for monitor in seated])
    network.block()
    assert explain(network, 3) == "cannot decide n3: a jury of 6, at least 7 are needed"


def test_explain__on_its_way_back() -> None:
    network = make_network(state="pending")
    network.block([(make_id(1), network.observe(make_id(1), [make_id(3)], miss=False))])
    assert explain(network, 3) == "n3 is pending: 1 of 4 seats see it"
    assert explain(make_network(state="probation", until_tick=5_999), 3) == "n3 is on probation for 5 s more"
    assert explain(make_network(state="down", reason="gone"), 3) == "n3 is down: gone"


def test_explain__not_registered() -> None:
    network = make_network()
    name = render_node(make_id(77))
    assert explain_node(network.state, make_id(77), 0, network.params) == f"{name} is not registered"


def test_reads() -> None:
    network = make_network()
    assert len(get_panel(network.state, make_id(3)).seats) == 5
    assert get_panel(network.state, make_id(77)).seats == ()
    assert len(get_duty(network.state, make_id(3)).targets) == 4
    assert get_case(network.state, make_id(3)) is None
    assert is_eligible(make_node(1))
    assert not is_eligible(make_node(1, state="draining"))
