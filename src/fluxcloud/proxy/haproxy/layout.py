"""Layout: which of HAProxy's fixed places holds what. Pure values; `plan` makes the next from one.

HAProxy makes neither backends nor servers to be tracked at run time, so a configuration has a pool of both: backends
`p00000...`, each taken by one route, and slots `nodes/n1...`, each standing for one peer. A route's servers are added
to its backend under a name that is never used again, and follow the health of their peer's slot by `track`.
What was removed stays in `retired` until its last request has ended; its place is not given away before.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final

from cryptography import x509

from ..base import ProxyConfig
from ..routes import Peer, Route, Server, Table
from ..sticky import compute_sticky_key, compute_token

POOL_MIN: Final = 256
SLOTS_MIN: Final = 64
FREE_MIN: Final = 0.1
"""Part of the pool that is kept free; with less, the pool is doubled."""

NO_PEER: Final = 0


@dataclass(frozen=True)
class LivePeer:
    """A peer and its slot. `serial` tells it from an earlier one of the same id."""

    peer: Peer
    slot: int
    serial: int

    @property
    def ca_file(self) -> str:
        return f"ca/{self.peer.id}.{self.serial}.pem"

    @cached_property
    def pem(self) -> str:
        """Its certificate, empty when that can't be read: then nothing is sent to it."""
        return render_cert(self.peer.cert)


@dataclass(frozen=True, slots=True)
class LiveServer:
    """A server as HAProxy knows it: `<peer>:<serial>:<sticky token>`."""

    name: str
    server: Server
    slot: int = NO_PEER

    @property
    def token(self) -> str:
        return self.name.rpartition(":")[2]


@dataclass(frozen=True, slots=True)
class LiveRoute:
    route: Route
    backend: int
    servers: tuple[LiveServer, ...] = ()


@dataclass(frozen=True, slots=True)
class Layout:
    """Everything HAProxy holds. `loaded`: files of certificates that it knows already."""

    pool: int
    slots: int
    serving: bool = True
    routes: Mapping[str, LiveRoute] = field(default_factory=dict)
    peers: Mapping[str, LivePeer] = field(default_factory=dict)
    retired: Mapping[int, tuple[LiveServer, ...]] = field(default_factory=dict)
    free: tuple[int, ...] = ()
    serial: int = 0
    loaded: frozenset[str] = frozenset()
    nobody: str = ""  # PEM that an ingress trusts while no gateway may call, for HAProxy wants one: of a key nobody has


def name_backend(index: int) -> str:
    return f"p{index:05d}"


def render_cert(der: bytes) -> str:
    """PEM, or empty for what is no certificate."""
    try:
        x509.load_der_x509_certificate(der)
    except ValueError:
        return ""
    return ssl.DER_cert_to_PEM_cert(der)


def compute_pool(routes: int) -> int:
    return max(POOL_MIN, 2 * routes)


def compute_slots(peers: int) -> int:
    return max(SLOTS_MIN, 2 * peers)


def is_short(layout: Layout) -> bool:
    """Whether it is time for a larger pool. An ingress has no slots, for it checks nobody."""
    if layout.slots and len(layout.peers) > (1 - FREE_MIN) * layout.slots:
        return True
    return len(layout.free) < FREE_MIN * layout.pool


def build_layout(config: ProxyConfig, table: Table, nobody: str = "") -> Layout:
    """The first layout for a table."""
    pool = compute_pool(len(table.routes))
    slots = compute_slots(len(table.peers)) if config.role == "edge" else 0
    free = tuple(range(pool - 1, -1, -1))
    layout = Layout(pool=pool, slots=slots, serving=table.serving, free=free, nobody=nobody)
    peers, serial = {}, 0
    for peer in sorted(table.peers):
        serial += 1
        peers[peer.id] = LivePeer(peer, serial, serial)
    layout = replace(layout, peers=peers, serial=serial)
    routes = {}
    for index, route in enumerate(sorted(table.routes)):
        live = LiveRoute(route, index)
        servers, serial = place_servers(config, live, layout.peers, serial)
        routes[route.key] = replace(live, servers=servers)
    free = layout.free[: pool - len(routes)]
    return mark_loaded(replace(layout, routes=routes, free=free, serial=serial))


def find_free_slots(layout: Layout) -> list[int]:
    """Slots that no peer has and that no server follows any more."""
    used = {live.slot for live in layout.peers.values()}
    used |= {server.slot for servers in layout.retired.values() for server in servers}
    return [slot for slot in range(1, layout.slots + 1) if slot not in used]


def enlarge(layout: Layout, table: Table) -> Layout:
    """The same with a pool that has room for `table`, for a new process: what was retired stays in the old one."""
    pool = max(2 * layout.pool if is_short(layout) else layout.pool, compute_pool(len(table.routes)))
    slots = max(layout.slots, compute_slots(len(table.peers))) if layout.slots else 0
    used = {live.backend for live in layout.routes.values()}
    free = tuple(index for index in range(pool - 1, -1, -1) if index not in used)
    return mark_loaded(replace(layout, pool=pool, slots=slots, free=free, retired={}))


def mark_loaded(layout: Layout) -> Layout:
    """As a process that has just read its configuration: it knows the certificates of peers that have servers."""
    used = {server.server.peer for live in layout.routes.values() for server in live.servers}
    loaded = frozenset(live.ca_file for live in layout.peers.values() if live.peer.id in used)
    return replace(layout, loaded=loaded)


def forget_retired(layout: Layout, backend: int, names: Iterable[str]) -> Layout:
    """Servers whose last request has ended are gone; a backend without any is free again."""
    if backend not in layout.retired:  # left behind in a process that has given way
        return layout
    gone = set(names)
    left = tuple(server for server in layout.retired.get(backend, ()) if server.name not in gone)
    retired = {index: servers for index, servers in layout.retired.items() if index != backend}
    if left:
        return replace(layout, retired={**retired, backend: left})
    if any(live.backend == backend for live in layout.routes.values()):
        return replace(layout, retired=retired)
    return replace(layout, retired=retired, free=(backend, *layout.free))


# -- servers


def place_servers(
    config: ProxyConfig, live: LiveRoute, peers: Mapping[str, LivePeer], serial: int
) -> tuple[tuple[LiveServer, ...], int]:
    """The servers a route has now: those known keep their names, the others get new ones. Returns the next serial."""
    sticky_key = compute_sticky_key(config)
    known = {_get_identity(server.server, server.slot): server for server in live.servers}
    placed = []
    for server in live.route.servers:
        slot = NO_PEER
        if server.peer:
            peer = peers.get(server.peer)
            if peer is None or not peer.pem:
                continue
            slot = peer.slot
        if (old := known.get(_get_identity(server, slot))) is not None:
            placed.append(replace(old, server=server))
            continue
        serial += 1
        token = compute_token(sticky_key, live.route.key, server.id)
        placed.append(LiveServer(f"{server.peer or 'local'}:{serial}:{token}", server, slot))
    return tuple(placed), serial


def _get_identity(server: Server, slot: int) -> tuple[object, ...]:
    """What can't change while a server keeps its name: HAProxy has no command to make a backup of one."""
    return server.id, server.peer, server.endpoint, server.state == "last", slot
