"""The embedded engine: the proxy in this process, on asyncio (faster on uvloop). See `base` for the contract.

Listens, owns the role (edge or ingress) and all visitors, and ends them: with `drain_s`, requests under way finish,
answers say `Connection: close`, and what is idle is closed when it has been so for a moment, because a request may be
on its way on it.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Final

from .base import ProxyConfig, ProxyStats
from .edge import Edge
from .ingress import Ingress
from .routes import Table, compute_diff
from .visitor import Counters, Front, Visitor

_BACKLOG: Final = 1024
_EDGE_HEADERS_BYTES: Final = 2048
"""What an edge may add to a head: the ingress takes that much more."""

_DRAIN_LOOK_S: Final = 0.02
_IDLE_GRACE_S: Final = 0.5
"""While draining: how long an idle connection is kept for a request that is on its way."""


class EmbeddedProxy:
    """A `Proxy`."""

    def __init__(self, config: ProxyConfig) -> None:
        self._config = config
        self._counters = Counters()
        self._table = Table()
        self._port = config.listen_port
        self._server: asyncio.Server | None = None
        self._role: Edge | Ingress | None = None
        self._front: Front | None = None

    @property
    def port(self) -> int:
        return self._port

    async def start(self, table: Table) -> None:
        """Serve `table`. Raises OSError when the address can't be listened on."""
        config = self._config
        loop = asyncio.get_running_loop()
        context: ssl.SSLContext | None = None
        if config.role == "edge":
            self._role, header_max = Edge(config, self._counters), config.header_max_bytes
        else:
            self._role = ingress = Ingress(config, self._counters)
            context, header_max = ingress.context, config.header_max_bytes + _EDGE_HEADERS_BYTES
        self._front = front = Front(config, self._role, header_max, self._counters)
        await self.apply(table)
        try:
            self._server = await loop.create_server(
                lambda: Visitor(loop, front),
                config.listen_host,
                config.listen_port,
                ssl=context,
                ssl_handshake_timeout=config.client_header_timeout_s if context is not None else None,
                backlog=_BACKLOG,
            )
        except OSError:
            await self._role.close()
            raise
        self._port = self._server.sockets[0].getsockname()[1]

    async def apply(self, table: Table) -> None:
        assert self._role is not None, "not started"
        assert self._front is not None
        diff = compute_diff(self._table, table)
        self._role.update(diff, table)
        self._table = table
        if diff.peers_removed:
            for visitor in tuple(self._front.visitors):
                if not self._role.admit(visitor.transport):
                    visitor.abort()

    async def stop(self, *, drain_s: float = 0.0) -> None:
        if self._front is None or self._role is None or self._server is None:
            return
        self._server.close()
        self._front.draining = True
        await self._drain(self._front, drain_s)
        for visitor in tuple(self._front.visitors):
            visitor.abort()
        await asyncio.gather(*self._front.tasks, return_exceptions=True)
        await self._role.close()
        await self._server.wait_closed()
        self._front = self._role = self._server = None

    def get_stats(self) -> ProxyStats:
        counters = self._counters
        return ProxyStats(
            requests=counters.requests,
            failed=counters.failed,
            retries=counters.retries,
            refused=counters.refused,
            active=counters.active,
            peers_down=() if self._role is None else self._role.get_down(),
        )

    async def _drain(self, front: Front, drain_s: float) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + drain_s
        while front.visitors and (left_s := until - loop.time()) > 0:
            idle_since = loop.time() - _IDLE_GRACE_S
            for visitor in tuple(front.visitors):
                if visitor.idle and visitor.moved_at <= idle_since:
                    visitor.close()
            await asyncio.sleep(min(left_s, _DRAIN_LOOK_S))
