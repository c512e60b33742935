"""Requests a second through edge and ingress, against the bare app, in one run.

    python benchmarks/proxy.py [seconds per figure] [connections]

App, ingress, edge and load generator are processes of their own on uvloop; connections are kept alive, each with one
request under way. On two cores all four share them: the ratio and the CPU time per request are the figures to trust,
not the rate.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import uvloop

from fluxcloud.crypto import PrivateKey
from fluxcloud.proxy.base import ProxyConfig
from fluxcloud.proxy.embedded import EmbeddedProxy
from fluxcloud.proxy.routes import Peer, Route, Server, Table
from fluxcloud.tls import build_identity_cert

_HOST = "127.0.0.1"
_KEY = "bench/web/http"
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 256\r\n\r\n" + b"x" * 256
_REQUEST = b"GET /item/1 HTTP/1.1\r\nHost: bench.test\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n"


class App(asyncio.Protocol):
    """Answers every head with the same 256 bytes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.WriteTransport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self._transport.write(_ANSWER * data.count(b"\r\n\r\n"))


class Visitor(asyncio.Protocol):
    """Asks again as soon as it is answered."""

    def __init__(self) -> None:
        self.latencies_s: list[float] = []
        self.failed = 0
        self._began = 0.0
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        self._ask()

    def data_received(self, data: bytes) -> None:
        self._received += data
        if self._received.endswith(_ANSWER[-256:]):
            self.latencies_s.append(time.perf_counter() - self._began)
            self.failed += not self._received.startswith(b"HTTP/1.1 200 ")
            self._received = b""
            self._ask()

    def _ask(self) -> None:
        self._began = time.perf_counter()
        self.transport.write(_REQUEST)


@dataclass(frozen=True)
class Figure:
    per_s: float
    p50_ms: float
    p99_ms: float
    failed: int
    cpu_us: tuple[float, ...]  # per request, of each process asked for


def read_cpu_s(pid: int) -> float:
    """CPU time a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def measure(port: int, duration_s: float, connections: int, pids: tuple[int, ...] = ()) -> Figure:
    """`pids`: processes whose CPU time counts."""
    loop = asyncio.get_running_loop()
    visitors = [(await loop.create_connection(Visitor, _HOST, port))[1] for _ in range(connections)]
    await asyncio.sleep(min(1.0, duration_s / 4))  # connections of the pools are opened
    for visitor in visitors:
        visitor.latencies_s.clear()
    used_s = [read_cpu_s(pid) for pid in pids]
    began = time.perf_counter()
    await asyncio.sleep(duration_s)
    took_s = time.perf_counter() - began
    used_s = [read_cpu_s(pid) - before for pid, before in zip(pids, used_s, strict=True)]
    latencies = sorted(latency for visitor in visitors for latency in visitor.latencies_s)
    for visitor in visitors:
        visitor.transport.abort()
    count = len(latencies)
    return Figure(
        count / took_s,
        1000 * latencies[count // 2],
        1000 * latencies[count * 99 // 100],
        sum(visitor.failed for visitor in visitors),
        tuple(1e6 * used / count for used in used_s),
    )


def make_peer(name: str, port: int) -> Peer:
    return Peer(name, _HOST, port, build_identity_cert(make_key(name), name))


def make_key(name: str) -> PrivateKey:
    return PrivateKey.from_seed(hashlib.sha256(name.encode()).digest())


async def run_proxy(role: Literal["edge", "ingress"], name: str, table: Table) -> None:
    with tempfile.TemporaryDirectory() as state_dir:
        config = ProxyConfig(
            role=role,
            listen_host=_HOST,
            listen_port=0,
            identity_id=name,
            cert_der=make_peer(name, 0).cert,
            key_seed=make_key(name).seed,
            state_dir=Path(state_dir),
        )
        proxy = EmbeddedProxy(config)
        await proxy.start(table)
        print(proxy.port, flush=True)
        await asyncio.Event().wait()


async def run_app(_target: int) -> None:
    server = await asyncio.get_running_loop().create_server(App, _HOST, 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def run_ingress(target: int) -> None:
    route = Route(_KEY, servers=(Server("1", endpoint=f"{_HOST}:{target}"),))
    await run_proxy("ingress", "node1bench", Table((route,), (make_peer("gw1bench", 0),)))


async def run_edge(target: int) -> None:
    route = Route(_KEY, ("bench.test",), (Server("1", peer="node1bench"),))
    await run_proxy("edge", "gw1bench", Table((route,), (make_peer("node1bench", target),)))


_PARTS: dict[str, Callable[[int], Awaitable[None]]] = {"app": run_app, "ingress": run_ingress, "edge": run_edge}


async def start(part: str, target: int) -> tuple[asyncio.subprocess.Process, int]:
    """A part in a process of its own, and the port it listens on."""
    arguments = (sys.executable, __file__, part, str(target))
    process = await asyncio.create_subprocess_exec(*arguments, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    return process, int(await process.stdout.readline())


async def run(duration_s: float, connections: int) -> None:
    processes: list[asyncio.subprocess.Process] = []
    ports: list[int] = [0]
    try:
        for part in _PARTS:
            process, port = await start(part, ports[-1])
            processes.append(process)
            ports.append(port)
        app, ingress, edge = (process.pid for process in processes)
        bare = await measure(ports[1], duration_s, connections, (app,))
        proxied = await measure(ports[3], duration_s, connections, (ingress, edge))
    finally:
        for process in processes:
            process.kill()
            await process.wait()
    for name, figure in (("bare app", bare), ("ingress + edge", proxied)):
        print(
            f"{name:16} {figure.per_s:8.0f} req/s   p50 {figure.p50_ms:6.2f} ms   "
            f"p99 {figure.p99_ms:6.2f} ms   failed {figure.failed}   "
            f"CPU/request {' + '.join(f'{cpu:.0f}' for cpu in figure.cpu_us)} us"
        )
    print(f"{'ratio':16} {proxied.per_s / bare.per_s:8.3f}")


def main() -> None:
    arguments = sys.argv[1:]
    if arguments and arguments[0] in _PARTS:
        uvloop.run(_PARTS[arguments[0]](int(arguments[1])))  # type: ignore[arg-type]
        return
    duration_s = float(arguments[0]) if arguments else 5.0
    uvloop.run(run(duration_s, int(arguments[1]) if len(arguments) > 1 else 32))


if __name__ == "__main__":
    main()
