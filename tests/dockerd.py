"""A Docker daemon for tests, started by hand where no service manager runs; its data and ids are in its own box."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from box import Box, open_box
from engines import require_engine


class Dockerd:
    """Use `run_dockerd`. `kill` and `start` again are for tests of what outlives a daemon."""

    def __init__(self, box: Box) -> None:
        self.socket = str(box.folder / "docker.sock")
        self._box = box
        self._process = self._start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def start(self) -> None:
        """Again, after `kill`; returns when it answers."""
        # Files of a containerd that was killed: the next one would wait a minute for it.
        for pattern in ("exec/containerd/*.pid", "exec/containerd/*.sock*", "dockerd.pid"):
            for path in self._box.folder.glob(pattern):
                path.unlink()
        self._process = self._start()

    def kill(self) -> None:
        """SIGKILL the daemon alone, with the containerd that it has started."""
        for pid in (self.pid, *self._find_containerd()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()

    def end(self) -> None:
        self._box.stop(self._process)

    def _start(self) -> subprocess.Popen[bytes]:
        folder = self._box.folder
        argv = [
            "dockerd",
            *("--config-file", str(folder / "daemon.json"), "--pidfile", str(folder / "dockerd.pid")),
            *("--data-root", str(folder / "data"), "--exec-root", str(folder / "exec")),
            *("--host", f"unix://{self.socket}", "--bridge", "none", "--live-restore"),
            *("--containerd-namespace", folder.name, "--containerd-plugins-namespace", f"{folder.name}-plugins"),
            *("--cgroup-parent", f"/{folder.name}", "--userns-remap", "nobody:nobody"),
            *("--default-ulimit", "nofile=20000:20000", "--shutdown-timeout", "1"),
        ]
        return self._box.start("dockerd", argv, self.socket)

    def _find_containerd(self) -> list[int]:
        path = self._box.folder / "exec" / "containerd" / "containerd.pid"
        return [int(path.read_text())] if path.exists() else []


@contextmanager
def run_dockerd() -> Iterator[Dockerd]:
    """A daemon, and this thread in its network; skips (or fails, see engines.py) where there can be none."""
    require_engine("dockerd", package="docker.io")
    require_engine("iptables")
    with open_box("dockerd") as box:
        (box.folder / "daemon.json").write_text("{}")
        daemon = Dockerd(box)
        try:
            yield daemon
        finally:
            daemon.end()
            _remove_groups(box.folder.name)


def _remove_groups(name: str) -> None:
    """The daemon's control groups, empty by now, deepest first."""
    for mount in Path("/sys/fs/cgroup").glob("*"):
        for place, _, _ in os.walk(mount / name, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(place)
    for place, _, _ in os.walk(Path("/sys/fs/cgroup", name), topdown=False):
        with contextlib.suppress(OSError):
            os.rmdir(place)
