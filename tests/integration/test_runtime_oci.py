"""The `oci` runtime passes the contract, and what is its own: agents that die, ordinary users, plain processes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fluxcloud.errors import Permanent, Temporary
from fluxcloud.images.build import Entry, build_image
from fluxcloud.images.busybox import find_busybox, list_busybox
from fluxcloud.images.hello import build_hello_image
from fluxcloud.images.manifest import Process
from fluxcloud.images.store import ContentStore
from fluxcloud.node.runtime import oci
from fluxcloud.node.runtime.base import ComponentSpec, Runtime, RuntimeConfig
from fluxcloud.node.runtime.machine import Machine, observe_machine
from fluxcloud.node.runtime.oci import OciRuntime
from fluxcloud.node.runtime.procs import list_pids
from integration.runtime_contract import (
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
    shell,
    wait_for,
    wait_logs,
    wait_phase,
)

APPLETS = (
    "dd",
    "hostname",
    "pgrep",
    "ps",
    "seq",
    "stty",
    "tail",
    "touch",
    "wc",
    "true",
    "grep",
    "test",
    "id",
    "adduser",
)
ORDINARY_UID = 4242
SRC = Path(oci.__file__).parents[3]
SCENARIO = Path(__file__).with_name("oci_scenario.py")


def build_busybox_image(store: ContentStore, *, user: str | None = None) -> str:
    busybox = find_busybox()
    assert busybox is not None, "install busybox-static"
    known = {entry.path for entry in list_busybox(busybox)}
    links = [Entry(f"bin/{name}", link="busybox") for name in APPLETS if f"bin/{name}" not in known]
    return build_image(store, [*list_busybox(busybox), *links], Process(env=["PATH=/bin"], user=user))


def list_leftovers(root: Path) -> list[str]:
    mounts = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(root) in line]
    files = [str(path) for name in ("copies", "s") for path in (root / name).glob("*")]
    cgroups = observe_machine(root).cgroups
    groups = cgroups.list_names() if cgroups else []
    return [*mounts, *files, *groups, *map(str, list_pids(root))]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture
def engine(tmp_path: Path, store: Path) -> Engine:
    root = tmp_path / "node"
    root.mkdir(mode=0o700)
    return Engine(
        make=lambda: OciRuntime(RuntimeConfig(root, "node-1", store)),
        image=build_busybox_image(ContentStore(store)),
        hard_limits=observe_machine(root).cgroups is not None,
        leftovers=lambda: list_leftovers(root),
    )


class TestOci(ContainerContract):
    async def test_isolation_is_full_as_root(self, engine: Engine) -> None:
        if os.geteuid() != 0:
            pytest.skip("needs root")
        runtime = engine.make()
        found = await runtime.open()
        await runtime.close()
        assert (found.engine, found.level, found.limits, found.egress) == ("oci", "full", "hard", "closed")

    async def test_a_killed_shim_takes_its_container_along(self, runtime: Runtime, engine: Engine) -> None:
        await self.start(runtime, engine, POLITE)
        pid = (await wait_phase(runtime, "running")).pid
        shim = int((find_copy(runtime) / "c/web/shim.pid").read_text().split()[0])
        os.kill(shim, signal.SIGKILL)
        ended = await wait_phase(runtime, "exited")
        assert (ended.exit_code, ended.reason) == (137, "engine")

        async def gone() -> bool:
            return not Path(f"/proc/{pid}").exists()

        await wait_for(gone)

    async def test_a_start_passes_through_no_end(self, runtime: Runtime, engine: Engine) -> None:
        await runtime.create(make_copy(engine, component(engine, "web", shell("sleep 0.1; exit 3"))))
        for restarts in range(3):
            phases = await observe_start(runtime)
            assert set(phases) <= {("created", restarts), ("running", restarts), ("created", restarts - 1)}
            await wait_phase(runtime, "exited")

    async def test_a_killed_relay_comes_back(self, runtime: Runtime, engine: Engine) -> None:
        await self.start(runtime, engine, SERVE, ports=(8080,))
        await wait_for(lambda: fetch(runtime.get_endpoint(KEY, 8080)))
        (relay,) = list_relays(runtime)
        os.kill(relay, signal.SIGKILL)

        async def other() -> bool:
            return bool(set(list_relays(runtime)) - {relay})

        await wait_for(other)
        assert await wait_for(lambda: fetch(runtime.get_endpoint(KEY, 8080))) == b"hello\n"

    async def test_a_dead_pod_is_made_anew(self, runtime: Runtime, engine: Engine) -> None:
        await self.start(runtime, engine, SERVE, ports=(8080,))
        for pid in list_pids(find_root(runtime)):
            with contextlib.suppress(ProcessLookupError):  # one that ends with its parent
                os.kill(pid, signal.SIGKILL)
        await wait_phase(runtime, "exited")
        await runtime.start(KEY, "web")
        assert await wait_for(lambda: fetch(runtime.get_endpoint(KEY, 8080))) == b"hello\n"
        assert (await get_state(runtime)).restarts == 1

    async def test_an_image_with_a_user(self, runtime: Runtime, engine: Engine, store: Path) -> None:
        image = build_busybox_image(ContentStore(store), user="nobody")
        await runtime.prepare(image)
        spec = ComponentSpec(
            "web", image, shell("id -u; touch /root-only; nc -l -p 80 & echo done; wait"), memory_mib=64
        )
        await runtime.create(make_copy(engine, spec))
        await runtime.start(KEY, "web")
        assert b"65534" in [line.text for line in await wait_logs(runtime, 2)]
        stream = await runtime.exec(
            KEY, "web", shell("id -u; grep CapEff /proc/self/status; grep CapEff /proc/1/status")
        )
        output = b"".join([chunk async for _, chunk in stream.read()]).decode().split()
        assert output == ["65534", "CapEff:", "0" * 16, "CapEff:", "0" * 16]

    async def test_root_of_the_container_becomes_somebody_else(self, runtime: Runtime, engine: Engine) -> None:
        if os.geteuid() != 0:
            pytest.skip("needs root: one id only is mapped else")
        await self.start(runtime, engine, shell("touch /f && chown nobody /f && ls -ln /f; id -u"))
        lines = [line.text.split() for line in await wait_logs(runtime, 2)]
        assert lines[0][2] == b"65534"
        assert lines[1] == [b"0"]

    async def test_no_user_namespaces_inside(self, runtime: Runtime, engine: Engine) -> None:
        await self.start(runtime, engine, POLITE)
        pid = (await wait_phase(runtime, "running")).pid
        entered = ["nsenter", "-t", str(pid), "-U", "--", "unshare", "--user", "true"]
        if os.geteuid() != 0:
            entered.insert(1, "--preserve-credentials")
        done = subprocess.run(entered, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert "No space left on device" in done.stderr

    async def test_logs_stay_in_their_bound(self, engine: Engine, tmp_path: Path, store: Path) -> None:
        root = tmp_path / "small"
        runtime = OciRuntime(RuntimeConfig(root, "node-1", store, log_max_bytes=200_000))
        await runtime.open()
        await runtime.prepare(engine.image)
        try:
            await self.start(runtime, engine, shell("seq 100000; printf %040000d 7; sleep 1000"))

            async def last() -> Any:
                lines = await read_logs(runtime, tail=1)
                return lines if lines and lines[0].text == b"0" * 16383 + b"0" else None

            await wait_for(last)
            folder = next((root / "copies").iterdir()) / "c/web/log"
            assert sum(path.stat().st_size for path in folder.iterdir() if path.name.isdigit()) <= 200_000
            lines = await read_logs(runtime)
            numbers = [int(line.text) for line in lines if len(line.text) < 10]
            assert numbers == list(range(numbers[0], 100_001))
            assert await read_logs(runtime, after="0", tail=2) == lines[-2:]
        finally:
            await runtime.remove(KEY)
            await runtime.close()

    async def test_long_roots(self, engine: Engine, tmp_path: Path, store: Path) -> None:
        root = tmp_path / ("long-" * 30)
        runtime = OciRuntime(RuntimeConfig(root, "node-1", store))
        await runtime.open()
        await runtime.prepare(engine.image)
        try:
            await self.start(runtime, engine, SERVE, ports=(8080,))
            assert await wait_for(lambda: fetch(runtime.get_endpoint(KEY, 8080))) == b"hello\n"
        finally:
            await runtime.remove(KEY)
            await runtime.close()

    async def test_a_broken_record_is_shown_and_removed(self, runtime: Runtime, engine: Engine) -> None:
        await self.start(runtime, engine, POLITE)
        (find_copy(runtime) / "copy.json").write_bytes(b"{")
        (copy,) = await runtime.observe()
        assert copy.key == KEY
        assert copy.broken.startswith("copy.json: ")
        with pytest.raises(Permanent):
            await runtime.start(KEY, "web")
        await runtime.remove(KEY)
        assert engine.leftovers() == []

    async def test_what_was_half_made_is_cleared_away(self, runtime: Runtime, engine: Engine) -> None:
        await self.start(runtime, engine, POLITE)
        (find_copy(runtime) / "copy.json").unlink()
        other = engine.make()
        await other.open()
        assert engine.leftovers() == []
        await other.close()

    async def test_a_full_disk_is_said_and_leaves_nothing(self, engine: Engine, tmp_path: Path, store: Path) -> None:
        if os.geteuid() != 0:
            pytest.skip("needs root to mount a small file system")
        root = tmp_path / "tiny"
        root.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1M", "tmpfs", str(root)], check=True)
        try:
            runtime = OciRuntime(RuntimeConfig(root, "node-1", store))
            await runtime.open()
            with pytest.raises(Temporary, match="the disk is full"):
                await runtime.prepare(engine.image)
            assert list((root / "images").iterdir()) == []
            await runtime.close()
        finally:
            subprocess.run(["umount", str(root)], check=True)


@pytest.mark.parametrize("overlay", [True, False])
async def test_machines_that_can_do_less(engine: Engine, overlay: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without mapped mounts, and without overlays: shared ids, a read-only root with folders in memory, soft limits."""

    def observe_less(root: Path) -> Machine:
        return replace(observe_machine(root), own_ids=False, overlay=overlay, cgroups=None)

    monkeypatch.setattr(oci, "observe_machine", observe_less)
    runtime = engine.make()
    found = await runtime.open()
    try:
        assert (found.level, found.limits) == ("namespaces", "soft")
        await runtime.prepare(engine.image)
        serving = "mkdir /tmp/w && cat /etc/passwd >/tmp/w/index.html && exec httpd -f -p 8080 -h /tmp/w"
        command = shell(f"touch /new; {serving}")
        files = (("/etc/passwd", b"mine\n"),)
        await runtime.create(make_copy(engine, component(engine, "web", command, ports=(8080,), files=files)))
        await runtime.start(KEY, "web")
        assert await wait_for(lambda: fetch(runtime.get_endpoint(KEY, 8080))) == b"mine\n"
        told = [] if overlay else [b"touch: /new: Read-only file system"]
        lines = await (wait_logs(runtime, len(told)) if told else read_logs(runtime))
        assert [line.text for line in lines if line.stream == "err"] == told
        assert os.stat(f"/proc/{(await get_state(runtime)).pid}").st_uid != 0
        assert (await runtime.get_usage(KEY, "web")).pids == 1
    finally:
        await runtime.remove(KEY)
        await runtime.close()
    assert engine.leftovers() == []


async def test_copies_outlive_a_killed_agent(engine: Engine, tmp_path: Path, store: Path) -> None:
    agent = subprocess.Popen(
        [sys.executable, str(SCENARIO), "start", str(tmp_path / "node"), str(store), engine.image],
        stdout=subprocess.PIPE,
    )
    assert agent.stdout is not None
    assert await asyncio.to_thread(agent.stdout.readline) == b"started\n"
    agent.kill()
    agent.wait()
    agent.stdout.close()
    runtime = engine.make()
    await runtime.open()
    try:
        assert (await get_state(runtime)).phase == "running"
        assert await wait_for(lambda: fetch(runtime.get_endpoint(KEY, 8080))) == b"hello\n"
        await runtime.stop(KEY, "web", grace_s=0.1)
        assert (await wait_phase(runtime, "exited")).exit_code == 137
    finally:
        await runtime.remove(KEY)
        await runtime.close()
    assert engine.leftovers() == []


async def test_as_an_ordinary_user(engine: Engine, tmp_path_factory: pytest.TempPathFactory, store: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to become somebody else")
    python = find_public_python()
    place = Path("/tmp", f"fluxcloud-test-{os.getpid()}")
    place.mkdir()
    os.chown(place, ORDINARY_UID, ORDINARY_UID)
    ids = [f"--reuid={ORDINARY_UID}", f"--regid={ORDINARY_UID}", "--clear-groups"]
    packages = ":".join([str(SRC), *(path for path in sys.path if path.endswith("site-packages"))])
    # The scenario builds its image anew: the store of this test run is not readable for others.
    argv = ["setpriv", *ids, python, str(SCENARIO), "all", str(place / "node"), str(place / "store")]
    env = {"PATH": os.environ["PATH"], "HOME": str(place), "PYTHONPATH": packages, "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = await asyncio.to_thread(
            subprocess.run, argv, capture_output=True, text=True, cwd="/", env=env, timeout=60, check=False
        )
        assert (done.stderr, done.returncode) == ("", 0)
        assert done.stdout.splitlines() == [
            "namespaces soft closed",
            "hello",
            "exit 3",
            "cap 0000000000000000",
            "left 0",
        ]
        assert list_pids(place / "node") == []
    finally:
        shutil.rmtree(place)


async def test_without_containers_only_hello_runs(
    engine: Engine, tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("sh", "sleep", "rm", "chmod"):
        (tools / name).symlink_to(shutil.which(name) or "")
    monkeypatch.setenv("PATH", str(tools))
    hello = build_hello_image(ContentStore(store))
    runtime = engine.make()
    found = await runtime.open()
    try:
        assert (found.level, found.limits, found.egress) == ("none", "soft", "open")
        assert "bwrap" in found.notes[0]
        with pytest.raises(Permanent, match="only the built-in hello image"):
            await runtime.prepare(engine.image)
        await runtime.prepare(hello)
        env = (("FLUXCLOUD_APP", "shop"), ("FLUXCLOUD_NODE", "n1"), ("FLUXCLOUD_SLOT", "2"))
        await runtime.create(make_copy(engine, ComponentSpec("web", hello, env=env, ports=(8080,))))
        assert set(await observe_start(runtime)) <= {("created", 0), ("running", 0)}
        page = await wait_for(lambda: fetch(runtime.get_endpoint(KEY, 8080)))
        assert b"Hello from shop" in page
        assert b"slot <b>2</b>" in page
        await runtime.stop(KEY, "web", grace_s=WAIT_S)
        assert (await get_state(runtime)).exit_code == 143
    finally:
        await runtime.remove(KEY)
        await runtime.close()
    assert engine.leftovers() == []


async def observe_start(runtime: Runtime) -> list[tuple[str, int]]:
    """Phase and restarts, as often as they can be looked at while a component starts."""
    starting, seen = asyncio.create_task(runtime.start(KEY, "web")), []
    while not starting.done():
        await asyncio.sleep(0)
        state = await get_state(runtime)
        seen.append((state.phase, max(state.restarts, 0)))
    await starting
    return seen


def find_root(runtime: Runtime) -> Path:
    assert isinstance(runtime, OciRuntime)
    return runtime.root


def list_relays(runtime: Runtime) -> list[int]:
    found = []
    for pid in list_pids(find_root(runtime)):
        with contextlib.suppress(FileNotFoundError):  # ended since
            if Path(f"/proc/{pid}/cmdline").read_text().startswith(sys.executable):
                found.append(pid)
    return found


def find_copy(runtime: Runtime) -> Path:
    return find_root(runtime) / "copies" / f"{KEY.app}.{KEY.generation}"


def find_public_python() -> str:
    """This interpreter, or one like it that other users may run."""
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for path in (sys.executable, f"/usr/bin/{name}", f"/usr/local/bin/{name}"):
        ids = [f"--reuid={ORDINARY_UID}", f"--regid={ORDINARY_UID}", "--clear-groups"]
        argv = ["setpriv", *ids, "sh", "-c", '"$0" -c ""', path]
        if os.path.exists(path) and subprocess.run(argv, capture_output=True, check=False).returncode == 0:
            return path
    pytest.skip(f"no {name} that an ordinary user may run")
