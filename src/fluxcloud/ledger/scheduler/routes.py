"""Routes: the one writer of ROUTES: which copies of an app gateways use, and how. Source: RECORDS.md 2, APPS.md 6."""

from __future__ import annotations

from ...ids import AppId, NodeId
from ..apps.model import APPS, ROUTES, CopyRouteState, Placement, RouteCopy, RoutePort, Routes
from ..apps.queries import get_copies, get_group, get_spec
from ..apps.spec import Spec
from ..nodes.model import NODES, SERVING_STATES
from ..state import State


def write_routes(state: State, app_id: AppId) -> None:
    """Make the app's routes what its placements and their nodes' states say."""
    app = state.get(APPS, app_id)
    if app is None:
        return
    spec = get_spec(state, app)
    before = state.get(ROUTES, app_id)
    hosts = before.hosts if before else ()
    routes = Routes(app.name, app.status, build_ports(spec), build_copies(state, app_id, spec), hosts)
    if routes != before:
        state.set(ROUTES, app_id, routes)


def build_ports(spec: Spec) -> tuple[RoutePort, ...]:
    """Public ports in the order of the spec: the first one is reached under the app's bare name."""
    return tuple(
        RoutePort(group.name, port.name, port.port, port.protocol, port.sticky, port.timeout_s)
        for group in spec.groups
        for component in group.components
        for port in component.ports
        if port.public
    )


def build_copies(state: State, app_id: AppId, spec: Spec) -> tuple[RouteCopy, ...]:
    """Routed copies by group (in the spec's order) and generation."""
    routed = []
    for group in spec.groups:
        copies = sorted(get_copies(state, app_id, get_group(state, app_id, group.name)), key=lambda copy: copy[0])
        for generation, placement in copies:
            route_state = compute_route_state(placement, is_serving(state, placement))
            if route_state is not None:
                routed.append(RouteCopy(group.name, generation, placement.node, route_state))
    return tuple(routed)


def compute_route_state(placement: Placement, is_node_serving: bool) -> CopyRouteState | None:
    """`ready`, `last` (its node is suspect or worse: when nothing else is left), `leaving` (nothing new), or None.

    A superseded copy serves until its successor runs: then a leaving one is drained and an orphan is out.
    """
    if placement.phase != "running" or (placement.role == "standby" and placement.backs < 0):
        return None
    if placement.stop_tick:
        return "leaving" if placement.role == "leaving" else None
    return "ready" if is_node_serving else "last"


def is_serving(state: State, placement: Placement) -> bool:
    node = state.get(NODES, NodeId(placement.node))
    return node is not None and node.state in SERVING_STATES
