"""The engine `haproxy`: throughput, route changes under load, a large table.

    python benchmarks/proxy_haproxy.py [throughput | changes | table]...     (all, one after the other)

Bars: edge + ingress at least 60 % of a hand-written HAProxy pair with the same TLS, in the same run; 1,000 changes
under load with p99 <= 30 ms until they hold, no error, no reset; 5,000 apps of three copies: start <= 60 s, <= 1 GiB,
idle <= 30 % of a core, one change <= 50 ms. wrk makes the load; on two cores it shares them with everything else, so
that ratios are the figures to trust.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Literal

import uvloop

from fluxcloud.proxy.base import ProxyConfig
from fluxcloud.proxy.haproxy.engine import HaproxyProxy
from fluxcloud.proxy.routes import Route, Server, Table
from fluxcloud.tls import render_identity
from proxy import make_key, make_peer, start

HOST = "127.0.0.1"
KEY = "bench/web/http"
SECONDS = 6
CONNECTIONS = 32

_APP = """
global
  maxconn 4096
defaults
  mode http
  timeout client 30s
frontend app
  bind {host}:{port}
  http-request return status 200 content-type text/plain string "{body}"
"""

_PLAIN_HOP = """
global
  maxconn 4096
defaults
  mode http
  timeout connect 1s
  timeout client 30s
  timeout server 30s
frontend hop
  bind {host}:{port}
  default_backend app
backend app
  server app {host}:{app}
"""

_PAIR_EDGE = """
global
  maxconn 4096
defaults
  mode http
  timeout connect 1s
  timeout client 30s
  timeout server 30s
frontend edge
  bind {host}:{port}
  default_backend node
backend node
  server node {host}:{ingress} ssl verify required verifyhost node1bench ca-file node1bench.crt crt gw1bench.pem
"""

_PAIR_INGRESS = """
global
  maxconn 4096
defaults
  mode http
  timeout connect 1s
  timeout client 30s
  timeout server 30s
frontend ingress
  bind {host}:{port} ssl crt node1bench.pem ca-file gw1bench.crt verify required ssl-min-ver TLSv1.3
  default_backend app
backend app
  server app {host}:{app}
"""


class Bare:
    """HAProxys with hand-written configurations."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._children: list[subprocess.Popen[bytes]] = []
        for name in ("gw1bench", "node1bench"):
            cert = make_peer(name, 0).cert
            identity = render_identity(make_key(name), cert)
            (directory / f"{name}.pem").write_text(identity)
            (directory / f"{name}.crt").write_text(identity[identity.index("-----BEGIN CERT") :])

    async def run(self, text: str, **values: object) -> int:
        port = find_port()
        path = self._directory / f"{port}.cfg"
        path.write_text(text.format(host=HOST, port=port, **values))
        self._children.append(subprocess.Popen(["haproxy", "-q", "-f", path.name], cwd=self._directory))
        await wait_for_port(port)
        return port

    def stop(self) -> None:
        for child in self._children:
            child.terminate()
            child.wait()


def find_port() -> int:
    with socket.create_server((HOST, 0)) as server:
        return int(server.getsockname()[1])


async def wait_for_port(port: int) -> None:
    async with asyncio.timeout(10):
        while True:
            try:
                _, writer = await asyncio.open_connection(HOST, port)
            except OSError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return


async def run_wrk(port: int, *, seconds: int = SECONDS, host: str = "bench.test") -> dict[str, float]:
    """Requests a second, p99 in ms, errors."""
    argv = (
        "wrk",
        "-t1",
        f"-c{CONNECTIONS}",
        f"-d{seconds}s",
        "--latency",
        "-H",
        f"Host: {host}",
        f"http://{HOST}:{port}/",
    )
    process = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.PIPE)
    text = (await process.communicate())[0].decode()
    (rate,) = re.findall(r"Requests/sec:\s+([\d.]+)", text)
    ((p99, unit),) = re.findall(r"99%\s+([\d.]+)(us|ms|s)", text)
    failed = re.findall(r"Non-2xx or 3xx responses: (\d+)", text)
    broken = re.findall(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    return {
        "per_s": float(rate),
        "p99_ms": float(p99) * {"us": 0.001, "ms": 1, "s": 1000}[unit],
        "failed": sum(map(int, failed)),
        "broken": sum(map(int, broken[0])) if broken else 0,
    }


async def run_counted(port: int, pids: list[int], cpu_us: list[float]) -> dict[str, float]:
    """As `run_wrk`; the CPU time per request of these processes goes to `cpu_us`: it varies less than the rate."""
    before = sum(map(read_cpu_s, pids))
    figure = await run_wrk(port)
    cpu_us.append(1e6 * (sum(map(read_cpu_s, pids)) - before) / (SECONDS * figure["per_s"]))
    return figure


def make_config(role: Literal["edge", "ingress"], name: str, directory: Path) -> ProxyConfig:
    state_dir = directory / name
    state_dir.mkdir(mode=0o700)
    return ProxyConfig(
        role=role,
        listen_host=HOST,
        listen_port=0,
        identity_id=name,
        cert_der=make_peer(name, 0).cert,
        key_seed=make_key(name).seed,
        state_dir=state_dir,
    )


def make_ingress_table(app: int) -> Table:
    return Table((Route(KEY, servers=(Server("1", endpoint=f"{HOST}:{app}"),)),), (make_peer("gw1bench", 0),))


def make_edge_table(ingress: int, hosts: tuple[str, ...] = ("bench.test",)) -> Table:
    """Three copies, as apps have them; all on the one node there is."""
    copies = tuple(Server(str(number), peer="node1bench") for number in range(3))
    return Table((Route(KEY, hosts, copies),), (make_peer("node1bench", ingress),))


async def measure_throughput(directory: Path) -> None:
    bare = Bare(directory)
    edge = HaproxyProxy(make_config("edge", "gw1bench", directory))
    ingress = HaproxyProxy(make_config("ingress", "node1bench", directory))
    embedded: list[asyncio.subprocess.Process] = []
    try:
        app = await bare.run(_APP, body="x" * 256)
        hop = await bare.run(_PLAIN_HOP, app=app)
        pair = await bare.run(_PAIR_EDGE, ingress=await bare.run(_PAIR_INGRESS, app=app))
        await ingress.start(make_ingress_table(app))
        await edge.start(make_edge_table(ingress.port))
        target = app
        for part in ("ingress", "edge"):
            process, target = await start(part, target)
            embedded.append(process)
        engine_pids = [pid for proxy in (edge, ingress) for pid in find_children(proxy)]
        pids = {"pair": [child.pid for child in bare._children[2:]], "engine": engine_pids}
        cpu_us: dict[str, list[float]] = {"pair": [], "engine": []}
        rounds = [
            {
                name: await run_counted(port, pids.get(name, []), cpu_us.get(name, []))
                for name, port in (
                    ("pair", pair),
                    ("engine", edge.port),
                    ("hop", hop),
                    ("embedded", target),
                    ("app", app),
                )
            }
            for _ in range(2)
        ]
    finally:
        await edge.stop()
        await ingress.stop()
        for process in embedded:
            process.kill()
            await process.wait()
        bare.stop()
    for name, values in cpu_us.items():
        print(f"CPU per request, {name:12} {min(values):6.1f} us")
    best = {name: max((r[name] for r in rounds), key=lambda figure: figure["per_s"]) for name in rounds[0]}
    for name, text in {
        "app": "bare app (HAProxy)",
        "hop": "one plain HAProxy hop",
        "pair": "hand-written pair, same TLS",
        "engine": "edge + ingress, haproxy",
        "embedded": "edge + ingress, embedded",
    }.items():
        figure = best[name]
        ratio = figure["per_s"] / best["pair"]["per_s"]
        print(
            f"{text:28} {figure['per_s']:8.0f} req/s   p99 {figure['p99_ms']:6.2f} ms   "
            f"failed {figure['failed'] + figure['broken']:.0f}   {100 * ratio:4.0f} % of the pair"
        )


async def measure_changes(directory: Path, count: int = 1000) -> None:
    """Each change adds a host, which is asked for at once when `apply` returns, and takes the one before away."""
    bare = Bare(directory)
    edge = HaproxyProxy(make_config("edge", "gw1bench", directory))
    ingress = HaproxyProxy(make_config("ingress", "node1bench", directory))
    try:
        app = await bare.run(_APP, body="x" * 256)
        await ingress.start(make_ingress_table(app))
        base = make_edge_table(ingress.port)
        await edge.start(base)
        load = asyncio.create_task(run_wrk(edge.port, seconds=25))
        await asyncio.sleep(1)
        applied, effective, wrong = [], [], 0
        for turn in range(count):
            # Another copy each time: a server is added, another one drained and taken away.
            changed = Route("new/web/http", (f"new{turn}.test",), (Server(str(turn), peer="node1bench"),))
            began = time.perf_counter()
            await edge.apply(
                replace(base, routes=(replace(base.routes[0], hosts=("bench.test", f"h{turn}.test")), changed))
            )
            applied.append(time.perf_counter() - began)
            wrong += await ask(edge.port, f"h{turn}.test") != 200
            effective.append(time.perf_counter() - began)
            if load.done():
                break
        changes = len(applied)
        stats = edge.get_stats()
        figure = await load
    finally:
        await edge.stop()
        await ingress.stop()
        bare.stop()
    for name, values in (("apply", applied), ("until the first right answer", effective)):
        ordered = sorted(1000 * value for value in values)
        p50, p99 = ordered[changes // 2], ordered[changes * 99 // 100]
        print(f"{name:30} p50 {p50:6.2f} ms   p99 {p99:6.2f} ms   max {ordered[-1]:6.2f} ms")
    print(
        f"{changes} changes at {figure['per_s']:.0f} req/s: {wrong} not in effect, {figure['failed']:.0f} errors, "
        f"{figure['broken']:.0f} resets, {stats.reloads} reloads, {stats.restarts} restarts"
    )


async def ask(port: int, host: str) -> int:
    reader, writer = await asyncio.open_connection(HOST, port)
    writer.write(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    head = await reader.readline()
    writer.transport.abort()
    return int(head.split()[1])


async def measure_table(directory: Path, apps: int = 5000) -> None:
    """Three nodes that answer checks; nobody asks for anything."""
    nodes = [f"node1b{index}" for index in range(3)]
    ingresses = [HaproxyProxy(make_config("ingress", name, directory)) for name in nodes]
    edge = HaproxyProxy(make_config("edge", "gw1bench", directory))
    try:
        for ingress in ingresses:
            await ingress.start(Table((), (make_peer("gw1bench", 0),)))
        peers = tuple(make_peer(name, ingress.port) for name, ingress in zip(nodes, ingresses, strict=True))
        routes = tuple(
            Route(
                f"app{index}/web/http",
                (f"app{index}.test",),
                tuple(Server(str(3 * index + copy), peer=nodes[copy]) for copy in range(3)),
            )
            for index in range(apps)
        )
        table = Table(routes, peers)
        began = time.perf_counter()
        await edge.start(table)
        started_s = time.perf_counter() - began
        await asyncio.sleep(3)
        pids = find_children(edge)
        used_s = [read_cpu_s(pid) for pid in (*pids, os.getpid())]
        await asyncio.sleep(10)
        idle = [(read_cpu_s(pid) - used) / 10 for pid, used in zip((*pids, os.getpid()), used_s, strict=True)]
        memory = sum(read_private_mib(pid) for pid in pids)
        changes = []
        for turn in range(20):
            changed = replace(routes[77], servers=(*routes[77].servers[:2], Server(f"9{turn}", peer=nodes[2])))
            began = time.perf_counter()
            await edge.apply(replace(table, routes=(*routes[:77], changed, *routes[78:])))
            changes.append(1000 * (time.perf_counter() - began))
            await asyncio.sleep(0.2)
        began = time.perf_counter()
        await edge._reload(edge._layout)
        reloaded_s = time.perf_counter() - began
    finally:
        await edge.stop()
        for ingress in ingresses:
            await ingress.stop()
    changes.sort()
    print(
        f"{apps} apps x 3: started in {started_s:.1f} s, {memory:.0f} MiB private, idle {100 * sum(idle[:-1]):.0f} % "
        f"of a core in HAProxy and {100 * idle[-1]:.0f} % here, "
        f"one change p50 {changes[10]:.1f} max {changes[-1]:.1f} ms, reload {reloaded_s:.1f} s"
    )


def find_children(edge: HaproxyProxy) -> list[int]:
    master = edge._runner.process._child.pid
    children = Path(f"/proc/{master}/task/{master}/children").read_text().split()
    return [master, *map(int, children)]


def read_cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def read_private_mib(pid: int) -> float:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(size) for size in re.findall(r"^Private_\w+:\s+(\d+) kB", text, re.MULTILINE)) / 1024


PARTS = {"throughput": measure_throughput, "changes": measure_changes, "table": measure_table}


async def run(names: list[str]) -> None:
    for name in names:
        print(f"-- {name}", flush=True)
        with tempfile.TemporaryDirectory() as directory:
            await PARTS[name](Path(directory))


def main() -> None:
    uvloop.run(run(sys.argv[1:] or list(PARTS)))


if __name__ == "__main__":
    main()
