"""The owner's API of a node: HTTPS with the node's own certificate, which the ledger names.

Connections, headers, bodies and waiting are bounded: a connection that has not sent a whole head after 20 s is closed,
and beyond 256 connections a new one is closed at once.
"""

from __future__ import annotations

import asyncio
import logging
import ssl

from aiohttp import web

from .answers import answer_errors
from .blobs import Blobs
from .context import ApiContext
from .copies import Copies
from .exec import Exec
from .forward import Forward

_log = logging.getLogger(__name__)

CONNECTIONS_MAX = 256
HEAD_TIMEOUT_S = 20.0
HANDSHAKE_TIMEOUT_S = 10.0
HEADER_BYTES_MAX = 8 * 1024
BODY_BYTES_MAX = 64 * 1024
"""Of bodies that are read as a whole; blobs stream."""


def build_app(context: ApiContext) -> web.Application:
    app = web.Application(middlewares=[answer_errors], client_max_size=BODY_BYTES_MAX)
    for part in (Copies(context), Blobs(context), Exec(context), Forward(context)):
        app.add_routes(part.list_routes())
    return app


class ApiServer:
    """Listens until closed."""

    def __init__(self, context: ApiContext, tls: ssl.SSLContext) -> None:
        self._runner = web.AppRunner(
            build_app(context),
            access_log=None,
            handle_signals=False,
            keepalive_timeout=HEAD_TIMEOUT_S,
            max_line_size=HEADER_BYTES_MAX,
            max_field_size=HEADER_BYTES_MAX,
            shutdown_timeout=2.0,
        )
        self._tls = tls
        self._server: asyncio.Server | None = None

    @property
    def port(self) -> int:
        assert self._server is not None, "not started"
        return int(self._server.sockets[0].getsockname()[1])

    async def start(self, host: str, port: int) -> None:
        """Raises OSError where the address is taken."""
        await self._runner.setup()
        self._server = await asyncio.get_running_loop().create_server(
            self._make_protocol, host, port, ssl=self._tls, ssl_handshake_timeout=HANDSHAKE_TIMEOUT_S
        )

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        await self._runner.cleanup()

    def _make_protocol(self) -> asyncio.BaseProtocol:
        server = self._runner.server
        assert server is not None, "not set up"
        if len(server.connections) >= CONNECTIONS_MAX:
            _log.warning("a connection was closed: %d are open", CONNECTIONS_MAX)
            return _Refusal()
        return server()


class _Refusal(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.abort()
