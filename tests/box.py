"""A place for a container engine of the tests, apart from everything else on the machine.

A network and a mount namespace, which an idle process keeps while the engine is killed and started again, and a
temporary folder. Tests enter the network namespace, for that is where the copies' addresses are. With the engine all
processes of the mount namespace end, each killed by its pid.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

IDS_FIRST = 500_000
START_S = 60.0
END_S = 20.0
_CLONE_NEWNET = 0x40000000
_PAUSE_S = 0.02
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Box:
    """Use `open_box`. `pid`: the idle process."""

    folder: Path
    pid: int

    def start(
        self, name: str, argv: list[str], address: str, environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Run an engine; returns when it answers at the socket `address`."""
        log = self.folder / f"{name}.log"
        with log.open("ab") as output:
            process = subprocess.Popen(
                [*self.build_prefix(), *argv],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_S
        while not _is_answering(address):
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"{name} did not start: {log.read_text()[-2000:]}")
            time.sleep(_PAUSE_S)
        return process

    def build_prefix(self) -> list[str]:
        """What a command begins with that is to run inside."""
        return ["nsenter", "-t", str(self.pid), "-n", "-m", "--"]

    def stop(self, engine: subprocess.Popen[bytes]) -> None:
        """Ask it to end, else kill it; then all that carried its containers or was left by it."""
        engine.terminate()
        try:
            engine.wait(END_S)
        except subprocess.TimeoutExpired:
            engine.kill()
            engine.wait()
        self.kill_all()

    def kill_all(self) -> None:
        """Everything but the idle process."""
        while pids := [pid for pid in self._list_pids() if pid != self.pid]:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(_PAUSE_S)

    def _list_pids(self) -> list[int]:
        """All processes of the mount namespace."""
        own = os.readlink(f"/proc/{self.pid}/ns/mnt")
        found = []
        for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{pid}/ns/mnt") == own:
                    found.append(pid)
        return found


@contextmanager
def open_box(name: str) -> Iterator[Box]:
    """This thread, and those that it starts, are in its network meanwhile; skips where there can be none."""
    if os.geteuid() != 0:
        pytest.skip(f"{name} needs root")
    folder = Path(tempfile.gettempdir(), f"fluxcloud-{name}-{os.getpid()}")
    folder.mkdir(0o711)  # the engine's own ids go through it
    idle = _start_idle(folder)
    box = Box(folder, idle.pid)
    try:
        with _enter_network(box.pid):
            yield box
    finally:
        box.kill_all()
        idle.kill()
        idle.wait()
        shutil.rmtree(folder)


def _start_idle(folder: Path) -> subprocess.Popen[bytes]:
    """It has said `ready` when all is in place."""
    for name in ("subuid", "subgid"):
        (folder / name).write_text(f"nobody:{IDS_FIRST}:65536\n")
    (folder / "group").write_text(f"{Path('/etc/group').read_text()}\nnobody:x:65534:\n")
    binds = " && ".join(f"mount --bind {folder}/{name} /etc/{name}" for name in ("subuid", "subgid", "group"))
    script = f"ip link set lo up && {binds} && echo ready && exec sleep 2147483647"
    argv = ["unshare", "--net", "--mount", "--propagation", "private", "--", "sh", "-c", script]
    idle = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    assert idle.stdout is not None
    with idle.stdout:
        if idle.stdout.readline() != b"ready\n":
            idle.wait()
            shutil.rmtree(folder)
            pytest.skip("no network and mount namespaces can be made here")
    return idle


@contextmanager
def _enter_network(pid: int) -> Iterator[None]:
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    inside = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
    try:
        _join(inside)
        yield
    finally:
        _join(before)
        os.close(inside)
        os.close(before)


def _join(namespace: int) -> None:
    if _libc.setns(namespace, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def _is_answering(address: str) -> bool:
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(5.0)
            client.connect(address)
            client.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
            return b" 200 " in client.recv(1024)
    except OSError:
        return False
