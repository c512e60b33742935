"""The node's ingress as a table: which copy answers for which route, and which gateways may ask. Pure.

A route lives as long as a copy of its group is assigned here; its servers are the copies that are well. So an unhealthy
copy is answered for with 503 at once, and the gateway goes elsewhere. Source: APPS.md 6.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from ..ids import GatewayId, render_gateway
from ..ledger.apps.spec import Port
from ..ledger.gateways.model import Gateway, Gateways
from ..proxy.routes import Peer, Route, Server, Table
from .model import Desired, DesiredCopy, Observed
from .plan import is_serving
from .runtime.base import CopyKey, Endpoint

GetEndpoint = Callable[[CopyKey, int], Endpoint]


def build_table(
    desired: Desired,
    observed: Observed,
    runs_as: Mapping[CopyKey, CopyKey],
    gateways: Gateways,
    get_endpoint: GetEndpoint,
    *,
    serving: bool = True,
) -> Table:
    """What the ingress serves now."""
    routes: dict[str, Route] = {}
    for copy in desired.copies:
        for port in _list_http_ports(copy):
            key = f"{copy.app_name}/{copy.group.name}/{port.name}"
            before = routes.get(key) or Route(key, timeout_s=port.timeout_s)
            server = _build_server(copy, port, observed, runs_as.get(copy.key, copy.key), get_endpoint)
            servers = tuple(sorted((*before.servers, server))) if server else before.servers
            routes[key] = Route(key, servers=servers, timeout_s=port.timeout_s)
    return Table(
        routes=tuple(routes[key] for key in sorted(routes)),
        peers=tuple(sorted(_build_peer(gateway) for gateway in gateways.entries)),
        serving=serving,
    )


def _list_http_ports(copy: DesiredCopy) -> Iterator[Port]:
    for component in copy.group.components:
        yield from (port for port in component.ports if port.public and port.protocol in ("http", "h2c"))


def _build_server(
    copy: DesiredCopy, port: Port, observed: Observed, runs_as: CopyKey, get_endpoint: GetEndpoint
) -> Server | None:
    if not is_serving(copy, observed.copies.get(runs_as), runs_as, observed):
        return None
    is_current = copy.entry.role in ("active", "standby")
    endpoint = get_endpoint(runs_as, port.port).render()
    return Server(str(copy.entry.generation), endpoint=endpoint, state="ready" if is_current else "last")


def _build_peer(gateway: Gateway) -> Peer:
    return Peer(render_gateway(GatewayId(gateway.id)), gateway.host, 0, gateway.cert)
