"""Reports: phases, blame, backoff, held slots, cordons, deadlines, and what is refused."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from factories_apps import Deployment, make_spec
from fluxcloud.ledger.apps.messages import ScaleGroup
from fluxcloud.ledger.nodes.messages import NodeCordoned, NodeResume
from fluxcloud.ledger.scheduler.errors import BadReport
from fluxcloud.ledger.scheduler.messages import CopyReport, NodeReport, SlotHeld
from fluxcloud.ledger.scheduler.model import NODE_FAILURES, QUEUE
from fluxcloud.ledger.scheduler.queries import get_app_status, get_slot_status, is_assigned, is_report_assigned
from fluxcloud.ledger.scheduler.reports import validate_report


@pytest.fixture
def net() -> Deployment:
    deployment = Deployment(8)
    deployment.deploy(make_spec(spares=0), is_run=False)
    return deployment


def test_running__is_said_once(net: Deployment) -> None:
    net.report_copy(1)
    first = net.placement(1)
    assert (first.phase, first.deadline_tick) == ("running", 0)
    net.report_copy(1)
    assert net.placement(1) == first


def test_report__of_anothers_copy_is_skipped(net: Deployment) -> None:
    other = net.k_of(2)
    copies = (CopyReport(net.app_id, 1, "running"), CopyReport(net.app_id, 2, "running"))
    net.apply(net.report(other, NodeReport(copies)))
    assert (net.placement(1).phase, net.placement(2).phase) == ("assigned", "running")


@pytest.mark.parametrize(
    "copies",
    [
        (),
        (CopyReport(bytes(20), 2, "running"), CopyReport(bytes(20), 1, "running")),
        (CopyReport(bytes(20), 1, "running"), CopyReport(bytes(20), 1, "running")),
        (CopyReport(bytes(20), 0, "running"),),
        (CopyReport(bytes(19), 1, "running"),),
        (CopyReport(bytes(20), 1, "failed"),),
        (CopyReport(bytes(20), 1, "running", "oom"),),
        (CopyReport(bytes(20), 1, "failed", "oom", "x" * 201),),
        (CopyReport(bytes(20), 1, "failed", "oom", "two\nlines"),),
        tuple(CopyReport(bytes(20), g, "running") for g in range(1, 258)),
    ],
)
def test_invalid_report(copies: tuple[CopyReport, ...]) -> None:
    with pytest.raises(BadReport):
        validate_report(NodeReport(copies))


def test_invalid_report__changes_nothing(net: Deployment) -> None:
    good, bad = CopyReport(net.app_id, 1, "running"), CopyReport(net.app_id, 2, "running", "oom")
    receipt = net.reject(net.report(net.k_of(1), NodeReport((good, bad))))
    assert receipt.code == "scheduler/1"
    assert net.placement(1).phase == "assigned"


def test_host_blamed__elsewhere_at_once_and_not_there_again(net: Deployment) -> None:
    bad = net.k_of(1)
    net.report_copy(1, "failed", "engine", "no space")
    assert 1 not in net.placements()
    slot = net.group().slots[0]
    assert (slot.state, slot.generation, slot.failures) == ("placed", 4, ((net.node_id(bad), net.tick_ms),))
    assert net.k_of(4) != bad


def test_host_blamed__three_nodes_hold_the_slot_until_a_new_revision(net: Deployment) -> None:
    for _ in range(2):
        net.report_copy(net.slots()[0][1], "failed", "disk")
    events = net.report_copy(net.slots()[0][1], "failed", "port", "taken")
    assert SlotHeld(net.app_id, "web", 0, "port: taken") in events
    assert net.slots()[0] == ("held", 0)
    assert net.state.count(QUEUE) == 0
    net.update(replace(make_spec(spares=0), description="again"))
    assert net.slots()[0][0] == "placed"
    assert net.group().slots[0].failures == ()


def test_app_blamed__waits_longer_each_time_then_is_held(net: Deployment) -> None:
    net.report_copy(1, "failed", "exit", "code 1")
    waiting = net.state.get(QUEUE, (net.app_id, 0, 0, "web"))
    assert (waiting.not_before_tick, waiting.reason) == (net.tick_ms + 2_000, "exit: code 1")
    net.run_ms(2_000)
    net.report_copy(net.slots()[0][1], "failed", "exit", "code 1")
    assert net.state.get(QUEUE, (net.app_id, 0, 0, "web")).not_before_tick == net.tick_ms + 4_000
    net.run_ms(4_000)
    net.report_copy(net.slots()[0][1], "failed", "health")
    assert net.slots()[0] == ("held", 0)
    assert net.group().slots[0].reason == "health"


def test_deadline__a_copy_that_does_not_start_goes_elsewhere() -> None:
    net = Deployment(8, assign_deadline_ms=3_000)
    net.deploy(make_spec(spares=0), is_run=False)
    late = net.k_of(1)
    net.report_copy(2)
    net.report_copy(3)
    net.run_ms(4_000)
    assert net.slots()[0] == ("placed", 4)
    assert net.k_of(4) != late
    assert net.group().slots[0].failures[0][0] == net.node_id(late)


def test_cordon__after_five_apps_have_failed_on_a_node() -> None:
    net = Deployment(1)
    for k in range(5):
        assert not net.node(1).cordoned
        net.deploy(make_spec(f"app-{k}", replicas=1, spares=0), is_run=False)
        events = net.report_copy(1, "failed", "engine")
    assert net.node(1).cordoned
    assert NodeCordoned(net.node_id(1), True, "failed copies of 5 apps in 600 s") in events
    assert net.state.get(NODE_FAILURES, net.node_id(1)) is None
    net.send(NodeResume(net.node_id(1)), owner="owner/1")
    assert not net.node(1).cordoned


def test_stopped__of_a_copy_that_may_end_leaves_the_routes(net: Deployment) -> None:
    net.report_all()
    net.report_copy(1, "stopped")
    assert net.placement(1).phase == "stopped"
    assert 1 not in net.routes()


def test_unplaced__says_why_and_tries_again_later() -> None:
    net = Deployment(3)
    net.deploy()
    waiting = net.state.get(QUEUE, (net.app_id, 1, 0, "web"))
    assert waiting.tries == 1
    assert waiting.reason == "3 nodes: 3 same operator"
    status = get_slot_status(net.state, net.app(), "web", 0, True, net.params, net.tick_ms)
    assert (status.state, status.reason) == ("queued", "3 nodes: 3 same operator")
    assert [(r.filter, r.count) for r in status.refusals] == [("operator", 3)]
    assert [s.state for s in get_app_status(net.state, net.app(), net.params, net.tick_ms)] == ["placed"] * 3 + [
        "queued"
    ]


def test_queue__worst_off_first() -> None:
    net = Deployment(4, repairs_per_block=1, requeue_backoff_ms=500)
    net.deploy(make_spec("one", replicas=2, spares=0))
    one = net.app_id
    net.send(ScaleGroup(one, "web", 4))
    net.app_id = net.deploy(make_spec("two", replicas=1, spares=0), is_run=False)
    assert net.slots() == [("placed", 1)], "an app without a copy comes before one that has two"


def test_assigned(net: Deployment) -> None:
    node_id = net.node_id(net.k_of(1))
    assert is_assigned(net.state, node_id, net.app_id, 1)
    assert not is_assigned(net.state, node_id, net.app_id, 2)
    assert is_report_assigned(net.state, NodeReport((CopyReport(net.app_id, 1, "running"),)), node_id)
    assert not is_report_assigned(net.state, NodeReport((CopyReport(net.app_id, 3, "running"),)), node_id)
