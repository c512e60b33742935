"""The oci runtime: `start` -> first 200 through the endpoint, and requests a second through the relay.

Reference beside it: the same server (busybox httpd) started plainly and asked directly, in the same run.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from fluxcloud.images.busybox import find_busybox
from fluxcloud.images.hello import build_hello_image
from fluxcloud.images.store import ContentStore
from fluxcloud.node.runtime.base import ComponentSpec, CopyKey, CopySpec, Endpoint, RuntimeConfig
from fluxcloud.node.runtime.oci import OciRuntime

REQUEST = b"GET / HTTP/1.0\r\n\r\n"
DEADLINE_S = 10.0


async def ask(endpoint: Endpoint) -> bool:
    try:
        if endpoint.unix:
            reader, writer = await asyncio.open_unix_connection(endpoint.unix)
        else:
            reader, writer = await asyncio.open_connection(endpoint.host, endpoint.port)
        writer.write(REQUEST)
        answer = await reader.read()
        writer.close()
    except OSError:
        return False
    return b" 200 " in answer[:20]


async def wait_for_answer(endpoint: Endpoint) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not await ask(endpoint):
            await asyncio.sleep(0.0005)


async def measure_rate(endpoint: Endpoint, requests: int) -> float:
    """Four at a time, each on a connection of its own."""
    begun = time.perf_counter()

    async def work() -> None:
        for _ in range(requests // 4):
            if not await ask(endpoint):
                raise SystemExit("a request failed")

    await asyncio.gather(*(work() for _ in range(4)))
    return requests / (time.perf_counter() - begun)


async def measure_runtime(root: Path, rounds: int, requests: int) -> tuple[list[float], list[float], float]:
    store = root / "store"
    image = build_hello_image(ContentStore(store))
    runtime = OciRuntime(RuntimeConfig(root / "node", "bench", store))
    isolation = await runtime.open()
    print(f"isolation {isolation.level}, limits {isolation.limits}, egress {isolation.egress}")
    await runtime.prepare(image)
    creates, starts, rate = [], [], 0.0
    for number in range(rounds):
        key = CopyKey("bench", number)
        begun = time.perf_counter()
        await runtime.create(CopySpec(key, (ComponentSpec("web", image, ports=(8080,), memory_mib=64),)))
        created = time.perf_counter()
        await runtime.start(key, "web")
        await wait_for_answer(runtime.get_endpoint(key, 8080))
        starts.append(time.perf_counter() - created)
        creates.append(created - begun)
        if number == rounds - 1:
            rate = await measure_rate(runtime.get_endpoint(key, 8080), requests)
        await runtime.remove(key)
    await runtime.close()
    return creates, starts, rate


async def measure_plain(root: Path, rounds: int, requests: int) -> tuple[list[float], float]:
    busybox = find_busybox()
    if busybox is None:
        raise SystemExit("busybox-static is not installed")
    (root / "index.html").write_text("<h1>Hello</h1>\n")
    starts, rate = [], 0.0
    for number in range(rounds):
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        begun = time.perf_counter()
        server = subprocess.Popen([str(busybox), "httpd", "-f", "-p", f"127.0.0.1:{port}", "-h", str(root)])
        endpoint = Endpoint(host="127.0.0.1", port=port)
        await wait_for_answer(endpoint)
        starts.append(time.perf_counter() - begun)
        if number == rounds - 1:
            rate = await measure_rate(endpoint, requests)
        server.kill()
        server.wait()
    return starts, rate


async def measure(rounds: int, requests: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        creates, starts, rate = await measure_runtime(Path(folder), rounds, requests)
        plain_starts, plain_rate = await measure_plain(Path(folder), rounds, requests)
    print(f"create, median of {rounds}                 {statistics.median(creates) * 1000:6.1f} ms")
    print(
        f"start -> first 200, median of {rounds}     {statistics.median(starts) * 1000:6.1f} ms"
        f"   max {max(starts) * 1000:.1f} ms   plain exec {statistics.median(plain_starts) * 1000:.1f} ms   bar 50 ms"
    )
    print(f"requests a second through the relay  {rate:6.0f}      direct {plain_rate:.0f}   bar 300")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--requests", type=int, default=2000)
    arguments = parser.parse_args()
    asyncio.run(measure(arguments.rounds, arguments.requests))


if __name__ == "__main__":
    main()
