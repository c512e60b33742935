"""Open-loop load generator, a process of its own: `python -m fluxcloud.cli.demo.loadgen`.

Requests start on a fixed schedule whatever became of the earlier ones, so a stall shows as latency and is never
hidden by a waiting client. Latency counts from the scheduled start. Nothing is retried: what a visitor would have seen
fail is counted as failed. Classes as in APPS.md 6: (a) GET, (b) POST without a key, (c) one streamed answer that is
kept open.

Reads commands from stdin, a line each: `mark` begins a new phase (which node answers first is told again), `end` stops.
Writes JSON lines to stdout: `{"served_by": node, "at": monotonic seconds}` for each node's first answer in a phase, and
at the end `{"summary": {...}}`. The monotonic clock is the machine's, so times compare across processes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import cycle

from ...proxy.routes import ERROR_HEADER, SERVED_BY_HEADER

REQUEST_TIMEOUT_S = 15.0
IDLE_MAX_S = 4.0
POST_EVERY = 20
RECONNECT_S = 2.0


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    served_by: str
    own_error: bool  # the proxy's, not the app's
    keep_alive: bool


@dataclass(slots=True)
class Counts:
    requests: int = 0
    failed: dict[str, int] = field(default_factory=lambda: {"a": 0, "b": 0, "c": 0})
    latencies_ms: list[float] = field(default_factory=list)
    errors: dict[str, int] = field(default_factory=dict)

    def fail(self, kind: str, why: str) -> None:
        self.failed[kind] += 1
        self.errors[f"{kind}: {why}"] = self.errors.get(f"{kind}: {why}", 0) + 1

    def summarise(self) -> dict[str, object]:
        ordered = sorted(self.latencies_ms) or [0.0]
        at = {"p50": 0.5, "p99": 0.99, "max": 1.0}
        picked = {name: round(ordered[min(len(ordered) - 1, int(len(ordered) * q))], 1) for name, q in at.items()}
        return {"requests": self.requests, "failed": self.failed, "latency_ms": picked, "errors": self.errors}


Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class LoadGenerator:
    """Sends `rate` requests a second to `addresses` for `host` until told to end.

    New connections go to one address after the other; where nobody listens, to the next, as a browser does that knows
    several.
    """

    def __init__(self, addresses: Sequence[tuple[str, int]], host: str, rate: float, stream_path: str) -> None:
        self.addresses = cycle(addresses)
        self.addresses_count = len(addresses)
        self.host = host
        self.rate = rate
        self.stream_path = stream_path
        self.counts = Counts()
        self._idle: deque[tuple[float, Connection]] = deque()
        self._seen: set[str] = set()
        self._closed_at: float | None = None  # since when the stream is not open
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, commands: asyncio.StreamReader) -> None:
        stopped = asyncio.create_task(self._read_commands(commands))
        stream = asyncio.create_task(self._hold_stream()) if self.stream_path else None
        started, number = time.monotonic(), 0
        while not stopped.done():
            due = started + number / self.rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            task = asyncio.create_task(self._request(number, due))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            number += 1
        if stream is not None:
            stream.cancel()
            with suppress(asyncio.CancelledError):
                await stream
            self._judge_gap()
        await asyncio.gather(*self._tasks)
        while self._idle:
            self._idle.popleft()[1][1].close()

    async def _read_commands(self, commands: asyncio.StreamReader) -> None:
        while line := await commands.readline():
            if line.strip() == b"mark":
                self._seen.clear()
            elif line.strip() == b"end":
                return

    async def _request(self, number: int, due: float) -> None:
        kind, method = ("b", "POST") if number % POST_EVERY == POST_EVERY - 1 else ("a", "GET")
        self.counts.requests += 1
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                answer = await self._exchange(method)
        except (OSError, EOFError, ValueError, TimeoutError, asyncio.LimitOverrunError) as error:
            self.counts.fail(kind, type(error).__name__)
            return
        self.counts.latencies_ms.append((time.monotonic() - due) * 1000)
        if answer.own_error or (kind == "a" and answer.status != 200):
            self.counts.fail(kind, str(answer.status))
        elif answer.status == 200 and answer.served_by not in self._seen:
            self._seen.add(answer.served_by)
            _tell({"served_by": answer.served_by, "at": time.monotonic()})

    async def _exchange(self, method: str) -> Answer:
        reader, writer = await self._take_connection()
        try:
            body = "Content-Length: 2\r\n\r\nhi" if method == "POST" else "\r\n"
            writer.write(f"{method} / HTTP/1.1\r\nHost: {self.host}\r\n{body}".encode())
            answer = await _read_answer(reader)
        except BaseException:
            writer.transport.abort()
            raise
        if answer.keep_alive:
            self._idle.append((time.monotonic(), (reader, writer)))
        else:
            writer.close()
        return answer

    async def _take_connection(self) -> Connection:
        while self._idle:
            since, (reader, writer) = self._idle.popleft()
            if time.monotonic() - since < IDLE_MAX_S and not reader.at_eof() and not writer.is_closing():
                return reader, writer
            writer.close()
        return await self._connect()

    async def _connect(self) -> Connection:
        for _ in range(self.addresses_count - 1):
            with suppress(ConnectionRefusedError):
                return await asyncio.open_connection(*next(self.addresses))
        return await asyncio.open_connection(*next(self.addresses))

    async def _hold_stream(self) -> None:
        """Class (c): one answer that never ends. Cut off, it may be opened anew within 2 s; later counts as failed."""
        self._closed_at = time.monotonic()
        while True:
            with suppress(OSError, EOFError, ValueError):
                await self._follow_stream()
            if self._closed_at is None:
                self._closed_at = time.monotonic()
            await asyncio.sleep(0.05)

    async def _follow_stream(self) -> None:
        """Returns when an open stream ends; raises where none could be opened."""
        reader, writer = await self._connect()
        try:
            writer.write(f"GET {self.stream_path} HTTP/1.1\r\nHost: {self.host}\r\n\r\n".encode())
            status = (await reader.readline()).split(b" ", 2)
            if len(status) < 2 or status[1] != b"200":
                raise ValueError("no stream")
            self._judge_gap()
            self._closed_at = None
            with suppress(OSError):
                while await reader.readline():
                    pass
        finally:
            writer.transport.abort()

    def _judge_gap(self) -> None:
        """The stream is open again, or will never be."""
        if self._closed_at is not None and time.monotonic() - self._closed_at > RECONNECT_S:
            self.counts.fail("c", f"not open again within {RECONNECT_S:g} s")


async def _read_answer(reader: asyncio.StreamReader) -> Answer:
    """Read one whole answer. Raises EOFError where it is cut short and ValueError where it is junk."""
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    version, status, *_ = lines[0].split(" ")
    if not version.startswith("HTTP/1."):
        raise ValueError(lines[0])
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    keep_alive = version == "HTTP/1.1" and headers.get("connection", "").lower() != "close"
    if headers.get("transfer-encoding", "").lower() == "chunked":
        while size := int((await reader.readline()).strip() or b"0", 16):
            await reader.readexactly(size + 2)
        await reader.readline()
    elif "content-length" in headers:
        await reader.readexactly(int(headers["content-length"]))
    elif status not in ("204", "304"):
        await reader.read(-1)
        keep_alive = False
    return Answer(int(status), headers.get(SERVED_BY_HEADER.lower(), ""), ERROR_HEADER.lower() in headers, keep_alive)


def _tell(line: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


async def _main(arguments: argparse.Namespace) -> None:
    commands = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    places = [address.rpartition(":") for address in arguments.connect]
    addresses = [(host, int(port)) for host, _, port in places]
    generator = LoadGenerator(addresses, arguments.host, arguments.rate, arguments.stream)
    await generator.run(commands)
    _tell({"summary": generator.counts.summarise()})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="open-loop load generator")
    parser.add_argument("--connect", required=True, action="append", help="address:port to connect to; may be repeated")
    parser.add_argument("--host", required=True, help="Host header")
    parser.add_argument("--rate", type=float, default=200.0, help="requests a second")
    parser.add_argument("--stream", default="", help="path of an endless answer to keep open")
    asyncio.run(_main(parser.parse_args()))
