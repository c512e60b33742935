"""Routing tables: what a proxy serves, as plain values, and the difference between two of them.

One model for both roles. The *edge* (a gateway) finds a route by Host and reaches servers through *peers*, nodes that
it checks and pins; the *ingress* (a node) finds a route by the route header that only a gateway may set and reaches
servers at local endpoints. Engines (`embedded`, `haproxy`) take a whole `Table` and bring themselves to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ServerState = Literal["ready", "last", "drain"]
"""`ready` takes traffic; `last` only when no ready one answers; `drain` finishes what it has and takes nothing new."""

ROUTE_HEADER = "FluxCloud-Route"
"""Set by the edge to the route's key, stripped from what visitors send, read by the ingress."""

ERROR_HEADER = "FluxCloud-Error"
"""Set by a proxy on its own error answers (`no_route`, `no_server`, `upstream_failed`), stripped from apps' answers."""

RETRY_STATUS_HEADER = "FluxCloud-Retry-Status"
"""Set by an edge whose engine tells what to try elsewhere by status alone, so that an app's own 503 is not taken for a
proxy's: with it, the ingress gives its own 502 and 503 this status. The one value is `RETRY_STATUS`."""

RETRY_STATUS = 425

SERVED_BY_HEADER = "FluxCloud-Served-By"
"""Set by the edge on every proxied answer: the id of the peer (node) that gave it."""

HEALTH_PATH = "/.fluxcloud/health"
"""Answered by the ingress itself: 200 while `Table.serving`, else 503. The edge checks its peers there."""


@dataclass(frozen=True, slots=True, order=True)
class Peer:
    """The far side of a pinned TLS 1.3 connection: a node (for an edge) or a gateway (for an ingress)."""

    id: str  # bech32m id; also CN and SAN of its certificate
    host: str
    port: int  # 0 for a peer that only calls us
    cert: bytes  # DER, self-signed by the peer's hot key


@dataclass(frozen=True, slots=True, order=True)
class Server:
    """One copy behind a route. Exactly one of `peer` (edge) and `endpoint` (ingress) is given."""

    id: str  # unique within its route: the generation, in decimal
    peer: str = ""
    endpoint: str = ""  # "unix:/path" or "host:port"
    state: ServerState = "ready"


@dataclass(frozen=True, slots=True, order=True)
class Route:
    key: str  # "<app name>/<group>/<port name>"
    hosts: tuple[str, ...] = ()  # lower case, without port; edge only
    servers: tuple[Server, ...] = ()
    sticky: bool = False
    timeout_s: int = 30  # for the response head, and between two parts of a body
    connections_max: int = 500  # per server


@dataclass(frozen=True, slots=True)
class Table:
    """Everything a proxy knows. `serving` is the answer to checks of the ingress role."""

    routes: tuple[Route, ...] = ()
    peers: tuple[Peer, ...] = ()
    serving: bool = True


@dataclass(frozen=True, slots=True)
class TableDiff:
    """What to do to get from one table to another, each part sorted by key. Empty when they are equal."""

    added: tuple[Route, ...]
    removed: tuple[Route, ...]
    changed: tuple[tuple[Route, Route], ...]  # (before, after)
    peers_added: tuple[Peer, ...]  # a peer whose address or certificate changed is removed and added
    peers_removed: tuple[Peer, ...]


def compute_diff(before: Table, after: Table) -> TableDiff:
    """The difference of two tables, in time proportional to their size."""
    old = {route.key: route for route in before.routes}
    new = {route.key: route for route in after.routes}
    old_peers, new_peers = set(before.peers), set(after.peers)
    return TableDiff(
        added=tuple(new[key] for key in sorted(new.keys() - old.keys())),
        removed=tuple(old[key] for key in sorted(old.keys() - new.keys())),
        changed=tuple((old[key], new[key]) for key in sorted(new.keys() & old.keys()) if old[key] != new[key]),
        peers_added=tuple(sorted(new_peers - old_peers)),
        peers_removed=tuple(sorted(old_peers - new_peers)),
    )
