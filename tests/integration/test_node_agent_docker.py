"""Agents whose copies are containers of one real Docker daemon that they share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dockerd import Dockerd, run_dockerd
from fluxcloud.node.parts import Parts
from fluxcloud.node.runtime.base import ComponentState
from fluxcloud.node.runtime.docker import faults
from fluxcloud.node.runtime.docker.ipam import split_pool

from .node_world import World, make_entry, wait_for

NAMES = ("n1", "n2")
WAIT_S = 30.0


@pytest.fixture(scope="module")
def dockerd() -> Iterator[Dockerd]:
    with run_dockerd() as daemon:
        yield daemon


@pytest.fixture
def world(tmp_path: Path, dockerd: Dockerd) -> World:
    world = World(tmp_path)
    for index, name in enumerate(NAMES):
        world.add_node(name)
        subnets = split_pool("10.201.0.0/16", index, len(NAMES))
        world.configs[name] = msgspec.structs.replace(
            world.configs[name], runtime="docker", docker_socket=dockerd.socket, docker_subnets=subnets
        )
    return world


async def until(check: Callable[[], Awaitable[Any]]) -> Any:
    async with asyncio.timeout(WAIT_S):
        while not (found := await check()):
            await asyncio.sleep(0.02)
        return found


async def serves(world: World, name: str) -> bool:
    try:
        status, body = await world.ask(name)
    except (IndexError, OSError):  # it hangs up on gateways while it doesn't know any yet
        return False
    return status == 200 and b"Hello from shop" in body


async def observe(parts: Parts) -> ComponentState:
    (copy,) = await parts.runtime.observe()
    return copy.components[0]


def is_running(world: World, name: str) -> bool:
    entry = world.get_entry(name)
    return entry is not None and entry.phase == "running"


async def begin(world: World) -> None:
    spec_hash = world.add_revision()
    for name in NAMES:
        world.assign(name, make_entry(spec_hash))
        await world.push_image(name)
    for name in NAMES:
        await wait_for(lambda name=name: is_running(world, name))  # type: ignore[misc]
        await until(lambda name=name: serves(world, name))  # type: ignore[misc]


async def empty(world: World, *nodes: tuple[str, Parts]) -> None:
    """Take every copy off, so that none outlives the test."""
    for name, parts in nodes:
        world.assign(name)

        async def is_empty(parts: Parts = parts) -> bool:
            return not await parts.runtime.observe()

        await until(is_empty)


async def test_owners_see_their_copies(world: World) -> None:
    async with world.run_node("n1") as first, world.run_node("n2") as second:
        await begin(world)
        assert first.isolation.level == "full"
        async with world.make_client("n1") as client:
            (copy,) = await client.list_copies()
            assert (copy["stage"], copy["components"][0]["health"]) == ("running", "healthy")
            assert copy["components"][0]["pid"] == (await observe(first)).pid
            assert (await client.get_stats(1, "app"))["pids"] >= 1
            socket = await client.open_exec(1, "app", ("/bin/sh", "-c", "echo out; echo err >&2; exit 5"), tty=False)
            messages = [(message.type.name, message.data) async for message in socket]
            assert ("TEXT", '{"exit_code":5}') in messages
            assert ("BINARY", b"\x01out\n") in messages
            assert ("BINARY", b"\x02err\n") in messages
        await empty(world, ("n1", first), ("n2", second))


async def test_a_node_that_lost_its_power_comes_back(world: World, dockerd: Dockerd) -> None:
    """As `fluxcloud node kill` does it: containers by label, then the agent starts again."""
    async with world.run_node("n2") as second:
        async with world.run_node("n1"):
            await begin(world)
        before = await observe(second)
        assert await faults.kill_node(dockerd.socket, world.configs["n1"].id) == 2
        async with world.run_node("n1") as first:
            await until(lambda: serves(world, "n1"))
            assert (await observe(first)).restarts == 1
            assert await observe(second) == before
            await empty(world, ("n1", first), ("n2", second))


async def test_a_lost_daemon_costs_no_request(world: World, dockerd: Dockerd) -> None:
    """The agents tell that they can't look, keep routing, and go on with the daemon's successor."""
    async with world.run_node("n1") as first, world.run_node("n2") as second:
        await begin(world)
        before = await observe(first)
        dockerd.kill()
        try:

            async def is_told() -> bool:
                assert await serves(world, "n1")
                return "no Docker Engine at" in first.health_age.problem

            await until(is_told)
        finally:
            dockerd.start()

        async def is_well() -> bool:
            assert await serves(world, "n1")
            return not first.health_age.problem

        await until(is_well)
        assert await observe(first) == before
        assert is_running(world, "n1")
        await faults.kill_node(dockerd.socket, world.configs["n1"].id)

        async def is_back() -> bool:
            return await serves(world, "n1") and (await observe(first)).restarts >= 1

        await until(is_back)
        await empty(world, ("n1", first), ("n2", second))
