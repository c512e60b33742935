"""A runtime in memory, for tests of what drives one: no process, but the same states, logs, endpoints and failures.

`World` is the machine: what runs in it outlives every `FakeRuntime`, as copies outlive an agent. A test says by
`programs` what a command does (unknown ones run until stopped), makes components end with `end`, and calls fail with
`fail_next`. A program that serves does so on a real unix socket, so that probes and proxies can be tested too.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import defaultdict, deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from ...errors import FluxCloudError, Permanent, Temporary
from .base import (
    ComponentSpec,
    ComponentState,
    CopyKey,
    CopySpec,
    CopyState,
    Endpoint,
    ExecStream,
    ExitReason,
    Isolation,
    ListeningSocket,
    LogLine,
    RuntimeConfig,
    Usage,
)

Stream = Literal["out", "err"]

_KILLED = 137
_FOLLOW_POLL_S = 0.01


@dataclass(frozen=True, slots=True)
class Program:
    """What a command does once started. `exit_code` None: it runs until stopped; `stop_code` None: it ignores that."""

    lines: tuple[tuple[Stream, bytes], ...] = ()
    exit_code: int | None = None
    stop_code: int | None = 143
    serves: bytes | None = None  # the body of each answer on each of the component's ports


@dataclass(slots=True)
class _Component:
    spec: ComponentSpec
    state: ComponentState
    lines: list[LogLine] = field(default_factory=list)
    servers: list[asyncio.Server] = field(default_factory=list)


@dataclass(slots=True)
class _Copy:
    spec: CopySpec
    components: dict[str, _Component]


class World:
    """`folder` takes the sockets. `calls` is the list of all calls that changed something: (name, key, component)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.images: set[str] = set()
        self.programs: dict[tuple[str, ...], Program] = {}
        self.calls: list[tuple[str, CopyKey, str]] = []
        self.copies: dict[CopyKey, _Copy] = {}
        self.changed = asyncio.Event()
        self._failures: defaultdict[str, deque[FluxCloudError]] = defaultdict(deque)
        self._next_pid = 1000

    def fail_next(self, call: str, error: FluxCloudError) -> None:
        """The next call of this name (`create`, `start`, …) raises that."""
        self._failures[call].append(error)

    def end(self, key: CopyKey, component: str, exit_code: int, reason: ExitReason = "exit") -> None:
        """Something that runs ends by itself."""
        found = self.copies[key].components[component]
        for server in found.servers:
            server.close()
        found.servers.clear()
        found.state = replace(found.state, phase="exited", pid=None, exit_code=exit_code, reason=reason)
        self.changed.set()

    def enter(self, call: str, key: CopyKey, component: str = "") -> None:
        self.calls.append((call, key, component))
        if self._failures[call]:
            raise self._failures[call].popleft()

    def take_pid(self) -> int:
        self._next_pid += 1
        return self._next_pid


class FakeRuntime:
    """See `Runtime` for what the calls promise."""

    def __init__(self, config: RuntimeConfig, world: World) -> None:
        self.root = config.root
        self._world = world

    async def open(self) -> Isolation:
        return Isolation("fake", "full", "hard", "closed")

    async def close(self) -> None:
        """Nothing to let go of: all is the world's."""

    async def prepare(self, image: str) -> None:
        self._world.enter("prepare", CopyKey("", 0), image)
        if image not in self._world.images:
            raise Temporary(f"image {image[:19]} is not in the content store")

    async def create(self, copy: CopySpec) -> None:
        if copy.key in self._world.copies:
            return
        self._world.enter("create", copy.key)
        components = {spec.name: _Component(spec, ComponentState(spec.name, "created")) for spec in copy.components}
        self._world.copies[copy.key] = _Copy(copy, components)

    async def start(self, key: CopyKey, component: str) -> None:
        found = self._get(key, component)
        if found.state.phase == "running":
            return
        self._world.enter("start", key, component)
        program = self._get_program(found.spec)
        restarts = found.state.restarts + (found.state.phase == "exited")
        now_ms = time.time_ns() // 1_000_000
        found.state = ComponentState(component, "running", self._world.take_pid(), now_ms, restarts=restarts)
        for stream, text in program.lines:
            cursor = str(len(found.lines) + 1)
            found.lines.append(LogLine(cursor, now_ms, stream, text))
        if program.serves is not None:
            for port in found.spec.ports:
                found.servers.append(await self._serve(key, port, program.serves))
        if program.exit_code is not None:
            self._world.end(key, component, program.exit_code)
        self._world.changed.set()

    async def stop(self, key: CopyKey, component: str, *, grace_s: float) -> None:
        found = self._get(key, component)
        if found.state.phase != "running":
            return
        self._world.enter("stop", key, component)
        code = self._get_program(found.spec).stop_code
        self._world.end(key, component, _KILLED if code is None else code)

    async def remove(self, key: CopyKey) -> None:
        if key not in self._world.copies:
            return
        self._world.enter("remove", key)
        for name, component in self._world.copies[key].components.items():
            if component.state.phase == "running":
                self._world.end(key, name, _KILLED)
        del self._world.copies[key]
        self._world.changed.set()

    async def observe(self) -> list[CopyState]:
        return [
            CopyState(key, tuple(component.state for component in copy.components.values()), copy.spec.labels)
            for key, copy in sorted(self._world.copies.items())
        ]

    async def wait_change(self, timeout_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._world.changed.wait()
        self._world.changed.clear()

    def get_endpoint(self, key: CopyKey, port: int) -> Endpoint:
        return Endpoint(unix=str(self._world.folder / f"{key.app[-20:]}.{key.generation}.{port}"))

    async def get_usage(self, key: CopyKey, component: str) -> Usage:
        return Usage(0, 0, int(self._get(key, component).state.phase == "running"), 0)

    async def list_listening(self, key: CopyKey) -> list[ListeningSocket]:
        components = self._get_copy(key).components.values()
        return [ListeningSocket("0.0.0.0", port) for c in components if c.servers for port in c.spec.ports]  # noqa: S104

    async def read_logs(
        self, key: CopyKey, component: str, *, after: str = "", tail: int | None = None, follow: bool = False
    ) -> AsyncIterator[LogLine]:
        lines = self._get(key, component).lines
        position = max(int(after or 0), len(lines) - tail if tail is not None else 0)
        while True:
            for line in lines[position:]:
                position = int(line.cursor)
                yield line
            if not follow or key not in self._world.copies:
                return
            await asyncio.sleep(_FOLLOW_POLL_S)

    async def exec(self, key: CopyKey, component: str, argv: tuple[str, ...], *, tty: bool = False) -> ExecStream:
        """The program of that command: its lines, then its exit code (0 when it has none)."""
        if self._get(key, component).state.phase != "running":
            raise Temporary(f"{component} does not run, so nothing can be started in it")
        self._world.enter("exec", key, component)
        return FakeExec(self._world.programs.get(argv, Program()))

    def _get_copy(self, key: CopyKey) -> _Copy:
        if key not in self._world.copies:
            raise Temporary(f"there is no copy {key.app}.{key.generation}")
        return self._world.copies[key]

    def _get(self, key: CopyKey, component: str) -> _Component:
        found = self._get_copy(key).components.get(component)
        if found is None:
            raise Permanent(f"copy {key.app}.{key.generation} has no component {component!r}")
        return found

    def _get_program(self, spec: ComponentSpec) -> Program:
        return self._world.programs.get(spec.command, Program())

    async def _serve(self, key: CopyKey, port: int, body: bytes) -> asyncio.Server:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(asyncio.IncompleteReadError, OSError):
                await reader.readuntil(b"\r\n\r\n")
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body)
                await writer.drain()
            writer.close()

        return await asyncio.start_unix_server(answer, self.get_endpoint(key, port).unix)


class FakeExec:
    """See `ExecStream`. What was written is kept in `received`."""

    def __init__(self, program: Program) -> None:
        self.exit_code: int | None = None
        self.received = b""
        self.size: tuple[int, int] | None = None
        self._program = program

    async def write(self, chunk: bytes) -> None:
        self.received += chunk

    async def close_input(self) -> None:
        """All input is taken at once."""

    async def resize(self, rows: int, columns: int) -> None:
        self.size = (rows, columns)

    async def read(self) -> AsyncIterator[tuple[Stream, bytes]]:
        for stream, text in self._program.lines:
            yield stream, text + b"\n"
        if self.exit_code is None:
            self.exit_code = self._program.exit_code or 0

    async def kill(self) -> None:
        self.exit_code = _KILLED
