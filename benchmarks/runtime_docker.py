"""The docker runtime beside oci: `create`, `start` -> first 200, `stop`, `remove`, `observe`, requests a second.

    python benchmarks/runtime_docker.py [--socket PATH] [--rounds N] [--requests N]

Both run the same image, copy after copy, in one run; medians. Without `--socket` a daemon of its own is started, as the
tests do, which needs root and Debian's docker.io. With docker the start of the holder is a part of `create`.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from fluxcloud.images.hello import build_hello_image
from fluxcloud.images.store import ContentStore
from fluxcloud.node.runtime.base import ComponentSpec, CopyKey, CopySpec, Runtime, RuntimeConfig
from fluxcloud.node.runtime.docker.engine import DockerRuntime
from fluxcloud.node.runtime.oci import OciRuntime
from local_network import import_from_tests
from runtime import measure_rate, wait_for_answer

SIDE_BY_SIDE = 4
Figures = dict[str, list[float]]


class Clock:
    """Times one step after the other, in milliseconds."""

    def __init__(self) -> None:
        self.figures: Figures = defaultdict(list)
        self._begun = time.perf_counter()

    def begin(self) -> None:
        self._begun = time.perf_counter()

    def note(self, step: str) -> None:
        self.figures[step].append((time.perf_counter() - self._begun) * 1000)
        self.begin()


async def measure(runtime: Runtime, image: str, rounds: int, requests: int) -> Figures:
    clock = Clock()
    await runtime.open()
    clock.begin()
    await runtime.prepare(image)
    clock.note("prepare, first time, ms")
    for number in range(rounds):
        key = CopyKey("bench", number)
        clock.begin()
        await runtime.create(_make_copy(key, image))
        clock.note("create, ms")
        await runtime.start(key, "web")
        await wait_for_answer(runtime.get_endpoint(key, 8080))
        clock.note("start -> first 200, ms")
        await runtime.observe()
        clock.note("observe one copy, ms")
        if number == rounds - 1:
            clock.figures["requests a second"].append(await measure_rate(runtime.get_endpoint(key, 8080), requests))
        clock.begin()
        await runtime.stop(key, "web", grace_s=10.0)
        clock.note("stop, ms")
        await runtime.remove(key)
        clock.note("remove, ms")
    await _measure_side_by_side(runtime, image, rounds, clock)
    await runtime.close()
    return clock.figures


async def _measure_side_by_side(runtime: Runtime, image: str, rounds: int, clock: Clock) -> None:
    async def make(number: int) -> None:
        key = CopyKey("side", number)
        await runtime.create(_make_copy(key, image))
        await runtime.start(key, "web")
        await wait_for_answer(runtime.get_endpoint(key, 8080))

    begun = time.perf_counter()
    for first in range(0, rounds, SIDE_BY_SIDE):
        await asyncio.gather(*(make(number) for number in range(first, min(first + SIDE_BY_SIDE, rounds))))
    rate = rounds / (time.perf_counter() - begun)
    clock.figures[f"copies a second, {SIDE_BY_SIDE} side by side"].append(rate)
    clock.begin()
    await runtime.observe()
    clock.note(f"observe {rounds} copies, ms")
    await asyncio.gather(*(runtime.remove(CopyKey("side", number)) for number in range(rounds)))


def _make_copy(key: CopyKey, image: str) -> CopySpec:
    return CopySpec(key, (ComponentSpec("web", image, ports=(8080,), memory_mib=64),))


async def compare(socket: str, rounds: int, requests: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        image = build_hello_image(ContentStore(root / "store"))
        extra = {"socket": socket}
        docker = DockerRuntime(RuntimeConfig(root / "docker", "bench", root / "store", extra=extra))
        oci = OciRuntime(RuntimeConfig(root / "oci", "bench", root / "store"))
        found = [await measure(runtime, image, rounds, requests) for runtime in (docker, oci)]
    print(f"{'median of ' + str(rounds):36}{'docker':>10}{'oci':>10}")
    for step, values in found[0].items():
        print(f"{step:36}{statistics.median(values):10.1f}{statistics.median(found[1][step]):10.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--socket", default="")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--requests", type=int, default=2000)
    arguments = parser.parse_args()
    if arguments.socket:
        asyncio.run(compare(arguments.socket, arguments.rounds, arguments.requests))
        return
    with import_from_tests("dockerd").run_dockerd() as daemon:
        asyncio.run(compare(daemon.socket, arguments.rounds, arguments.requests))


if __name__ == "__main__":
    main()
