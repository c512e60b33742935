"""Health probes against real sockets: TCP, HTTP and unix, answering, hanging, absent."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from fluxcloud.ledger.apps.spec import Health
from fluxcloud.node.model import ComponentHealth
from fluxcloud.node.probes.health import HealthProber, Target, probe
from fluxcloud.node.runtime.base import Endpoint


@asynccontextmanager
async def serve(answer: bytes | None, unix: Path | None = None) -> AsyncIterator[Endpoint]:
    """A server that gives this answer to every request; None: says nothing; empty: hangs up at once."""
    visits: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        visits.add(task)
        with contextlib.suppress(ConnectionError):
            if answer is None:
                await reader.read()
            elif answer:
                await reader.readline()
                writer.write(answer)
                await writer.drain()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    if unix is not None:
        server = await asyncio.start_unix_server(handle, str(unix))
        endpoint = Endpoint(unix=str(unix))
    else:
        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        endpoint = Endpoint(host="127.0.0.1", port=server.sockets[0].getsockname()[1])
    async with server:
        yield endpoint
        await asyncio.gather(*visits)


def make_target(endpoint: Endpoint, kind: str = "http", timeout_s: float = 0.3) -> Target:
    return Target(kind, "/ok", 8080, endpoint, timeout_s)


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", ""),
        (b"HTTP/1.0 302 Found\r\n\r\n", ""),
        (b"HTTP/1.1 399 x\r\n\r\n", ""),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", "GET /ok on port 8080 answers 404; wanted is 200 to 399"),
        (b"HTTP/1.1 500 x\r\n\r\n", "GET /ok on port 8080 answers 500; wanted is 200 to 399"),
        (b"SSH-2.0-x\r\n", "GET /ok on port 8080: the answer is not HTTP"),
        (b"x" * 5000, "GET /ok on port 8080: the answer is not HTTP"),
        (b"HTTP/1.1", "GET /ok on port 8080: the answer is not HTTP"),
        (b"", "nothing listens on port 8080, or it hung up without an answer"),
        (None, "port 8080 gave no answer within 0.3 s"),
    ],
)
async def test_http_probe(answer: bytes | None, problem: str) -> None:
    async with serve(answer) as endpoint:
        assert await probe(make_target(endpoint)) == problem


async def test_tcp_probe__connects_only() -> None:
    async with serve(None) as endpoint:
        assert await probe(make_target(endpoint, "tcp")) == ""
    assert await probe(make_target(endpoint, "tcp")) == "nothing listens on port 8080"


async def test_unix_probe__tells_a_forwarder_that_hangs_up(tmp_path: Path) -> None:
    async with serve(None, tmp_path / "a.sock") as endpoint:
        assert await probe(make_target(endpoint, "tcp")) == ""
    async with serve(b"", tmp_path / "b.sock") as endpoint:
        assert await probe(make_target(endpoint, "tcp")) == "nothing listens on port 8080"
    assert "can't be reached" in await probe(make_target(Endpoint(unix=str(tmp_path / "none.sock")), "tcp"))


async def test_prober__asks_each_100_ms_until_the_first_success() -> None:
    found: asyncio.Queue[ComponentHealth] = asyncio.Queue()

    async def explain(problem: str, port: int) -> str:
        return problem

    async with serve(None) as endpoint:
        pass  # the port is free again
    prober = HealthProber(Health(every_s=60), make_target(endpoint, "tcp"), found.put_nowait, explain, time.monotonic)
    task = asyncio.create_task(prober.run())
    first = await asyncio.wait_for(found.get(), 5)
    assert first == ComponentHealth("starting", "nothing listens on port 8080")
    server = await asyncio.start_server(lambda r, w: w.close(), endpoint.host, endpoint.port)
    began_s = time.monotonic()
    async with server:
        assert (await asyncio.wait_for(found.get(), 5)).verdict == "healthy"
    assert time.monotonic() - began_s < 2
    task.cancel()


async def test_prober__late_and_unhealthy() -> None:
    found: asyncio.Queue[ComponentHealth] = asyncio.Queue()
    explained: list[str] = []

    async def explain(problem: str, port: int) -> str:
        explained.append(problem)
        return f"{problem}; bind it"

    async with serve(None) as endpoint:
        pass
    health = Health(start_s=0, fail=2, every_s=60)
    prober = HealthProber(health, make_target(endpoint, "tcp"), found.put_nowait, explain, time.monotonic)
    task = asyncio.create_task(prober.run())
    states = [await asyncio.wait_for(found.get(), 5) for _ in range(2)]
    task.cancel()
    assert [(state.verdict, state.late) for state in states] == [("starting", False), ("starting", True)]
    assert states[1].answer == "nothing listens on port 8080; bind it"
    assert len(explained) == 2
