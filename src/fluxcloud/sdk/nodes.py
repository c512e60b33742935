"""NodeClient: a node's own API as an app's owner uses it, over TLS pinned to the certificate on the ledger.

Every request carries a capability of its own: short-lived, for one app, one node and one action.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote

import aiohttp

from ..capability import Action, AppAuthority, Asked, make_cap, render_authorization
from ..errors import Rejected, Temporary
from ..ids import Address, AppId, NodeId, render_app, render_node
from ..ledger.apps.model import App
from ..ledger.nodes.model import Node
from ..tls import client_context
from .sessions import CapSigner
from .tunnel import REASON_HEADER

CONNECT_TIMEOUT_S = 3.0
READ_TIMEOUT_S = 30.0
CHUNK_BYTES = 256 * 1024


class NodeClient:
    """Asks one node about one app. Use as an async context manager."""

    def __init__(self, chain_id: str, node: Node, app: App, signer: CapSigner) -> None:
        self.node_id = NodeId(node.id)
        self._chain_id = chain_id
        self._app = AppId(app.id)
        self._authority = AppAuthority(Address(app.owner), app.session_epoch)
        self._signer = signer
        self._url = f"https://{node.endpoint.host}:{node.endpoint.api_port}"
        self._name = render_node(self.node_id)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=READ_TIMEOUT_S)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=client_context(None, None, node.cert)), timeout=timeout
        )

    async def __aenter__(self) -> NodeClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def list_copies(self) -> list[dict[str, Any]]:
        """Live states of the app's copies there: stage, probe answers, restarts, pids."""
        async with self._request("GET", "/v1/copies", "copies") as response:
            copies: list[dict[str, Any]] = (await response.json())["copies"]
            return copies

    async def get_stats(self, generation: int, component: str) -> dict[str, int]:
        async with self._request("GET", self._path("stats", generation, component), "stats") as response:
            stats: dict[str, int] = await response.json()
            return stats

    async def push_blob(self, digest: str, path: Path) -> bool:
        """Whether the node needed it. Raises Rejected with the node's code where it refuses."""
        where = f"/v1/blobs/{digest}"
        async with self._request("HEAD", where, "push", missing_ok=True) as response:
            if response.status == 200:
                return False
        size = path.stat().st_size
        headers = {"Content-Length": str(size), "Content-Type": "application/octet-stream"}
        async with self._request("PUT", where, "push", data=_read_chunks(path), headers=headers) as response:
            return response.status == 201

    async def read_logs(
        self, generation: int, component: str, *, after: str = "", tail: int | None = None, follow: bool = False
    ) -> AsyncIterator[dict[str, Any]]:
        """Lines `{"cursor", "time_ms", "stream", "text"}`; resume after a line by its cursor."""
        query = {"after": after, "follow": "1" if follow else "0"} | ({} if tail is None else {"tail": str(tail)})
        path = self._path("logs", generation, component)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=None)
        async with self._request("GET", path, "logs", params=query, timeout=timeout) as response:
            async for line in response.content:
                entry = json.loads(line)
                if "error" in entry:
                    raise Temporary(entry["error"])
                yield entry

    async def open_exec(
        self, generation: int, component: str, argv: tuple[str, ...], *, tty: bool
    ) -> aiohttp.ClientWebSocketResponse:
        """A WebSocket in the form that `node/api/exec.py` describes. Raises Rejected by the node's code."""
        query = [("arg", arg) for arg in argv] + ([("tty", "1")] if tty else [])
        return await self._open_socket(self._path("exec", generation, component), "exec", query)

    async def open_forward(self, generation: int, port: int) -> aiohttp.ClientWebSocketResponse:
        """A WebSocket to a port of a copy, for `tunnel.join`. Raises Rejected by the node's code."""
        return await self._open_socket(self._path("forward", generation, str(port)), "forward", [])

    async def _open_socket(
        self, path: str, action: Action, query: list[tuple[str, str]]
    ) -> aiohttp.ClientWebSocketResponse:
        try:
            return await self._session.ws_connect(
                self._url + path,
                params=query,
                headers=self._authorize(action),
                server_hostname=self._name,
                max_msg_size=1 << 20,
            )
        except aiohttp.WSServerHandshakeError as error:
            raise _read_handshake_failure(error, self._name) from error
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Temporary(f"node {self._name} can't be reached: {error}") from error

    def _path(self, noun: str, generation: int, component: str) -> str:
        return f"/v1/{noun}/{render_app(self._app)}/{generation}/{quote(component)}"

    def _authorize(self, action: Action) -> dict[str, str]:
        asked = Asked(self._chain_id, self._app, self.node_id, action, time.time_ns() // 1_000_000)
        return {"Authorization": render_authorization(self._signer.sign_cap(make_cap(asked, self._authority)))}

    def _request(self, method: str, path: str, action: Action, *, missing_ok: bool = False, **options: Any) -> _Request:
        options["headers"] = self._authorize(action) | options.get("headers", {})
        options["server_hostname"] = self._name
        return _Request(self._session, method, self._url + path, self._name, missing_ok, options)


class _Request:
    """One request whose failures are ours: Rejected by the node's code, Temporary where it can't be reached."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        method: str,
        url: str,
        name: str,
        missing_ok: bool,
        options: dict[str, Any],
    ) -> None:
        self._context = session.request(method, url, **options)
        self._name = name
        self._missing_ok = missing_ok

    async def __aenter__(self) -> aiohttp.ClientResponse:
        try:
            response = await self._context.__aenter__()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Temporary(f"node {self._name} can't be reached: {error or type(error).__name__}") from error
        if response.status < 400 or (self._missing_ok and response.status == 404):
            return response
        failure = await _read_failure(response, self._name)
        await self._context.__aexit__(None, None, None)
        raise failure

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._context.__aexit__(kind, error, trace)
        if isinstance(error, aiohttp.ClientError | TimeoutError):
            raise Temporary(f"node {self._name} went away: {error or type(error).__name__}") from error


async def _read_failure(response: aiohttp.ClientResponse, name: str) -> Exception:
    try:
        body = json.loads(await response.content.read(65_536))
        code, message = str(body["code"]), str(body["message"])
    except (ValueError, KeyError, TypeError, aiohttp.ClientError):
        if response.status in (401, 403):  # an answer to HEAD has no body
            return Rejected(f"node {name} does not allow this", code="capability/3")
        return Temporary(f"node {name} answered {response.status}")
    return Temporary(message) if response.status in (429, 503) else Rejected(message, code=code)


def _read_handshake_failure(error: aiohttp.WSServerHandshakeError, name: str) -> Exception:
    """What aiohttp keeps of the answer has no body, so the node says it in a header, too."""
    code, _, message = (error.headers.get(REASON_HEADER, "") if error.headers else "").partition(" ")
    if error.status in (429, 503) or not code:
        return Temporary(message or f"node {name} answered {error.status}")
    return Rejected(message, code=code)


async def _read_chunks(path: Path) -> AsyncIterator[bytes]:
    file = await asyncio.to_thread(path.open, "rb")
    with file:
        while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
            yield chunk
