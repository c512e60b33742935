"""Podman's service for tests, in namespaces of its own as the daemon of dockerd.py is; its images, containers and
networks are in a temporary folder. Tests enter the network namespace, for that is where the copies' addresses are."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dockerd import START_S, enter_network, start_box
from engines import require_engine

_PAUSE_S = 0.02
# Its own limits would be over the hard ones of a test machine. Only netavark knows how to keep copies' own addresses.
_CONFIG = """
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=20000:20000", "core=0:0"]
[network]
network_backend = "netavark"
"""


class Podman:
    """Use `run_podman`."""

    def __init__(self, folder: Path, box: int) -> None:
        self.folder = folder
        self.socket = str(folder / "podman.sock")
        self._box = box

    def run(self, *argv: str) -> list[str]:
        """Words of what Podman's own client says: another user of the same engine."""
        return subprocess.run(
            self._build_argv(*argv), env=self._env, capture_output=True, text=True, check=True
        ).stdout.split()

    def start(self) -> subprocess.Popen[bytes]:
        """Returns when it answers."""
        with (self.folder / "podman.log").open("ab") as log:
            process = subprocess.Popen(
                self._build_argv("system", "service", "--time=0", f"unix://{self.socket}"),
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_S
        while not self._is_answering():
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"podman did not start: {(self.folder / 'podman.log').read_text()[-2000:]}")
            time.sleep(_PAUSE_S)
        return process

    @property
    def _env(self) -> dict[str, str]:
        return {**os.environ, "CONTAINERS_CONF": str(self.folder / "containers.conf")}

    def _build_argv(self, *argv: str) -> list[str]:
        folder = self.folder
        return [
            *("nsenter", "-t", str(self._box), "-n", "-m", "--", "podman"),
            *("--root", str(folder / "root"), "--runroot", str(folder / "run"), "--tmpdir", str(folder / "tmp")),
            *("--network-config-dir", str(folder / "networks"), "--storage-driver", "overlay"),
            *("--runtime", "runc", "--cgroup-manager", "cgroupfs", "--events-backend", "file", *argv),
        ]

    def _is_answering(self) -> bool:
        try:
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(5.0)
                client.connect(self.socket)
                client.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
                return b" 200 " in client.recv(1024)
        except OSError:
            return False


@contextmanager
def run_podman() -> Iterator[Podman]:
    """The service, and this thread in its network; skips (or fails, see engines.py) where there can be none."""
    for program in ("podman", "runc", "iptables"):
        require_engine(program)
    if os.geteuid() != 0:
        pytest.skip("a rootful podman needs root")
    folder = Path(tempfile.gettempdir(), f"fluxcloud-podman-{os.getpid()}")
    folder.mkdir(0o711)
    (folder / "containers.conf").write_text(_CONFIG)
    box = start_box(folder)
    podman = Podman(folder, box.pid)
    # Addresses that are taken are noted there, whatever folders are named.
    subprocess.run(["nsenter", "-t", str(box.pid), "-m", "--", "mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
    try:
        with enter_network(box.pid):
            service = podman.start()
            try:
                yield podman
            finally:
                podman.run("rm", "--all", "--force", "--time", "0")
                service.terminate()
                service.wait(20.0)
    finally:
        box.kill()
        box.wait()
        shutil.rmtree(folder)
