"""The `docker` runtime passes the contract against a real daemon, and what is its own: daemons that die or hang, many
nodes on one daemon, networks closed to what they should not reach."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from dockerd import Dockerd, run_dockerd
from fluxcloud.errors import Permanent, Temporary
from fluxcloud.images.store import ContentStore
from fluxcloud.node.runtime.base import ComponentSpec, CopyKey, Runtime, RuntimeConfig
from fluxcloud.node.runtime.docker import api, faults
from fluxcloud.node.runtime.docker.engine import DockerRuntime
from fluxcloud.node.runtime.docker.firewall import TABLE
from fluxcloud.node.runtime.docker.images import ImageLoader, make_name
from integration.runtime_contract import (
    EXIT_3,
    KEY,
    POLITE,
    SERVE,
    WAIT_S,
    ContainerContract,
    Engine,
    component,
    fetch,
    get_state,
    make_copy,
    read_logs,
    run_in,
    serve,
    shell,
    wait_for,
    wait_logs,
    wait_phase,
)
from integration.test_runtime_oci import build_busybox_image

NODE = "node-1"
HOLDER = f"{NODE}.{KEY.app}.{KEY.generation}"
PUBLIC, PRIVATE, METADATA = "203.0.113.2", "10.99.0.2", "169.254.169.254"


@pytest.fixture(scope="module")
def dockerd() -> Iterator[Dockerd]:
    with run_dockerd() as daemon:
        yield daemon


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture
def engine(dockerd: Dockerd, tmp_path: Path, store: Path) -> Engine:
    return build_engine(dockerd.socket, partial(docker, dockerd), tmp_path / "node", store)


def docker(dockerd: Dockerd, *argv: str) -> list[str]:
    """Words of an answer of Docker's own client: another user of the same daemon."""
    found = subprocess.run(
        ["docker", "--host", f"unix://{dockerd.socket}", *argv], capture_output=True, text=True, check=True
    )
    return found.stdout.split()


def build_engine(socket: str, run: Callable[..., list[str]], root: Path, store: Path, **changes: Any) -> Engine:
    """`run`: the engine's own client, which says what is left."""

    def list_leftovers() -> list[str]:
        return [
            *run("ps", "-aq"),
            *run("network", "ls", "-q", "--filter", "label=fluxcloud.node"),
            *run("volume", "ls", "-q"),
            *run("image", "ls", "-q", "fluxcloud/files"),
            *(path.name for path in (root / "starts").iterdir()),
        ]

    config = RuntimeConfig(root, NODE, store, extra={"socket": socket})
    return Engine(
        make=lambda: DockerRuntime(config),
        image=build_busybox_image(ContentStore(store)),
        hard_limits=True,
        own_ids=False,
        leftovers=list_leftovers,
        **changes,
    )


@asynccontextmanager
async def open_runtime(
    dockerd: Dockerd, root: Path, store: Path, node: str, **extra: str
) -> AsyncIterator[DockerRuntime]:
    """Another node on the same daemon; its copies are removed at the end."""
    runtime = DockerRuntime(RuntimeConfig(root, node, store, extra={"socket": dockerd.socket, **extra}))
    await runtime.open()
    try:
        yield runtime
        for copy in await runtime.observe():
            await runtime.remove(copy.key)
    finally:
        await runtime.close()


class TestDocker(ContainerContract):
    async def test_isolation_is_full(self, engine: Engine) -> None:
        runtime = engine.make()
        found = await runtime.open()
        await runtime.close()
        assert (found.engine, found.level, found.limits, found.egress) == ("docker", "full", "hard", "closed")

    async def test_a_killed_holder_is_made_anew(self, runtime: Runtime, engine: Engine, dockerd: Dockerd) -> None:
        """Without it a component has no network: both end, and both start again."""
        await runtime.create(
            make_copy(engine, component(engine, "web", SERVE, ports=(8080,)), component(engine, "db", POLITE))
        )
        for name in ("web", "db"):
            await runtime.start(KEY, name)
        docker(dockerd, "kill", HOLDER)
        ended = await wait_phase(runtime, "exited")
        assert (ended.exit_code, ended.reason) == (137, "engine")
        for name in ("web", "db"):
            await runtime.start(KEY, name)
        assert await wait_for(lambda: fetch(runtime.get_endpoint(KEY, 8080))) == b"hello\n"
        assert [(await get_state(runtime, name)).restarts for name in ("web", "db")] == [1, 1]

    async def test_files_in_a_read_only_root(self, runtime: Runtime, engine: Engine) -> None:
        files = (("/etc/app/app.yml", b"a: 1\n"), ("/bin/own", b"b"))
        await self.start(runtime, engine, POLITE, read_only=True, files=files)
        assert await run_in(runtime, "cat /etc/app/app.yml /bin/own; ls -ld /bin | cut -c1-10; touch /etc/x") == (
            1,
            "a: 1\nbdrwxr-xr-x\ntouch: /etc/x: Read-only file system\n",
        )
        await runtime.remove(KEY)
        assert engine.leftovers() == []

    async def test_a_file_takes_no_folders_place(self, runtime: Runtime, engine: Engine) -> None:
        with pytest.raises(Permanent, match="directory"):
            await runtime.create(make_copy(engine, component(engine, "web", POLITE, files=(("/bin", b"x"),))))
        assert engine.leftovers() == []

    async def test_an_image_with_a_user(self, runtime: Runtime, engine: Engine, store: Path) -> None:
        image = build_busybox_image(ContentStore(store), user="nobody")
        await runtime.prepare(image)
        await runtime.create(make_copy(engine, ComponentSpec("web", image, POLITE, memory_mib=64)))
        await runtime.start(KEY, "web")
        _, output = await run_in(runtime, "id -u; grep CapEff /proc/self/status; grep CapEff /proc/1/status")
        assert output.split() == ["65534", "CapEff:", "0" * 16, "CapEff:", "0" * 16]

    async def test_long_lines_and_the_bound_of_logs(
        self, dockerd: Dockerd, engine: Engine, tmp_path: Path, store: Path
    ) -> None:
        config = RuntimeConfig(tmp_path / "small", NODE, store, log_max_bytes=400_000, extra={"socket": dockerd.socket})
        runtime = DockerRuntime(config)
        await runtime.open()
        await runtime.prepare(engine.image)
        try:
            await self.start(runtime, engine, shell("seq 20000; printf %040000d 7; echo; echo last; sleep 1000"))

            async def last() -> Any:
                lines = await read_logs(runtime, tail=1)
                return lines and lines[0].text == b"last"

            await wait_for(last)
            lines = await read_logs(runtime)
            assert [len(line.text) for line in lines[-4:]] == [16384, 16384, 40_000 - 2 * 16384, 4]
            numbers = [int(line.text) for line in lines if len(line.text) < 10 and line.text.isdigit()]
            assert numbers == list(range(numbers[0], 20_001))
            assert numbers[0] > 1
            for place in (0, len(lines) // 2, len(lines) - 4, len(lines) - 3):
                assert await read_logs(runtime, after=lines[place].cursor) == lines[place + 1 :]
            assert await read_logs(runtime, tail=3) == lines[-3:]
            assert await read_logs(runtime, after=lines[-4].cursor, tail=2) == lines[-2:]
            assert await read_logs(runtime, after="1.1", tail=2) == lines[-2:]
            with pytest.raises(Permanent, match="cursor"):
                await read_logs(runtime, after="x")
        finally:
            await runtime.remove(KEY)
            await runtime.close()

    async def test_follow_goes_on_over_restarts(self, runtime: Runtime, engine: Engine) -> None:
        await self.start(runtime, engine, shell("echo line; exit 3"))
        lines = runtime.read_logs(KEY, "web", follow=True, tail=0)
        following = asyncio.ensure_future(anext(lines))
        await wait_phase(runtime, "exited")
        await wait_logs(runtime, 1)
        await runtime.start(KEY, "web")
        assert (await asyncio.wait_for(following, WAIT_S)).text == b"line"
        await lines.aclose()  # type: ignore[attr-defined]

    async def test_what_was_half_made_is_cleared_away(self, runtime: Runtime, engine: Engine, dockerd: Dockerd) -> None:
        """A holder that never ran, and a network alone: what a killed agent may leave."""
        labels = [f"fluxcloud.node={NODE}", f"fluxcloud.app={KEY.app}", f"fluxcloud.generation={KEY.generation}"]
        marked = [word for label in labels for word in ("--label", label)]
        docker(dockerd, "network", "create", *marked, "half")
        (image,) = docker(dockerd, "image", "ls", "-q", "--filter", f"reference=fluxcloud/{engine.image[7:39]}")
        docker(dockerd, "create", "--name", HOLDER, "--network", "half", *marked, image, "true")
        assert await runtime.observe() == []
        other = engine.make()
        await other.open()
        await other.close()
        assert engine.leftovers() == []

    async def test_a_copy_without_a_part_is_broken(self, runtime: Runtime, engine: Engine, dockerd: Dockerd) -> None:
        await self.start(runtime, engine, POLITE)
        docker(dockerd, "rm", "-f", f"{HOLDER}.web")
        (copy,) = await runtime.observe()
        assert copy.broken == "the container of web is gone"
        docker(dockerd, "rm", "-f", HOLDER)
        assert await runtime.observe() == []
        await runtime.remove(KEY)
        assert engine.leftovers() == []

    async def test_pruned_images_come_back(self, runtime: Runtime, engine: Engine, dockerd: Dockerd) -> None:
        docker(dockerd, "image", "prune", "--all", "--force")
        await self.start(runtime, engine, EXIT_3)
        assert (await wait_phase(runtime, "exited")).exit_code == 3


@pytest.fixture
async def runtime(engine: Engine) -> AsyncIterator[Runtime]:
    found = engine.make()
    await found.open()
    await found.prepare(engine.image)
    yield found
    for copy in await found.observe():
        await found.remove(copy.key)
    await found.close()


async def start(runtime: Runtime, engine: Engine, command: tuple[str, ...], key: CopyKey = KEY) -> None:
    await runtime.create(make_copy(engine, component(engine, "web", command, ports=(8080,)), key=key))
    await runtime.start(key, "web")


async def test_copies_outlive_a_killed_daemon(runtime: Runtime, engine: Engine, dockerd: Dockerd) -> None:
    """They serve while it is away, which is told and not taken for nothing; afterwards they are as before."""
    ending, polite = CopyKey(KEY.app, 8), CopyKey(KEY.app, 9)
    await start(runtime, engine, SERVE)
    await start(runtime, engine, POLITE, ending)
    await start(runtime, engine, POLITE, polite)
    endpoint = runtime.get_endpoint(KEY, 8080)
    await wait_for(lambda: fetch(endpoint))
    before = [await get_state(runtime, key=key) for key in (KEY, ending, polite)]
    dockerd.kill()
    assert await fetch(endpoint) == b"hello\n"
    with pytest.raises(Temporary, match="no Docker Engine at"):
        await runtime.observe()
    with pytest.raises(Temporary, match="no Docker Engine at"):
        await runtime.start(KEY, "web")
    assert before[1].pid is not None
    os.kill(before[1].pid, signal.SIGKILL)
    dockerd.start()
    assert await fetch(endpoint) == b"hello\n"
    for adopting in (runtime, engine.make()):
        if adopting is not runtime:
            await adopting.open()
        assert [await get_state(adopting, key=key) for key in (KEY, polite)] == [before[0], before[2]]
        ended = await get_state(adopting, key=ending)
        assert (ended.phase, ended.exit_code) == ("exited", 137)
        assert await fetch(adopting.get_endpoint(KEY, 8080)) == b"hello\n"
    await adopting.stop(polite, "web", grace_s=WAIT_S)
    await adopting.close()
    async with asyncio.timeout(WAIT_S):  # the first one hears of it, for it follows the new daemon's events
        while (ended := await get_state(runtime, key=polite)).phase != "exited":
            await runtime.wait_change(WAIT_S)
    assert ended.exit_code == 9


async def test_a_hanging_daemon_is_a_fault_of_the_host(
    runtime: Runtime, engine: Engine, dockerd: Dockerd, monkeypatch: pytest.MonkeyPatch
) -> None:
    await start(runtime, engine, SERVE)
    await wait_for(lambda: fetch(runtime.get_endpoint(KEY, 8080)))
    monkeypatch.setattr(api, "LOOK_S", 0.3)
    os.kill(dockerd.pid, signal.SIGSTOP)
    try:
        with pytest.raises(Temporary, match="gave no answer in time"):
            await asyncio.wait_for(runtime.observe(), WAIT_S)
        assert await fetch(runtime.get_endpoint(KEY, 8080)) == b"hello\n"
    finally:
        os.kill(dockerd.pid, signal.SIGCONT)
    monkeypatch.undo()
    assert (await get_state(runtime)).phase == "running"


async def test_nodes_on_one_daemon_leave_each_other_alone(
    runtime: Runtime, engine: Engine, dockerd: Dockerd, tmp_path: Path, store: Path
) -> None:
    await start(runtime, engine, serve("first"))
    (image,) = {line for line in docker(dockerd, "image", "ls", "-q", f"fluxcloud/{engine.image[7:39]}")}
    async with open_runtime(dockerd, tmp_path / "other", store, "node-2", subnets="10.202.0.0/24") as other:
        assert await other.observe() == []
        await other.prepare(engine.image)
        tags = docker(dockerd, "image", "ls", "--format", "{{.ID}} {{.Tag}}", f"fluxcloud/{engine.image[7:39]}")
        assert sorted(tags) == sorted([image, "node-1", image, "node-2"])
        await start(other, engine, serve("second"))
        assert other.get_endpoint(KEY, 8080).host.startswith("10.202.0.")
        for node, text in ((runtime, b"first\n"), (other, b"second\n")):
            assert await wait_for(lambda node=node: fetch(node.get_endpoint(KEY, 8080))) == text

        assert await faults.pause_node(dockerd.socket, "node-2") == 2
        assert (await get_state(other)).phase == "running"
        assert await faults.unpause_node(dockerd.socket, "node-2") == 2
        assert await fetch(other.get_endpoint(KEY, 8080)) == b"second\n"

        assert await faults.kill_node(dockerd.socket, "node-2") == 2
        assert await faults.kill_node(dockerd.socket, "node-2") == 0
        ended = await wait_phase(other, "exited")
        assert (ended.exit_code, ended.reason) == (137, "exit")
        assert (await get_state(runtime)).phase == "running"
        assert await fetch(runtime.get_endpoint(KEY, 8080)) == b"first\n"
        await other.start(KEY, "web")
        assert await wait_for(lambda: fetch(other.get_endpoint(KEY, 8080))) == b"second\n"

        assert await faults.remove_node(dockerd.socket, "node-2") == 2
        assert await other.observe() == []
    assert docker(dockerd, "network", "ls", "-q", "--filter", "label=fluxcloud.node=node-2") == []
    assert "node-2" not in docker(dockerd, "image", "ls", "--format", "{{.Tag}}")
    assert (await get_state(runtime)).phase == "running"


async def test_images_that_nothing_needs_go(dockerd: Dockerd, tmp_path: Path) -> None:
    """With the manifest in the content store, or as the one to keep, an image stays."""
    store = ContentStore(tmp_path / "own")
    digest, none = build_busybox_image(store, user="nobody"), "sha256:" + "0" * 64
    client = api.DockerApi(dockerd.socket)
    await client.open()
    images = ImageLoader(client, store, "node-9")

    async def is_there() -> bool:
        return await client.inspect_image(make_name(digest, "node-9")) is not None

    try:
        await images.ensure(digest)
        await images.collect(none)
        assert await is_there()
        store.delete(digest)
        await images.collect(digest)
        assert await is_there()
        await images.collect(none)
        assert not await is_there()
        with pytest.raises(Temporary, match="not in the content store"):
            await images.ensure(digest)
    finally:
        await client.close()


async def test_a_paused_copy_can_be_stopped_and_removed(runtime: Runtime, engine: Engine, dockerd: Dockerd) -> None:
    await start(runtime, engine, POLITE)
    await wait_logs(runtime, 1)
    await faults.pause_node(dockerd.socket, NODE)
    await runtime.stop(KEY, "web", grace_s=WAIT_S)
    assert (await get_state(runtime)).exit_code == 9
    await runtime.remove(KEY)
    assert engine.leftovers() == []


async def test_a_used_up_pool_is_said(dockerd: Dockerd, engine: Engine, tmp_path: Path, store: Path) -> None:
    async with open_runtime(dockerd, tmp_path / "tiny", store, "node-3", subnets="10.203.0.0/30") as runtime:
        await runtime.create(make_copy(engine, component(engine, "web", POLITE)))
        other = CopyKey(KEY.app, 8)
        with pytest.raises(Temporary, match=r"no subnet is left in 10\.203\.0\.0/30.*docker_subnets"):
            await runtime.create(make_copy(engine, component(engine, "web", POLITE), key=other))
        assert [copy.key for copy in await runtime.observe()] == [KEY]
        await runtime.remove(KEY)
        await runtime.create(make_copy(engine, component(engine, "web", POLITE), key=other))


async def test_subnets_of_others_are_passed_over(dockerd: Dockerd, engine: Engine, tmp_path: Path, store: Path) -> None:
    docker(dockerd, "network", "create", "--subnet", "10.204.0.0/30", "stranger")
    try:
        async with open_runtime(dockerd, tmp_path / "n", store, "node-4", subnets="10.204.0.0/29") as runtime:
            await runtime.create(make_copy(engine, component(engine, "web", POLITE, ports=(80,))))
            assert runtime.get_endpoint(KEY, 80).host == "10.204.0.6"
    finally:
        docker(dockerd, "network", "rm", "stranger")


async def test_engines_that_are_not_there(tmp_path: Path) -> None:
    absent = DockerRuntime(RuntimeConfig(tmp_path, "n", tmp_path, extra={"socket": str(tmp_path / "none.sock")}))
    with pytest.raises(Temporary, match=r"no Docker Engine at .*none\.sock: start it"):
        await absent.open()
    with pytest.raises(Temporary, match="not open"):
        await absent.observe()


@contextmanager
def outside_world(dockerd: Dockerd) -> Iterator[None]:
    """A neighbour of the daemon's machine with a public, a private and a metadata address, which answers on all."""
    box = subprocess.Popen(["unshare", "--net", "--", "sleep", "2147483647"])
    inside = ["nsenter", "-t", str(box.pid), "-n", "--"]
    servers = []
    try:
        until_it_is_apart(box.pid)
        run("ip", "link", "add", "out0", "type", "veth", "peer", "name", "eth0", "netns", str(box.pid))
        run("ip", "link", "set", "out0", "up")
        run(*inside, "ip", "link", "set", "eth0", "up")
        run(*inside, "ip", "link", "set", "lo", "up")
        for number, address in enumerate((PUBLIC, PRIVATE, METADATA)):
            run("ip", "addr", "add", f"{address[:-1]}{1 if number < 2 else 3}/24", "dev", "out0")
            run(*inside, "ip", "addr", "add", f"{address}/24", "dev", "eth0")
        for port in (80, 25):
            serving = [*inside, "busybox", "httpd", "-f", "-p", str(port), "-h", "/"]
            servers.append(subprocess.Popen(serving))
        yield
    finally:
        subprocess.run(["ip", "link", "del", "out0"], check=False)
        for process in (*servers, box):
            process.kill()
            process.wait()


def run(*argv: str) -> None:
    subprocess.run(argv, check=True)


def until_it_is_apart(pid: int) -> None:
    while os.readlink(f"/proc/{pid}/ns/net") == os.readlink("/proc/thread-self/ns/net"):
        os.sched_yield()


async def test_what_copies_may_reach(runtime: Runtime, engine: Engine, dockerd: Dockerd) -> None:
    """The public internet, but no mail port; not private addresses, nor the machine itself, nor other copies."""
    other = CopyKey(KEY.app, 8)
    await start(runtime, engine, POLITE)
    await start(runtime, engine, SERVE, other)
    neighbour = runtime.get_endpoint(other, 8080).host
    await wait_for(lambda: fetch(runtime.get_endpoint(other, 8080)))
    machine = await asyncio.start_server(lambda _, writer: writer.close(), "0.0.0.0", 8088)
    gateway = f"{neighbour.rpartition('.')[0]}.{int(neighbour.rpartition('.')[2]) - 1}"
    own = runtime.get_endpoint(KEY, 8080).host
    own_gateway = f"{own.rpartition('.')[0]}.{int(own.rpartition('.')[2]) - 1}"

    async def reach(address: str, port: int) -> bool:
        code, _ = await run_in(runtime, f"nc -w 1 {address} {port} </dev/null")
        return code == 0

    try:
        with outside_world(dockerd):
            assert await wait_for(lambda: reach(PUBLIC, 80))
            closed = [(PUBLIC, 25), (PRIVATE, 80), (METADATA, 80), (neighbour, 8080)]
            closed += [(gateway, 8088), (own_gateway, 8088), ("203.0.113.1", 8088)]
            assert [target for target in closed if await reach(*target)] == []

            many = f"for i in $(seq 150); do nc -w 1 {PUBLIC} 80 </dev/null || echo no & done; wait"
            _, output = await run_in(runtime, many)
            assert output.count("no") >= 20

            run("nft", "delete", "table", "inet", TABLE)
            assert await reach(PRIVATE, 80)
            await runtime.stop(KEY, "web", grace_s=WAIT_S)
            await runtime.start(KEY, "web")
            assert not await reach(PRIVATE, 80)
    finally:
        machine.close()


@pytest.mark.parametrize("command", [("/bin/sh", "-c", "exit 255"), ("/bin/true",)])
async def test_all_that_ends_at_once_is_seen(runtime: Runtime, engine: Engine, command: tuple[str, ...]) -> None:
    await start(runtime, engine, command)
    ended = await wait_phase(runtime, "exited")
    assert (ended.exit_code, ended.reason) == (255 if "exit 255" in command else 0, "exit")


async def test_many_copies_side_by_side(runtime: Runtime, engine: Engine) -> None:
    """Made at the same moment, with all that they may clash over: subnets, bridges, names."""
    keys = [CopyKey(KEY.app, number) for number in range(6)]
    await asyncio.gather(*(start(runtime, engine, serve(str(key.generation)), key) for key in keys))
    for key in keys:
        page = await wait_for(lambda key=key: fetch(runtime.get_endpoint(key, 8080)))
        assert page == f"{key.generation}\n".encode()
    assert len({runtime.get_endpoint(key, 8080).host for key in keys}) == 6
    assert {copy.key for copy in await runtime.observe()} == set(keys)
    await asyncio.gather(*(runtime.remove(key) for key in keys))
    assert engine.leftovers() == []
