"""The owner's client against a real node: what it asks for, and how refusals and silence look from outside."""

from __future__ import annotations

import json
from pathlib import Path

import aiohttp
import msgspec
import pytest

from fluxcloud.errors import Rejected, Temporary
from fluxcloud.ids import render_node
from fluxcloud.sdk.nodes import NodeClient
from fluxcloud.sdk.wallet import Wallet

from .node_world import CHAIN_ID, World, make_entry, wait_for


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    world.add_node("n1")
    world.assign("n1", make_entry(world.add_revision()))
    return world


def is_running(world: World) -> bool:
    entry = world.get_entry("n1")
    return entry is not None and entry.phase == "running"


async def test_push__says_whether_the_node_needed_it(world: World) -> None:
    async with world.run_node("n1"), world.make_client("n1") as client:
        path = world.store.path(world.digest)
        assert [await client.push_blob(world.digest, path) for _ in range(2)] == [True, False]


async def test_running_copy__states_stats_and_commands(world: World) -> None:
    async with world.run_node("n1"), world.make_client("n1") as client:
        await world.push_image("n1")
        await wait_for(lambda: is_running(world))
        (copy,) = await client.list_copies()
        assert (copy["generation"], copy["stage"]) == (1, "running")
        stats = await client.get_stats(1, "app")
        assert stats["pids"] >= 1
        socket = await client.open_exec(1, "app", ("sh", "-c", "echo $((6 * 7)); exit 5"), tty=False)
        async with socket:
            output, last = b"", ""
            async for message in socket:
                if message.type is aiohttp.WSMsgType.BINARY:
                    output += message.data[1:]
                else:
                    last = message.data
        assert (output, json.loads(last)["exit_code"]) == (b"42\n", 5)


async def test_refusals__carry_the_nodes_code(world: World) -> None:
    async with world.run_node("n1"):
        async with world.make_client("n1", Wallet.generate()) as stranger:
            with pytest.raises(Rejected) as refused:
                await stranger.list_copies()
            assert refused.value.code == "capability/3"
            with pytest.raises(Rejected) as refused:  # an answer to HEAD has no body
                await stranger.push_blob(world.digest, world.store.path(world.digest))
            assert refused.value.code == "capability/3"
            with pytest.raises(Rejected) as refused:  # before the WebSocket opens
                await stranger.open_exec(1, "app", ("id",), tty=False)
            assert refused.value.code == "capability/3"
        async with world.make_client("n1") as owner:
            with pytest.raises(Rejected) as missing:
                await owner.get_stats(9, "app")
            assert missing.value.code == "node/1"


async def test_silence_and_another_certificate__are_temporary(world: World) -> None:
    name = render_node(world.add_node("n2"))
    async with world.make_client("n2") as client:
        with pytest.raises(Temporary, match=f"node {name} can't be reached: "):
            await client.list_copies()
        with pytest.raises(Temporary, match=f"node {name} can't be reached: "):
            await client.open_exec(1, "app", ("id",), tty=False)
    async with world.run_node("n1"):
        impostor = msgspec.structs.replace(world.nodes["n2"], endpoint=world.nodes["n1"].endpoint)
        async with NodeClient(CHAIN_ID, impostor, world.app, world.owner) as client:
            with pytest.raises(Temporary, match=f"node {name} can't be reached: "):
                await client.list_copies()
