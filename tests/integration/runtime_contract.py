"""What every runtime must do, as tests.

Subclass `RuntimeContract` (any engine) or `ContainerContract` (real ones) and give the fixture `engine`. Commands are
of busybox, whose image the engine has prepared.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from fluxcloud.errors import Permanent, Temporary
from fluxcloud.node.runtime.base import ComponentSpec, ComponentState, CopyKey, CopySpec, Endpoint, LogLine, Runtime

WAIT_S = 20.0
KEY = CopyKey("app1contract", 7)


def shell(script: str) -> tuple[str, ...]:
    return ("/bin/sh", "-c", script)


def serve(text: str, port: int = 8080) -> tuple[str, ...]:
    return shell(f"mkdir -p /tmp/w; echo {text} >/tmp/w/index.html; exec httpd -f -p {port} -h /tmp/w")


SERVE = serve("hello")
EXIT_3 = shell("exit 3")
PRINT = shell("echo one; echo two >&2; echo three; trap 'exit 0' TERM; sleep 1000 & wait")
POLITE = shell("trap 'exit 9' TERM; echo ready; sleep 1000 & wait")
STUBBORN = shell("trap '' TERM; echo ready; while :; do sleep 1000 & wait; done")


@dataclass
class Engine:
    """`make` gives a new runtime object on the same root each time, as a restarted agent would."""

    make: Callable[[], Runtime]
    image: str
    hard_limits: bool = False
    own_ids: bool = True  # with hard limits, each copy has host ids of its own
    tells_oom: bool = True  # else no more than the signal
    maps_ids: bool = True  # root of a copy is not root of the machine
    leftovers: Callable[[], list[str]] = field(default=list)  # processes, mounts and files of copies


def make_copy(engine: Engine, *components: ComponentSpec, key: CopyKey = KEY) -> CopySpec:
    return CopySpec(key, components, (("slot", "0"),))


def component(engine: Engine, name: str, command: tuple[str, ...], **changes: Any) -> ComponentSpec:
    return ComponentSpec(name, engine.image, command, **{"memory_mib": 64, **changes})


async def wait_for(check: Callable[[], Awaitable[Any]]) -> Any:
    """The first true answer."""
    async with asyncio.timeout(WAIT_S):
        while not (found := await check()):
            await asyncio.sleep(0.01)
        return found


async def fetch(endpoint: Endpoint, path: str = "/") -> bytes:
    """The body, or nothing when nobody answers."""
    opened = (
        asyncio.open_unix_connection(endpoint.unix)
        if endpoint.unix
        else asyncio.open_connection(endpoint.host, endpoint.port)
    )
    try:
        reader, writer = await opened
    except OSError:
        return b""
    try:
        writer.write(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        return (await reader.read()).partition(b"\r\n\r\n")[2]
    except OSError:
        return b""
    finally:
        writer.close()


async def get_state(runtime: Runtime, name: str = "web", key: CopyKey = KEY) -> ComponentState:
    copy = next(copy for copy in await runtime.observe() if copy.key == key)
    return next(state for state in copy.components if state.name == name)


async def wait_phase(runtime: Runtime, phase: str, name: str = "web") -> ComponentState:
    """By `wait_change`, which is a hint and so must come before its timeout."""
    async with asyncio.timeout(WAIT_S):
        while (state := await get_state(runtime, name)).phase != phase:
            await runtime.wait_change(1.0)
        return state


async def read_logs(runtime: Runtime, name: str = "web", **options: Any) -> list[LogLine]:
    return [line async for line in runtime.read_logs(KEY, name, **options)]


async def wait_logs(runtime: Runtime, count: int, name: str = "web") -> list[LogLine]:
    async def enough() -> list[LogLine] | None:
        lines = await read_logs(runtime, name)
        return lines if len(lines) >= count else None

    return await wait_for(enough)


async def run_in(runtime: Runtime, script: str, name: str = "web") -> tuple[int | None, str]:
    """Exit code and all output of a command started in a component, its errors in their order."""
    stream = await runtime.exec(KEY, name, shell(f"exec 2>&1; {script}"))
    await stream.close_input()
    output = b"".join([chunk async for _, chunk in stream.read()])
    return stream.exit_code, output.decode()


class RuntimeContract:
    @pytest.fixture
    async def runtime(self, engine: Engine) -> AsyncIterator[Runtime]:
        runtime = engine.make()
        await runtime.open()
        await runtime.prepare(engine.image)
        yield runtime
        for copy in await runtime.observe():
            await runtime.remove(copy.key)
        await runtime.close()

    async def start(self, runtime: Runtime, engine: Engine, command: tuple[str, ...], **changes: Any) -> None:
        await runtime.create(make_copy(engine, component(engine, "web", command, **changes)))
        await runtime.start(KEY, "web")

    async def test_endpoint_answers(self, runtime: Runtime, engine: Engine) -> None:
        await self.start(runtime, engine, SERVE, ports=(8080,))
        assert await wait_for(lambda: fetch(runtime.get_endpoint(KEY, 8080))) == b"hello\n"

    async def test_observe_tells_what_was_created(self, runtime: Runtime, engine: Engine) -> None:
        await runtime.create(make_copy(engine, component(engine, "web", SERVE)))
        (copy,) = await runtime.observe()
        assert (copy.key, copy.labels, copy.broken) == (KEY, (("slot", "0"),), "")
        assert copy.components == (ComponentState("web", "created"),)

    async def test_create_and_start_twice_change_nothing(self, runtime: Runtime, engine: Engine) -> None:
        await self.start(runtime, engine, SERVE)
        before = await wait_phase(runtime, "running")
        await self.start(runtime, engine, SERVE)
        assert await get_state(runtime) == before

    async def test_exit_code_and_restarts(self, runtime: Runtime, engine: Engine) -> None:
        await self.start(runtime, engine, EXIT_3)
        ended = await wait_phase(runtime, "exited")
        assert (ended.exit_code, ended.reason, ended.restarts) == (3, "exit", 0)
        await runtime.start(KEY, "web")
        async with asyncio.timeout(WAIT_S):
            while (again := await get_state(runtime)).phase != "exited":
                await runtime.wait_change(0.2)
        assert (again.exit_code, again.restarts) == (3, 1)

    async def test_stop_signal_is_heard(self, runtime: Runtime, engine: Engine) -> None:
        await self.start(runtime, engine, POLITE)
        await wait_logs(runtime, 1)
        await runtime.stop(KEY, "web", grace_s=WAIT_S)
        ended = await get_state(runtime)
        assert (ended.phase, ended.exit_code, ended.reason) == ("exited", 9, "exit")
        await runtime.stop(KEY, "web", grace_s=WAIT_S)

    async def test_stop_kills_after_grace(self, runtime: Runtime, engine: Engine) -> None:
        await self.start(runtime, engine, STUBBORN)
        await wait_logs(runtime, 1)
        await runtime.stop(KEY, "web", grace_s=0.1)
        ended = await get_state(runtime)
        assert (ended.phase, ended.exit_code, ended.reason) == ("exited", 137, "exit")

    async def test_a_new_agent_takes_up_what_runs(self, runtime: Runtime, engine: Engine) -> None:
        await self.start(runtime, engine, POLITE)
        await wait_logs(runtime, 1)
        before = await get_state(runtime)
        other = engine.make()
        await other.open()
        try:
            assert await get_state(other) == before
            await other.start(KEY, "web")
            assert await get_state(other) == before
            await other.stop(KEY, "web", grace_s=WAIT_S)
            assert (await wait_phase(other, "exited")).exit_code == 9
        finally:
            await other.close()

    async def test_logs_resume_at_cursor(self, runtime: Runtime, engine: Engine) -> None:
        await self.start(runtime, engine, PRINT)
        lines = await wait_logs(runtime, 3)
        assert sorted((line.stream, line.text) for line in lines) == [
            ("err", b"two"),
            ("out", b"one"),
            ("out", b"three"),
        ]
        assert await read_logs(runtime, after=lines[0].cursor) == lines[1:]
        assert await read_logs(runtime, tail=1) == lines[2:]
        assert await read_logs(runtime, after=lines[2].cursor) == []

    async def test_logs_are_followed(self, runtime: Runtime, engine: Engine) -> None:
        await runtime.create(make_copy(engine, component(engine, "web", PRINT)))
        seen: list[bytes] = []
        lines = runtime.read_logs(KEY, "web", follow=True)
        await runtime.start(KEY, "web")
        async with asyncio.timeout(WAIT_S):
            async for line in lines:
                seen.append(line.text)
                if len(seen) == 3:
                    break
        assert sorted(seen) == [b"one", b"three", b"two"]

    async def test_follow_ends_with_the_copy(self, runtime: Runtime, engine: Engine) -> None:
        await self.start(runtime, engine, PRINT)

        begun = asyncio.Event()

        async def follow() -> None:
            async for _ in runtime.read_logs(KEY, "web", follow=True):
                begun.set()

        following = asyncio.create_task(follow())
        await asyncio.wait_for(begun.wait(), WAIT_S)
        await runtime.remove(KEY)
        await asyncio.wait_for(following, WAIT_S)

    async def test_removed_is_gone(self, runtime: Runtime, engine: Engine) -> None:
        await self.start(runtime, engine, SERVE, ports=(8080,))
        await wait_for(lambda: fetch(runtime.get_endpoint(KEY, 8080)))
        await runtime.remove(KEY)
        await runtime.remove(KEY)
        assert await runtime.observe() == []
        assert engine.leftovers() == []
        with pytest.raises((Temporary, Permanent)):
            await runtime.start(KEY, "web")

    async def test_unknown_image_is_said(self, runtime: Runtime, engine: Engine) -> None:
        with pytest.raises((Temporary, Permanent)):
            await runtime.prepare("sha256:" + "0" * 64)

    async def test_a_wait_ends_at_its_timeout(self, runtime: Runtime) -> None:
        await asyncio.wait_for(runtime.wait_change(0.01), WAIT_S)


class ContainerContract(RuntimeContract):
    """Beyond what a fake can do."""

    async def test_env_files_and_command(self, runtime: Runtime, engine: Engine) -> None:
        files = (("/etc/app/app.yml", b"a: 1\n"), ("/plain", b"x"))
        script = 'echo "$GREETING $0"; cat /etc/app/app.yml; hostname; cat /plain; echo'
        await self.start(
            runtime, engine, (script, "arg"), entrypoint=("/bin/sh", "-c"), env=(("GREETING", "hi there"),), files=files
        )
        await wait_phase(runtime, "exited")
        assert [line.text for line in await wait_logs(runtime, 4)] == [b"hi there arg", b"a: 1", b"web", b"x"]

    async def test_components_reach_each_other_by_name(self, runtime: Runtime, engine: Engine) -> None:
        await runtime.create(
            make_copy(
                engine, component(engine, "web", POLITE), component(engine, "db", serve("from-db", 5432), ports=(5432,))
            )
        )
        for name in ("web", "db"):
            await runtime.start(KEY, name)
        await wait_for(lambda: fetch(runtime.get_endpoint(KEY, 5432)))
        assert await run_in(runtime, "wget -q -O - http://db:5432/") == (0, "from-db\n")

    async def test_writable_layer_stays_over_restarts_and_is_each_ones_own(
        self, runtime: Runtime, engine: Engine
    ) -> None:
        script = shell("echo x >>/grown; wc -l </grown; ls /")
        await runtime.create(
            make_copy(engine, component(engine, "web", script), component(engine, "db", shell("ls /")))
        )
        for name in ("web", "web", "db"):
            await runtime.start(KEY, name)
            await wait_phase(runtime, "exited", name)
        counts = [line.text for line in await wait_logs(runtime, 2) if line.text.isdigit()]
        assert counts == [b"1", b"2"]
        assert b"grown" not in [line.text for line in await wait_logs(runtime, 3, "db")]

    async def test_read_only_root(self, runtime: Runtime, engine: Engine) -> None:
        await self.start(runtime, engine, POLITE, read_only=True)
        code, output = await run_in(runtime, "touch /tmp/ok && touch /new")
        assert code != 0
        assert "Read-only file system" in output

    async def test_program_that_is_missing(self, runtime: Runtime, engine: Engine) -> None:
        await runtime.create(make_copy(engine, component(engine, "web", ("/bin/nothing",))))
        with pytest.raises(Permanent, match="nothing"):
            await runtime.start(KEY, "web")

    async def test_rights(self, runtime: Runtime, engine: Engine) -> None:
        await self.start(runtime, engine, POLITE)
        _, status = await run_in(runtime, "cat /proc/1/status; echo; cat /proc/self/status")
        fields = [line.split() for line in status.splitlines()]
        # CHOWN, DAC_OVERRIDE, FOWNER, KILL, SETGID, SETUID, NET_BIND_SERVICE and nothing else
        allowed = 0b100_1110_1011
        capabilities = [int(row[1], 16) for row in fields if row and row[0].startswith("Cap")]
        assert len(capabilities) == 10
        assert all(value & ~allowed == 0 for value in capabilities)
        assert [row[1] for row in fields if row and row[0] == "NoNewPrivs:"] == ["1", "1"]

    async def test_sees_nothing_of_the_host(self, runtime: Runtime, engine: Engine, tmp_path: Path) -> None:
        secret = tmp_path / "secret"
        secret.write_text("x")
        await self.start(runtime, engine, POLITE)
        code, _ = await run_in(runtime, f"ls {secret}")
        assert code != 0
        _, names = await run_in(runtime, "ps -o comm")
        assert not {"python", "pytest", "bwrap"} & set(names.split())
        _, own = await run_in(runtime, "hostname")
        assert own.strip() == "web" != socket.gethostname()

    async def test_no_way_to_the_hosts_loopback(self, runtime: Runtime, engine: Engine) -> None:
        server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        try:
            await self.start(runtime, engine, POLITE)
            code, _ = await run_in(runtime, f"nc -w 1 127.0.0.1 {port} </dev/null")
            assert code == 1
        finally:
            server.close()

    async def test_host_uid_is_not_root(self, runtime: Runtime, engine: Engine) -> None:
        await self.start(runtime, engine, POLITE)
        pid = (await wait_phase(runtime, "running")).pid
        assert (os.stat(f"/proc/{pid}").st_uid != 0) == engine.maps_ids

    async def test_pids_are_limited(self, runtime: Runtime, engine: Engine) -> None:
        await self.start(runtime, engine, POLITE, pids=20)
        _, output = await run_in(runtime, "for i in $(seq 60); do sleep 100 >/dev/null 2>&1 & done; echo made")
        assert "fork" in output.lower()
        assert (await runtime.get_usage(KEY, "web")).pids <= 20

    async def test_too_much_memory_is_told(self, runtime: Runtime, engine: Engine) -> None:
        if not engine.hard_limits:
            pytest.skip("limits are soft on this machine")
        await self.start(runtime, engine, shell("tail /dev/zero"))
        ended = await wait_phase(runtime, "exited")
        reason = "oom" if engine.tells_oom else "exit"
        assert (ended.exit_code, ended.reason) == (137, reason)
        await runtime.start(KEY, "web")
        assert (await wait_phase(runtime, "exited")).reason == reason

    async def test_usage(self, runtime: Runtime, engine: Engine) -> None:
        await self.start(runtime, engine, POLITE)
        before = await runtime.get_usage(KEY, "web")
        await run_in(
            runtime, "dd if=/dev/zero of=/big bs=1M count=4; i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done"
        )
        after = await runtime.get_usage(KEY, "web")
        assert before.pids >= 1
        assert after.memory_bytes > 0
        assert after.disk_bytes - before.disk_bytes >= 4 << 20
        if engine.hard_limits:  # counts also those that have ended
            assert after.cpu_ns - before.cpu_ns > 50_000_000

    async def test_listening_sockets(self, runtime: Runtime, engine: Engine) -> None:
        await self.start(
            runtime, engine, shell("httpd -p 127.0.0.1:3000 -h /; exec httpd -f -p 8080 -h /"), ports=(8080,)
        )

        async def both() -> Any:
            found = {(socket.address, socket.port) for socket in await runtime.list_listening(KEY)}
            return found if {port for _, port in found} >= {3000, 8080} else None

        assert ("127.0.0.1", 3000) in await wait_for(both)

    async def test_exec(self, runtime: Runtime, engine: Engine) -> None:
        await self.start(runtime, engine, POLITE, env=(("COLOUR", "blue"),))
        assert await run_in(runtime, 'echo "$COLOUR"; exit 5') == (5, "blue\n")
        stream = await runtime.exec(KEY, "web", ("/bin/cat",))
        await stream.write(b"in and ")
        await stream.write(b"out")
        await stream.close_input()
        assert b"".join([chunk async for name, chunk in stream.read() if name == "out"]) == b"in and out"
        assert stream.exit_code == 0

    async def test_exec_with_a_terminal(self, runtime: Runtime, engine: Engine) -> None:
        await self.start(runtime, engine, POLITE)
        stream = await runtime.exec(KEY, "web", shell("read x; stty size; test -t 0 && echo terminal $x"), tty=True)
        await stream.resize(40, 100)
        await stream.write(b"line\n")
        output = b"".join([chunk async for _, chunk in stream.read()])
        assert b"40 100" in output
        assert b"terminal line" in output
        assert stream.exit_code == 0

    async def test_exec_is_killed(self, runtime: Runtime, engine: Engine) -> None:
        await self.start(runtime, engine, POLITE)
        stream = await runtime.exec(KEY, "web", shell("echo begun; exec sleep 1234"))
        async with asyncio.timeout(WAIT_S):
            async for _, chunk in stream.read():
                assert chunk == b"begun\n"
                await stream.kill()
        assert stream.exit_code == 137

        async def ended() -> bool:
            return "sleep 1234" not in (await run_in(runtime, "ps -o args"))[1]

        assert await wait_for(ended)

    async def test_exec_where_nothing_runs(self, runtime: Runtime, engine: Engine) -> None:
        await runtime.create(make_copy(engine, component(engine, "web", POLITE)))
        with pytest.raises((Temporary, Permanent)):
            await runtime.exec(KEY, "web", shell("true"))

    async def test_port_where_nothing_listens(self, runtime: Runtime, engine: Engine) -> None:
        await self.start(runtime, engine, POLITE, ports=(8080,))
        await wait_logs(runtime, 1)
        assert await asyncio.wait_for(fetch(runtime.get_endpoint(KEY, 8080)), WAIT_S) == b""

    async def test_half_closed_connections(self, runtime: Runtime, engine: Engine) -> None:
        await self.start(runtime, engine, shell("nc -l -p 8080 -e cat"), ports=(8080,))

        async def listens() -> bool:
            return any(found.port == 8080 for found in await runtime.list_listening(KEY))

        await wait_for(listens)
        endpoint = runtime.get_endpoint(KEY, 8080)
        reader, writer = await (
            asyncio.open_unix_connection(endpoint.unix)
            if endpoint.unix
            else asyncio.open_connection(endpoint.host, endpoint.port)
        )
        payload = os.urandom(1 << 20)
        reading = asyncio.create_task(reader.read())
        writer.write(payload)
        await writer.drain()
        writer.write_eof()
        assert await asyncio.wait_for(reading, WAIT_S) == payload
        writer.close()

    async def test_copies_do_not_meet(self, runtime: Runtime, engine: Engine) -> None:
        other = CopyKey("app1contract", 8)
        for key, text in ((KEY, "first"), (other, "second")):
            spec = component(engine, "web", serve(text), ports=(8080,))
            await runtime.create(make_copy(engine, spec, key=key))
            await runtime.start(key, "web")
        for key, text in ((KEY, b"first\n"), (other, b"second\n")):
            assert await wait_for(lambda key=key: fetch(runtime.get_endpoint(key, 8080))) == text
        pids = [copy.components[0].pid for copy in await runtime.observe()]
        if engine.hard_limits and engine.own_ids:
            assert len({os.stat(f"/proc/{pid}").st_uid for pid in pids}) == 2
        with contextlib.suppress(KeyError):
            await runtime.remove(other)
