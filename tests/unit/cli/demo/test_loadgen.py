"""What the load generator makes of answers, and its figures."""

from __future__ import annotations

import asyncio

import pytest

from fluxcloud.cli.demo.loadgen import Answer, Counts, _read_answer


async def read(raw: bytes) -> Answer:
    reader = asyncio.StreamReader()
    reader.feed_data(raw)
    reader.feed_eof()
    return await _read_answer(reader)


@pytest.mark.parametrize(
    ("raw", "answer"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nFluxCloud-Served-By: n1\r\n\r\nhi", Answer(200, "n1", False, True)),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nConnection: Close\r\n\r\n", Answer(200, "", False, False)),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", Answer(200, "", False, False)),
        (b"HTTP/1.1 204 No Content\r\n\r\n", Answer(204, "", False, True)),
        (b"HTTP/1.1 200 OK\r\n\r\nuntil its end", Answer(200, "", False, False)),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
            Answer(200, "", False, True),
        ),
        (
            b"HTTP/1.1 503 Service Unavailable\r\nFluxCloud-Error: no-copy\r\nContent-Length: 0\r\n\r\n",
            Answer(503, "", True, True),
        ),
    ],
)
async def test_answer(raw: bytes, answer: Answer) -> None:
    assert await read(raw) == answer


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhi",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"SSH-2.0 is another protocol\r\n\r\n",
    ],
)
async def test_answer__cut_short_or_junk(raw: bytes) -> None:
    with pytest.raises((EOFError, ValueError)):
        await read(raw)


def test_summary() -> None:
    assert Counts().summarise() == {
        "requests": 0,
        "failed": {"a": 0, "b": 0, "c": 0},
        "latency_ms": {"p50": 0.0, "p99": 0.0, "max": 0.0},
        "errors": {},
    }
    counts = Counts(requests=100, latencies_ms=[float(ms) for ms in range(100, 0, -1)])
    for why in ("503", "503", "TimeoutError"):
        counts.fail("a", why)
    counts.fail("b", "502")
    assert counts.summarise() == {
        "requests": 100,
        "failed": {"a": 3, "b": 1, "c": 0},
        "latency_ms": {"p50": 51.0, "p99": 100.0, "max": 100.0},
        "errors": {"a: 503": 2, "a: TimeoutError": 1, "b: 502": 1},
    }
