"""The haproxy proxy engine: the contract of all engines, and what this one does besides."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from engines import require_engine
from fluxcloud.errors import ConfigError, Permanent
from fluxcloud.proxy.haproxy import process as process_module
from fluxcloud.proxy.haproxy.engine import HaproxyProxy
from fluxcloud.proxy.haproxy.layout import POOL_MIN
from fluxcloud.proxy.haproxy.stats import HaproxyStats
from fluxcloud.proxy.routes import Route, Server, Table
from integration.proxy_world import HOST, KEY, Engine, World

pytest.register_assert_rewrite("integration.proxy_contract")

from integration.proxy_contract import *  # noqa: E402, F403  # the tests themselves
from integration.proxy_contract import Load, make_client_context, wait_until_down  # noqa: E402


@pytest.fixture
def engine() -> Engine:
    require_engine("haproxy")
    return HaproxyProxy


async def wait_until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.02)


def get_edge(world: World) -> HaproxyProxy:
    assert isinstance(world.edge, HaproxyProxy)
    return world.edge


async def find_pids(edge: HaproxyProxy) -> tuple[int, int]:
    """Of master and worker."""
    admin = edge._runner.admin
    (worker,) = re.findall(r"^Pid: (\d+)$", await admin.ask("show info"), re.MULTILINE)
    return edge._runner.process._child.pid, int(worker)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def make_routes(count: int, first: int = 0) -> tuple[Route, ...]:
    return tuple(
        Route(f"app{index}/web/http", (f"app{index}.test",), (Server("1", peer="node1n0"),))
        for index in range(first, first + count)
    )


# -- the configuration


@pytest.mark.parametrize("role", ["edge", "ingress"])
async def test_configuration__valid_and_for_nobody_else(world: World, role: str) -> None:
    await world.start(2)
    await world.edge.apply(world.table(sticky=True, servers=world.servers("ready", "last")))
    edge = get_edge(world)
    await edge._reload(edge._layout)
    proxy = edge if role == "edge" else world.nodes[0].ingress
    directory: Path = proxy._config.state_dir  # type: ignore[attr-defined]
    descriptor = proxy._runner._listener.fileno()  # type: ignore[attr-defined]
    checked = await asyncio.to_thread(
        subprocess.run,
        ["haproxy", "-c", "-f", "haproxy.cfg"],
        cwd=directory,
        pass_fds=(descriptor,),
        capture_output=True,
        text=True,
    )
    assert (checked.returncode, checked.stdout.strip(), checked.stderr) == (0, "Configuration file is valid", "")
    assert directory.stat().st_mode & 0o777 == 0o700
    assert (directory / "own.pem").stat().st_mode & 0o777 == 0o600


async def test_long_state_directory__sockets_still_work(world: World, tmp_path: Path) -> None:
    identity = world.gateway
    deep = tmp_path / ("d" * 120)
    deep.mkdir(mode=0o700)
    edge = await world.start_proxy("edge", identity, Table(), state_dir=deep)
    assert edge.get_stats().active == 0


async def test_missing__says_what_to_do(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_module, "_BINARY", "haproxy-is-not-here")
    with pytest.raises(
        ConfigError, match=r"proxy\.engine: haproxy-is-not-here is not installed; ask root for: apt-get"
    ):
        await world.start_proxy("edge", world.gateway, Table())


async def test_configuration_it_refuses__error_names_the_line(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fluxcloud.proxy.haproxy.render._BUFFER", "many")
    with pytest.raises(Permanent, match=r"did not start: .*haproxy\.cfg:\d+.*tune\.bufsize"):
        await world.start_proxy("edge", world.gateway, Table())


async def test_port_in_use__start_fails(world: World) -> None:
    await world.start(1)
    with pytest.raises(OSError, match="in use"):
        await world.start_proxy("edge", world.gateway, Table(), listen_port=world.edge.port)


# -- changes


async def test_changes_under_load__nothing_fails_and_nothing_is_left(world: World) -> None:
    await world.start(3)
    load = Load(world)
    running = asyncio.create_task(load.run(6))
    states = (("ready", "last", "ready"), ("drain", "ready"), ("last",), ())
    for turn in range(40):
        more = make_routes(turn % 5)
        table = world.table(servers=world.servers(*states[turn % 4]), connections_max=100 + turn % 2)
        await world.edge.apply(replace(table, routes=(*table.routes, *more)))
    await load.stop_after(50)
    await running
    assert {status for _, _, status in load.answers} == {200}
    await wait_until(lambda: get_edge(world).get_stats().retired == 0)
    stats = get_edge(world).get_stats()
    assert (stats.restarts, stats.reloads, stats.pool_free) == (0, 0, POOL_MIN - 5)


async def test_new_peer_and_moved_peer__pinned_without_a_reload(world: World) -> None:
    await world.start(1)
    world.nodes.append(await world.add_node("node1n1"))
    await world.edge.apply(world.table())
    assert {(await world.ask()).body for _ in range(6)} == {b"node1n0", b"node1n1"}
    await world.nodes[1].wire.kill()
    await world.nodes[1].wire.revive()  # type: ignore[union-attr]  # at another port: revive keeps it, so move it
    moved = replace(world.nodes[1].peer, port=world.nodes[1].ingress.port)
    await world.edge.apply(replace(world.table(), peers=(world.nodes[0].peer, moved)))
    assert {(await world.ask()).body for _ in range(6)} == {b"node1n0", b"node1n1"}
    assert get_edge(world).get_stats().reloads == 0


async def test_pool_used_up__enlarged_without_a_lost_request(world: World) -> None:
    await world.start(2)
    load = Load(world)
    running = asyncio.create_task(load.run(6))
    await world.nodes[0].app.wait_for_requests(20)
    table = world.table()
    await world.edge.apply(replace(table, routes=(*table.routes, *make_routes(POOL_MIN - 10))))
    await wait_until(lambda: get_edge(world).get_stats().reloads == 1)
    await world.edge.apply(replace(table, routes=(*table.routes, *make_routes(2 * POOL_MIN + 10))))
    client = await world.connect()
    client.send(f"GET / HTTP/1.1\r\nHost: app{2 * POOL_MIN}.test\r\n\r\n".encode())
    assert (await client.read_answer()).status == 503  # the node has no such app
    await load.stop_after(50)
    await running
    assert {status for _, _, status in load.answers} == {200}
    assert get_edge(world).get_stats().restarts == 0


async def test_change_that_haproxy_refuses__read_anew(world: World) -> None:
    await world.start(2)
    edge = get_edge(world)
    (server,) = (s for s in edge._layout.routes[KEY].servers if s.server.id == "1")
    await edge._runner.admin.ask(f"set server p00000/{server.name} state maint")
    await edge._runner.admin.ask(f"del server p00000/{server.name}")
    await world.edge.apply(world.table(servers=world.servers("drain")))
    assert edge.get_stats().reloads == 1
    assert {(await world.ask()).body for _ in range(4)} == {b"node1n1"}


# -- supervision


@pytest.mark.parametrize("which", ["master", "worker"])
async def test_killed_haproxy__same_routes_within_a_second(world: World, which: str) -> None:
    await world.start(2)
    edge = get_edge(world)
    await world.edge.apply(world.table(servers=world.servers("drain")))
    await world.nodes[1].wire.kill()
    await wait_until_down(edge, "node1n1")
    await world.edge.apply(world.table())
    master, worker = await find_pids(edge)
    os.kill(master if which == "master" else worker, signal.SIGKILL)
    await wait_until(edge._runner.process.exited.done)
    began = asyncio.get_running_loop().time()
    assert (await world.ask()).body == b"node1n0"  # waits in the socket's queue, is not refused
    assert asyncio.get_running_loop().time() - began < 1.0
    assert edge.get_stats().restarts == 1
    assert edge.get_stats().peers_down == ("node1n1",)


async def test_hung_haproxy__replaced(world: World) -> None:
    await world.start(1)
    edge = get_edge(world)
    _, worker = await find_pids(edge)
    os.kill(worker, signal.SIGSTOP)
    await wait_until(lambda: edge.get_stats().restarts == 1)
    assert (await world.ask()).status == 200


async def test_killed_while_table_changes__new_table_is_served(world: World) -> None:
    await world.start(2)
    edge = get_edge(world)
    _, worker = await find_pids(edge)
    os.kill(worker, signal.SIGKILL)
    await world.edge.apply(world.table(servers=world.servers("drain")))
    assert {(await world.ask()).body for _ in range(4)} == {b"node1n1"}
    assert edge.get_stats().restarts == 1


async def test_stop__leaves_no_process_and_no_task(world: World) -> None:
    await world.start(1)
    master, worker = await find_pids(get_edge(world))
    await world.stop()
    await wait_until(lambda: not is_running(master) and not is_running(worker))
    assert asyncio.all_tasks() == {asyncio.current_task()}


# -- what it does besides


async def test_http2__with_prior_knowledge(world: World) -> None:
    await world.start(1)
    argv = ["curl", "-s", "--http2-prior-knowledge", "-w", " %{http_version}", "-H", "Host: shop.test"]
    process = await asyncio.create_subprocess_exec(
        *argv, f"http://{HOST}:{world.edge.port}/", stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert output == b"node1n0 2"
    (seen,) = world.nodes[0].app.seen
    assert (seen.version, seen.get("host")) == ("HTTP/1.1", ["shop.test"])


async def test_sticky_cookie__not_shown_to_app(world: World) -> None:
    await world.start(1)
    await world.edge.apply(world.table(sticky=True))
    for given, kept in (
        ("FXS=x", []),
        ("a=1; FXS=x", ["a=1;"]),
        ("FXS=x; b=2", ["b=2"]),
        ("a=1; FXS=x; b=2", ["a=1;b=2"]),
    ):
        await world.ask(headers=f"Cookie: {given}\r\n")
        assert world.nodes[0].app.seen[-1].get("cookie") == kept


async def test_removed_gateway__open_connections_end(world: World, tmp_path: Path) -> None:
    await world.start(1)
    node = world.nodes[0]
    context = make_client_context(world.gateway, tmp_path)
    reader, writer = await asyncio.open_connection(HOST, node.ingress.port, ssl=context)
    request = f"GET / HTTP/1.1\r\nHost: x\r\nFluxCloud-Route: {KEY}\r\n\r\n".encode()
    writer.write(request)
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
    assert await reader.readexactly(7) == b"node1n0"
    await node.ingress.apply(world.ingress_table(node.app, peers=()))
    writer.write(request)
    assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.transport.abort()


async def test_peer_says_it_is_leaving__its_requests_finish(world: World) -> None:
    await world.start(2)
    await world.edge.apply(world.table(servers=world.servers("ready", "last")))
    under_way = asyncio.create_task(world.ask("POST", "/waits", body=b"x"))
    await world.nodes[0].app.wait_for_requests(1)
    await world.nodes[0].ingress.apply(world.ingress_table(world.nodes[0].app, serving=False))
    await wait_until_down(world.edge, "node1n0")
    assert (await world.ask()).body == b"node1n1"
    world.nodes[0].app.go_on.set()
    assert (await under_way).body == b"node1n0 x"


async def test_no_answer_in_time__504_and_not_tried_again(world: World) -> None:
    await world.start(2)
    for node in world.nodes:
        route = Route(KEY, servers=(Server("1", endpoint=node.app.endpoint),), timeout_s=1)
        await node.ingress.apply(Table((route,), (world.gateway.make_peer(0),)))
    await world.edge.apply(world.table(timeout_s=1))
    answer = await world.ask(target="/waits")
    assert (answer.status, answer.error) == (504, "upstream_timeout")
    assert world.count_seen() == 1


async def test_stats(world: World) -> None:
    await world.start(1)
    assert (await world.ask()).status == 200
    assert (await world.ask(target="/empty")).status == 502
    client = await world.connect()
    client.send(b"GARBAGE\r\n\r\n")
    assert (await client.read_answer()).status == 400
    stats = world.edge.get_stats
    await wait_until(lambda: (stats().requests, stats().failed, stats().refused) == (3, 1, 1))
    await wait_until(lambda: stats().retries >= 6)


async def test_changes_of_an_ingress__need_no_reload(world: World) -> None:
    await world.start(1)
    node = world.nodes[0]
    for number in range(20):
        table = world.ingress_table(node.app)
        more = Route(f"app{number}/web/http", servers=(Server("9", endpoint=node.app.endpoint),))
        await node.ingress.apply(replace(table, routes=(*table.routes, more)))
    assert (await world.ask()).status == 200
    stats = node.ingress.get_stats()
    assert isinstance(stats, HaproxyStats)
    assert (stats.reloads, stats.restarts, stats.pool) == (0, 0, POOL_MIN)


async def test_http2__passes(world: World) -> None:
    """The embedded engine has none; browsers speak it over TLS only, which gateways don't end yet."""
    await world.start(1)
    argv = (require_engine("curl"), "-sS", "--http2-prior-knowledge", "--write-out", " %{http_version} %{http_code}")
    address = f"http://{HOST}:{world.edge.port}/"
    process = await asyncio.create_subprocess_exec(*argv, "-H", "Host: shop.test", address, stdout=subprocess.PIPE)
    told, _ = await process.communicate()
    assert told == b"node1n0 2 200"
