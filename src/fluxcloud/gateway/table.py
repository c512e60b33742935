"""From the ledger's records to a proxy's table: pure, one app at a time, so that a change costs what it touched.

An app `shop` is reached as `shop.<zone>` (its first public HTTP port) and `<port>--shop.<zone>`; its own domains lead
to the first port too. Source: APPS.md 6.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ..ids import AppId, NodeId, render_node
from ..ledger.apps.model import RouteCopy, RoutePort, Routes
from ..ledger.nodes.model import Node
from ..proxy.routes import Peer, Route, Server, ServerState, Table

HTTP_PROTOCOLS = ("http", "https", "h2c")
_SERVER_STATES: dict[str, ServerState] = {"ready": "ready", "last": "last", "leaving": "drain"}


def build_app_routes(routes: Routes, zones: tuple[str, ...]) -> tuple[Route, ...]:
    """The proxy routes of one app, one for each HTTP port; none where the app is not active."""
    if routes.status != "active":
        return ()
    ports = [port for port in routes.ports if port.protocol in HTTP_PROTOCOLS]
    return tuple(_build_route(routes, port, zones, is_first=position == 0) for position, port in enumerate(ports))


def _build_route(routes: Routes, port: RoutePort, zones: tuple[str, ...], *, is_first: bool) -> Route:
    hosts = [f"{port.name}--{routes.name}.{zone}" for zone in zones]
    if is_first:
        hosts = [*(f"{routes.name}.{zone}" for zone in zones), *routes.hosts, *hosts]
    return Route(
        key=f"{routes.name}/{port.group}/{port.name}",
        hosts=tuple(hosts),
        servers=tuple(_build_server(copy) for copy in routes.copies if copy.group == port.group),
        sticky=port.sticky,
        timeout_s=port.timeout_s,
    )


def _build_server(copy: RouteCopy) -> Server:
    node = render_node(NodeId(copy.node))
    return Server(id=str(copy.generation), peer=node, state=_SERVER_STATES[copy.state])


def build_peer(node: Node) -> Peer:
    return Peer(render_node(NodeId(node.id)), node.endpoint.host, node.endpoint.ingress_port, node.cert)


@dataclass(slots=True)
class RouteBook:
    """What a gateway knows of the ledger, kept as the parts of a table. Give it changes, take the table."""

    zones: tuple[str, ...]
    _apps: dict[AppId, tuple[Route, ...]] = field(default_factory=dict)
    _nodes_of_app: dict[AppId, tuple[bytes, ...]] = field(default_factory=dict)
    _peers: dict[NodeId, Peer] = field(default_factory=dict)

    def update_apps(self, changes: Mapping[AppId, Routes | None]) -> None:
        for app_id, routes in changes.items():
            if routes is None:
                self._apps.pop(app_id, None)
                self._nodes_of_app.pop(app_id, None)
            else:
                self._apps[app_id] = build_app_routes(routes, self.zones)
                self._nodes_of_app[app_id] = tuple(copy.node for copy in routes.copies)

    def update_nodes(self, changes: Mapping[NodeId, Node | None]) -> None:
        for node_id, node in changes.items():
            if node is None or node.state in ("retired", "pending"):
                self._peers.pop(node_id, None)
            else:
                self._peers[node_id] = build_peer(node)

    def build_table(self) -> Table:
        """Every route, and the peers that one of them needs. A server whose node is not known is left out."""
        needed = {NodeId(node) for nodes in self._nodes_of_app.values() for node in nodes}
        peers = tuple(sorted(self._peers[node_id] for node_id in needed if node_id in self._peers))
        known = {peer.id for peer in peers}
        routes = (route for app_id in sorted(self._apps) for route in self._apps[app_id])
        return Table(routes=tuple(_keep_known(routes, known)), peers=peers)


def _keep_known(routes: Iterable[Route], known: set[str]) -> Iterable[Route]:
    for route in routes:
        if all(server.peer in known for server in route.servers):
            yield route
        else:
            kept = tuple(server for server in route.servers if server.peer in known)
            yield Route(route.key, route.hosts, kept, route.sticky, route.timeout_s, route.connections_max)
