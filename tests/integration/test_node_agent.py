"""An agent with its real engine, sockets and API: pushing, serving, failing, restarting, leaving."""

from __future__ import annotations

import asyncio
import subprocess
import time
from pathlib import Path
from typing import Literal

import msgspec
import pytest

from fluxcloud.errors import Rejected
from fluxcloud.ids import NodeId
from fluxcloud.ledger.apps.spec import Restart, Stop
from fluxcloud.ledger.liveness.model import SEATS, Panel, Seat
from fluxcloud.ledger.scheduler.messages import NodeReport
from fluxcloud.node import feed
from fluxcloud.node.parts import Parts
from fluxcloud.node.runtime.base import CopyState
from fluxcloud.node.watch.contacts import make_contact
from fluxcloud.node.watch.prober import Prober
from fluxcloud.sdk.wallet import Wallet, read_key

from .node_world import CHAIN_ID, World, make_entry, wait_for
from .supervisor import find_free_port, wait_told


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    world.add_node("n1")
    world.add_node("n2")
    return world


async def observe_copy(parts: Parts, generation: int = 1) -> CopyState | None:
    return next((state for state in await parts.runtime.observe() if state.key.generation == generation), None)


async def empty(world: World, name: str, parts: Parts) -> None:
    """Take every copy off a node, so that none outlives the test."""
    world.assign(name)
    await wait_for_gone(parts)


def is_running(world: World, name: str = "n1", generation: int = 1) -> bool:
    entry = world.get_entry(name, generation)
    return entry is not None and entry.phase == "running"


async def test_pushed_app__runs_serves_and_shows_itself(world: World) -> None:
    world.assign("n1", make_entry(world.add_revision()))
    async with world.run_node("n1") as parts:
        await world.push_image("n1")
        await wait_for(lambda: is_running(world))
        status, body = await world.ask("n1")
        assert (status, b"Hello from" in body) == (200, True)
        async with world.make_client("n1") as client:
            (copy,) = await client.list_copies()
            assert (copy["stage"], copy["components"][0]["health"]) == ("running", "healthy")
            state = await observe_copy(parts)
            assert state is not None
            assert copy["components"][0]["pid"] == state.components[0].pid
            stats = await client.get_stats(1, "app")
            assert stats["pids"] >= 1
            socket = await client.open_exec(1, "app", ("/bin/sh", "-c", "echo out; echo err >&2; exit 5"), tty=False)
            messages = [(message.type.name, message.data) async for message in socket]
            assert ("TEXT", '{"exit_code":5}') in messages
            assert ("BINARY", b"\x01out\n") in messages
            assert ("BINARY", b"\x02err\n") in messages
        await empty(world, "n1", parts)


@pytest.mark.parametrize("proxy", ["embedded", "haproxy"])
async def test_status__is_told_to_a_supervisor(
    world: World, proxy: Literal["embedded", "haproxy"], monkeypatch: pytest.MonkeyPatch
) -> None:
    port = find_free_port()
    world.configs["n1"] = msgspec.structs.replace(world.configs["n1"], proxy=proxy, status_port=port)
    world.assign("n1", make_entry(world.add_revision()))
    async with world.run_node("n1") as parts:
        await world.push_image("n1")
        await wait_for(lambda: is_running(world))
        assert (await world.ask("n1"))[0] == 200
        await wait_told(port, "metrics", f'fluxcloud_proxy_requests_total{{node="{parts.config.id}"}} 1\n')
        await wait_told(port, "metrics", f'fluxcloud_node_copies{{node="{parts.config.id}"}} 1\n')
        await wait_told(port, "livez", "ok\n")
        await wait_told(port, "readyz", "ok\n")
        monkeypatch.setattr(feed, "LIVE_S", 1.0)
        world.chain.is_up = False
        await wait_told(port, "readyz", "the ledger is not followed", 503)
        assert (await world.ask("n1"))[0] == 200
        world.chain.is_up = True
        await empty(world, "n1", parts)


async def test_restarted_agent__takes_over_what_runs_and_serves_without_a_chain(world: World) -> None:
    world.assign("n1", make_entry(world.add_revision()))
    async with world.run_node("n1") as parts:
        await world.push_image("n1")
        await wait_for(lambda: is_running(world))
        before = await observe_copy(parts)
    world.chain.is_up = False
    async with world.run_node("n1") as parts:
        await wait_for(lambda: parts.executor is not None)
        assert await observe_copy(parts) == before
        await wait_for_status(world, "n1", 200)
        assert not parts.view.is_live
        world.assign("n1")
        world.chain.is_up = True
        await wait_for_gone(parts)
        await wait_for_status(world, "n1", 503)


async def test_agent_without_a_chain__answers_whom_it_knew(world: World) -> None:
    target, monitor = world.nodes["n1"], world.nodes["n2"]
    world.chain.put(SEATS, NodeId(target.id), Panel((Seat(monitor.id, 9),)))
    key = read_key(Path(world.configs["n2"].home) / "hot.key")
    prober = Prober(CHAIN_ID, NodeId(monitor.id), key, time.time)
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: prober, local_addr=(monitor.endpoint.host, 0)
    )
    try:
        async with world.run_node("n1") as parts:
            await wait_for(lambda: parts.view.list_peers() == (make_contact(monitor),) and not parts.view.has_unkept)
        world.chain.is_up = False
        async with world.run_node("n1") as parts:
            assert await prober.probe(make_contact(target), 5.0)
            assert not parts.view.is_proven
    finally:
        transport.close()


async def test_returned_slot__adopts_its_container(world: World) -> None:
    spec_hash = world.add_revision()
    world.assign("n1", make_entry(spec_hash))
    async with world.run_node("n1") as parts:
        await world.push_image("n1")
        await wait_for(lambda: is_running(world))
        before = await observe_copy(parts)
        world.assign("n1", make_entry(spec_hash, 4, adopts=1))
        await wait_for(lambda: is_running(world, generation=4), timeout_s=3)
        assert await observe_copy(parts) == before
        assert (await world.ask("n1"))[0] == 200
    async with world.run_node("n1") as parts:
        await wait_for_status(world, "n1", 200)
        assert await observe_copy(parts) == before
        await empty(world, "n1", parts)


async def test_standby__is_ready_then_stands_in_then_stops(world: World) -> None:
    spec_hash = world.add_revision()
    world.assign("n1", make_entry(spec_hash, role="standby", slot=-1))
    async with world.run_node("n1") as parts:
        await world.push_image("n1")
        await wait_for(lambda: (entry := world.get_entry("n1")) and entry.phase == "ready")
        assert await observe_copy(parts) is None
        world.assign("n1", make_entry(spec_hash, role="standby", slot=-1, phase="ready", backs=0))
        await wait_for(lambda: is_running(world))
        assert (await world.ask("n1"))[0] == 200
        world.assign("n1", make_entry(spec_hash, role="standby", slot=-1, phase="ready"))
        await wait_for_gone(parts)


async def test_sibling__gives_the_image(world: World) -> None:
    spec_hash = world.add_revision()
    world.assign("n1", make_entry(spec_hash))
    async with world.run_node("n1") as first:
        await world.push_image("n1")
        await wait_for(lambda: is_running(world))
        world.route("n1")
        world.assign("n2", make_entry(spec_hash, 2))
        async with world.run_node("n2") as second:
            await wait_for(lambda: is_running(world, "n2", 2))
            assert (await world.ask("n2"))[0] == 200
            await empty(world, "n2", second)
        await empty(world, "n1", first)


async def test_app_that_exits__is_reported_with_its_exit_code(world: World) -> None:
    spec_hash = world.add_revision(command=("/bin/sh", "-c", "exit 3"), restart=Restart("never"))
    world.assign("n1", make_entry(spec_hash))
    async with world.run_node("n1") as parts:
        await world.push_image("n1")
        (report,) = (await wait_for(lambda: world.chain.list_said(NodeReport)))[0].copies
        assert (report.outcome, report.reason, report.detail) == ("failed", "exit", "app exited with 3")
        await wait_for_gone(parts)


async def test_logs__resume_after_a_cursor_and_follow(world: World) -> None:
    script = "echo one; echo two >&2; while true; do sleep 0.1; echo more; done"
    world.assign(
        "n1", make_entry(world.add_revision(command=("/bin/sh", "-c", script), ports=(), stop=Stop(grace_s=1)))
    )
    async with world.run_node("n1") as parts:
        await world.push_image("n1")
        await wait_for(lambda: is_running(world))
        async with world.make_client("n1") as client, asyncio.timeout(10):
            followed = client.read_logs(1, "app", follow=True)
            lines = [await anext(followed) for _ in range(4)]
            await followed.aclose()  # type: ignore[attr-defined]
            assert {(line["stream"], line["text"]) for line in lines} >= {
                ("out", "one"),
                ("err", "two"),
                ("out", "more"),
            }
            rest = [line async for line in client.read_logs(1, "app", after=lines[-1]["cursor"])]
            assert all(line["text"] == "more" for line in rest)
            assert [line["text"] async for line in client.read_logs(1, "app", tail=1)] == ["more"]
        await empty(world, "n1", parts)


@pytest.mark.needs_root
async def test_full_disk__is_the_hosts_fault_and_the_agent_goes_on(tmp_path: Path) -> None:
    home = tmp_path / "n1"
    home.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(home)], check=True)
    try:
        world = World(tmp_path)
        world.add_node("n1")
        world.assign("n1", make_entry(world.add_revision()))
        async with world.run_node("n1") as parts:
            await world.push_image("n1")
            (report,) = (await wait_for(lambda: world.chain.list_said(NodeReport)))[0].copies
            assert (report.outcome, report.reason) == ("failed", "disk")
            await parts.health_age.check()
            assert parts.health_age.problem == ""
    finally:
        subprocess.run(["umount", "-l", str(home)], check=True)


async def test_push__is_refused_to_strangers_and_beyond_the_spec(world: World, tmp_path: Path) -> None:
    world.assign("n1", make_entry(world.add_revision(disk_mib=0)))
    digest = world.store.put(b"x" * 3_000_000).digest
    async with world.run_node("n1") as parts:
        await wait_for(lambda: parts.specs.get(world.get_entry("n1")))  # type: ignore[arg-type]
        async with world.make_client("n1", Wallet.generate()) as stranger:
            with pytest.raises(Rejected) as refused:
                await stranger.list_copies()
            assert refused.value.code == "capability/3"
        async with world.make_client("n1") as client:
            with pytest.raises(Rejected) as refused:
                await client.push_blob(digest, world.store.path(digest))
            assert refused.value.code == "image/8"
            other = tmp_path / "other"
            other.write_bytes(b"other bytes")
            with pytest.raises(Rejected) as refused:
                await client.push_blob(digest, other)
            assert refused.value.code == "image/2"
        assert parts.store.list_digests() == []


async def wait_for_status(world: World, name: str, status: int) -> None:
    for _ in range(500):
        if (await world.ask(name))[0] == status:
            return
    raise AssertionError(f"{name} never answered {status}")


async def wait_for_gone(parts: Parts) -> None:
    for _ in range(2000):
        if not await parts.runtime.observe():
            return
        await parts.runtime.wait_change(0.02)
    raise AssertionError("the copy was not removed")
