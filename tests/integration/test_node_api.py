"""The owner's API over real TLS, misused: strangers, nonsense, slowness, crowds."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from fluxcloud.capability import AppAuthority, Asked, make_cap, render_authorization, sign_cap
from fluxcloud.crypto import PrivateKey, address_of_ed25519
from fluxcloud.ids import NodeId, render_node
from fluxcloud.node.api import server as api_server
from fluxcloud.tls import client_context

from .node_world import APP, CHAIN_ID, World, make_entry

OTHER = "app1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq"


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    world.add_node("n1")
    world.assign("n1", make_entry(world.add_revision()))
    return world


async def open_connection(world: World) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    node = world.nodes["n1"]
    tls = client_context(None, None, node.cert)
    name = render_node(NodeId(node.id))
    return await asyncio.open_connection(
        node.endpoint.host, node.endpoint.api_port, ssl=tls, server_hostname=name, limit=1 << 20
    )


async def send(world: World, raw: bytes) -> tuple[int, bytes]:
    """One request on one connection: status and body, 0 where the node hangs up without an answer."""
    reader, writer = await open_connection(world)
    try:
        writer.write(raw)
        answer = await asyncio.wait_for(reader.read(), 10)
    except ConnectionError:
        return 0, b""
    finally:
        await close(writer)
    head, _, body = answer.partition(b"\r\n\r\n")
    return (int(head.split(b" ", 2)[1]) if head else 0), body


def render(path: str, *headers: str, method: str = "GET") -> bytes:
    lines = (f"{method} {path} HTTP/1.1", "Host: n", "Connection: close", *headers)
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


async def test_status__is_public(world: World) -> None:
    async with world.run_node("n1"):
        status, body = await send(world, render("/v1/status"))
        shown = json.loads(body)
        assert (status, shown["id"], shown["isolation"]["engine"]) == (200, world.configs["n1"].id, "oci")


@pytest.mark.parametrize(
    ("path", "method", "status", "code"),
    [
        ("/v1/copies", "GET", 401, "capability/1"),
        ("/v1/blobs/sha256:" + "a" * 64, "GET", 401, "capability/1"),
        ("/v1/blobs/sha256:" + "a" * 64, "PUT", 401, "capability/1"),
        (f"/v1/logs/{OTHER}/1/app", "GET", 400, "ids/1"),
        ("/v1/nothing", "GET", 404, "http/404"),
        ("/v1/status", "POST", 405, "http/405"),
        ("/../../etc/passwd", "GET", 404, "http/404"),
    ],
)
async def test_strangers__get_errors_with_codes(world: World, path: str, method: str, status: int, code: str) -> None:
    async with world.run_node("n1"):
        answered, body = await send(world, render(path, "Content-Length: 0", method=method))
        assert (answered, json.loads(body)["code"]) == (status, code)


async def test_capability_of_another_action_or_a_revoked_epoch__is_refused(world: World) -> None:
    owner = PrivateKey.generate()
    authority = AppAuthority(address_of_ed25519(owner.public), 0)
    async with world.run_node("n1") as parts:
        node_id = parts.identity.id
        for action, epoch in (("logs", 0), ("copies", 1)):
            asked = Asked(CHAIN_ID, APP, node_id, action, parts.clock.wall_ms())  # type: ignore[arg-type]
            cap = make_cap(asked, AppAuthority(authority.owner, epoch))
            header = f"Authorization: {render_authorization(sign_cap(cap, owner))}"
            status, body = await send(world, render("/v1/copies", header))
            assert (status, json.loads(body)["code"]) == (403, "capability/3")


@pytest.mark.parametrize(
    "raw",
    [
        b"\x00\xff\xfe garbage\r\n\r\n",
        b"GET /v1/status HTTP/9.9\r\n\r\n",
        render("/v1/status", "X: " + "x" * 20_000),
        render("/" + "y" * 20_000),
        render("/v1/status", "Content-Length: 5", "Transfer-Encoding: chunked"),
        render("/v1/status", "Content-Length: -1"),
    ],
)
async def test_nonsense__is_refused_and_the_node_goes_on(world: World, raw: bytes) -> None:
    async with world.run_node("n1"):
        assert (await send(world, raw))[0] in (0, 400, 431)
        assert (await send(world, render("/v1/status")))[0] == 200


async def test_slow_head__is_hung_up_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_server, "HEAD_TIMEOUT_S", 0.3)
    async with world.run_node("n1"):
        reader, writer = await open_connection(world)
        writer.write(b"GET /v1/status HTTP/1.1\r\nHost:")
        assert await asyncio.wait_for(reader.read(), 10) == b""
        await close(writer)


async def test_crowd__is_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_server, "CONNECTIONS_MAX", 4)
    async with world.run_node("n1"), AsyncExitStack() as stack:
        for _ in range(4):
            _, writer = await open_connection(world)
            stack.push_async_callback(close, writer)
        assert (await send(world, render("/v1/status")))[0] == 0


async def close(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        await writer.wait_closed()
