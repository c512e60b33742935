"""Ingress: the node's role. Takes requests from registered gateways only and brings them to the copies on this node.

Who calls is who their certificate says, byte for byte; a stranger's connection ends before its first request is read.
The route comes in a header that only a gateway can set; nothing else of the request is believed or looked at.
"""

from __future__ import annotations

import asyncio
import logging
import math
import ssl
from typing import Final

from fluxcloud.crypto import PrivateKey
from fluxcloud.tls import server_context

from .answers import no_route_here
from .balance import Health, LiveRoute, LiveServer
from .base import ProxyConfig
from .dial import EndpointDial, get_certificate
from .forward import Passage, fail, forward
from .http1 import Request
from .race import Policy
from .routes import HEALTH_PATH, ROUTE_HEADER, Route, Server, Table, TableDiff
from .upstream import Link
from .visitor import Counters, Visitor

_log = logging.getLogger(__name__)

_IDLE_MAX: Final = 64  # connections to one app
_IDLE_S: Final = 2.0  # shorter than what app servers keep: the closing side should be this one
_ROUTE_HEADER: Final = ROUTE_HEADER.lower().encode()
_HEALTH_PATH: Final = HEALTH_PATH.encode()


class Ingress:
    """See the module."""

    def __init__(self, config: ProxyConfig, counters: Counters) -> None:
        self._config = config
        self._policy = Policy(
            retries=1,
            stale_only=True,  # a kept connection that the app closed meanwhile; the edge does the rest
            attempt_timeout_s=math.inf,
            again_after_s=0.0,
            queue_timeout_s=config.queue_timeout_s,
            queue_max=config.queue_max,
            reads_errors=False,
            counters=counters,
        )
        self._routes: dict[str, LiveRoute] = {}
        self._certs: set[bytes] = set()
        self._serving = True
        self.context: ssl.SSLContext = server_context(PrivateKey(config.key_seed), config.cert_der, ())

    # -- the table

    def update(self, diff: TableDiff, table: Table) -> None:
        self._serving = table.serving
        for peer in diff.peers_added:
            try:
                self.context.load_verify_locations(cadata=peer.cert)
            except (ssl.SSLError, ValueError):  # the others must still get in
                _log.warning("gateway %s: its certificate can't be read; it is not let in", peer.id)
        self._certs = {peer.cert for peer in table.peers}
        for route in diff.removed:
            self._retire(self._routes.pop(route.key).servers)
        for before, after in diff.changed:
            self._change_route(self._routes[before.key], after)
        for route in diff.added:
            self._routes[route.key] = LiveRoute(route, [self._build_server(server) for server in route.servers])

    def get_down(self) -> tuple[str, ...]:
        return ()

    async def close(self) -> None:
        dials = tuple(self._policy.dials)
        for dial in dials:
            dial.cancel()
        await asyncio.gather(*dials, return_exceptions=True)
        for route in self._routes.values():
            for live in route.servers:
                live.link.retire()
                live.link.abort_all()

    def _change_route(self, live: LiveRoute, after: Route) -> None:
        old = {(known.server.id, known.server.endpoint): known for known in live.servers}
        kept = [old.pop((server.id, server.endpoint), None) for server in after.servers]
        live.route = after
        live.servers = []
        for server, known in zip(after.servers, kept, strict=True):
            if known is not None:
                known.server = server
            live.servers.append(known or self._build_server(server))
        self._retire(list(old.values()))
        live.wake_all()

    def _build_server(self, server: Server) -> LiveServer:
        link = Link(EndpointDial(server.endpoint, self._config), idle_max=_IDLE_MAX, idle_s=_IDLE_S, fresh_s=0.0)
        return LiveServer(server, link, Health(), _do_nothing)

    def _retire(self, servers: list[LiveServer]) -> None:
        for live in servers:
            live.link.retire()

    # -- connections and requests

    def admit(self, transport: asyncio.Transport) -> bool:
        return get_certificate(transport) in self._certs

    async def serve(self, visitor: Visitor, request: Request) -> None:
        key = request.index.get(_ROUTE_HEADER)
        if key is None and request.target == _HEALTH_PATH:
            self._answer_check(visitor, request)
            return
        route = self._routes.get((key or b"").decode("latin-1"))
        if route is None:
            fail(self._policy, visitor, request, no_route_here((key or b"").decode("latin-1")))
            return
        await forward(self._policy, visitor, request, _build_passage(route))

    def _answer_check(self, visitor: Visitor, request: Request) -> None:
        serving = self._serving and not visitor.front.draining
        status = b"200 OK" if serving else b"503 Service Unavailable"
        visitor.answered, visitor.reusable = True, request.keep_alive and visitor.body_done
        visitor.write(b"HTTP/1.1 %b\r\nContent-Length: 0\r\n\r\n" % status)


def _build_passage(route: LiveRoute) -> Passage:
    return Passage(route=route, request_extra=b"", response_extra=_add_nothing, from_visitor=False)


def _add_nothing(_live: LiveServer) -> bytes:
    return b""


def _do_nothing() -> None:
    """An app on this machine is not checked by the proxy: the agent says which of its copies are ready."""
