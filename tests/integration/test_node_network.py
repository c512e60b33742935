"""Three agents and a solo chain, each its own process: an app is deployed, an agent restarted, a node killed."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from fluxcloud.cli.creation import Plan, create_network, find_subnet, write_chain_config, write_node_config
from fluxcloud.cli.layout import Layout, node_endpoint
from fluxcloud.cli.processes import kill_copies
from fluxcloud.codec import encode
from fluxcloud.errors import FluxCloudError
from fluxcloud.ids import AppId, NodeId, render_node
from fluxcloud.images.hello import build_hello_image
from fluxcloud.images.manifest import load_image
from fluxcloud.images.store import ContentStore
from fluxcloud.ledger.apps.messages import AppRegistered, RegisterApp
from fluxcloud.ledger.apps.model import APPS, PLACEMENTS, ROUTES, App, Image, Placement
from fluxcloud.ledger.apps.spec import Component, Group, Port, Spec
from fluxcloud.ledger.nodes.model import NODES
from fluxcloud.sdk.client import Chain, load_genesis
from fluxcloud.sdk.nodes import NodeClient
from fluxcloud.sdk.wallet import Wallet

pytestmark = pytest.mark.slow

CHAIN_PORT = 27_000 + os.getpid() % 2_000
NODES_COUNT = 3


class Network:
    """The processes, and a client of the chain."""

    def __init__(self, root: Path) -> None:
        self.layout = Layout(root)
        subnet = find_subnet(NODES_COUNT)
        self.names = create_network(self.layout, Plan(NODES_COUNT, 1, subnet, "solo")).nodes
        self.wallet = Wallet.load(self.layout.key("dev-1"))
        url = f"http://127.0.0.1:{CHAIN_PORT}"
        self.chain = Chain.connect(url, load_genesis(self.layout.genesis))
        self.configs = {"chain": ("chain", write_chain_config(self.layout, CHAIN_PORT))}
        for number, (name, node_id) in enumerate(self.names.items(), 1):
            config = write_node_config(self.layout, name, node_id, node_endpoint(subnet, number), url, {})
            self.configs[name] = ("node", config)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str) -> None:
        kind, config = self.configs[name]
        argv = [sys.executable, "-m", "fluxcloud.cli.daemon", kind, str(config)]
        with (self.layout.root / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(argv, stdout=log, stderr=log)

    def end(self, name: str, number: int) -> int:
        process = self.processes.pop(name)
        process.send_signal(number)
        return process.wait(20)

    async def close(self) -> None:
        await self.chain.close()
        for process in self.processes.values():
            process.kill()
            process.wait()
        kill_copies(self.layout)

    async def wait_for_records(self, keys: list[tuple[Any, Any]], condition: Any, timeout_s: float = 40.0) -> None:
        """Until the proven records of these keys, in their order, fulfil the condition."""
        known: dict[tuple[str, Any], Any] = {}
        async with asyncio.timeout(timeout_s):
            async for update in self.chain.watch(keys):
                known |= {(table.name, key): record for table, key, record in update.records}
                if condition(*(known.get((table.name, key)) for table, key in keys)):
                    return

    async def wait_for_chain(self) -> None:
        async with asyncio.timeout(40):
            while True:
                try:
                    if (await self.chain.status()).height >= 2:
                        return
                except FluxCloudError:
                    await asyncio.sleep(0.1)

    async def deploy(self) -> App:
        """Register the hello app, two copies and a spare, and push its image wherever it was placed."""
        store = ContentStore(self.layout.root / "deployer")
        digest = build_hello_image(store)
        blobs = load_image(store, digest).list_blobs()
        component = Component("app", "builtin:hello", ports=(Port("http", 8080),), memory_mib=64)
        spec = encode(Spec("shop", (Group("web", (component,), replicas=2),)))
        image = Image("web", "app", digest, sum(blob.size for blob in blobs), ("amd64",))
        submitted = await self.chain.submit((RegisterApp(spec, b"", (image,)),), self.wallet)
        (app_id,) = (AppId(event.app) for event in submitted.events if isinstance(event, AppRegistered))
        await self.wait_for_records([(APPS, app_id)], lambda app: app is not None)
        app = await self.chain.read(APPS, app_id)
        assert app is not None
        for placement in (await self.list_placements(app)).values():
            node = await self.chain.read(NODES, NodeId(placement.node))
            assert node is not None
            async with NodeClient(self.chain.chain_id, node, app, self.wallet) as client:
                for blob in (digest, *(blob.digest for blob in blobs)):
                    await client.push_blob(blob, store.path(blob))
        return app

    async def list_placements(self, app: App) -> dict[int, Placement]:
        return {key[1]: placement for key, placement in await self.chain.scan(PLACEMENTS, prefix=app.id)}

    async def read_pid(self, app: App, node_id: NodeId) -> int:
        node = await self.chain.read(NODES, node_id)
        assert node is not None
        async with asyncio.timeout(20):
            while True:
                try:
                    async with NodeClient(self.chain.chain_id, node, app, self.wallet) as client:
                        for copy in await client.list_copies():
                            if copy["stage"] == "running":
                                return int(copy["components"][0]["pid"])
                except FluxCloudError:
                    await asyncio.sleep(0.1)


@pytest.fixture
async def network(tmp_path: Path) -> AsyncIterator[Network]:
    network = Network(tmp_path)
    try:
        for name in network.configs:
            network.start(name)
        await network.wait_for_chain()
        yield network
    finally:
        await network.close()


def count_ready(routes: Any) -> int:
    return sum(copy.state == "ready" for copy in routes.copies) if routes is not None else 0


async def test_deploy_restart_and_kill(network: Network) -> None:
    app = await network.deploy()
    app_id = AppId(app.id)
    await network.wait_for_records([(ROUTES, app_id)], lambda routes: count_ready(routes) == 2)
    placements = await network.list_placements(app)
    victim = NodeId(next(placement.node for placement in placements.values() if placement.role == "active"))
    name = next(name for name, node_id in network.names.items() if node_id == render_node(victim))

    pid = await network.read_pid(app, victim)
    assert network.end(name, signal.SIGTERM) == 0
    os.kill(pid, 0)  # the copy runs on without its agent
    network.start(name)
    assert await network.read_pid(app, victim) == pid
    await network.wait_for_records(
        [(NODES, victim), (ROUTES, app_id)],
        lambda node, routes: node.state == "active" and count_ready(routes) == 2,
    )

    network.end(name, signal.SIGKILL)
    await network.wait_for_records(
        [(NODES, victim), (ROUTES, app_id)],
        lambda node, routes: node.state == "down" and count_ready(routes) == 2,
    )
    roles = {placement.role for placement in (await network.list_placements(app)).values()}
    assert "orphan" in roles

    network.start(name)
    await network.wait_for_records([(NODES, victim)], lambda node: node.state == "active")
