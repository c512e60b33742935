"""A machine that is in a bad way: taken ports, damaged files, a full disk, no sandbox, an `up` that was killed."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

import factories_archives as archives

from .harness import Network, run_cli, running_network

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a network that has run and was stopped."""
    data: Path = tmp_path_factory.mktemp("network") / "data"
    with running_network(data) as network:
        network.wait_for("hello is whole", network.is_whole)
    return data


@contextmanager
def damaged(*files: Path, content: bytes | None = b"\xc1garbage") -> Iterator[None]:
    """These files hold something else, or are gone, for a while."""
    before = {file: (file.read_bytes(), file.stat().st_mode) for file in files}
    for file in files:
        file.unlink() if content is None else file.write_bytes(content)
    try:
        yield
    finally:
        for file, (raw, mode) in before.items():
            file.write_bytes(raw)
            file.chmod(mode)


def read_generations(network: Network) -> list[tuple[str, int]]:
    return [(row["node"], row["generation"]) for row in network.json("ps", "hello")["copies"]]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("network.json", b"{"),
        ("network.json", b'{"nodes": [], "gateways": {}, "engine": "oci"}'),
        ("genesis.json", b"[[["),
        ("genesis.json", None),
        ("keys/dev-1.key", b"no key\n"),
        ("keys/dev-1.key", None),
    ],
)
def test_damaged_file__is_named_with_the_remedy(stopped: Path, name: str, content: bytes | None) -> None:
    with damaged(stopped / name, content=content):
        done = run_cli(stopped, "up")
    assert done.returncode == 2, done.stderr
    assert f"error[config/1]: {stopped / name}: " in done.stderr
    assert "begin anew with `fluxcloud up --reset`" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("chain/data/data.mdb", b"x" * 20_000, "chain can't run"),
        ("chain/validator.key", b"no key\n", "chain can't run"),
        ("nodes/n1/hot.key", b"no key\n", "n1 can't run"),
        ("gateways/g1/cert.der", b"no certificate", "g1 can't run"),
    ],
)
def test_daemon_that_cannot_run__is_named_with_its_reason(stopped: Path, name: str, content: bytes, said: str) -> None:
    with damaged(stopped / name, content=content), starting(stopped) as told:
        network = Network(stopped, told.process)
        network.wait_for("the reason is told", lambda: said in told.read())
        assert str(stopped / name).rpartition("/data.mdb")[0] in told.read()
        assert "try   put it back from a copy" in told.read()
        error = run_cli(stopped, "status", "--wait", "0.1")
        assert error.returncode == 5
        assert said in error.stderr
        assert (told.read() + network.tail_logs(1000)).partition("Traceback")[2] == ""


class Told:
    """An `up` under way and what it prints."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process, self._log = process, log

    def read(self) -> str:
        return self._log.read_text()


@contextmanager
def starting(data: Path, *options: str) -> Iterator[Told]:
    """`up`, not waited for."""
    log = data.parent / "told.log"
    for old in (data / "logs").glob("*.log"):
        old.unlink()
    with log.open("wb") as output:
        argv = [sys.executable, "-m", "fluxcloud.cli.main", "up", *options]
        environment = {**os.environ, "FLUXCLOUD_DATA": str(data)}
        process = subprocess.Popen(argv, env=environment, stdout=output, stderr=output, start_new_session=True)
    try:
        yield Told(process, log)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


def test_kept_files_that_are_garbage__are_read_anew_and_nothing_restarts(stopped: Path) -> None:
    specs = next(stopped.glob("nodes/*/specs/*"))
    files = [stopped / "gateways/g1/table.msgpack", stopped / "pids.json", specs, specs.parents[1] / "assignment"]
    with running_network(stopped) as network:
        network.wait_for("hello is whole", network.is_whole)
        before = read_generations(network)
    with damaged(*files), running_network(stopped) as network:
        network.wait_for("hello is whole", network.is_whole)
        assert read_generations(network) == before
        assert network.tail_logs(1000).partition("Traceback")[2] == ""


def test_up_is_killed__the_next_one_ends_what_was_left_and_keeps_the_state(stopped: Path) -> None:
    with running_network(stopped) as network:
        network.wait_for("hello is whole", network.is_whole)
        before = read_generations(network)
        left = [row["pid"] for row in network.json("status")["processes"]]
        network.process.send_signal(signal.SIGKILL)
        network.process.wait()
        with running_network(stopped) as again:
            again.wait_for("hello is whole again", again.is_whole)
            assert read_generations(again) == before
            assert not set(left) & {row["pid"] for row in again.json("status")["processes"]}
            assert not [pid for pid in left if Path(f"/proc/{pid}").exists()]
    assert "ended what an earlier `up` had left running" in (stopped.parent / "data.up.log").read_text()


def test_taken_ports__name_who_has_them_and_others_are_used(stopped: Path) -> None:
    with socket.socket() as gateway, socket.socket() as chain:
        gateway.bind(("127.0.0.1", 0))
        gateway.listen()
        chain.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections that ended stay a minute
        with suppress(OSError):  # another network may have it; it is taken then, too
            chain.bind(("127.0.0.1", 26_659))
            chain.listen()
        port = gateway.getsockname()[1]
        with running_network(stopped, "--port", str(port)) as network:
            network.wait_for("hello is whole", network.is_whole)
            used = int(network.context()["gateway"].rpartition(":")[2])
    told = (stopped.parent / "data.up.log").read_text()
    assert f"port {port} for gateway g1 is taken by " in told
    assert f"(pid {os.getpid()}); using {used}" in told
    assert "port 26659 for the ledger is taken by " in told
    assert used != port


def test_no_sandbox__only_the_built_in_app_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for folder in os.get_exec_path():
        for tool in Path(folder).iterdir() if Path(folder).is_dir() else ():
            if tool.name != "bwrap" and not (tools / tool.name).is_symlink():
                (tools / tool.name).symlink_to(tool)
    monkeypatch.setenv("PATH", str(tools))
    archive = archives.write_archive(tmp_path / "other.tar", archives.make_layout(archives.make_busybox_layer()))
    with running_network(tmp_path / "data") as network:
        network.wait_for("hello is whole", network.is_whole)
        assert "only the built-in hello app runs" in network.run("doctor", check=False).stdout
        done = network.run("deploy", str(archive), check=False)
        assert done.returncode == 8, done.stderr
        assert "only the built-in hello image can run: bwrap not found" in done.stderr
        assert "apt-get install bubblewrap" not in done.stdout
        assert network.is_whole()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[Path], None]]:
    """Puts a folder on a disk of its own, with hardly any room left."""
    mounted: list[Path] = []

    def make_small(folder: Path) -> None:
        kept = tmp_path / "kept"
        shutil.copytree(folder, kept, symlinks=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=5m,mode=700", "tmpfs", folder], check=True)
        mounted.append(folder)
        shutil.copytree(kept, folder, symlinks=True, dirs_exist_ok=True)
        with suppress(OSError), (folder / "filler").open("wb") as filler:
            free = shutil.disk_usage(folder).free
            filler.write(bytes(max(0, free - 300_000)))

    yield make_small
    for folder in mounted:
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.needs_root
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_disk_of_a_node_is_full__its_copies_go_elsewhere(tmp_path: Path, small_disk: Callable[[Path], None]) -> None:
    data = tmp_path / "data"
    with running_network(data, "--no-demo") as network:
        pass
    small_disk(data / "nodes" / "n3")
    archive = archives.write_archive(tmp_path / "app.tar", archives.make_layout(archives.make_busybox_layer()))
    with running_network(data, "--no-demo") as network:
        for name in ("one", "two"):
            served = network.json("deploy", str(archive), "--name", name)
            assert served["served_s"] is not None
            copies = network.json("ps", name)["copies"]
            assert [row["phase"] for row in copies if row["role"] == "active"] == ["running"] * 3
            assert "n3" not in {row["node"] for row in copies}
        states = {row["node"]: row["state"] for row in network.json("node", "list")["nodes"]}
        assert states["n3"] == "active", "a full disk is said with each copy; the node itself is well"
        assert network.tail_logs(1000).partition("Traceback")[2] == ""
        assert "No space left on device" in (data / "logs" / "n3.log").read_text()
