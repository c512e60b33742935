"""Podman's service for tests; its images, containers and networks are in a box of its own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from box import Box, open_box
from engines import require_engine

# Its own limits would be over the hard ones of a test machine. Only netavark knows how to keep copies' own addresses.
_CONFIG = """
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=20000:20000", "core=0:0"]
[network]
network_backend = "netavark"
"""


class Podman:
    """Use `run_podman`."""

    def __init__(self, box: Box) -> None:
        folder = box.folder
        config = folder / "containers.conf"
        config.write_text(_CONFIG)
        self.socket = str(folder / "podman.sock")
        self._box = box
        self._environment = {**os.environ, "CONTAINERS_CONF": str(config)}
        self._command = [
            "podman",
            *("--root", str(folder / "root"), "--runroot", str(folder / "run"), "--tmpdir", str(folder / "tmp")),
            *("--network-config-dir", str(folder / "networks"), "--storage-driver", "overlay"),
            *("--runtime", "runc", "--cgroup-manager", "cgroupfs", "--events-backend", "file"),
        ]
        argv = [*self._command, "system", "service", "--time=0", f"unix://{self.socket}"]
        self._process = box.start("podman", argv, self.socket, self._environment)

    def run(self, *argv: str) -> list[str]:
        """Words of what Podman's own client says: another user of the same engine."""
        found = subprocess.run(
            [*self._box.build_prefix(), *self._command, *argv],
            env=self._environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return found.stdout.split()

    def end(self) -> None:
        """With its containers, and the processes that wait for minutes after each command started in one."""
        self.run("rm", "--all", "--force", "--time", "0")
        self._box.stop(self._process)


@contextmanager
def run_podman() -> Iterator[Podman]:
    """The service, and this thread in its network; skips (or fails, see engines.py) where there can be none."""
    for program in ("podman", "runc", "iptables"):
        require_engine(program)
    with open_box("podman") as box:
        # Addresses that are taken are noted there, whatever folders are named.
        subprocess.run([*box.build_prefix(), "mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
        podman = Podman(box)
        try:
            yield podman
        finally:
            podman.end()
