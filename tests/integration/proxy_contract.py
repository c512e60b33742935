"""What every proxy engine must do. Collected by `test_proxy_<engine>.py`, which gives the `engine` fixture.

A visitor, an edge, pinned TLS to three nodes' ingresses, an app on each. Nothing here knows how an engine works inside:
statuses and `FluxCloud-*` headers are checked, and what the apps were asked, never texts.
"""

from __future__ import annotations

import asyncio
import hashlib
import ssl
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import websockets
from websockets.asyncio.server import ServerConnection

from fluxcloud.proxy.base import Proxy
from fluxcloud.proxy.routes import HEALTH_PATH, Route, Server, Table
from integration.proxy_world import HOST, KEY, App, Client, Engine, Identity, Wire, World

LATENCY_MAX_S = 1.5
"""Added to a request of class (a) by a hung node, at most."""


@pytest.fixture
async def world(engine: Engine, tmp_path: Path) -> AsyncIterator[World]:
    world = World(engine, tmp_path)
    try:
        yield world
    finally:
        await world.stop()


async def wait_until_down(proxy: Proxy, *peer_ids: str) -> None:
    async with asyncio.timeout(10):
        while proxy.get_stats().peers_down != peer_ids:
            await asyncio.sleep(0.02)


# -- forwarding


async def test_get__reaches_app_and_names_its_node(world: World) -> None:
    await world.start(1)
    answer = await world.ask(target="/path?query=1")
    (seen,) = world.nodes[0].app.seen
    assert (answer.status, answer.body, answer.get("X-App")) == (200, b"node1n0", ["node1n0"])
    assert answer.get("FluxCloud-Served-By") == ["node1n0"]
    assert (seen.method, seen.target, seen.get("host")) == ("GET", "/path?query=1", ["shop.test"])


async def test_forwarded_headers__say_what_edge_saw_not_what_visitor_claims(world: World) -> None:
    await world.start(1)
    await world.ask(headers="X-Forwarded-For: 8.8.8.8\r\nX-Forwarded-Proto: https\r\nx-forwarded-host: evil\r\n")
    (seen,) = world.nodes[0].app.seen
    assert seen.get("x-forwarded-for") == ["127.0.0.1"]
    assert seen.get("x-forwarded-proto") == ["http"]
    assert seen.get("x-forwarded-host") == ["shop.test"]


@pytest.mark.parametrize("host", ["shop.test", "SHOP.Test", "shop.test:8080", "shop.test."])
async def test_host__in_any_spelling(world: World, host: str) -> None:
    await world.start(1)
    client = await world.connect()
    client.send(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    assert (await client.read_answer()).status == 200


async def test_unknown_host__404_that_names_it(world: World) -> None:
    await world.start(1)
    client = await world.connect()
    client.send(b"GET / HTTP/1.1\r\nHost: other.test\r\n\r\n")
    answer = await client.read_answer()
    assert (answer.status, answer.error) == (404, "no_route")
    assert b"other.test" in answer.body
    assert world.count_seen() == 0


async def test_keep_alive__many_requests_on_one_connection(world: World) -> None:
    await world.start(1)
    client = await world.connect()
    for index in range(20):
        assert (await client.ask(target=f"/{index}")).status == 200
    assert [seen.target for seen in world.nodes[0].app.seen] == [f"/{index}" for index in range(20)]


async def test_pipelined_requests__answered_in_order(world: World) -> None:
    await world.start(1)
    client = await world.connect()
    client.send(
        b"POST /a HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 3\r\n\r\none"
        b"GET /b HTTP/1.1\r\nHost: shop.test\r\n\r\n"
        b"POST /c HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nthree\r\n0\r\n\r\n"
    )
    bodies = [(await client.read_answer()).body for _ in range(3)]
    assert bodies == [b"node1n0 one", b"node1n0", b"node1n0 three"]


async def test_http_1_0__answered_and_closed(world: World) -> None:
    await world.start(1)
    client = await world.connect()
    client.send(b"GET /chunked HTTP/1.0\r\nHost: shop.test\r\n\r\n")
    answer = await client.read_answer()
    assert answer.get("transfer-encoding") == []
    assert answer.body == b"onetwo and more" + b"x" * 5000


async def test_chunked_answer__whole(world: World) -> None:
    await world.start(1)
    client = await world.connect()
    assert (await client.ask(target="/chunked")).body == b"onetwo and more" + b"x" * 5000
    assert (await client.ask()).status == 200


async def test_answer_until_close__whole(world: World) -> None:
    await world.start(1)
    assert (await world.ask(target="/until-close")).body == b"all there is"


async def test_head__length_without_body(world: World) -> None:
    await world.start(1)
    client = await world.connect()
    answer = await client.ask("HEAD")
    assert answer.get("content-length") == ["7"]
    assert (await client.ask()).body == b"node1n0"


@pytest.mark.parametrize("status", [204, 304])
async def test_status_without_body(world: World, status: int) -> None:
    await world.start(1)
    client = await world.connect()
    assert (await client.ask(target=f"/status?{status}")).status == status
    assert (await client.ask()).body == b"node1n0"


async def test_expect_continue__body_after_100(world: World) -> None:
    await world.start(1)
    client = await world.connect()
    client.send(b"POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
    assert (await client.read_head()).status == 100
    client.send(b"body")
    assert (await client.read_answer()).body == b"node1n0 body"


async def test_events__flushed_at_once(world: World) -> None:
    await world.start(1)
    client = await world.connect()
    client.send(b"GET /events HTTP/1.1\r\nHost: shop.test\r\n\r\n")
    assert (await client.read_head()).status == 200
    assert b"data: 1" in await client.reader.readuntil(b"\n\n")
    world.nodes[0].app.go_on.set()
    assert b"data: 2" in await client.reader.readuntil(b"\n\n")


async def test_upgrade__tunnels_both_ways(world: World) -> None:
    await world.start(1)
    client = await world.connect()
    answer = await client.ask(target="/upgrade", headers="Connection: Upgrade\r\nUpgrade: echo\r\n")
    assert (answer.status, answer.get("upgrade")) == (101, ["echo"])
    client.send(b"world" * 50_000)
    assert await client.reader.readexactly(6 + 250_000) == b"hello " + b"world" * 50_000


async def test_websocket(world: World) -> None:
    async def echo(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    await world.start(1)
    async with websockets.serve(echo, HOST, 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        node = world.nodes[0]
        route = Route(KEY, servers=(Server("1", endpoint=f"{HOST}:{port}"),))
        await node.ingress.apply(Table((route,), (world.gateway.make_peer(0),)))
        uri = "ws://shop.test/chat"
        async with websockets.connect(uri, host=HOST, port=world.edge.port, proxy=None) as socket:
            for message in ("hello", b"\0" * 300_000, "bye"):
                await socket.send(message)
                assert await socket.recv() == message


async def test_unix_endpoint(world: World, tmp_path: Path) -> None:
    await world.start(1)
    app = App("by-path")
    await app.start(tmp_path / "app.sock")
    route = Route(KEY, servers=(Server("1", endpoint=f"unix:{tmp_path}/app.sock"),))
    await world.nodes[0].ingress.apply(Table((route,), (world.gateway.make_peer(0),)))
    assert (await world.ask()).body == b"by-path"
    await app.stop()


async def test_large_bodies__both_ways(world: World) -> None:
    size = 100 * 2**20
    await world.start(1)
    client = await world.connect()
    block = bytes(range(256)) * 256
    client.send(f"POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: {size}\r\n\r\n".encode())
    digest = hashlib.sha256()
    for _ in range(size // len(block)):
        digest.update(block)
        client.send(block)
        await client.writer.drain()
    assert (await client.read_answer()).body == f"node1n0 {size} {digest.hexdigest()}".encode()

    client.send(f"GET /big?{size} HTTP/1.1\r\nHost: shop.test\r\n\r\n".encode())
    assert (await client.read_head()).get("content-length") == [str(size)]
    received = 0
    while received < size:
        received += len(await client.reader.read(2**20))
    assert received == size
    assert (await client.ask()).status == 200


# -- headers that stay here


async def test_own_headers__stripped_from_visitor(world: World) -> None:
    await world.start(1)
    await world.ask(headers="FluxCloud-Route: a/b/c\r\nfluxcloud_route: d\r\nFLUXCLOUD-ERROR: e\r\nX-Kept: 1\r\n")
    (seen,) = world.nodes[0].app.seen
    assert [name for name, _ in seen.headers if name.startswith("fluxcloud")] == []
    assert seen.get("x-kept") == ["1"]


async def test_own_headers__stripped_from_app(world: World) -> None:
    await world.start(3)
    answer = await world.ask(target="/claims")
    own = [(name, value) for name, value in answer.headers if name.startswith("fluxcloud")]
    assert answer.status == 503
    assert own == [("fluxcloud-served-by", own[0][1])]
    assert own[0][1].startswith("node1n")
    assert world.count_seen() == 1  # not taken for a proxy's answer


async def test_hop_by_hop_headers__end_here(world: World) -> None:
    await world.start(1)
    await world.ask(headers="Connection: keep-alive\r\nKeep-Alive: 1\r\nProxy-Connection: x\r\n")
    (seen,) = world.nodes[0].app.seen
    assert [name for name, _ in seen.headers if name in ("keep-alive", "proxy-connection")] == []


# -- what must not pass

SMUGGLING = {
    "two lengths": b"POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcde",
    "a list of lengths": b"POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 4, 5\r\n\r\nabcde",
    "a signed length": b"POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: +4\r\n\r\nabcd",
    "a length in hex": b"POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 0x4\r\n\r\nabcd",
    "a bare carriage return": b"GET / HTTP/1.1\r\nHost: shop.test\r\nX: a\rb\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: shop.test\r\nHost: other.test\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "a space before the colon": b"GET / HTTP/1.1\r\nHost: shop.test\r\nContent-Length : 4\r\n\r\nabcd",
    "a bad header name": b"GET / HTTP/1.1\r\nHost: shop.test\r\nX(Y): 1\r\n\r\n",
    "a header without a name": b"GET / HTTP/1.1\r\nHost: shop.test\r\n: 1\r\n\r\n",
    "a zero byte": b"GET / HTTP/1.1\r\nHost: shop.test\r\nX: a\0b\r\n\r\n",
    "a zero byte in the target": b"GET /\0 HTTP/1.1\r\nHost: shop.test\r\n\r\n",
    "another coding": b"POST / HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "a masked coding": b"POST / HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "no target": b"GET HTTP/1.1\r\nHost: shop.test\r\n\r\n",
    "not HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
}


@pytest.mark.parametrize("case", SMUGGLING)
async def test_ambiguous_request__refused(world: World, case: str) -> None:
    await world.start(1)
    client = await world.connect()
    client.send(SMUGGLING[case])
    reply = await client.read_to_end()
    assert reply == b"" or reply.split()[1][:1] in (b"4", b"5")
    assert [line[:9] for line in reply.split(b"\r\n")].count(b"HTTP/1.1 ") <= 1
    assert (await world.ask(target="/after")).status == 200
    assert [seen.target for seen in world.nodes[0].app.seen] == ["/after"]


MENDABLE = {
    "two kinds of length": b"POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 4\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: shop.test\r\n\r\n",
    "bare line feeds": b"POST / HTTP/1.1\nHost: shop.test\nX: a b\nContent-Length: 4\n\nabcd",
    "a folded line": b"POST / HTTP/1.1\r\nHost: shop.test\r\nX: a\r\n b\r\nContent-Length: 4\r\n\r\nabcd",
    "chunks with bare line feeds": b"POST / HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"4\nabcd\n0\n\n",
}
"""What RFC 9112 lets a recipient read in one way (2.2, 5.2, 6.3, 7.1): refused, or sent on written plainly."""


@pytest.mark.parametrize("case", MENDABLE)
async def test_ambiguous_request__refused_or_written_plainly(world: World, case: str) -> None:
    await world.start(1)
    client = await world.connect()
    client.send(MENDABLE[case])
    client.writer.write_eof()
    reply = await client.read_to_end()
    assert reply.count(b"HTTP/1.1 ") <= 1
    if b" 200 " not in reply[:20]:
        assert reply == b"" or reply.split()[1][:1] in (b"4", b"5")
        assert world.count_seen() == 0
        return
    (seen,) = world.nodes[0].app.seen
    assert (seen.method, seen.target, seen.body) == ("POST", "/", b"abcd")
    assert len(seen.get("content-length")) + len(seen.get("transfer-encoding")) == 1
    assert [" ".join(value.split()) for value in seen.get("x")] in ([], ["a b"])
    assert all(value.isprintable() for _, value in seen.headers)


@pytest.mark.parametrize(
    "chunk", [b"-4\r\nabcd\r\n0\r\n\r\n", b"0x4\r\nabcd\r\n0\r\n\r\n", b"4\r\nabcdef\r\n0\r\n\r\n"]
)
async def test_bad_chunk__refused_and_nothing_after_it_served(world: World, chunk: bytes) -> None:
    await world.start(1)
    client = await world.connect()
    client.send(b"POST /bad HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk)
    client.send(b"GET /smuggled HTTP/1.1\r\nHost: shop.test\r\n\r\n")
    reply = await client.read_to_end()
    assert reply == b"" or reply.split()[1][:1] in (b"4", b"5")
    assert world.count_seen() == 0


async def test_long_request_line__414(world: World) -> None:
    await world.start(1)
    client = await world.connect()
    client.send(b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: shop.test\r\n\r\n")
    assert (await client.read_answer()).status in (414, 431, 400)
    assert world.count_seen() == 0


async def test_long_head__431(world: World) -> None:
    await world.start(1)
    client = await world.connect()
    client.send(b"GET / HTTP/1.1\r\nHost: shop.test\r\n" + b"X-Filler: " + b"a" * 20_000 + b"\r\n\r\n")
    assert (await client.read_answer()).status in (431, 400)
    assert world.count_seen() == 0


async def test_slow_head__408(world: World) -> None:
    await world.start(1, edge={"client_header_timeout_s": 0.3})
    client = await world.connect()
    client.send(b"GET / HTTP/1.1\r\nHost: sh")
    assert (await client.read_answer()).status == 408
    assert await client.read_to_end() == b""


async def test_absolute_target__its_host_counts(world: World) -> None:
    await world.start(1)
    client = await world.connect()
    client.send(b"GET http://shop.test/absolute?x HTTP/1.1\r\nHost: shop.test\r\n\r\n")
    assert (await client.read_answer()).status == 200


# -- which server


async def test_servers__all_are_used(world: World) -> None:
    await world.start(3)
    bodies = {(await world.ask()).body for _ in range(12)}
    assert bodies == {b"node1n0", b"node1n1", b"node1n2"}


async def test_least_in_flight__preferred(world: World) -> None:
    await world.start(2)
    waiting = [asyncio.create_task(world.ask(target="/waits")) for _ in range(2)]
    await asyncio.gather(*(app.wait_for_requests(1) for app in world.apps))
    for app in world.apps:
        app.go_on.set()
    bodies = sorted(answer.body for answer in await asyncio.gather(*waiting))
    assert bodies == [b"node1n0", b"node1n1"]


async def test_last__only_when_no_ready_one_is_left(world: World) -> None:
    await world.start(2)
    await world.edge.apply(world.table(servers=world.servers("ready", "last")))
    assert {(await world.ask()).body for _ in range(6)} == {b"node1n0"}
    await world.nodes[0].wire.kill()
    assert {(await world.ask()).body for _ in range(6)} == {b"node1n1"}


async def test_two_of_three_die_at_once__third_serves(world: World) -> None:
    await world.start(3)
    client = await world.connect()
    assert {(await client.ask()).status for _ in range(9)} == {200}  # so that connections to all are kept
    await asyncio.gather(*(node.wire.kill() for node in world.nodes[:2]))
    assert {(await client.ask()).body for _ in range(50)} == {b"node1n2"}


async def test_only_server_is_gone_for_a_moment__requests_wait_for_it(world: World) -> None:
    await world.start(1)
    wire = world.nodes[0].wire
    assert isinstance(wire, Wire)
    await wire.kill()
    await wait_until_down(world.edge, "node1n0")
    waiting = asyncio.create_task(world.ask())
    await asyncio.sleep(0.3)
    await wire.revive()
    assert (await waiting).status == 200


async def test_drain__finishes_and_takes_nothing_new(world: World) -> None:
    await world.start(2)
    await world.edge.apply(world.table(servers=world.servers()[:1]))
    under_way = asyncio.create_task(world.ask("POST", "/waits", body=b"x"))
    await world.nodes[0].app.wait_for_requests(1)
    await world.edge.apply(world.table(servers=world.servers("drain", "ready")))
    assert {(await world.ask()).body for _ in range(6)} == {b"node1n1"}
    world.nodes[0].app.go_on.set()
    assert (await under_way).body == b"node1n0 x"


async def test_removed_route__in_flight_finishes(world: World) -> None:
    await world.start(1)
    under_way = asyncio.create_task(world.ask(target="/waits"))
    await world.nodes[0].app.wait_for_requests(1)
    await world.edge.apply(Table((), world.table().peers))
    assert (await world.ask()).status == 404
    world.nodes[0].app.go_on.set()
    assert (await under_way).status == 200


async def test_table_change__followed_by_next_request_on_same_connection(world: World) -> None:
    await world.start(2)
    client = await world.connect()
    for turn in range(10):
        index = turn % 2
        await world.edge.apply(world.table(servers=(world.servers()[index],)))
        assert (await client.ask()).body == f"node1n{index}".encode()


async def test_sticky__same_server_by_cookie(world: World) -> None:
    await world.start(3)
    await world.edge.apply(world.table(sticky=True))
    first = await world.ask()
    (set_cookie,) = first.get("set-cookie")
    cookie = set_cookie.partition(";")[0]
    assert cookie.startswith("FXS=")
    assert "HttpOnly" in set_cookie
    headers = f"Cookie: a=1; {cookie}\r\n"
    assert {(await world.ask(headers=headers)).body for _ in range(9)} == {first.body}


async def test_sticky__another_server_when_its_own_drains(world: World) -> None:
    await world.start(2)
    await world.edge.apply(world.table(sticky=True, servers=world.servers("ready", "drain")))
    first = await world.ask()
    cookie = first.get("set-cookie")[0].partition(";")[0]
    await world.edge.apply(world.table(sticky=True, servers=world.servers("drain", "ready")))
    second = await world.ask(headers=f"Cookie: {cookie}\r\n")
    assert (first.body, second.body) == (b"node1n0", b"node1n1")
    assert second.get("set-cookie")[0].partition(";")[0] != cookie


async def test_sticky__junk_cookie_is_replaced(world: World) -> None:
    await world.start(2)
    await world.edge.apply(world.table(sticky=True))
    answer = await world.ask(headers="Cookie: FXS=junk\r\n")
    assert answer.status == 200
    assert answer.get("set-cookie")[0].startswith("FXS=")


async def test_no_server__503_after_waiting(world: World) -> None:
    await world.start(1, edge={"queue_timeout_s": 0.2})
    await world.edge.apply(world.table(servers=()))
    answer = await world.ask()
    assert (answer.status, answer.error) == (503, "no_server")


# -- faults: what class (a) never sees


async def ask_all(world: World, count: int, *, method: str = "GET", headers: str = "", body: bytes = b"") -> float:
    """Requests one after the other; every one must succeed. Returns the slowest's time."""
    slowest = 0.0
    for _ in range(count):
        began = time.monotonic()
        answer = await world.ask(method, headers=headers, body=body)
        slowest = max(slowest, time.monotonic() - began)
        assert answer.status == 200, answer
    return slowest


async def test_killed_node__get_never_fails(world: World) -> None:
    await world.start(3)
    await ask_all(world, 6)
    await world.nodes[0].wire.kill()
    assert await ask_all(world, 30) < LATENCY_MAX_S


async def test_killed_node__post_not_yet_sent_goes_elsewhere(world: World) -> None:
    await world.start(3)
    await world.nodes[0].wire.kill()
    await ask_all(world, 12, method="POST", body=b"x")
    assert world.count_seen() == 12


async def test_killed_node__get_in_flight_goes_elsewhere(world: World) -> None:
    await world.start(2)
    await world.edge.apply(world.table(servers=world.servers("ready", "last")))
    under_way = asyncio.create_task(world.ask(target="/waits"))
    await world.nodes[0].app.wait_for_requests(1)
    world.nodes[1].app.go_on.set()
    await world.nodes[0].wire.kill()
    assert (await under_way).body == b"node1n1"


async def test_killed_node__post_in_flight_is_told_and_never_repeated(world: World) -> None:
    await world.start(2)
    await world.edge.apply(world.table(servers=world.servers("ready", "last")))
    under_way = asyncio.create_task(world.ask("POST", "/waits", body=b"order"))
    await world.nodes[0].app.wait_for_requests(1)
    await world.nodes[0].wire.kill()
    answer = await under_way
    assert (answer.status, answer.error) == (502, "upstream_failed")
    assert world.count_seen() == 1


async def test_killed_node__post_with_idempotency_key_goes_elsewhere(world: World) -> None:
    await world.start(2)
    await world.edge.apply(world.table(servers=world.servers("ready", "last")))
    asking = world.ask("POST", "/waits", headers="Idempotency-Key: k1\r\n", body=b"order")
    under_way = asyncio.create_task(asking)
    await world.nodes[0].app.wait_for_requests(1)
    world.nodes[1].app.go_on.set()
    await world.nodes[0].wire.kill()
    assert (await under_way).body == b"node1n1 order"


async def test_hung_node__get_never_fails(world: World) -> None:
    await world.start(3)
    await ask_all(world, 6)
    world.nodes[0].wire.hang()
    assert await ask_all(world, 20) < LATENCY_MAX_S
    await wait_until_down(world.edge, "node1n0")


async def test_stopped_process__get_never_fails(world: World) -> None:
    await world.start(2)
    world.nodes.append(await world.add_node("node1n2", stoppable=True))
    await world.edge.apply(world.table())
    await ask_all(world, 6)
    world.nodes[2].wire.hang()
    assert await ask_all(world, 20) < LATENCY_MAX_S
    await wait_until_down(world.edge, "node1n2")


async def test_hung_node__post_in_flight_gets_an_answer_soon(world: World) -> None:
    await world.start(2)
    await world.edge.apply(world.table(servers=world.servers("ready", "last")))
    under_way = asyncio.create_task(world.ask("POST", "/waits", body=b"order"))
    await world.nodes[0].app.wait_for_requests(1)
    world.nodes[0].wire.hang()
    async with asyncio.timeout(5):
        assert (await under_way).status in (502, 504)
    assert world.count_seen() == 1


async def test_node_comes_back__used_again(world: World) -> None:
    await world.start(2)
    await world.nodes[0].wire.kill()
    await wait_until_down(world.edge, "node1n0")
    await world.nodes[0].wire.revive()  # type: ignore[union-attr]
    await wait_until_down(world.edge)
    assert {(await world.ask()).body for _ in range(6)} == {b"node1n0", b"node1n1"}


class Load:
    """Visitors that ask one request after the other, each with a number of its own in its body or target."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._stopped = False
        self.answers: list[tuple[str, int, int]] = []  # kind, number, status
        self.slowest_s: dict[str, float] = {"get": 0.0, "keyed": 0.0, "post": 0.0}

    async def run(self, visitors: int) -> None:
        async with asyncio.TaskGroup() as group:
            for index in range(visitors):
                group.create_task(self._visit(tuple(self.slowest_s)[index % 3], index * 100_000))

    async def stop_after(self, count: int) -> None:
        """Once so many more answers have come."""
        goal = len(self.answers) + count
        async with asyncio.timeout(20):
            while len(self.answers) < goal:
                await asyncio.sleep(0.01)
        self._stopped = True

    async def _visit(self, kind: str, number: int) -> None:
        client = await self._world.connect()
        while not self._stopped:
            number += 1
            began = time.monotonic()
            if kind == "get":
                answer = await client.ask(target=f"/{number}")
            else:
                key = f"Idempotency-Key: {number}\r\n" if kind == "keyed" else ""
                answer = await client.ask("POST", "/", headers=key, body=f"{kind} {number}".encode())
            self.slowest_s[kind] = max(self.slowest_s[kind], time.monotonic() - began)
            self.answers.append((kind, number, answer.status))
            if answer.get("connection") == ["close"]:
                client = await self._world.connect()

    def count_failed(self, kind: str) -> int:
        return sum(status != 200 for asked, _, status in self.answers if asked == kind)


@pytest.mark.parametrize("fault", ["kill", "hang", "drain"])
async def test_fault_under_load__class_a_never_fails_and_no_post_is_done_twice(world: World, fault: str) -> None:
    await world.start(3)
    load = Load(world)
    running = asyncio.create_task(load.run(12))
    await world.nodes[0].app.wait_for_requests(100)
    if fault == "kill":
        await world.nodes[0].wire.kill()
    elif fault == "hang":
        world.nodes[0].wire.hang()
    else:
        await world.edge.apply(world.table(servers=world.servers("drain")))
    if fault != "drain":
        await wait_until_down(world.edge, "node1n0")
    await load.stop_after(200)
    await running
    assert (load.count_failed("get"), load.count_failed("keyed")) == (0, 0)
    assert max(load.slowest_s["get"], load.slowest_s["keyed"]) < LATENCY_MAX_S
    assert load.count_failed("post") <= (0 if fault == "drain" else 4)  # at most those under way
    done = [seen.body for app in world.apps for seen in app.seen if seen.body.startswith(b"post")]
    assert len(done) == len(set(done))


@pytest.mark.parametrize("fault", ["empty", "half-head", "junk"])
async def test_app_breaks__get_gets_502(world: World, fault: str) -> None:
    await world.start(2)
    answer = await world.ask(target=f"/{fault}")
    assert answer.status == 502
    assert answer.error != ""
    assert (await world.ask()).status == 200


@pytest.mark.parametrize("fault", ["empty", "half-head", "junk"])
async def test_app_breaks__post_is_done_once(world: World, fault: str) -> None:
    await world.start(3)
    assert (await world.ask("POST", f"/{fault}", body=b"x")).status == 502
    assert world.count_seen() == 1


async def test_app_gone_on_one_node__get_goes_elsewhere(world: World) -> None:
    await world.start(2)
    await world.nodes[0].ingress.apply(Table((), (world.gateway.make_peer(0),)))
    assert await ask_all(world, 10) < LATENCY_MAX_S
    assert len(world.nodes[1].app.seen) == 10


async def test_app_says_500__passed_on_and_not_retried(world: World) -> None:
    await world.start(3)
    for status in (500, 502, 503, 504):
        assert (await world.ask(target=f"/status?{status}")).body == b"said"
    assert world.count_seen() == 4


async def test_answer_cut_short__connection_ends_without_a_clean_end(world: World) -> None:
    await world.start(2)
    client = await world.connect()
    client.send(b"GET /half-body HTTP/1.1\r\nHost: shop.test\r\n\r\n")
    assert (await client.read_head()).status == 200
    assert await client.reader.readexactly(4) == b"half"
    for app in world.apps:
        app.go_on.set()
    assert await client.read_to_end() == b""


async def test_app_closes_kept_connections__nothing_fails_and_nothing_is_done_twice(world: World) -> None:
    await world.start(2)
    client = await world.connect()
    for index in range(30):
        method = "POST" if index % 2 else "GET"
        answer = await client.ask(method, "/closes", body=b"x" if index % 2 else b"")
        assert answer.status == 200
    assert world.count_seen() == 30


# -- who is who


async def test_impostor__gets_no_request(world: World) -> None:
    await world.start(2)
    impostor = Identity.make("node1impostor")
    app = world.nodes[0].app
    false = await world.start_proxy("ingress", impostor, world.ingress_table(app))
    peers = (replace(world.nodes[0].peer, port=false.port), world.nodes[1].peer)
    await world.edge.apply(replace(world.table(), peers=peers))
    await ask_all(world, 8)
    await wait_until_down(world.edge, "node1n0")
    assert len(app.seen) == 0


async def test_other_nodes_certificate__gets_no_request(world: World) -> None:
    await world.start(2, edge={"queue_timeout_s": 0.5})
    peers = (replace(world.nodes[0].peer, port=world.nodes[1].wire.port), world.nodes[1].peer)
    await world.edge.apply(replace(world.table(servers=world.servers()[:1]), peers=peers))
    answer = await world.ask("POST", body=b"x")
    assert answer.status in (502, 503)
    assert world.count_seen() == 0


def make_client_context(identity: Identity | None, tmp_path: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if identity is not None:
        context.load_cert_chain(identity.write_pem(tmp_path))
    return context


async def ask_ingress(port: int, context: ssl.SSLContext, head: str) -> bytes:
    try:
        reader, writer = await asyncio.open_connection(HOST, port, ssl=context)
    except OSError:
        return b""
    client = Client(reader, writer)
    client.send(f"GET {head}\r\n\r\n".encode())
    try:
        return await asyncio.wait_for(client.reader.read(2**16), 5)
    except OSError:
        return b""
    finally:
        client.close()


@pytest.mark.parametrize("name", ["", "gw1stranger", "node1n0"])
async def test_stranger__gets_nothing_from_ingress(world: World, name: str, tmp_path: Path) -> None:
    await world.start(1)
    context = make_client_context(Identity.make(name) if name else None, tmp_path)
    head = f"/ HTTP/1.1\r\nHost: shop.test\r\nFluxCloud-Route: {KEY}"
    assert await ask_ingress(world.nodes[0].ingress.port, context, head) == b""
    assert world.count_seen() == 0


async def test_gateway__comes_and_goes_with_the_table(world: World, tmp_path: Path) -> None:
    await world.start(1)
    node, newcomer = world.nodes[0], Identity.make("gw1newcomer")
    context = make_client_context(newcomer, tmp_path)
    head = f"/ HTTP/1.1\r\nHost: shop.test\r\nFluxCloud-Route: {KEY}"
    both = (world.gateway.make_peer(0), newcomer.make_peer(0))
    await node.ingress.apply(world.ingress_table(node.app, peers=both))
    assert (await ask_ingress(node.ingress.port, context, head)).startswith(b"HTTP/1.1 200")
    await node.ingress.apply(world.ingress_table(node.app))
    assert await ask_ingress(node.ingress.port, context, head) == b""


async def test_ingress__health_and_unknown_route(world: World, tmp_path: Path) -> None:
    await world.start(1)
    node = world.nodes[0]
    context = make_client_context(world.gateway, tmp_path)
    health = f"{HEALTH_PATH} HTTP/1.1\r\nHost: x"
    assert (await ask_ingress(node.ingress.port, context, health)).startswith(b"HTTP/1.1 200")
    unknown = await ask_ingress(node.ingress.port, context, "/ HTTP/1.1\r\nHost: x\r\nFluxCloud-Route: a/b/c")
    assert unknown.startswith(b"HTTP/1.1 503")
    assert b"fluxcloud-error: no_route" in unknown.lower()
    await node.ingress.apply(world.ingress_table(node.app, serving=False))
    assert (await ask_ingress(node.ingress.port, context, health)).startswith(b"HTTP/1.1 503")
    await wait_until_down(world.edge, "node1n0")


# -- the end


async def test_stop__drains_what_is_under_way(world: World) -> None:
    await world.start(1)
    under_way = asyncio.create_task(world.ask("POST", "/waits", body=b"x"))
    await world.nodes[0].app.wait_for_requests(1)
    stopping = asyncio.create_task(world.edge.stop(drain_s=10))
    async with asyncio.timeout(5):
        while True:
            try:
                (await world.connect()).close()
            except OSError:
                break
            await asyncio.sleep(0.02)
    world.nodes[0].app.go_on.set()
    assert (await under_way).body == b"node1n0 x"
    await asyncio.wait_for(stopping, 8)
