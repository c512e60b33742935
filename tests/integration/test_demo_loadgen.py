"""The load generator against a small server: its schedule, what counts as failed in each class, phases."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from fluxcloud.cli.demo import loadgen
from fluxcloud.cli.demo.loadgen import Counts, LoadGenerator

STREAM = "/stream"
OK = b"HTTP/1.1 200 OK\r\nFluxCloud-Served-By: n1\r\nContent-Length: 2\r\n\r\nhi"
APP_ERROR = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"
PROXY_ERROR = b"HTTP/1.1 502 Bad Gateway\r\nFluxCloud-Error: no-answer\r\nContent-Length: 0\r\n\r\n"
CUT = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi"
LONG = b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000 + b"\r\n\r\n"

Say = Callable[[str, str], bytes]


@dataclass
class Site:
    """Answers each request with what `say` makes of method and path; an answer that lacks its end closes."""

    say: Say
    seen: Counter[str] = field(default_factory=Counter)
    may_answer: asyncio.Event = field(default_factory=asyncio.Event)
    address: tuple[str, int] = ("", 0)
    _serving: set[asyncio.Task[None]] = field(default_factory=set)

    @asynccontextmanager
    async def run(self) -> AsyncIterator[Site]:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.address = server.sockets[0].getsockname()
        self.may_answer.set()
        async with server:
            yield self
            server.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._serving.add(asyncio.create_task(self._serve(reader, writer)))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                method, path, _ = head.split(" ", 2)
                if method == "POST":
                    await reader.readexactly(2)
                self.seen[method if path == "/" else path] += 1
                await self.may_answer.wait()
                answer = self.say(method, path)
                writer.write(answer)
                if answer in (CUT, LONG):
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def run_load(
    address: tuple[str, int], *, rate: float = 1_000, stream: str = ""
) -> AsyncIterator[tuple[LoadGenerator, asyncio.StreamReader]]:
    """While it is open, requests are sent; then it is told to end, and its counts are whole."""
    generator, commands = LoadGenerator([address], "hello", rate, stream), asyncio.StreamReader()
    task = asyncio.create_task(generator.run(commands))
    yield generator, commands
    commands.feed_data(b"end\n")
    async with asyncio.timeout(20):
        await task


async def wait_for(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


async def load(say: Say, *, requests: int = 40, stream: str = "") -> tuple[Counts, Site]:
    async with Site(say).run() as site:
        async with run_load(site.address, stream=stream) as (generator, _):
            await wait_for(lambda: site.seen["GET"] + site.seen["POST"] >= requests)
        return generator.counts, site


async def test_schedule__does_not_wait_for_answers() -> None:
    async with Site(lambda method, path: OK).run() as site:
        site.may_answer.clear()
        async with run_load(site.address, rate=200) as (generator, _):
            await wait_for(lambda: site.seen.total() >= 40)
            assert generator.counts.latencies_ms == []
            site.may_answer.set()
        counts = generator.counts
    assert (counts.requests, sum(counts.failed.values())) == (site.seen.total(), 0)
    assert len(counts.latencies_ms) == counts.requests
    assert max(counts.latencies_ms) > 150  # the first one's, from when it was due


async def test_good_answers__nothing_fails_and_every_twentieth_is_a_post() -> None:
    counts, site = await load(lambda method, path: OK)
    assert (counts.failed, counts.errors) == ({"a": 0, "b": 0, "c": 0}, {})
    assert site.seen["POST"] == counts.requests // 20


@pytest.mark.parametrize(
    ("answer", "fails_b", "why"),
    [
        (APP_ERROR, False, "500"),  # what the app says to a POST is the app's own matter
        (PROXY_ERROR, True, "502"),
        (CUT, True, "IncompleteReadError"),
        (LONG, True, "LimitOverrunError"),
    ],
)
async def test_bad_answers__by_class(answer: bytes, fails_b: bool, why: str) -> None:
    counts, site = await load(lambda method, path: answer)
    failed_b = site.seen["POST"] if fails_b else 0
    assert counts.failed == {"a": site.seen["GET"], "b": failed_b, "c": 0}
    assert counts.errors == {f"a: {why}": site.seen["GET"]} | ({f"b: {why}": failed_b} if failed_b else {})


async def test_nobody_there__every_request_fails() -> None:
    async with Site(lambda method, path: OK).run() as site:
        address = site.address
    async with run_load(address) as (generator, _):
        await wait_for(lambda: generator.counts.requests >= 20)
    counts = generator.counts
    assert counts.failed["a"] + counts.failed["b"] == counts.requests
    assert {error.partition(": ")[2] for error in counts.errors} == {"ConnectionRefusedError"}


async def test_stream__open_again_soon_is_no_failure() -> None:
    async with Site(lambda method, path: CUT if path == STREAM else OK).run() as site:
        async with run_load(site.address, stream=STREAM) as (generator, _):
            await wait_for(lambda: site.seen[STREAM] >= 3)
        assert site.seen[STREAM] >= 3
    assert generator.counts.failed == {"a": 0, "b": 0, "c": 0}


async def test_stream__not_open_again_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loadgen, "RECONNECT_S", 0.1)
    answers = iter([CUT, APP_ERROR, APP_ERROR, APP_ERROR, CUT])  # 0.05 s after each other

    def say(method: str, path: str) -> bytes:
        return next(answers, APP_ERROR) if path == STREAM else OK

    async with Site(say).run() as site, run_load(site.address, stream=STREAM) as (generator, _):
        await wait_for(lambda: generator.counts.failed["c"] == 1)
        await wait_for(lambda: site.seen[STREAM] >= 9)
    assert generator.counts.failed["c"] == 2  # and at the end it has not been open for long
    assert generator.counts.errors == {"c: not open again within 0.1 s": 2}


async def test_phases__each_node_is_told_once_in_each(capsys: pytest.CaptureFixture[str]) -> None:
    async with Site(lambda method, path: OK).run() as site, run_load(site.address) as (generator, commands):
        await wait_for(lambda: len(generator.counts.latencies_ms) >= 20)
        commands.feed_data(b"mark\n")
        answered = len(generator.counts.latencies_ms)
        await wait_for(lambda: len(generator.counts.latencies_ms) >= answered + 20)
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["served_by"] for line in told] == ["n1", "n1"]
    assert told[0]["at"] < told[1]["at"]
