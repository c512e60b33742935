"""A Docker daemon for tests, started by hand where no service manager runs, apart from everything else on the machine.

It lives in a network and a mount namespace of its own, which an idle process keeps while the daemon is killed and
started again; data, sockets and ranges of ids are in a temporary folder. Tests enter the network namespace, for that is
where the copies' addresses are. At the end all processes of the mount namespace are killed, each by its pid.
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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from engines import require_engine

IDS_FIRST = 500_000
START_S = 60.0
_CLONE_NEWNET = 0x40000000
_PAUSE_S = 0.02
_libc = ctypes.CDLL(None, use_errno=True)


class Dockerd:
    """Use `run_dockerd`. `kill` and `start` again are for tests of what outlives a daemon."""

    def __init__(self, folder: Path, box: int) -> None:
        self.folder = folder
        self.socket = str(folder / "docker.sock")
        self.log = folder / "dockerd.log"
        self.box = box
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Returns when it answers."""
        # Files of a containerd that was killed: the next one would wait a minute for it.
        for pattern in ("exec/containerd/*.pid", "exec/containerd/*.sock*", "dockerd.pid"):
            for path in self.folder.glob(pattern):
                path.unlink()
        argv = ["nsenter", "-t", str(self.box), "-n", "-m", "--", *self._build_argv()]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + START_S
        while not self.is_answering():
            if self._process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"dockerd did not start: {self.log.read_text()[-2000:]}")
            time.sleep(_PAUSE_S)

    def kill(self) -> None:
        """SIGKILL the daemon alone, with the containerd that it has started."""
        for pid in (self.pid, *self._find_containerd()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        assert self._process is not None
        self._process.wait()

    def is_answering(self) -> bool:
        try:
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(5.0)
                client.connect(self.socket)
                client.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
                return b" 200 " in client.recv(1024)
        except OSError:
            return False

    def list_pids(self) -> list[int]:
        """All processes of the mount namespace: the idle one, the daemons, what carries the containers."""
        own = os.readlink(f"/proc/{self.box}/ns/mnt")
        found = []
        for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{pid}/ns/mnt") == own:
                    found.append(pid)
        return found

    def end(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(20.0)
        while pids := [pid for pid in self.list_pids() if pid != self.box]:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if self._process is not None:
                self._process.poll()
            time.sleep(_PAUSE_S)

    def _build_argv(self) -> list[str]:
        folder = self.folder
        return [
            "dockerd",
            *("--config-file", str(folder / "daemon.json"), "--pidfile", str(folder / "dockerd.pid")),
            *("--data-root", str(folder / "data"), "--exec-root", str(folder / "exec")),
            *("--host", f"unix://{self.socket}", "--bridge", "none", "--live-restore"),
            *("--containerd-namespace", folder.name, "--containerd-plugins-namespace", f"{folder.name}-plugins"),
            *("--cgroup-parent", f"/{folder.name}", "--userns-remap", "nobody:nobody"),
            *("--default-ulimit", "nofile=20000:20000", "--shutdown-timeout", "1"),
        ]

    def _find_containerd(self) -> list[int]:
        path = self.folder / "exec" / "containerd" / "containerd.pid"
        return [int(path.read_text())] if path.exists() else []


@contextmanager
def run_dockerd() -> Iterator[Dockerd]:
    """A daemon, and this thread in its network; skips (or fails, see engines.py) where there can be none."""
    require_engine("dockerd", package="docker.io")
    require_engine("iptables")
    if os.geteuid() != 0:
        pytest.skip("dockerd needs root")
    folder = Path(tempfile.gettempdir(), f"fluxcloud-dockerd-{os.getpid()}")
    folder.mkdir(0o711)  # the engine's own ids go through it
    (folder / "daemon.json").write_text("{}")
    box = start_box(folder)
    daemon = Dockerd(folder, box.pid)
    try:
        with enter_network(box.pid):
            daemon.start()
            yield daemon
    finally:
        daemon.end()
        box.kill()
        box.wait()
        shutil.rmtree(folder)
        _remove_groups(folder.name)


def start_box(folder: Path) -> subprocess.Popen[bytes]:
    """The process that keeps the namespaces; it has said `ready` when all is in place."""
    for name in ("subuid", "subgid"):
        (folder / name).write_text(f"nobody:{IDS_FIRST}:65536\n")
    (folder / "group").write_text(f"{Path('/etc/group').read_text()}\nnobody:x:65534:\n")
    binds = " && ".join(f"mount --bind {folder}/{name} /etc/{name}" for name in ("subuid", "subgid", "group"))
    script = f"ip link set lo up && {binds} && echo ready && exec sleep 2147483647"
    argv = ["unshare", "--net", "--mount", "--propagation", "private", "--", "sh", "-c", script]
    box = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    assert box.stdout is not None
    with box.stdout:
        if box.stdout.readline() != b"ready\n":
            box.wait()
            pytest.skip("no network and mount namespaces can be made here")
    return box


@contextmanager
def enter_network(pid: int) -> Iterator[None]:
    """This thread, and those that it starts, in the network namespace of a process."""
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


def _remove_groups(name: str) -> None:
    """The daemon's control groups, empty by now, deepest first."""
    for mount in Path("/sys/fs/cgroup").glob("*"):
        for place, _, _ in os.walk(mount / name, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(place)
    for place, _, _ in os.walk(Path("/sys/fs/cgroup", name), topdown=False):
        with contextlib.suppress(OSError):
            os.rmdir(place)
