"""A port of a copy, for its owner alone: a TCP stream inside a WebSocket (`sdk/tunnel.py` says how).

    GET /v1/forward/<app>/<generation>/<port>      forward

Any TCP port that the spec names can be reached, public or not. A revoked session ends the tunnels it opened: each
looks at the ledger's record again every few seconds, as far as the chain can be asked.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web

from ...capability import AppAuthority
from ...errors import FluxCloudError
from ...ids import AppId
from ...sdk.tunnel import MESSAGE_BYTES_MAX, join
from ..runtime.base import CopyKey, Endpoint
from .access import authorize, parse_copy, parse_number
from .answers import BadRequest, NotHere, NothingListens, TooMany
from .context import ApiContext

_log = logging.getLogger(__name__)

TUNNELS_MAX = 128
TUNNELS_PER_APP = 32
CONNECT_TIMEOUT_S = 3.0
AUTHORITY_CHECK_S = 10.0
CLOSE_TIMEOUT_S = 2.0
READ_LIMIT_BYTES = 64 * 1024


class Forward:
    """Handler of tunnels."""

    def __init__(self, context: ApiContext) -> None:
        self._context = context
        self._tunnels: Counter[AppId] = Counter()

    def list_routes(self) -> list[web.RouteDef]:
        return [web.get("/v1/forward/{app}/{generation}/{port}", self.get_forward)]

    async def get_forward(self, request: web.Request) -> web.WebSocketResponse:
        info, header = request.match_info, request.headers.get("Authorization", "")
        app, key = parse_copy(info["app"], info["generation"])
        await authorize(self._context, header, "forward", app)
        port = parse_number(info["port"], "port", 65_535)
        self._check_port(app, key, port)
        authority = await self._context.read_authority(app)
        with self._count(app):
            endpoint = self._context.runtime.get_endpoint(self._context.find_copy(key), port)
            reader, writer = await _connect(endpoint, port)
            try:
                return await self._serve(request, reader, writer, app, authority)
            finally:
                writer.transport.abort()

    def _check_port(self, app: AppId, key: CopyKey, port: int) -> None:
        """Raises NotHere (node/1), BadRequest (node/2) naming the ports there are."""
        copies = self._context.list_copies(app)
        copy = next((copy for copy in copies if copy["generation"] == key.generation), None)
        if copy is None:
            raise NotHere(f"copy {key.generation} of this app is not on this node")
        ports = {shown["port"]: shown["protocol"] for shown in copy["ports"]}
        if ports.get(port, "udp") == "udp":
            named = ", ".join(str(number) for number, protocol in sorted(ports.items()) if protocol != "udp")
            raise BadRequest(f"port: {port} is no TCP port of this app's spec; there are {named or 'none'}")

    @contextmanager
    def _count(self, app: AppId) -> Iterator[None]:
        """Raises TooMany (node/3)."""
        if self._tunnels.total() >= TUNNELS_MAX:
            raise TooMany(f"{TUNNELS_MAX} tunnels are open on this node already")
        if self._tunnels[app] >= TUNNELS_PER_APP:
            raise TooMany(f"{TUNNELS_PER_APP} tunnels of this app are open on this node already")
        self._tunnels[app] += 1
        try:
            yield
        finally:
            self._tunnels[app] -= 1
            self._tunnels += Counter()  # forget apps that have none

    async def _serve(
        self,
        request: web.Request,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        app: AppId,
        authority: AppAuthority | None,
    ) -> web.WebSocketResponse:
        # No heartbeat: a client whose visitor reads slowly does not read our pings either. Idle tunnels end by `join`.
        socket = web.WebSocketResponse(timeout=CLOSE_TIMEOUT_S, max_msg_size=MESSAGE_BYTES_MAX, compress=False)
        await socket.prepare(request)
        carrying = asyncio.create_task(join(socket, reader, writer))
        watching = asyncio.create_task(self._wait_revoked(app, authority))
        try:
            await asyncio.wait((carrying, watching), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (carrying, watching):
                task.cancel()
            await asyncio.gather(carrying, watching, return_exceptions=True)
        await socket.close()
        return socket

    async def _wait_revoked(self, app: AppId, authority: AppAuthority | None) -> None:
        """Until the app's owner or session epoch is another one. Without a chain it stays as it was."""
        while True:
            await asyncio.sleep(AUTHORITY_CHECK_S)
            try:
                if await self._context.read_authority(app) != authority:
                    return
            except FluxCloudError as error:
                _log.debug("a tunnel's owner can't be looked up: %s", error)


async def _connect(endpoint: Endpoint, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Raises NothingListens (node/4)."""
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            if endpoint.unix:
                return await asyncio.open_unix_connection(endpoint.unix, limit=READ_LIMIT_BYTES)
            return await asyncio.open_connection(endpoint.host, endpoint.port, limit=READ_LIMIT_BYTES)
    except (OSError, TimeoutError) as error:
        raise NothingListens(f"port {port} of this copy can't be reached: {error or 'no answer'}") from error
