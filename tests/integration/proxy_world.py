"""A small world for proxies: apps that can misbehave, nodes with an ingress, wires that can be cut, an edge, a client.

All real sockets on loopback. A node is reached through its `Wire`, so that it can be killed or hung the same way
whatever engine its ingress is.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import signal
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fluxcloud.crypto import PrivateKey
from fluxcloud.proxy.base import Proxy, ProxyConfig
from fluxcloud.proxy.routes import Peer, Route, Server, Table
from fluxcloud.tls import build_identity_cert

Engine = Callable[[ProxyConfig], Proxy]
HOST = "127.0.0.1"
KEY = "shop/web/http"


@dataclass(frozen=True)
class Identity:
    """A hot key and the certificate that the ledger would name for it."""

    id: str
    seed: bytes
    cert: bytes

    @classmethod
    def make(cls, name: str) -> Identity:
        seed = hashlib.sha256(name.encode()).digest()
        return cls(name, seed, build_identity_cert(PrivateKey.from_seed(seed), name))

    def write_pem(self, directory: Path) -> Path:
        """Key and certificate in a file, as a TLS library wants them."""
        key = Ed25519PrivateKey.from_private_bytes(self.seed).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path = directory / f"{self.id}.pem"
        path.write_bytes(key + ssl.DER_cert_to_PEM_cert(self.cert).encode())
        return path

    def make_peer(self, port: int) -> Peer:
        return Peer(self.id, HOST, port, self.cert)


@dataclass
class Seen:
    """A request as an app got it."""

    method: str
    target: str
    headers: list[tuple[str, str]]  # names in lower case
    body: bytes
    version: str = "HTTP/1.1"

    def get(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]


class App:
    """An app: a raw HTTP server that does what the path says, and remembers what it was asked."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.seen: list[Seen] = []
        self.arrived = asyncio.Condition()
        self.go_on = asyncio.Event()  # for paths that wait to be told
        self.connections = 0
        self.sent = 0  # bytes of large answers
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def endpoint(self) -> str:
        return f"{HOST}:{self.port}"

    async def start(self, path: Path | None = None) -> None:
        if path is None:
            self._server = await asyncio.start_server(self._accept, HOST, 0, limit=2**20)
        else:
            self._server = await asyncio.start_unix_server(self._accept, path, limit=2**20)

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in tuple(self._writers):
            writer.transport.abort()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def wait_for_requests(self, count: int) -> None:
        async with self.arrived:
            await self.arrived.wait_for(lambda: len(self.seen) >= count)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        self.connections += 1
        try:
            while await self._serve_one(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            self._writers.discard(writer)
            writer.close()

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")[:-2]
        method, target, version = first.split(" ")
        headers = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        seen = Seen(method, target, headers, b"", version)
        if seen.get("expect") and not target.startswith("/rejects"):
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if not target.startswith("/rejects"):
            seen.body = await self._read_body(reader, seen)
        async with self.arrived:
            self.seen.append(seen)
            self.arrived.notify_all()
        behave = _BEHAVIOURS.get(target.split("?")[0].split("/")[1], _answer)
        goes_on = await behave(self, seen, reader, writer)
        await writer.drain()
        return goes_on

    async def _read_body(self, reader: asyncio.StreamReader, seen: Seen) -> bytes:
        """Of an upload only its length and hash are kept."""
        kept, digest, size = b"", hashlib.sha256(), 0
        async for piece in read_body(reader, dict(seen.headers), to_end=False):
            digest.update(piece)
            size += len(piece)
            kept = kept + piece if size <= 2**16 else b""
        return kept if size <= 2**16 else f"{size} {digest.hexdigest()}".encode()


async def read_body(reader: asyncio.StreamReader, headers: dict[str, str], *, to_end: bool) -> AsyncIterator[bytes]:
    if "chunked" in headers.get("transfer-encoding", ""):
        while size := int(await reader.readuntil(b"\r\n"), 16):
            yield (await reader.readexactly(size + 2))[:-2]
        while await reader.readuntil(b"\r\n") != b"\r\n":  # trailers may pass
            pass
    elif "content-length" in headers:
        left = int(headers["content-length"])
        while left:
            piece = await reader.read(min(left, 2**16))
            if not piece:
                raise asyncio.IncompleteReadError(b"", left)
            left -= len(piece)
            yield piece
    elif to_end:
        while piece := await reader.read(2**16):
            yield piece


Behaviour = Callable[[App, Seen, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[bool]]


async def _answer(app: App, seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    body = app.name.encode() + (b" " + seen.body if seen.body else b"")
    content = b"" if seen.method == "HEAD" else body
    # Whole or not at all: an answer that has begun when its node hangs can't be asked for again.
    head = b"HTTP/1.1 200 OK\r\nX-App: %b\r\nContent-Length: %d\r\n\r\n" % (app.name.encode(), len(body))
    writer.write(head + content)
    return True


async def _chunked(app: App, seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    if seen.version == "HTTP/1.0":  # an engine may leave it to the app to know who can't read chunks
        writer.write(b"HTTP/1.0 200 OK\r\n\r\nonetwo and more" + b"x" * 5000)
        return False
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for piece in (b"one", b"two and more", b"x" * 5000):
        writer.write(b"%X;note=1\r\n%b\r\n" % (len(piece), piece))
    writer.write(b"0\r\nX-Trailer: yes\r\n\r\n")
    return True


async def _events(app: App, seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """The first event at once, the second when told."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    writer.write(b"9\r\ndata: 1\n\n\r\n")
    await writer.drain()
    await app.go_on.wait()
    writer.write(b"9\r\ndata: 2\n\n\r\n0\r\n\r\n")
    return True


async def _waits(app: App, seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    await app.go_on.wait()
    return await _answer(app, seen, reader, writer)


async def _until_close(app: App, seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    writer.write(b"HTTP/1.0 200 OK\r\n\r\nall there is")
    return False


async def _big(app: App, seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    size, block = int(seen.target.partition("?")[2]), bytes(2**16)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
    for _ in range(size // len(block)):
        writer.write(block)
        await writer.drain()
        app.sent += len(block)
    return True


async def _status(app: App, seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    status = int(seen.target.partition("?")[2])
    length = b"" if status in (204, 304) else b"Content-Length: 4\r\n"
    writer.write(b"HTTP/1.1 %d Said So\r\n%b\r\n%b" % (status, length, b"said" if length else b""))
    return True


async def _claims(app: App, seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """An app that pretends to be a proxy."""
    writer.write(
        b"HTTP/1.1 503 No\r\nFluxCloud-Error: no_route\r\nfluxcloud_error: x\r\nFLUXCLOUD-Served-By: me\r\n"
        b"Connection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nContent-Length: 2\r\n\r\nno"
    )
    return True


async def _hints(app: App, seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    writer.write(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n")
    return await _answer(app, seen, reader, writer)


async def _closes(app: App, seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Answers as if the connection stayed, and closes it."""
    await _answer(app, seen, reader, writer)
    return False


async def _empty(app: App, seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    return False


async def _half_head(app: App, seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Le")
    return False


async def _half_body(app: App, seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
    await writer.drain()
    await app.go_on.wait()
    return False


async def _junk(app: App, seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    writer.write(b"220 mail.example.org ESMTP\r\n\r\n")
    return True


async def _upgrade(app: App, seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Echoes bytes after a 101."""
    writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nhello ")
    while data := await reader.read(2**16):
        writer.write(data)
        await writer.drain()
    return False


async def _rejects(app: App, seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Refuses a body without reading it."""
    writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    return False


_BEHAVIOURS: dict[str, Behaviour] = {
    "chunked": _chunked,
    "events": _events,
    "waits": _waits,
    "until-close": _until_close,
    "big": _big,
    "status": _status,
    "claims": _claims,
    "hints": _hints,
    "closes": _closes,
    "empty": _empty,
    "half-head": _half_head,
    "half-body": _half_body,
    "junk": _junk,
    "upgrade": _upgrade,
    "rejects": _rejects,
}


class Wire:
    """What lies between an edge and a node: passes bytes on, until it is cut or holds everything back."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._hung = asyncio.Event()
        self._dead = False
        self.accepted = 0
        self._transports: set[asyncio.BaseTransport] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.port = 0

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, HOST, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def hang(self) -> None:
        """From now on connections are accepted and nothing passes."""
        self._hung.set()

    async def kill(self) -> None:
        """As if the machine's process died: refused, reset."""
        assert self._server is not None
        self._dead = True
        self._server.close()
        for transport in tuple(self._transports):
            transport.abort()  # type: ignore[attr-defined]
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def revive(self) -> None:
        self._hung = asyncio.Event()
        self._dead = False
        await self.start()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._transports.add(writer.transport)
        self.accepted += 1
        far: asyncio.StreamWriter | None = None
        try:
            far_reader, far = await asyncio.open_connection(HOST, self._target_port)
            self._transports.add(far.transport)
            if self._dead:  # accepted before the kill, begun after it
                raise ConnectionResetError
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass(reader, far))
                group.create_task(self._pass(far_reader, writer))
        except* (OSError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            for end in (writer, far):
                if end is not None:
                    self._transports.discard(end.transport)
                    end.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(2**16):
            if self._hung.is_set():
                await asyncio.Event().wait()
            writer.write(data)
            await writer.drain()
        raise ConnectionResetError  # ends both directions


class StoppableWire:
    """A wire in a process of its own, to be stopped by a signal: its kernel goes on accepting."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._process: asyncio.subprocess.Process | None = None
        self.port = 0

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, __file__, str(self._target_port), stdout=asyncio.subprocess.PIPE
        )
        assert self._process.stdout is not None
        self.port = int(await self._process.stdout.readline())

    def hang(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    async def kill(self) -> None:
        assert self._process is not None
        if self._process.returncode is None:
            self._process.kill()
        await self._process.communicate()


@dataclass
class Node:
    identity: Identity
    app: App
    ingress: Proxy
    wire: Wire | StoppableWire

    @property
    def peer(self) -> Peer:
        return self.identity.make_peer(self.wire.port)


@dataclass
class Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes
    interim: list[int] = field(default_factory=list)

    def get(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name.lower()]

    @property
    def error(self) -> str:
        return ", ".join(self.get("FluxCloud-Error"))


class Client:
    """A visitor's connection, sending exactly the bytes it is told."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def ask(self, method: str = "GET", target: str = "/", *, headers: str = "", body: bytes = b"") -> Answer:
        length = f"Content-Length: {len(body)}\r\n" if body else ""
        self.send(f"{method} {target} HTTP/1.1\r\nHost: shop.test\r\n{length}{headers}\r\n".encode() + body)
        return await self.read_answer(method)

    async def read_head(self) -> Answer:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.split("\r\n")[:-2]
        headers = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        return Answer(int(first.split(" ")[1]), headers, b"")

    async def read_answer(self, method: str = "GET") -> Answer:
        """One answer; raises IncompleteReadError when it ends before its end."""
        interim: list[int] = []
        while (answer := await self.read_head()).status < 200 and answer.status != 101:
            interim.append(answer.status)
        answer.interim = interim
        if method != "HEAD" and answer.status not in (101, 204, 304):
            body = read_body(self.reader, dict(answer.headers), to_end=True)
            answer.body = b"".join([piece async for piece in body])
        return answer

    async def read_to_end(self) -> bytes:
        with contextlib.suppress(ConnectionError):
            return await self.reader.read()
        return b""

    def close(self) -> None:
        self.writer.transport.abort()


class World:
    """One app on some nodes, and an edge in front. Everything started here is stopped by `stop`."""

    def __init__(self, engine: Engine, state_dir: Path) -> None:
        self._engine = engine
        self._state_dir = state_dir
        self.gateway = Identity.make("gw1test")
        self.nodes: list[Node] = []
        self.edge: Proxy = None  # type: ignore[assignment]  # set by start
        self._clients: list[Client] = []
        self._proxies: list[Proxy] = []

    async def start(
        self, count: int = 3, *, edge: dict[str, object] | None = None, node: dict[str, object] | None = None
    ) -> None:
        for index in range(count):
            self.nodes.append(await self.add_node(f"node1n{index}", **(node or {})))
        self.edge = await self.start_proxy("edge", self.gateway, self.table(), **(edge or {}))

    async def start_proxy(self, role: str, identity: Identity, table: Table, **options: object) -> Proxy:
        state_dir = self._state_dir / f"{identity.id}-{len(self._proxies)}"
        state_dir.mkdir(mode=0o700)
        config = ProxyConfig(
            role=role,  # type: ignore[arg-type]
            listen_host=HOST,
            listen_port=0,
            identity_id=identity.id,
            cert_der=identity.cert,
            key_seed=identity.seed,
            state_dir=state_dir,
        )
        proxy = self._engine(replace(config, **options))  # type: ignore[arg-type]
        self._proxies.append(proxy)
        await proxy.start(table)
        return proxy

    async def add_node(self, name: str, *, stoppable: bool = False, **options: object) -> Node:
        identity, app = Identity.make(name), App(name)
        await app.start()
        ingress = await self.start_proxy("ingress", identity, self.ingress_table(app), **options)
        wire = StoppableWire(ingress.port) if stoppable else Wire(ingress.port)
        await wire.start()
        return Node(identity, app, ingress, wire)

    def ingress_table(self, app: App, **changes: object) -> Table:
        route = Route(KEY, servers=(Server("1", endpoint=app.endpoint),))
        table = Table((route,), (self.gateway.make_peer(0),))
        return replace(table, **changes)  # type: ignore[arg-type]

    def servers(self, *states: str) -> tuple[Server, ...]:
        """One server per node; those without a state are ready."""
        named = (*states, *("ready" for _ in self.nodes[len(states) :]))
        return tuple(
            Server(str(index + 1), peer=node.identity.id, state=state)  # type: ignore[arg-type]
            for index, (node, state) in enumerate(zip(self.nodes, named, strict=True))
        )

    def table(self, **changes: object) -> Table:
        """The edge's table, its one route changed as told."""
        route = replace(Route(KEY, ("shop.test",), self.servers()), **changes)  # type: ignore[arg-type]
        return Table((route,), tuple(node.peer for node in self.nodes))

    async def connect(self, port: int | None = None) -> Client:
        client = Client(*await asyncio.open_connection(HOST, port or self.edge.port, limit=2**20))
        self._clients.append(client)
        return client

    async def ask(self, method: str = "GET", target: str = "/", *, headers: str = "", body: bytes = b"") -> Answer:
        """One request on a connection of its own."""
        client = await self.connect()
        try:
            return await client.ask(method, target, headers=headers, body=body)
        finally:
            client.close()

    @property
    def apps(self) -> list[App]:
        return [node.app for node in self.nodes]

    def count_seen(self) -> int:
        return sum(len(app.seen) for app in self.apps)

    async def stop(self) -> None:
        for client in self._clients:
            client.close()
        for proxy in reversed(self._proxies):
            await proxy.stop()
        for node in self.nodes:
            await node.wire.kill()
            await node.app.stop()


async def _run_wire(target_port: int) -> None:
    wire = Wire(target_port)
    await wire.start()
    os.write(1, f"{wire.port}\n".encode())
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_run_wire(int(sys.argv[1])))
