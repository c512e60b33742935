"""The gateway's agent: a chain's routes on a real edge before real ingresses, kept where the chain is away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from factories import make_key
from factories_chain import SmallChain
from factories_network import ALICE, open_network, run_network
from fluxcloud.gateway import agent as gateway_agent
from fluxcloud.gateway.agent import GatewayAgent
from fluxcloud.gateway.config import GatewayConfig
from fluxcloud.gateway.kept import load_table
from fluxcloud.ids import GatewayId, NodeId, render_gateway, render_node
from fluxcloud.images.store import ContentStore
from fluxcloud.ledger.apps.messages import DeleteApp
from fluxcloud.proxy.base import Proxy, ProxyConfig
from fluxcloud.proxy.embedded import EmbeddedProxy
from fluxcloud.proxy.routes import Peer, Route, Server, Table
from fluxcloud.sdk.bundle import build_hello_bundle
from fluxcloud.sdk.client import Chain, build_trust
from fluxcloud.sdk.deploy import Deployment
from fluxcloud.sdk.transport import Unreachable

from .supervisor import find_free_port, wait_told

ZONE = "fluxcloud.localhost"
KEY = "hello/main/http"


class Away:
    """A chain node that can't be reached."""

    async def stream(self, method: str, body: bytes) -> AsyncIterator[bytes]:
        raise Unreachable("away")
        yield b""


@pytest.fixture(autouse=True)
def save_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway_agent, "SAVE_INTERVAL_S", 0.01)


@pytest.fixture
async def chain(tmp_path: Path) -> AsyncIterator[SmallChain]:
    opened = open_network(tmp_path / "chain")
    yield opened
    opened.close()


@pytest.fixture
def client(chain: SmallChain) -> Chain:
    return Chain(chain.service, build_trust(chain.genesis))


async def answer_with(name: str) -> asyncio.Server:
    """An app that says on which node it is."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(name)}\r\nConnection: close\r\n\r\n{name}".encode())
        writer.close()

    return await asyncio.start_server(answer, "127.0.0.1", 0)


@asynccontextmanager
async def run_ingresses(chain: SmallChain, folder: Path) -> AsyncIterator[None]:
    """One on each node, with one app behind all routes."""
    gateway = chain.genesis.gateways[0]
    caller = Peer(render_gateway(GatewayId(gateway.id)), gateway.host, 1, gateway.cert)
    async with AsyncExitStack() as stack:
        for k, node in enumerate(chain.genesis.nodes, 1):
            app = await stack.enter_async_context(await answer_with(f"n{k}"))
            endpoint = "{}:{}".format(*app.sockets[0].getsockname())
            ingress = EmbeddedProxy(
                ProxyConfig(
                    role="ingress",
                    listen_host=node.endpoint.host,
                    listen_port=node.endpoint.ingress_port,
                    identity_id=render_node(NodeId(node.id)),
                    cert_der=node.cert,
                    key_seed=make_key(f"hot/{k}").seed,
                    state_dir=folder / f"n{k}",
                )
            )
            route = Route(key=KEY, servers=(Server(id="1", endpoint=endpoint),))
            await ingress.start(Table(routes=(route,), peers=(caller,)))
            stack.push_async_callback(ingress.stop)
        yield


def make_edge(chain: SmallChain, folder: Path) -> EmbeddedProxy:
    gateway = chain.genesis.gateways[0]
    return EmbeddedProxy(
        ProxyConfig(
            role="edge",
            listen_host="127.0.0.1",
            listen_port=0,
            identity_id=render_gateway(GatewayId(gateway.id)),
            cert_der=gateway.cert,
            key_seed=make_key("gateway-hot/1").seed,
            state_dir=folder / "edge",
        )
    )


@asynccontextmanager
async def run_gateway(chain: SmallChain, source: Chain, folder: Path, status_port: int = 0) -> AsyncIterator[Proxy]:
    home = folder / "gateway"
    home.mkdir(exist_ok=True)
    edge = make_edge(chain, folder)
    config = GatewayConfig(str(home), "gw1", chain="", genesis="", zones=(ZONE,), status_port=status_port)
    task = asyncio.create_task(GatewayAgent(config, source, edge).run())
    try:
        yield edge
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def get(edge: Proxy, host: str) -> tuple[int, str]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{edge.port}/", headers={"Host": host}) as response,
    ):
        return response.status, await response.text()


async def wait_answer(edge: Proxy, host: str, is_wanted: Callable[[int], bool]) -> tuple[int, str]:
    async with asyncio.timeout(10):
        while True:
            try:
                status, text = await get(edge, host)
            except (aiohttp.ClientError, AssertionError):  # it is not up yet
                status, text = 0, ""
            if is_wanted(status):
                return status, text
            await asyncio.sleep(0.02)


async def deploy(client: Chain, folder: Path) -> Deployment:
    deployment = Deployment(client, ALICE, build_hello_bundle(ContentStore(folder / "store")), client.chain_id)
    async for _ in deployment.run():
        pass
    return deployment


async def test_routes__follow_the_ledger_from_the_first_copy_to_the_last(
    chain: SmallChain, client: Chain, tmp_path: Path
) -> None:
    async with run_ingresses(chain, tmp_path), run_gateway(chain, client, tmp_path) as edge, run_network(chain, client):
        assert (await wait_answer(edge, f"hello.{ZONE}", bool))[0] == 404
        deployment = await deploy(client, tmp_path)
        assert deployment.view is not None
        ids = [bytes(node.id) for node in chain.genesis.nodes]
        copies = {f"n{ids.index(placement.node) + 1}" for _, placement in deployment.view.list_active()}
        served = {(await wait_answer(edge, f"hello.{ZONE}", lambda status: status == 200))[1] for _ in range(12)}
        assert served == copies
        assert (await get(edge, f"http--hello.{ZONE}"))[0] == 200
        assert (await get(edge, f"shop.{ZONE}"))[0] == 404
        await client.submit((DeleteApp(deployment.app_id),), ALICE)
        await wait_answer(edge, f"hello.{ZONE}", lambda status: status == 404)


async def test_kept_table__serves_without_a_chain(chain: SmallChain, client: Chain, tmp_path: Path) -> None:
    async with run_ingresses(chain, tmp_path):
        async with run_gateway(chain, client, tmp_path) as edge, run_network(chain, client):
            await deploy(client, tmp_path)
            await wait_answer(edge, f"hello.{ZONE}", lambda status: status == 200)
            async with asyncio.timeout(10):
                while len(load_table(tmp_path / "gateway/table.msgpack").routes) != 1:
                    await asyncio.sleep(0.02)
        alone = Chain(Away(), build_trust(chain.genesis))
        async with run_gateway(chain, alone, tmp_path) as edge:
            assert (await wait_answer(edge, f"hello.{ZONE}", lambda status: status == 200))[0] == 200


async def test_table_that_cannot_be_kept__is_served_all_the_same(
    chain: SmallChain, client: Chain, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "gateway/table.msgpack").mkdir(parents=True)
    caplog.set_level(logging.WARNING)
    async with run_ingresses(chain, tmp_path), run_gateway(chain, client, tmp_path) as edge, run_network(chain, client):
        await deploy(client, tmp_path)
        async with asyncio.timeout(10):
            while "the table can't be kept" not in caplog.text:
                await asyncio.sleep(0.02)
        assert (await wait_answer(edge, f"hello.{ZONE}", lambda status: status == 200))[0] == 200


async def test_status__is_told_to_a_supervisor(chain: SmallChain, client: Chain, tmp_path: Path) -> None:
    port = find_free_port()
    pages = {"livez": "ok\n", "readyz": "ok\n", "metrics": 'fluxcloud_proxy_active{gateway="gw1"} '}
    async with run_gateway(chain, client, tmp_path, port), run_network(chain, client):
        for page, told in pages.items():
            await wait_told(port, page, told)
