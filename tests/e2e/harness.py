"""Running `fluxcloud` as a user does: real processes, a data directory of its own, output as text or JSON."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

READY_S = 60


@dataclass
class Network:
    """A running `fluxcloud up` and the means to ask it things."""

    data: Path
    process: subprocess.Popen[bytes]
    prefix: tuple[str, ...] = ()

    def run(self, *arguments: str, timeout_s: float = 90, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = run_cli(self.data, *arguments, prefix=self.prefix, timeout_s=timeout_s)
        if check and done.returncode != 0:
            raise AssertionError(f"fluxcloud {' '.join(arguments)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def json(self, *arguments: str, timeout_s: float = 90) -> dict[str, Any]:
        body: dict[str, Any] = json.loads(self.run(*arguments, "--json", timeout_s=timeout_s).stdout.splitlines()[-1])
        return body

    def context(self) -> dict[str, Any]:
        return tomllib.loads((self.data / "context.toml").read_text())

    def pids(self, name: str) -> tuple[int, list[int]]:
        """(pid of the daemon, pids of its copies) of a process that `status` names."""
        process = next(row for row in self.json("status")["processes"] if row["name"] == name)
        rows = self.json("ps")["copies"] if process["kind"] == "node" else []
        copies = next((row["node_pids"] for row in rows if row["node"] == name), [])
        return process["pid"], copies

    def is_whole(self, app: str = "hello") -> bool:
        """Three copies run, the spare is ready, and every node is active."""
        copies = self.json("ps", app)["copies"]
        phases = sorted((row["role"], row["phase"]) for row in copies)
        nodes = {row["state"] for row in self.json("node", "list")["nodes"]}
        return phases == [("active", "running")] * 3 + [("standby", "ready")] and nodes == {"active"}

    def wait_for(self, what: str, holds: Callable[[], bool], timeout_s: float = 60) -> None:
        """Poll until it holds; the deadline is far, for a slow machine is no failure."""
        deadline = time.monotonic() + timeout_s
        while not holds():
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {timeout_s} s: {what}\n{self.tail_logs()}")
            time.sleep(0.1)

    def tail_logs(self, lines: int = 15) -> str:
        logs = sorted((self.data / "logs").glob("*.log"))
        return "\n".join(f"--- {log.name}\n" + "\n".join(log.read_text().splitlines()[-lines:]) for log in logs)


def run_cli(
    data: Path, *arguments: str, prefix: tuple[str, ...] = (), timeout_s: float = 90
) -> subprocess.CompletedProcess[str]:
    argv = [*prefix, sys.executable, "-m", "fluxcloud.cli.main", *arguments]
    environment = {**os.environ, "FLUXCLOUD_DATA": str(data), "NO_COLOR": "1"}
    return subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=timeout_s, check=False)


@contextmanager
def running_network(data: Path, *options: str, prefix: tuple[str, ...] = ()) -> Iterator[Network]:
    """`fluxcloud up` until it is ready; afterwards everything it started is gone."""
    environment = {**os.environ, "FLUXCLOUD_DATA": str(data), "NO_COLOR": "1"}
    argv = [*prefix, sys.executable, "-m", "fluxcloud.cli.main", "up", *options]
    data.parent.mkdir(parents=True, exist_ok=True)
    log = data.parent / f"{data.name}.up.log"
    with log.open("ab") as output:
        process = subprocess.Popen(argv, env=environment, stdout=output, stderr=output, start_new_session=True)
    network = Network(data, process, prefix)
    try:
        ready = run_cli(data, "status", "--wait", str(READY_S), prefix=prefix, timeout_s=READY_S + 10)
        if ready.returncode != 0:
            raise AssertionError(f"not ready: {ready.stderr}\n{log.read_text()}\n{network.tail_logs()}")
        yield network
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        run_cli(data, "down", "-q", prefix=prefix)
