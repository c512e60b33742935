"""A local network for benchmarks: `fluxcloud up` in a directory of its own, asked through the command line."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CLI = (sys.executable, "-m", "fluxcloud.cli.main")


@dataclass
class Network:
    data: Path
    process: subprocess.Popen[bytes]
    ready_s: float

    def run(self, *arguments: str) -> str:
        return run_cli(self.data, *arguments)

    def json(self, *arguments: str) -> dict[str, Any]:
        body: dict[str, Any] = json.loads(self.run(*arguments, "--json").splitlines()[-1])
        return body

    def context(self) -> dict[str, Any]:
        return tomllib.loads((self.data / "context.toml").read_text())

    def list_pids(self) -> list[int]:
        """Every process of the network: supervisor, daemons, copies."""
        status = self.json("status")
        daemons = [row["pid"] for row in status["processes"] if row["pid"]]
        copies = {pid for row in self.json("ps")["copies"] for pid in row["node_pids"]}
        return [status["supervisor_pid"], *daemons, *sorted(copies)]


def run_cli(data: Path, *arguments: str) -> str:
    environment = {**os.environ, "FLUXCLOUD_DATA": str(data)}
    done = subprocess.run((*CLI, *arguments), env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"fluxcloud {' '.join(arguments)}: exit {done.returncode}\n{done.stderr}")
    return done.stdout


@contextmanager
def local_network(data: Path, *options: str) -> Iterator[Network]:
    """Ready when the block begins; stopped when it ends, its state kept in `data`."""
    environment = {**os.environ, "FLUXCLOUD_DATA": str(data)}
    began = time.monotonic()
    log = data.parent / "up.log"
    with log.open("ab") as output:
        process = subprocess.Popen((*CLI, "up", *options), env=environment, stdout=output, stderr=output)
    try:
        run_cli(data, "status", "--wait", "60")
        yield Network(data, process, time.monotonic() - began)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--engine", choices=("oci", "docker"), default="oci")
    parser.add_argument("--proxy", choices=("embedded", "haproxy"), default="embedded")


@contextmanager
def engines(arguments: argparse.Namespace) -> Iterator[tuple[str, ...]]:
    """Options of `up` for these engines; for Docker with a daemon of its own, which ends with the block."""
    options = ("--engine", arguments.engine, "--proxy", arguments.proxy)
    if arguments.engine != "docker":
        yield options
        return
    with import_from_tests("dockerd").run_dockerd() as daemon:
        os.environ["DOCKER_HOST"] = f"unix://{daemon.socket}"
        yield options
    del os.environ["DOCKER_HOST"]


def import_from_tests(name: str) -> Any:
    tests = str(Path(__file__).parents[1] / "tests")
    if tests not in sys.path:
        sys.path.insert(0, tests)
    return importlib.import_module(name)


@contextmanager
def scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="fluxcloud-bench-") as folder:
        yield Path(folder) / "data"


def read_pss_mib(pids: list[int]) -> float:
    """Proportional set size: what these processes cost together, shared pages counted once."""
    total_kib = 0
    for pid in pids:
        try:
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total_kib += int(line.split()[1])
        except OSError:
            continue  # ended meanwhile
    return total_kib / 1024


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
