"""Whole stories of copies: deployed, suspected, lost, given back, drained, scaled, updated, deleted."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from factories_apps import COMPONENT, Deployment, make_spec
from fluxcloud.ledger.apps.messages import DeleteApp, EvictInstance, ScaleGroup, UndeleteApp
from fluxcloud.ledger.apps.model import APPS, ASSIGN, NAMES, PLACEMENTS, ROUTES
from fluxcloud.ledger.nodes.messages import NodeDrain, NodeResume
from fluxcloud.ledger.scheduler.messages import CopyChanged, CopyPlaced, CopyRemoved

HOUR_MS = 3_600_000


@pytest.fixture
def net() -> Deployment:
    deployment = Deployment(5)
    deployment.deploy()
    return deployment


def test_deploy__places_in_the_block_of_its_registration() -> None:
    net = Deployment(5)
    net.deploy(is_run=False)
    assert net.slots() == [("placed", 1), ("placed", 2), ("placed", 3)]
    assert net.spares() == [("placed", 4)]
    assert len({net.node(net.k_of(g)).owner for g in (1, 2, 3, 4)}) == 4
    assert net.routes() == {}
    assert [p.phase for p in net.placements().values()] == ["assigned"] * 4


def test_deploy__runs_and_is_routed(net: Deployment) -> None:
    assert [(p.role, p.phase) for p in net.placements().values()] == [("active", "running")] * 3 + [
        ("standby", "ready")
    ]
    assert net.routes() == {1: "ready", 2: "ready", 3: "ready"}
    assert net.node(net.k_of(1)).used.mcpu == 500


def test_suspect__standby_backs_and_is_routed_once_it_runs(net: Deployment) -> None:
    net.set_state(net.k_of(2), "suspect")
    assert net.placement(4).backs == 1
    assert net.routes() == {1: "ready", 2: "last", 3: "ready"}
    net.report_copy(4)
    assert net.routes() == {1: "ready", 2: "last", 3: "ready", 4: "ready"}
    assert net.placement(2).role == "active"


def test_suspects__the_lowest_slot_gets_the_standby(net: Deployment) -> None:
    ctx_nodes = (net.k_of(3), net.k_of(1))
    net.set_state(ctx_nodes[0], "suspect")
    net.report_all()
    assert net.placement(4).backs == 2
    net.set_state(ctx_nodes[1], "suspect")
    assert net.placement(4).backs == 2, "who is backed stays backed"


def test_refuted__standby_leaves_the_routes_and_stops_later(net: Deployment) -> None:
    suspect = net.k_of(2)
    net.set_state(suspect, "suspect")
    net.report_all()
    net.set_state(suspect, "active")
    assert net.routes() == {1: "ready", 2: "ready", 3: "ready"}
    lingering = net.placement(4)
    assert (lingering.backs, lingering.phase, lingering.deadline_tick) == (-1, "running", net.tick_ms + 30_000)
    net.run_ms(30_000)
    assert (net.placement(4).phase, net.placement(4).deadline_tick) == ("ready", 0)
    assert net.slots() == [("placed", 1), ("placed", 2), ("placed", 3)]


def test_suspect_again__a_lingering_standby_is_routed_at_once(net: Deployment) -> None:
    suspect = net.k_of(2)
    net.set_state(suspect, "suspect")
    net.report_all()
    net.set_state(suspect, "active")
    net.set_state(net.k_of(1), "suspect")
    assert (net.placement(4).backs, net.placement(4).deadline_tick) == (0, 0)
    assert net.routes() == {1: "last", 2: "ready", 3: "ready", 4: "ready"}


def test_down__the_standby_is_the_slot_without_a_restart(net: Deployment) -> None:
    lost = net.k_of(2)
    net.set_state(lost, "suspect")
    net.report_all()
    net.set_state(lost, "down")
    promoted = net.placement(4)
    assert (promoted.role, promoted.slot, promoted.spare, promoted.backs, promoted.phase) == (
        "active",
        1,
        -1,
        -1,
        "running",
    )
    assert net.slots() == [("placed", 1), ("placed", 4), ("placed", 3)]
    assert net.spares() == [("placed", 5)]
    old = net.placement(2)
    assert (old.role, old.successor, old.stop_tick) == ("orphan", 4, net.tick_ms + net.params.orphan_down_ms)
    assert net.routes() == {1: "ready", 3: "ready", 4: "ready"}
    net.report_all()
    assert net.placement(5).phase == "ready"
    net.run_ms(net.params.orphan_down_ms + 70_000)
    assert net.group().superseded == ()
    assert net.node(lost).used.mcpu == 0


def test_down__without_a_standby_running_it_still_takes_the_slot(net: Deployment) -> None:
    lost = net.k_of(1)
    net.set_state(lost, "suspect", "down")
    assert net.slots()[0] == ("placed", 4)
    assert (net.placement(4).phase, net.placement(4).role) == ("assigned", "active")
    assert net.routes() == {1: "last", 2: "ready", 3: "ready"}
    net.report_copy(4)
    assert net.routes() == {2: "ready", 3: "ready", 4: "ready"}


def test_down__a_standby_is_queued_anew(net: Deployment) -> None:
    net.set_state(net.k_of(4), "suspect", "down")
    assert net.spares() == [("placed", 5)]
    assert 4 not in net.placements()


def test_returned__while_queued_the_slot_gets_its_copy_back_under_a_new_generation() -> None:
    net = Deployment(3)
    net.deploy(make_spec(spares=0))
    lost = net.k_of(2)
    net.set_state(lost, "suspect", "down")
    assert net.slots()[1] == ("queued", 0)
    assert (net.placement(2).role, net.placement(2).successor) == ("orphan", 0)
    assert net.routes() == {1: "ready", 2: "last", 3: "ready"}
    net.set_state(lost, "pending", "probation")
    assert net.slots()[1] == ("placed", 4)
    assert (net.placement(4).adopts, net.placement(4).phase, net.k_of(4)) == (2, "assigned", lost)
    assert 2 not in net.placements()
    entry = net.state.get(ASSIGN, net.node_id(lost)).entries[0]
    assert (entry.generation, entry.adopts, entry.role) == (4, 2, "active")
    net.report_all()
    assert net.routes() == {1: "ready", 3: "ready", 4: "ready"}


def test_returned__a_superseded_copy_stays_an_orphan(net: Deployment) -> None:
    lost = net.k_of(2)
    net.set_state(lost, "suspect", "down")
    net.set_state(lost, "pending", "probation")
    assert (net.placement(2).role, net.placement(2).stop_tick) == ("orphan", 0)
    net.report_copy(4)
    assert net.placement(2).stop_tick == net.tick_ms + net.params.orphan_stop_ms
    net.run_ms(net.params.orphan_stop_ms)
    net.report_all()
    assert 2 not in net.placements()


def test_drain__replaces_first_then_leaves(net: Deployment) -> None:
    drained = net.k_of(1)
    owner = f"owner/{drained}"
    net.send(NodeDrain(net.node_id(drained), net.tick_ms + HOUR_MS), owner=owner)
    assert (net.placement(1).role, net.placement(1).successor) == ("leaving", 4)
    assert (net.placement(4).role, net.placement(4).phase) == ("active", "assigned")
    assert net.routes() == {1: "ready", 2: "ready", 3: "ready"}
    net.report_copy(4)
    assert net.routes() == {1: "leaving", 2: "ready", 3: "ready", 4: "ready"}
    assert net.placement(1).stop_tick == net.tick_ms + net.params.leaving_ms
    assert net.node(drained).state == "draining"
    net.run_ms(net.params.leaving_ms)
    net.report_all()
    assert 1 not in net.placements()
    net.run_ms(1_000)
    assert net.node(drained).state == "drained"


def test_drain__without_another_node_the_copy_stays_until_resumed() -> None:
    net = Deployment(3)
    net.deploy(make_spec(spares=0))
    k = net.k_of(1)
    net.send(NodeDrain(net.node_id(k), net.tick_ms + HOUR_MS), owner=f"owner/{k}")
    net.run_ms(5_000)
    assert (net.slots()[0], net.placement(1).role) == (("queued", 0), "leaving")
    assert net.routes()[1] == "ready"
    net.send(NodeResume(net.node_id(k)), owner=f"owner/{k}")
    assert (net.slots()[0], net.placement(1).role) == (("placed", 1), "active")


def test_scale__up_and_down() -> None:
    net = Deployment(8)
    net.deploy()
    net.send(ScaleGroup(net.app_id, "web", 5))
    assert [state for state, _ in net.slots()] == ["placed"] * 5
    assert net.slots()[3] == ("placed", 4), "the standby is quickest"
    net.report_all()
    high = [generation for _, generation in net.slots()[2:]]
    net.send(ScaleGroup(net.app_id, "web", 2))
    assert net.slots() == [("placed", 1), ("placed", 2)]
    assert [net.routes()[generation] for generation in high] == ["leaving"] * 3
    net.run_ms(net.params.leaving_ms)
    net.report_all()
    assert sorted(p.role for p in net.placements().values()) == ["active", "active", "standby"]


def test_delete__stops_copies_and_undelete_brings_them_back(net: Deployment) -> None:
    net.send(DeleteApp(net.app_id))
    assert net.routes() == {1: "leaving", 2: "leaving", 3: "leaving"}
    assert net.slots() == [("queued", 0)] * 3
    net.run_ms(net.params.leaving_ms)
    net.report_all()
    assert net.placements() == {}
    net.send(UndeleteApp(net.app_id))
    assert net.slots() == [("placed", 5), ("placed", 6), ("placed", 7)]
    net.report_all()
    assert net.routes() == {5: "ready", 6: "ready", 7: "ready"}


def test_delete__is_final_after_its_time_and_the_name_free_later() -> None:
    net = Deployment(5, name_kept_ms=20_000, name_quarantine_ms=30_000)
    net.deploy()
    net.send(DeleteApp(net.app_id))
    net.run_ms(net.params.leaving_ms)
    net.report_all()
    net.run_ms(20_000)
    for table in (APPS, ROUTES, PLACEMENTS):
        assert net.state.count(table) == 0
    assert net.state.count(NAMES) == 1
    net.run_ms(30_000)
    assert net.state.count(NAMES) == 0


def test_evict__moves_the_copy_and_not_back(net: Deployment) -> None:
    left = net.k_of(2)
    net.send(EvictInstance(net.app_id, 2))
    assert (net.placement(2).role, net.slots()[1]) == ("leaving", ("placed", 4))
    net.report_all()
    net.run_ms(net.params.leaving_ms)
    net.report_all()
    assert 2 not in net.placements()
    assert left not in [net.k_of(generation) for generation in net.placements()]


def test_update__rolls_one_slot_at_a_time(net: Deployment) -> None:
    new = make_spec(components=(replace(COMPONENT, mcpu=1_000),))
    net.update(new)
    leaving = [g for g, p in net.placements().items() if p.role == "leaving"]
    assert leaving == [1]
    for _ in range(12):
        net.report_all()
        serving = [g for g, state in net.routes().items() if state == "ready"]
        assert len(serving) >= 3
        net.run_ms(net.params.leaving_ms)
    assert {p.revision for p in net.placements().values()} == {2}
    assert sorted(p.role for p in net.placements().values()) == ["active", "active", "active", "standby"]
    assert {p.reserved[0] for p in net.placements().values()} == {1_000}


def test_update__on_as_many_nodes_as_copies_goes_through_the_standby() -> None:
    net = Deployment(4)
    net.deploy()
    net.update(make_spec(components=(replace(COMPONENT, mcpu=1_000),)))
    for _ in range(14):
        net.report_all()
        assert sum(state == "ready" for state in net.routes().values()) >= 3
        net.run_ms(net.params.leaving_ms)
    assert {p.revision for p in net.placements().values()} == {2}
    assert len(net.placements()) == 4


def test_update__that_changes_no_container_moves_nothing(net: Deployment) -> None:
    before = net.placements()
    net.update(replace(make_spec(), description="A shop"))
    assert net.app().revision == 2
    assert net.placements() == before


def test_events__tell_the_story(net: Deployment) -> None:
    lost = net.k_of(1)
    events = net.set_state(lost, "suspect", "down").events
    kinds = [type(event) for event in events if isinstance(event, CopyPlaced | CopyChanged | CopyRemoved)]
    assert kinds == [CopyChanged, CopyChanged, CopyPlaced]
