"""Whatever happens in whatever order: invariants hold after every block, and in the end the app is whole."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from factories_apps import COMPONENT, Deployment, make_spec
from fluxcloud.ledger.apps.messages import DeleteApp, EvictInstance, ScaleGroup, UndeleteApp
from fluxcloud.ledger.nodes.model import NodeState

NODES = 7
NEXT: dict[NodeState, tuple[NodeState, ...]] = {
    "active": ("suspect", "suspect", "draining", "deactivated"),
    "suspect": ("active", "down", "down", "deactivated"),
    "down": ("pending",),
    "deactivated": ("pending",),
    "pending": ("probation",),
    "probation": ("active", "suspect"),
    "draining": ("active", "suspect"),
    "drained": ("active", "retired"),
}
steps = st.one_of(
    st.tuples(st.just("node"), st.integers(1, NODES), st.integers(0, 3)),
    st.tuples(st.just("node"), st.integers(1, NODES), st.integers(0, 3)),
    st.tuples(st.just("report"), st.just(0), st.just(0)),
    st.tuples(st.just("one"), st.integers(0, 9), st.integers(0, 5)),
    st.tuples(st.just("scale"), st.integers(1, 6), st.just(0)),
    st.tuples(st.just("evict"), st.integers(0, 9), st.just(0)),
    st.tuples(st.just("update"), st.integers(1, 3), st.integers(0, 2)),
    st.tuples(st.just("delete"), st.just(0), st.just(0)),
    st.tuples(st.just("wait"), st.integers(1, 8), st.just(0)),
)
OUTCOMES = (
    ("running", ""),
    ("ready", ""),
    ("stopped", ""),
    ("failed", "exit"),
    ("failed", "disk"),
    ("failed", "deadline"),
)


def apply_step(net: Deployment, kind: str, a: int, b: int) -> None:
    copies = sorted(net.placements())
    match kind:
        case "node":
            choices = NEXT.get(net.node(a).state, ())
            if choices:
                net.set_state(a, choices[b % len(choices)])
        case "report":
            net.report_all()
        case "one" if copies:
            net.report_copy(copies[a % len(copies)], *OUTCOMES[b])
        case "scale":
            net.block(net.user("alice", ScaleGroup(net.app_id, "web", a)))
        case "evict" if copies:
            net.block(net.user("alice", EvictInstance(net.app_id, copies[a % len(copies)])))
        case "update" if net.app().status == "active":
            net.update(make_spec(replicas=a, spares=b, components=(replace(COMPONENT, mcpu=100 * a),)))
        case "delete":
            is_active = net.app().status == "active"
            net.send(DeleteApp(net.app_id) if is_active else UndeleteApp(net.app_id))
        case "wait":
            net.run_ms(a * 500)


@settings(max_examples=40, deadline=None)
@given(st.lists(steps, max_size=25))
def test_invariants_hold_and_the_app_heals(walk: list[tuple[str, int, int]]) -> None:
    net = Deployment(NODES, assign_deadline_ms=8_000, orphan_down_ms=5_000, orphan_stop_ms=2_000)
    net.deploy(is_run=False)
    for kind, a, b in walk:
        apply_step(net, kind, a, b)
    heal(net)
    assert [slot.state for slot in net.group().slots] == ["placed"] * 3
    assert {p.phase for p in net.placements().values() if p.role == "active"} == {"running"}
    assert sorted(net.routes().values()) == ["ready"] * 3
    assert net.group().superseded == ()
    assert {p.revision for p in net.placements().values()} == {net.app().revision}


def heal(net: Deployment) -> None:
    """Nodes come back, the owner asks for what three operators can hold, agents answer, time passes."""
    for k in range(1, NODES + 1):
        path: dict[NodeState, tuple[NodeState, ...]] = {
            "suspect": (net.node(k).before,),
            "down": ("pending", "probation", "active"),
            "deactivated": ("pending", "probation", "active"),
            "pending": ("probation", "active"),
        }
        net.set_state(k, *path.get(net.node(k).state, ()))
        if net.node(k).state != "active" and net.node(k).state != "retired":
            net.set_state(k, "active")
        net.change_node(k, cordoned=False)
    if net.app().status == "deleted":
        net.send(UndeleteApp(net.app_id))
    net.change_group(evictions=())
    net.update(make_spec(replicas=3, spares=0, components=(replace(COMPONENT, mcpu=900),)))
    for _ in range(12):
        net.report_all()
        net.run_ms(5_500)
