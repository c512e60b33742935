"""Edge: the gateway's role. Finds a route by Host and a peer that has a copy, and asks that peer's ingress.

Reads and keeps the live form of the table: routes by host, peers with their links and checks. `update` does work for
what has changed only; requests under way keep the servers they were given.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import Final

from .answers import no_route
from .balance import Health, LiveRoute, LiveServer
from .base import ProxyConfig
from .checks import Check
from .dial import PeerDial
from .forward import Passage, fail, forward
from .headers import get_cookie, render_forwarded
from .http1 import Request
from .race import Policy
from .routes import ROUTE_HEADER, SERVED_BY_HEADER, Peer, Route, Server, Table, TableDiff
from .sticky import COOKIE_ATTRIBUTES, STICKY_COOKIE, compute_sticky_key, compute_token
from .upstream import Link
from .visitor import Counters, Visitor

_IDLE_MAX: Final = 256  # connections to one peer
_FRESH_S: Final = 0.25
_AGAIN_AFTER_S: Final = 0.2
_CHECK_DIALS_MAX: Final = 64
"""Checks that may be opening a connection at once: thousands of handshakes together would all run into their limit."""


@dataclass(slots=True, eq=False)
class LivePeer:
    """A node and the way to it."""

    peer: Peer
    link: Link
    health: Health
    check: Check
    task: asyncio.Task[None]


class Edge:
    """See the module."""

    def __init__(self, config: ProxyConfig, counters: Counters) -> None:
        self._config = config
        self._policy = Policy(
            retries=config.retries,
            attempt_timeout_s=config.attempt_timeout_s,
            again_after_s=_AGAIN_AFTER_S,
            queue_timeout_s=config.queue_timeout_s,
            queue_max=config.queue_max,
            reads_errors=True,
            stale_only=False,
            counters=counters,
        )
        self._check_gate = asyncio.Semaphore(_CHECK_DIALS_MAX)
        self._peers: dict[str, LivePeer] = {}
        self._routes: dict[str, LiveRoute] = {}
        self._by_host: dict[str, LiveRoute] = {}
        self._sticky_key = compute_sticky_key(config)

    # -- the table

    def update(self, diff: TableDiff, table: Table) -> None:
        for peer in diff.peers_removed:
            self._remove_peer(self._peers.pop(peer.id))
        for peer in diff.peers_added:
            self._peers[peer.id] = self._add_peer(peer)
        changed_peers = {peer.id for peer in (*diff.peers_removed, *diff.peers_added)}
        for route in diff.removed:
            self._remove_route(route)
        for before, after in diff.changed:
            self._change_route(before, after)
        for route in diff.added:
            self._add_route(route)
        if changed_peers:
            self._relink(changed_peers)

    def get_down(self) -> tuple[str, ...]:
        return tuple(sorted(peer_id for peer_id, live in self._peers.items() if live.health.down))

    async def close(self) -> None:
        """End checks and every connection to a peer."""
        tasks: list[asyncio.Task[object]] = [*self._policy.dials]
        for live in self._peers.values():
            self._remove_peer(live)
            live.link.abort_all()
            tasks.append(live.task)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _add_peer(self, peer: Peer) -> LivePeer:
        config, health = self._config, Health()
        link = Link(
            PeerDial(peer, config), idle_max=_IDLE_MAX, idle_s=config.client_idle_timeout_s / 2, fresh_s=_FRESH_S
        )
        check = Check(peer, link, health, config, self._check_gate, partial(self._wake_routes, peer.id))
        task = asyncio.get_running_loop().create_task(check.run())
        return LivePeer(peer, link, health, check, task)

    def _remove_peer(self, live: LivePeer) -> None:
        live.task.cancel()
        live.link.retire()

    def _relink(self, peer_ids: set[str]) -> None:
        """Peers came, went or moved: the servers on them follow."""
        for live in self._routes.values():
            if any(server.peer in peer_ids for server in live.route.servers):
                live.servers = self._build_servers(
                    live.route, [s for s in live.servers if s.server.peer not in peer_ids]
                )
                live.wake_all()

    def _add_route(self, route: Route) -> None:
        live = LiveRoute(route, self._build_servers(route, []))
        self._routes[route.key] = live
        for host in route.hosts:
            self._by_host[host] = live

    def _remove_route(self, route: Route) -> None:
        live = self._routes.pop(route.key)
        self._forget_hosts(live, route.hosts)
        live.servers = []

    def _change_route(self, before: Route, after: Route) -> None:
        live = self._routes[after.key]
        self._forget_hosts(live, before.hosts)
        live.route = after
        live.servers = self._build_servers(after, live.servers)
        for host in after.hosts:
            self._by_host[host] = live
        live.wake_all()

    def _forget_hosts(self, live: LiveRoute, hosts: tuple[str, ...]) -> None:
        for host in hosts:
            if self._by_host.get(host) is live:
                del self._by_host[host]

    def _build_servers(self, route: Route, known: list[LiveServer]) -> list[LiveServer]:
        """The servers whose peer is known; one that is on the same peer as before keeps its count."""
        old = {(live.server.id, live.server.peer): live for live in known}
        return [live for server in route.servers if (live := self._build_server(server, old)) is not None]

    def _build_server(self, server: Server, old: dict[tuple[str, str], LiveServer]) -> LiveServer | None:
        if (live := old.get((server.id, server.peer))) is not None:
            live.server = server
            return live
        if (peer := self._peers.get(server.peer)) is None:
            return None
        return LiveServer(server, peer.link, peer.health, peer.check.prompt)

    def _wake_routes(self, peer_id: str) -> None:
        for live in self._routes.values():
            if live.waiters and any(server.peer == peer_id for server in live.route.servers):
                live.wake_all()

    # -- requests

    def admit(self, transport: asyncio.Transport) -> bool:
        return True

    async def serve(self, visitor: Visitor, request: Request) -> None:
        route = self._by_host.get(request.host)
        if route is None:
            fail(self._policy, visitor, request, no_route(request.host))
            return
        visitor_host, proto = visitor.peer_host, self._config.forwarded_proto
        extra = b"%b: %b\r\n" % (ROUTE_HEADER.encode(), route.route.key.encode())
        preferred = self._find_preferred(request, route) if route.route.sticky else ""
        passage = Passage(
            route=route,
            request_extra=render_forwarded(request, visitor_host=visitor_host, proto=proto) + extra,
            response_extra=partial(self._render_extra, route, preferred),
            from_visitor=True,
            preferred=preferred,
        )
        await forward(self._policy, visitor, request, passage)

    def _render_extra(self, route: LiveRoute, preferred: str, live: LiveServer) -> bytes:
        served_by = b"%b: %b\r\n" % (SERVED_BY_HEADER.encode(), live.server.peer.encode())
        if not route.route.sticky or live.server.id == preferred:
            return served_by
        token = self._compute_token(route.route.key, live.server.id)
        cookie = f"Set-Cookie: {STICKY_COOKIE}={token}; {COOKIE_ATTRIBUTES}\r\nCache-Control: private\r\n"
        return served_by + cookie.encode()

    def _find_preferred(self, request: Request, route: LiveRoute) -> str:
        """The id of the server that the visitor's cookie names, or empty."""
        token = get_cookie(request, STICKY_COOKIE)
        if not token:
            return ""
        key = route.route.key
        ids = (live.server.id for live in route.servers)
        return next((server_id for server_id in ids if self._compute_token(key, server_id) == token), "")

    def _compute_token(self, key: str, server_id: str) -> str:
        return compute_token(self._sticky_key, key, server_id)
