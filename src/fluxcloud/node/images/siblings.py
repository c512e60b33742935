"""Sibling nodes: where else an app runs, and how a blob is got from there.

The ledger names the app's copies and their nodes' certificates; this node asks over TLS pinned to that certificate,
with a short capability signed by its own hot key. Source: APPS.md 4 (images).
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import aiohttp

from ...capability import AppAuthority, Asked, make_cap, render_authorization, sign_cap
from ...crypto import PrivateKey
from ...errors import Temporary
from ...ids import Address, AppId, NodeId, render_node
from ...images.errors import MissingBlob
from ...ledger.apps.model import App, Routes
from ...ledger.nodes.model import Node
from ...tls import client_context

CHUNK_BYTES = 256 * 1024
CONNECT_TIMEOUT_S = 3.0
READ_TIMEOUT_S = 15.0
SIBLINGS_MAX = 5


@dataclass(frozen=True, slots=True)
class Me:
    """Who asks: this node, from its own address."""

    chain_id: str
    id: NodeId
    key: PrivateKey
    host: str


@dataclass(frozen=True, slots=True)
class HttpSibling:
    """One other node of an app, asked through its API."""

    me: Me
    app: AppId
    authority: AppAuthority
    node: Node
    unix_ms: Callable[[], int]

    @property
    def id(self) -> NodeId:
        return NodeId(self.node.id)

    async def pull(self, digest: str) -> AsyncIterator[bytes]:
        asked = Asked(self.me.chain_id, self.app, self.id, "pull", self.unix_ms())
        cap = make_cap(asked, self.authority, holder=self.me.id)
        headers = {"Authorization": render_authorization(sign_cap(cap, self.me.key))}
        endpoint = self.node.endpoint
        url = f"https://{_render_host(endpoint.host)}:{endpoint.api_port}/v1/blobs/{digest}"
        tls = client_context(None, None, self.node.cert)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=READ_TIMEOUT_S)
        connector = aiohttp.TCPConnector(local_addr=(self.me.host, 0), force_close=True)
        try:
            async with (
                aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False) as session,
                session.get(url, headers=headers, ssl=tls, server_hostname=render_node(self.id)) as response,
            ):
                if response.status == 404:
                    raise MissingBlob(f"{digest} is not on {render_node(self.id)}")
                if response.status != 200:
                    raise Temporary(f"{render_node(self.id)} answers {response.status}")
                async for chunk in response.content.iter_chunked(CHUNK_BYTES):
                    yield chunk
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            reason = str(error) or type(error).__name__
            raise Temporary(f"{render_node(self.id)} can't be asked: {reason}") from error


class Siblings:
    """Finds the other nodes of an app from proven records."""

    def __init__(
        self,
        me: Me,
        read_app: Callable[[AppId], Awaitable[App | None]],
        read_routes: Callable[[AppId], Awaitable[Routes | None]],
        read_node: Callable[[NodeId], Awaitable[Node | None]],
        unix_ms: Callable[[], int],
    ) -> None:
        self._me = me
        self._read_app = read_app
        self._read_routes = read_routes
        self._read_node = read_node
        self._unix_ms = unix_ms

    async def list_siblings(self, app_id: AppId) -> list[HttpSibling]:
        """Some of them, in random order, so that no copy is asked by all. Raises FluxCloudError."""
        app, routes = await self._read_app(app_id), await self._read_routes(app_id)
        if app is None or routes is None:
            return []
        ids = sorted({NodeId(copy.node) for copy in routes.copies} - {self._me.id})
        chosen = random.sample(ids, min(len(ids), SIBLINGS_MAX))
        nodes = [await self._read_node(node_id) for node_id in chosen]
        authority = AppAuthority(Address(app.owner), app.session_epoch)
        return [HttpSibling(self._me, app_id, authority, node, self._unix_ms) for node in nodes if node is not None]


def _render_host(host: str) -> str:
    return f"[{host}]" if ":" in host else host
