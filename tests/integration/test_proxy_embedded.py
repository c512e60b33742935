"""The embedded proxy engine: the contract of all engines, and what this one does besides."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import uvloop

from fluxcloud.proxy.base import ProxyStats
from fluxcloud.proxy.embedded import EmbeddedProxy
from fluxcloud.proxy.routes import Route, Server, Table
from integration.proxy_world import HOST, KEY, App, Engine, World

pytest.register_assert_rewrite("integration.proxy_contract")

import integration.proxy_contract as contract  # noqa: E402
from integration.proxy_contract import *  # noqa: E402, F403  # the tests themselves
from integration.proxy_contract import make_client_context, wait_until_down  # noqa: E402


@pytest.fixture
def engine() -> Engine:
    return EmbeddedProxy


@pytest.fixture(autouse=True)
def no_surprises(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Whatever a test does to it, the proxy has no error to log."""
    yield
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []


@pytest.mark.parametrize(
    "scenario",
    [
        contract.test_keep_alive__many_requests_on_one_connection,
        contract.test_large_bodies__both_ways,
        contract.test_upgrade__tunnels_both_ways,
        contract.test_events__flushed_at_once,
        contract.test_answer_cut_short__connection_ends_without_a_clean_end,
        contract.test_killed_node__get_in_flight_goes_elsewhere,
        contract.test_hung_node__get_never_fails,
        contract.test_app_closes_kept_connections__nothing_fails_and_nothing_is_done_twice,
        contract.test_impostor__gets_no_request,
        contract.test_stop__drains_what_is_under_way,
    ],
    ids=lambda scenario: scenario.__name__,
)
def test_on_uvloop(engine: Engine, tmp_path: Path, scenario: Callable[[World], Awaitable[None]]) -> None:
    """Daemons run on uvloop, whose transports are not asyncio's."""

    async def play() -> None:
        world = World(engine, tmp_path)
        try:
            await scenario(world)
        finally:
            await world.stop()

    uvloop.run(play())


# -- slow apps


async def test_slow_copy__request_is_started_on_another_and_given_up_on_the_first(world: World) -> None:
    await world.start(2, edge={"attempt_timeout_s": 0.1})
    await world.edge.apply(world.table(servers=world.servers("ready", "last")))
    world.nodes[1].app.go_on.set()
    answer = await world.ask(target="/waits")
    assert answer.body == b"node1n1"
    assert [len(app.seen) for app in world.apps] == [1, 1]
    assert world.edge.get_stats().retries == 1


async def test_slow_copy__wins_when_it_answers_first(world: World) -> None:
    await world.start(2, edge={"attempt_timeout_s": 0.1})
    await world.edge.apply(world.table(servers=world.servers("ready", "last")))
    asking = asyncio.create_task(world.ask(target="/waits"))
    await asyncio.gather(*(app.wait_for_requests(1) for app in world.apps))
    world.nodes[0].app.go_on.set()
    assert (await asking).body == b"node1n0"


async def test_only_copy_is_slow__it_is_waited_for(world: World) -> None:
    await world.start(1, edge={"attempt_timeout_s": 0.05})
    asking = asyncio.create_task(world.ask(target="/waits"))
    await world.nodes[0].app.wait_for_requests(1)
    done, _ = await asyncio.wait([asking], timeout=0.5)
    assert not done
    world.nodes[0].app.go_on.set()
    assert (await asking).status == 200
    assert world.count_seen() == 1


async def test_slow_post__never_started_twice(world: World) -> None:
    await world.start(2, edge={"attempt_timeout_s": 0.05})
    asking = asyncio.create_task(world.ask("POST", "/waits", body=b"x"))
    done, _ = await asyncio.wait([asking], timeout=0.5)
    assert not done
    for app in world.apps:
        app.go_on.set()
    assert (await asking).status == 200
    assert world.count_seen() == 1


async def test_no_answer_in_time__504(world: World) -> None:
    await world.start(1)
    route = Route(KEY, servers=(Server("1", endpoint=world.nodes[0].app.endpoint),), timeout_s=1)
    await world.nodes[0].ingress.apply(Table((route,), (world.gateway.make_peer(0),)))
    await world.edge.apply(world.table(timeout_s=1))
    answer = await world.ask("POST", "/waits", body=b"x")
    assert (answer.status, answer.error) == (504, "upstream_timeout")


async def test_only_node_restarts__request_waits_for_it(world: World) -> None:
    await world.start(1)
    node = world.nodes[0]
    assert (await world.ask()).status == 200
    await node.wire.kill()
    asking = asyncio.create_task(world.ask())
    await wait_until_down(world.edge, "node1n0")
    await node.wire.revive()  # type: ignore[union-attr]
    assert (await asking).status == 200


# -- limits


async def test_full_server__next_request_waits_for_room(world: World) -> None:
    await world.start(1)
    await world.edge.apply(world.table(connections_max=1))
    first = asyncio.create_task(world.ask("POST", "/waits", body=b"1"))
    await world.nodes[0].app.wait_for_requests(1)
    second = asyncio.create_task(world.ask("POST", "/second"))
    done, _ = await asyncio.wait([second], timeout=0.3)
    assert not done
    assert len(world.nodes[0].app.seen) == 1
    world.nodes[0].app.go_on.set()
    assert ((await first).status, (await second).status) == (200, 200)


async def test_full_queue__503_at_once(world: World) -> None:
    await world.start(1, edge={"queue_max": 0})
    await world.edge.apply(world.table(servers=()))
    answer = await world.ask()
    assert (answer.status, answer.error, answer.get("retry-after")) == (503, "no_server", ["2"])


async def test_server_appears__waiting_request_goes_there(world: World) -> None:
    await world.start(1)
    table = world.table()
    await world.edge.apply(world.table(servers=()))
    client = await world.connect()
    asking = asyncio.create_task(client.ask("POST", body=b"x"))
    done, _ = await asyncio.wait([asking], timeout=0.2)
    assert not done
    await world.edge.apply(table)
    assert (await asking).status == 200


async def test_too_many_connections__503(world: World) -> None:
    await world.start(1, edge={"connections_max": 1})
    client = await world.connect()
    assert (await client.ask()).status == 200
    answer = await (await world.connect()).read_answer()
    assert (answer.status, answer.error) == (503, "overloaded")
    assert (await client.ask()).status == 200


async def test_idle_connection__closed(world: World) -> None:
    await world.start(1, edge={"client_idle_timeout_s": 0.2})
    client = await world.connect()
    assert (await client.ask()).status == 200
    assert await client.read_to_end() == b""


async def test_body_stops_coming__408_and_app_is_not_left_waiting(world: World) -> None:
    await world.start(1, edge={"client_idle_timeout_s": 0.2})
    client = await world.connect()
    client.send(b"POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 10\r\n\r\nabc")
    answer = await client.read_answer()
    assert (answer.status, answer.error) == (408, "body_timeout")
    assert world.count_seen() == 0


@pytest.mark.parametrize("body", ["large", "chunked"])
async def test_keyed_request__too_large_to_keep_is_sent_once(world: World, body: str) -> None:
    await world.start(1)
    client = await world.connect()
    content = b"y" * 40_000
    head = b"POST / HTTP/1.1\r\nHost: shop.test\r\nIdempotency-Key: 1\r\n"
    if body == "large":
        client.send(head + b"Content-Length: 40000\r\n\r\n" + content)
    else:
        client.send(head + b"Transfer-Encoding: chunked\r\n\r\n9C40\r\n" + content + b"\r\n0\r\n\r\n")
    assert (await client.read_answer()).body == b"node1n0 " + content


async def wait_until_still(app: App) -> None:
    """Until the app can send no more."""
    sent = -1
    while sent != app.sent:
        sent = app.sent
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 0.3)


async def test_memory__answer_nobody_reads_is_held_back_at_the_app(world: World) -> None:
    """1 GiB is asked for and not read; the process that holds visitor, edge, ingress and app does not take it in."""
    await world.start(1)
    client = await world.connect()
    client.writer.transport.pause_reading()  # type: ignore[attr-defined]
    client.send(b"GET /big?1073741824 HTTP/1.1\r\nHost: shop.test\r\n\r\n")
    app = world.nodes[0].app
    await app.wait_for_requests(1)
    await wait_until_still(app)
    assert app.sent < 64 * 2**20
    client.close()


async def test_memory__visitor_that_only_asks_is_not_served_on(world: World) -> None:
    """A hundred answers of 4 MiB are asked for in one go and none is read."""
    await world.start(1)
    client = await world.connect()
    client.writer.transport.pause_reading()  # type: ignore[attr-defined]
    client.send(b"GET /big?4194304 HTTP/1.1\r\nHost: shop.test\r\n\r\n" * 100)
    app = world.nodes[0].app
    await app.wait_for_requests(1)
    await wait_until_still(app)
    assert len(app.seen) < 20
    client.close()


# -- interim and early answers


async def test_early_hints__reach_the_visitor(world: World) -> None:
    await world.start(1)
    answer = await world.ask(target="/hints")
    assert (answer.interim, answer.status) == ([103], 200)


async def test_refused_before_its_body__answer_passes_and_connection_ends(world: World) -> None:
    await world.start(1)
    client = await world.connect()
    client.send(b"POST /rejects HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n")
    answer = await client.read_answer()
    assert (answer.status, answer.interim, answer.get("connection")) == (413, [], ["close"])


async def test_half_closed_visitor__still_gets_its_answer(world: World) -> None:
    await world.start(1)
    client = await world.connect()
    client.send(b"GET /waits HTTP/1.1\r\nHost: shop.test\r\n\r\n")
    client.writer.write_eof()
    await world.nodes[0].app.wait_for_requests(1)
    world.nodes[0].app.go_on.set()
    assert (await client.read_answer()).status == 200
    assert await client.read_to_end() == b""


# -- connections


async def test_connections_to_a_peer__are_kept(world: World) -> None:
    await world.start(1)
    await world.ask()
    before = world.nodes[0].wire.accepted  # type: ignore[union-attr]
    for _ in range(20):
        assert (await world.ask()).status == 200
    assert world.nodes[0].wire.accepted == before  # type: ignore[union-attr]


async def test_removed_gateway__open_connections_end(world: World, tmp_path: Path) -> None:
    await world.start(1)
    node = world.nodes[0]
    context = make_client_context(world.gateway, tmp_path)
    reader, writer = await asyncio.open_connection(HOST, node.ingress.port, ssl=context)
    writer.write(f"GET /waits HTTP/1.1\r\nHost: x\r\nFluxCloud-Route: {KEY}\r\n\r\n".encode())
    await node.app.wait_for_requests(1)
    await node.ingress.apply(world.ingress_table(node.app, peers=()))
    with contextlib.suppress(ConnectionError):
        assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.transport.abort()


async def test_gateway_removed_and_back__served_again(world: World) -> None:
    await world.start(1)
    node = world.nodes[0]
    await node.ingress.apply(world.ingress_table(node.app, peers=()))
    await wait_until_down(world.edge, "node1n0")
    await node.ingress.apply(world.ingress_table(node.app))
    assert (await world.ask()).status == 200  # it waits until the edge sees the node again


async def test_peer_says_it_is_leaving__its_requests_finish(world: World) -> None:
    """A peer whose check is refused gets nothing new, and nothing of it is cut."""
    await world.start(2)
    await world.edge.apply(world.table(servers=world.servers("ready", "last")))
    under_way = asyncio.create_task(world.ask("POST", "/waits", body=b"x"))
    await world.nodes[0].app.wait_for_requests(1)
    await world.nodes[0].ingress.apply(world.ingress_table(world.nodes[0].app, serving=False))
    await wait_until_down(world.edge, "node1n0")
    assert (await world.ask()).body == b"node1n1"
    world.nodes[0].app.go_on.set()
    assert (await under_way).body == b"node1n0 x"


async def test_ingress_stops_with_drain__nothing_fails(world: World) -> None:
    """Of any method: requests go on while a node says good-bye."""
    await world.start(2)
    stop = asyncio.Event()
    statuses: list[int] = []

    async def keep_asking(method: str, body: bytes) -> None:
        client = await world.connect()
        while not stop.is_set():
            statuses.append((await client.ask(method, body=body)).status)

    asking = [asyncio.create_task(keep_asking(method, body)) for method, body in (("GET", b""), ("POST", b"x")) * 4]
    node = world.nodes[0]
    await node.app.wait_for_requests(20)
    await node.ingress.apply(world.ingress_table(node.app, serving=False))
    await wait_until_down(world.edge, "node1n0")
    await node.ingress.stop(drain_s=5)
    stop.set()
    await asyncio.gather(*asking)
    assert set(statuses) == {200}


async def test_stats(world: World) -> None:
    await world.start(1, edge={"queue_timeout_s": 0.1})
    assert (await world.ask()).status == 200
    assert (await world.ask(target="/empty")).status == 502
    client = await world.connect()
    client.send(b"GARBAGE\r\n\r\n")
    assert (await client.read_answer()).status == 400
    await world.edge.apply(world.table(servers=()))
    assert (await world.ask()).status == 503
    assert replace(world.edge.get_stats(), retries=0) == ProxyStats(requests=3, failed=2, refused=1)


# -- the engine itself


async def test_garbage__never_harms(world: World) -> None:
    """Cut, doubled and changed requests; after each the proxy serves as before."""
    await world.start(1)
    chance = random.Random(7)
    seeds = [
        b"POST /a HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 5\r\n\r\nhello",
        b"POST /a HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"GET /chunked HTTP/1.1\r\nHost: shop.test\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
    ]
    for _ in range(150):
        data = bytearray(chance.choice(seeds) * chance.randint(1, 3))
        for _ in range(chance.randint(0, 4)):
            data[chance.randrange(len(data))] = chance.choice(b"\0\r\n :,;GH05\xff")
        client = await world.connect()
        client.send(bytes(data[: chance.randint(1, len(data))]))
        client.writer.write_eof()
        await asyncio.wait_for(client.read_to_end(), 5)
        client.close()
    assert (await world.ask()).status == 200
    assert world.edge.get_stats().active == 0


async def test_port_in_use__start_fails_and_leaves_nothing(world: World) -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match="in use"):
            await world.start_proxy(
                "edge", world.gateway, Table((), (world.gateway.make_peer(port),)), listen_port=port
            )
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_unreadable_certificates_in_a_table__harm_nobody_else(world: World) -> None:
    await world.start(2)
    node, broken = world.nodes[0], replace(world.nodes[1].peer, cert=b"not DER")
    await node.ingress.apply(world.ingress_table(node.app, peers=(world.gateway.make_peer(0), broken)))
    await world.edge.apply(replace(world.table(), peers=(node.peer, broken)))
    assert {(await world.ask()).body for _ in range(4)} == {b"node1n0"}
    await wait_until_down(world.edge, "node1n1")


async def test_stop__leaves_no_task(world: World) -> None:
    await world.start(2)
    client = await world.connect()
    assert (await client.ask()).status == 200
    hanging = [asyncio.create_task(world.ask(target="/waits")) for _ in range(3)]
    await world.nodes[0].app.wait_for_requests(1)
    await world.edge.stop()
    for answer in await asyncio.gather(*hanging, return_exceptions=True):
        assert isinstance(answer, (OSError, asyncio.IncompleteReadError))
    await world.stop()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_table_of_ten_thousand_routes__a_change_costs_little(world: World) -> None:
    await world.start(1)
    many = tuple(
        Route(f"app{index}/web/http", (f"app{index}.test",), (Server("1", peer="node1n0"),)) for index in range(10_000)
    )
    table = world.table()
    await world.edge.apply(replace(table, routes=(*table.routes, *many)))
    changed = replace(many[77], hosts=("new.test",))
    began = time.process_time()
    await world.edge.apply(replace(table, routes=(*table.routes, *many[:77], changed, *many[78:])))
    assert time.process_time() - began < 0.5
    client = await world.connect()
    client.send(b"GET / HTTP/1.1\r\nHost: new.test\r\n\r\n")
    assert (await client.read_answer()).status == 503  # the edge knows it, the node has no such app
    client.send(b"GET / HTTP/1.1\r\nHost: app77.test\r\n\r\n")
    assert (await client.read_answer()).status == 404
