"""The ingress's table."""

from __future__ import annotations

from typing import Any

from fluxcloud.ids import GatewayId, render_gateway
from fluxcloud.ledger.apps.spec import Port
from fluxcloud.ledger.gateways.model import Gateway, Gateways
from fluxcloud.ledger.nodes.model import Location
from fluxcloud.node.ingress import build_table
from fluxcloud.node.model import Desired, Observed
from fluxcloud.node.runtime.base import CopyKey, Endpoint
from fluxcloud.proxy.routes import Peer, Route, Server, Table

from .builders import make_component, make_copy, make_desired, make_entry, make_key, make_observed, make_state

GATEWAY = Gateway(b"\x05" * 20, b"", b"", b"", b"cert", "127.0.0.1", 80, ("z",), Location())
PEER = Peer(render_gateway(GatewayId(b"\x05" * 20)), "127.0.0.1", 0, b"cert")


def build(desired: Desired, observed: Observed, **runs_as: Any) -> Table:
    def get_endpoint(key: CopyKey, port: int) -> Endpoint:
        return Endpoint(unix=f"/run/{key.generation}.{port}")

    return build_table(desired, observed, runs_as.get("runs_as", {}), Gateways((GATEWAY,)), get_endpoint)


def test_healthy_copy__is_a_server_of_its_route() -> None:
    table = build(make_desired(make_copy()), make_observed(make_state()))
    assert table.peers == (PEER,)
    assert table.routes == (Route("shop/web/http", servers=(Server("1", endpoint="unix:/run/1.8080"),)),)


def test_unhealthy_and_absent_copies__leave_a_route_without_servers() -> None:
    for observed in (
        make_observed(make_state(), verdict="unhealthy"),
        make_observed(make_state(), verdict="starting"),
        make_observed(),
    ):
        assert build(make_desired(make_copy()), observed).routes == (Route("shop/web/http"),)


def test_leaving_copy__is_the_last_resort() -> None:
    copies = (make_copy(make_entry(1, role="leaving")), make_copy(make_entry(2)))
    (route,) = build(make_desired(*copies), make_observed(make_state(1), make_state(2))).routes
    assert [(server.id, server.state) for server in route.servers] == [("1", "last"), ("2", "ready")]


def test_standby_that_runs__is_ready() -> None:
    copy = make_copy(make_entry(role="standby", backs=0))
    (route,) = build(make_desired(copy), make_observed(make_state())).routes
    assert route.servers[0].state == "ready"


def test_adopted_copy__is_reached_where_it_runs() -> None:
    desired = make_desired(make_copy(make_entry(5, adopts=1)))
    (route,) = build(desired, make_observed(make_state(1)), runs_as={make_key(5): make_key(1)}).routes
    assert route.servers == (Server("5", endpoint="unix:/run/1.8080"),)


def test_private_and_raw_ports__have_no_route() -> None:
    ports = (
        Port("metrics", 9090, public=False),
        Port("dns", 53, "udp"),
        Port("raw", 25565, "tcp"),
        Port("api", 8081, timeout_s=9),
    )
    table = build(make_desired(make_copy(None, make_component(ports=ports))), make_observed(make_state()))
    assert [(route.key, route.timeout_s) for route in table.routes] == [("shop/web/api", 9)]
