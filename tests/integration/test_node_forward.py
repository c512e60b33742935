"""Tunnels to a copy's ports through a real node's API: bytes, ends, slowness, bounds, and who may not."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from fluxcloud.errors import Rejected, Temporary
from fluxcloud.ledger.apps.model import APPS
from fluxcloud.ledger.apps.spec import Port
from fluxcloud.node.api import forward
from fluxcloud.sdk.nodes import NodeClient
from fluxcloud.sdk.sessions import SessionStore
from fluxcloud.sdk.tunnel import join
from fluxcloud.sdk.wallet import Wallet

from .node_world import APP, CHAIN_ID, World, make_entry, wait_for

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
TIMEOUT_S = 20.0
ECHO = ("/bin/busybox", "nc", "-ll", "-p", "9000", "-e", "/bin/cat")
"""An echo on a port that is not public."""


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path)
    world.add_node("n1")
    world.assign("n1", make_entry(world.add_revision(ports=(Port("http", 8080), Port("dns", 53, "udp")))))
    async with world.run_node("n1"):
        await world.push_image("n1")
        await wait_for(lambda: (entry := world.get_entry("n1")) is not None and entry.phase == "running")
        yield world


@asynccontextmanager
async def listen(client: NodeClient, port: int = 8080) -> AsyncIterator[Callable[[], Awaitable[Connection]]]:
    """A local listener whose connections are tunnelled; what it gives connects to it."""
    broken: list[BaseException] = []

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            socket = await client.open_forward(1, port)
        except Rejected as error:
            broken.append(error)
            writer.transport.abort()
            return
        await join(socket, reader, writer)
        await socket.close()

    server = await asyncio.start_server(carry, "127.0.0.1", 0)
    host, number = server.sockets[0].getsockname()

    async def connect() -> Connection:
        return await asyncio.open_connection(host, number)

    try:
        yield connect
    finally:
        server.close()
    assert not broken, broken


async def ask(connection: Connection) -> bytes:
    reader, writer = connection
    writer.write(b"GET / HTTP/1.0\r\nHost: shop\r\n\r\n")
    answer = await asyncio.wait_for(reader.read(), TIMEOUT_S)
    writer.close()
    await writer.wait_closed()
    return answer


async def test_http_port__answers_through_the_tunnel_several_at_once(world: World) -> None:
    async with world.make_client("n1") as client, listen(client) as connect:
        connections = [await connect() for _ in range(8)]
        answers = await asyncio.gather(*map(ask, connections))
        assert {answer.split(b" ", 2)[1] for answer in answers} == {b"200"}
        assert all(b"Hello from shop" in answer for answer in answers)


async def test_half_close__what_was_sent_before_the_end_is_still_answered(world: World) -> None:
    """The client ends its direction at once; the answer comes all the same."""
    async with world.make_client("n1") as client, listen(client) as connect:
        reader, writer = await connect()
        writer.write(b"GET / HTTP/1.0\r\nHost: shop\r\n\r\n")
        writer.write_eof()
        assert b"Hello from shop" in await asyncio.wait_for(reader.read(), TIMEOUT_S)
        writer.close()
        await writer.wait_closed()


async def test_visitor_goes_away__the_node_forgets_the_tunnel(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward, "TUNNELS_PER_APP", 1)
    async with world.make_client("n1") as client, listen(client) as connect:
        _, writer = await connect()
        await ask_until_refused(client)
        writer.transport.abort()
        socket = await open_when_free(client)
        await socket.close()


async def ask_until_refused(client: NodeClient) -> None:
    """Until the one tunnel that is allowed is open."""
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            try:
                socket = await client.open_forward(1, 8080)
            except Temporary:  # one tunnel of this app is open already
                return
            await socket.close()


async def open_when_free(client: NodeClient):  # type: ignore[no-untyped-def]
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            try:
                return await client.open_forward(1, 8080)
            except Temporary:
                await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("generation", "port", "code", "said"),
    [
        (1, 53, "node/2", "8080"),
        (1, 8081, "node/2", "8080"),
        (2, 8080, "node/1", "copy 2"),
        (1, 65_536, "node/2", "65535"),
    ],
)
async def test_ports_and_copies_that_are_not_there__are_refused(
    world: World, generation: int, port: int, code: str, said: str
) -> None:
    async with world.make_client("n1") as client:
        with pytest.raises(Rejected, match=said) as refused:
            await client.open_forward(generation, port)
        assert refused.value.code == code


async def test_stranger__is_refused(world: World) -> None:
    async with world.make_client("n1", Wallet.generate()) as client:
        with pytest.raises(Rejected) as refused:
            await client.open_forward(1, 8080)
        assert refused.value.code == "capability/3"


async def test_revoked_session__ends_its_tunnels_and_opens_no_more_while_a_new_one_is_let_in_at_once(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forward, "AUTHORITY_CHECK_S", 0.05)
    store = SessionStore(tmp_path / "sessions", CHAIN_ID)
    node, before = world.nodes["n1"], world.app
    async with NodeClient(CHAIN_ID, node, before, store.get(before, world.owner)) as old:
        socket = await old.open_forward(1, 8080)
        assert len(await old.list_copies()) == 1
        after = msgspec.structs.replace(before, session_epoch=before.session_epoch + 1)
        world.chain.put(APPS, APP, after)
        async with NodeClient(CHAIN_ID, node, after, store.get(after, world.owner)) as new:
            assert len(await new.list_copies()) == 1
        with pytest.raises(Rejected) as refused:
            await old.list_copies()
        assert refused.value.code == "capability/3"
        assert (await asyncio.wait_for(socket.receive(), TIMEOUT_S)).data == 1000
        await socket.close()


async def test_echo_of_all_that_was_sent__arrives_though_it_is_read_last(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.add_node("n1")
    ports = (Port("echo", 9000, "tcp", public=False),)
    world.assign("n1", make_entry(world.add_revision(ports=ports, command=ECHO)))
    async with world.run_node("n1"):
        await world.push_image("n1")
        await wait_for(lambda: (entry := world.get_entry("n1")) is not None and entry.phase == "running")
        async with world.make_client("n1") as client, listen(client, 9000) as connect:
            sent = os.urandom(8 << 20)
            reader, writer = await connect()
            feeding = asyncio.create_task(feed(writer, sent))
            received = await asyncio.wait_for(reader.read(-1), TIMEOUT_S)
            await feeding
            assert received == sent
            writer.close()
            await writer.wait_closed()


async def feed(writer: asyncio.StreamWriter, content: bytes) -> None:
    for at in range(0, len(content), 1 << 16):
        writer.write(content[at : at + (1 << 16)])
        await writer.drain()
    writer.write_eof()
