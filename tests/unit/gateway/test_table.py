"""From the ledger's records to the edge's table."""

from __future__ import annotations

from pathlib import Path

from fluxcloud.gateway.kept import load_table, save_table
from fluxcloud.gateway.table import RouteBook, build_app_routes
from fluxcloud.ids import AppId, NodeId, render_node
from fluxcloud.ledger.apps.model import RouteCopy, RoutePort, Routes
from fluxcloud.ledger.nodes.model import Capacity, Endpoint, Location, Node
from fluxcloud.proxy.routes import Server, Table

APP = AppId(b"a" * 20)
NODES = [NodeId(bytes([i]) * 20) for i in range(1, 4)]


def make_node(node_id: NodeId, state: str = "active") -> Node:
    return Node(
        id=node_id,
        owner=b"o" * 21,
        operator=b"o" * 21,
        hot=b"h" * 32,
        enc=b"",
        cert=b"certificate of " + node_id,
        payout=b"o" * 21,
        tier=1,
        collateral=0,
        endpoint=Endpoint(f"127.1.{node_id[0]}.1", 1, 2, 3, 4),
        arch="amd64",
        capacity=Capacity(),
        used=Capacity(),
        location=Location(),
        asn=0,
        isolation="full",
        state=state,  # type: ignore[arg-type]
        since_tick=0,
    )


def make_routes(*states: str, status: str = "active") -> Routes:
    ports = (
        RoutePort("web", "http", 8080, "http", True, 60),
        RoutePort("web", "raw", 9000, "tcp", False, 30),
        RoutePort("web", "admin", 8081, "http", False, 30),
    )
    copies = tuple(RouteCopy("web", 10 + i, NODES[i], state) for i, state in enumerate(states))  # type: ignore[arg-type]
    return Routes(name="shop", status=status, ports=ports, copies=copies, hosts=("shop.example.com",))  # type: ignore[arg-type]


def test_app_routes__one_for_each_http_port_the_first_under_the_bare_name() -> None:
    first, second = build_app_routes(make_routes("ready", "last", "leaving"), ("zone",))
    assert (first.key, second.key) == ("shop/web/http", "shop/web/admin")
    assert first.hosts == ("shop.zone", "shop.example.com", "http--shop.zone")
    assert second.hosts == ("admin--shop.zone",)
    assert (first.sticky, first.timeout_s) == (True, 60)
    assert [(server.id, server.state) for server in first.servers] == [("10", "ready"), ("11", "last"), ("12", "drain")]
    assert first.servers[0].peer == render_node(NODES[0])


def test_app_that_is_not_active__has_no_routes() -> None:
    assert build_app_routes(make_routes("ready", status="deleted"), ("zone",)) == ()


def test_book__peers_are_the_nodes_that_routes_need() -> None:
    book = RouteBook(("zone",))
    book.update_apps({APP: make_routes("ready", "ready")})
    book.update_nodes({node: make_node(node) for node in NODES})
    table = book.build_table()
    assert [peer.id for peer in table.peers] == sorted(render_node(node) for node in NODES[:2])
    assert {peer.host for peer in table.peers} == {"127.1.1.1", "127.1.2.1"}


def test_book__a_copy_whose_node_is_unknown_or_gone_is_left_out() -> None:
    book = RouteBook(("zone",))
    book.update_apps({APP: make_routes("ready", "ready")})
    book.update_nodes({NODES[0]: make_node(NODES[0]), NODES[1]: make_node(NODES[1], "retired")})
    assert [server.id for server in book.build_table().routes[0].servers] == ["10"]
    book.update_nodes({NODES[0]: None})
    assert book.build_table().routes[0].servers == ()


def test_book__removed_app_leaves_nothing() -> None:
    book = RouteBook(("zone",))
    book.update_apps({APP: make_routes("ready")})
    book.update_nodes({node: make_node(node) for node in NODES})
    book.update_apps({APP: None})
    assert book.build_table() == Table()


def test_kept_table__comes_back_and_damage_is_survived(tmp_path: Path) -> None:
    book = RouteBook(("zone",))
    book.update_apps({APP: make_routes("ready")})
    book.update_nodes({node: make_node(node) for node in NODES})
    file = tmp_path / "table"
    assert load_table(file) == Table()
    save_table(file, book.build_table())
    kept = load_table(file)
    assert kept == book.build_table()
    assert isinstance(kept.routes[0].servers[0], Server)
    file.write_bytes(b"\xff not a table")
    assert load_table(file) == Table()
