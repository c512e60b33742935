"""The faults of the real engines: what is broken, and when the network is well again. For tests and benchmarks."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from dockerd import Dockerd, run_dockerd

from .harness import Network, running_network
from .visitor import Visits, under_load

RATE = 300.0
CALM_S = 3.0
"""How long the load goes on when all is well again."""


@contextmanager
def network_of(data: Path, engine: str, proxy: str, *options: str) -> Iterator[tuple[Network, Dockerd | None]]:
    """A whole network on these engines; with `docker`, the daemon that it runs on, which is its own."""
    with ExitStack() as stack:
        daemon = None
        if engine == "docker":
            daemon = stack.enter_context(run_dockerd())
            before = os.environ.get("DOCKER_HOST")
            os.environ["DOCKER_HOST"] = f"unix://{daemon.socket}"
            stack.callback(_put_back, "DOCKER_HOST", before)
        network = stack.enter_context(running_network(data, "--engine", engine, "--proxy", proxy, *options))
        network.wait_for("hello is whole", network.is_whole)
        yield network, daemon


def _put_back(name: str, value: str | None) -> None:
    os.environ.pop(name, None)
    if value is not None:
        os.environ[name] = value


def list_children(pid: int) -> list[int]:
    """All descendants, parents first."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            found += [child, *list_children(child)]
    return found


def find_haproxy(network: Network, name: str) -> list[int]:
    """Master and worker that a daemon runs."""
    pid, _ = network.pids(name)
    return [child for child in list_children(pid) if Path(f"/proc/{child}/comm").read_text().strip() == "haproxy"]


def list_serving(network: Network) -> list[str]:
    return [row["node"] for row in network.json("ps", "hello")["copies"] if row["role"] == "active"]


def visit_while(network: Network, breaks: Callable[[], None]) -> Visits:
    """Visitors come while something breaks, until the network is whole again and a little longer."""
    with under_load(network, "hello", RATE) as visits:
        time.sleep(1)
        breaks()
        time.sleep(CALM_S)
        network.wait_for("whole again", network.is_whole, timeout_s=120)
    return visits


def break_node(network: Network, kind: str) -> None:
    """`kind`: kill, stop, cut. Until its copy runs elsewhere; then it is started again."""
    node = list_serving(network)[0]
    network.run("node", kind, node)
    network.wait_for(f"{node} is replaced", lambda: node not in _list_running(network))
    network.run("node", "start", node)


def _list_running(network: Network) -> list[str]:
    copies = network.json("ps", "hello")["copies"]
    running = [row["node"] for row in copies if row["role"] == "active" and row["phase"] == "running"]
    return running if len(running) == 3 else list_serving(network)


def drain_node(network: Network) -> None:
    node = list_serving(network)[0]
    network.run("node", "drain", node, "--for", "10m")
    network.wait_for(
        f"{node} is drained",
        lambda: {row["node"]: row["state"] for row in network.json("node", "list")["nodes"]}[node] == "drained",
    )
    network.run("node", "resume", node)


def kill_dockerd(daemon: Dockerd) -> None:
    """Copies run on without it; it is started again after a while."""
    daemon.kill()
    time.sleep(4)
    daemon.start()


def kill_haproxy(network: Network, name: str) -> None:
    """Of a gateway or node; returns when another one runs."""
    before = find_haproxy(network, name)
    assert len(before) >= 2, "master and worker"
    for pid in before:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    network.wait_for("haproxy is back", lambda: len(set(find_haproxy(network, name)) - set(before)) >= 2)
