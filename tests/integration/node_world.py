"""Agents with real sockets and containers, beside a stand-in for the chain that tests write records into.

The stand-in is of the outside world only: it hands out records as proven and takes reports, without blocks or proofs.
The agents themselves are the real thing, run in this process.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import os
import ssl
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from fluxcloud.codec import encode
from fluxcloud.crypto import PrivateKey
from fluxcloud.errors import Temporary
from fluxcloud.ids import AppId, NodeId, TxId, render_gateway, render_node
from fluxcloud.images.hello import build_hello_image
from fluxcloud.images.manifest import load_image
from fluxcloud.images.store import ContentStore
from fluxcloud.ledger.apps.model import (
    APPS,
    ASSIGN,
    REVISIONS,
    ROUTES,
    App,
    Assign,
    AssignEntry,
    Image,
    Revision,
    RouteCopy,
    Routes,
)
from fluxcloud.ledger.apps.spec import Component, Group, Port, Spec
from fluxcloud.ledger.gateways.model import GATEWAYS, Gateway, Gateways
from fluxcloud.ledger.liveness.model import LIVENESS_CLOCK, LivenessClock
from fluxcloud.ledger.module import Lane, Message
from fluxcloud.ledger.nodes.model import NODES, Capacity, Endpoint, Location, Node
from fluxcloud.ledger.scheduler.messages import NodeReport
from fluxcloud.ledger.state import TableKey
from fluxcloud.node.agent import serve
from fluxcloud.node.config import NodeConfig
from fluxcloud.node.parts import Parts, open_parts
from fluxcloud.proxy.routes import ROUTE_HEADER
from fluxcloud.sdk.client import Submitted, Update
from fluxcloud.sdk.nodes import NodeClient
from fluxcloud.sdk.wallet import Wallet, write_key
from fluxcloud.tls import build_identity_cert, client_context

CHAIN_ID = "test-node"
APP = AppId(b"\x01" * 20)
BLOCK_S = 0.05
_hosts = itertools.count(1)


class StandIn:
    """Records by table and key, a height that grows, and what nodes have said."""

    chain_id = CHAIN_ID

    def __init__(self) -> None:
        self.records: dict[tuple[str, Any], Any] = {}
        self.height = 10
        self.tick_ms = 100_000
        self.is_up = True
        self.said: list[tuple[NodeId, str, Message]] = []
        self.put(LIVENESS_CLOCK, "", LivenessClock(7, 0, b""))

    def put(self, table: TableKey[Any, Any], key: Any, record: Any) -> None:
        self.records[table.name, key] = record

    def list_said(self, kind: type[Message]) -> list[Any]:
        return [message for _, _, message in self.said if isinstance(message, kind)]

    async def read(self, table: TableKey[Any, Any], key: Any) -> Any:
        if not self.is_up:
            raise Temporary("the chain node is away")
        return self.records.get((table.name, key))

    async def watch(self, keys: Sequence[tuple[TableKey[Any, Any], Any]]) -> AsyncIterator[Update]:
        known: dict[tuple[str, Any], Any] = {}
        while True:
            while not self.is_up:
                await asyncio.sleep(BLOCK_S)
            self.height += 1
            self.tick_ms += 50
            now = {(table.name, key): (table, key, self.records.get((table.name, key))) for table, key in keys}
            changed = tuple(item for place, item in now.items() if place not in known or known[place] != item)
            known = now
            yield Update(self.height, self.tick_ms, time.time_ns() // 1_000_000, True, changed)
            await asyncio.sleep(BLOCK_S)

    async def submit_role(self, node_id: NodeId, key: PrivateKey, lane: Lane, messages: Sequence[Message]) -> Submitted:
        await asyncio.sleep(BLOCK_S)
        if not self.is_up:
            raise Temporary("the chain node is away")
        for message in messages:
            self.said.append((node_id, lane, message))
            if isinstance(message, NodeReport):
                self._apply(node_id, message)
        return Submitted(TxId(b""), self.height, 0, ())

    async def close(self) -> None:
        return

    def _apply(self, node_id: NodeId, report: NodeReport) -> None:
        """What a ledger would make of it: the phase follows; what failed or stopped is gone."""
        entries: dict[tuple[bytes, int], AssignEntry] = {
            (entry.app, entry.generation): entry for entry in self.records[ASSIGN.name, node_id].entries
        }
        for copy in report.copies:
            entry = entries.pop((copy.app, copy.generation), None)
            if entry is not None and copy.outcome in ("running", "ready"):
                entries[copy.app, copy.generation] = msgspec.structs.replace(entry, phase=copy.outcome)
        self.put(ASSIGN, node_id, Assign(tuple(entries[key] for key in sorted(entries))))


@dataclass
class World:
    """Nodes, one gateway, one owner and the app that they know."""

    root: Path
    chain: StandIn = field(default_factory=StandIn)
    owner: Wallet = field(default_factory=Wallet.generate)
    nodes: dict[str, Node] = field(default_factory=dict)
    configs: dict[str, NodeConfig] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.gateway_key = PrivateKey.generate()
        gateway_id = b"\x05" * 20
        self.gateway_cert = build_identity_cert(self.gateway_key, render_gateway(gateway_id))  # type: ignore[arg-type]
        gateway = Gateway(
            gateway_id, b"", b"", self.gateway_key.public, self.gateway_cert, "127.0.0.1", 80, ("z",), Location()
        )
        self.chain.put(GATEWAYS, "", Gateways((gateway,)))
        self.app = App(APP, "shop", self.owner.address, 1, "active", 0)
        self.chain.put(APPS, APP, self.app)
        self.store = ContentStore(self.root / "deployer")
        self.digest = build_hello_image(self.store)

    def add_node(self, name: str) -> NodeId:
        key, node_id = PrivateKey.generate(), NodeId(hashlib.sha256(name.encode()).digest()[:20])
        home = self.root / name
        home.mkdir(parents=True, exist_ok=True)
        write_key(home / "hot.key", key)
        cert = build_identity_cert(key, render_node(node_id))
        (home / "cert.der").write_bytes(cert)
        host = f"127.{100 + os.getpid() % 100}.{next(_hosts)}.1"
        endpoint = Endpoint(host, 16127, 16128, 16129, 20000)
        self.nodes[name] = Node(
            node_id, b"", b"", key.public, b"", cert, b"", 1, 0, endpoint, "amd64", Capacity(), Capacity(), Location(),
            1, "full", "active", 7,
        )  # fmt: skip
        self.chain.put(NODES, node_id, self.nodes[name])
        self.chain.put(ASSIGN, node_id, Assign())
        self.configs[name] = NodeConfig(
            home=str(home), id=render_node(node_id), chain="http://127.0.0.1:9", genesis="", host=host
        )
        return node_id

    def change_node(self, name: str, **fields: Any) -> None:
        self.nodes[name] = msgspec.structs.replace(self.nodes[name], **fields)
        self.chain.put(NODES, NodeId(self.nodes[name].id), self.nodes[name])

    def add_revision(self, **component: Any) -> bytes:
        """A revision of the app with one component; its hash."""
        values = {"name": "app", "image": "builtin:hello", "ports": (Port("http", 8080),), "memory_mib": 64}
        spec = Spec("shop", (Group("web", (Component(**{**values, **component}),)),))
        public = encode(spec)
        size = sum(blob.size for blob in load_image(self.store, self.digest).list_blobs())
        images = (Image("web", "app", self.digest, size, ("amd64",)),)
        revision = Revision(public, b"", images, hashlib.sha256(public).digest())
        self.chain.put(REVISIONS, (APP, 1), revision)
        return revision.spec_hash

    def assign(self, name: str, *entries: AssignEntry) -> None:
        self.chain.put(ASSIGN, NodeId(self.nodes[name].id), Assign(entries))

    def get_entry(self, name: str, generation: int = 1) -> AssignEntry | None:
        entries = self.chain.records[ASSIGN.name, NodeId(self.nodes[name].id)].entries
        return next((entry for entry in entries if entry.generation == generation), None)

    def route(self, *names: str) -> None:
        copies = tuple(RouteCopy("web", 1, self.nodes[name].id, "ready") for name in names)
        self.chain.put(ROUTES, APP, Routes("shop", "active", (), copies))

    def make_client(self, name: str, wallet: Wallet | None = None) -> NodeClient:
        return NodeClient(CHAIN_ID, self.nodes[name], self.app, wallet or self.owner)

    async def push_image(self, name: str) -> None:
        digests = [blob.digest for blob in load_image(self.store, self.digest).list_blobs()]
        async with self.make_client(name) as client:
            for digest in (*digests, self.digest):
                await client.push_blob(digest, self.store.path(digest))

    @asynccontextmanager
    async def run_node(self, name: str) -> AsyncIterator[Parts]:
        """The node's daemon, but for its process."""
        stop = asyncio.Event()
        async with open_parts(self.configs[name], lambda _: self.chain) as parts:
            running = asyncio.create_task(serve(parts, stop))
            try:
                await self._wait_for_api(name)
                yield parts
            finally:
                stop.set()
                assert await running == 0

    async def _wait_for_api(self, name: str) -> None:
        endpoint = self.nodes[name].endpoint
        for _ in range(200):
            try:
                _, writer = await asyncio.open_connection(endpoint.host, endpoint.api_port)
            except ConnectionError:
                await asyncio.sleep(0.02)
                continue
            writer.close()
            await writer.wait_closed()
            return
        raise AssertionError("the API did not come up")

    async def ask(self, name: str, route: str = "shop/web/http") -> tuple[int, bytes]:
        """A request as the gateway makes it: the answer's status and body."""
        node = self.nodes[name]
        tls = client_context(self.gateway_key, self.gateway_cert, node.cert)
        return await ask_ingress(node, tls, route)


async def ask_ingress(node: Node, tls: ssl.SSLContext, route: str) -> tuple[int, bytes]:
    reader, writer = await asyncio.open_connection(
        node.endpoint.host,
        node.endpoint.ingress_port,
        ssl=tls,
        server_hostname=render_node(NodeId(node.id)),
    )
    try:
        head = f"GET / HTTP/1.1\r\nHost: shop\r\n{ROUTE_HEADER}: {route}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode())
        raw = await reader.read()
        return int(raw.split(b" ", 2)[1]), raw.partition(b"\r\n\r\n")[2]
    finally:
        writer.close()
        await writer.wait_closed()


def make_entry(spec_hash: bytes, generation: int = 1, **fields: Any) -> AssignEntry:
    values: dict[str, Any] = {"app": APP, "generation": generation, "revision": 1, "spec_hash": spec_hash}
    values |= {"group": "web", "slot": 0, "role": "active", "phase": "assigned", "backs": -1, "stop_tick": 0}
    return AssignEntry(**{**values, **fields})


async def wait_for(condition: Callable[[], Any], timeout_s: float = 20.0) -> Any:
    """Until the condition holds; its value."""
    async with asyncio.timeout(timeout_s):
        while not (value := condition()):
            await asyncio.sleep(0.02)
        return value
