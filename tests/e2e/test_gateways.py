"""Two gateways: one dies, the other serves on, and both come to the same routes."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from .engine_faults import list_children
from .harness import Network, running_network
from .visitor import under_load, visit

pytestmark = pytest.mark.timeout(300)

HELLO = '{image: "builtin:hello", cpu: 0.1, memory: 64MiB, disk: 64MiB, ports: {http: 8080}}'


@pytest.fixture(scope="module", params=["embedded", "haproxy"])
def network(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    data: Path = tmp_path_factory.mktemp("network") / "data"
    with running_network(data, "--gateways", "2", "--proxy", request.param) as running:
        running.wait_for("hello is whole", running.is_whole)
        yield running


def list_gateways(network: Network) -> dict[str, str]:
    gateways: dict[str, str] = network.json("status")["gateways"]
    return gateways


def kill_gateway(network: Network, name: str) -> int:
    """The daemon with all that it runs; its pid."""
    pid, _ = network.pids(name)
    for process in [*list_children(pid), pid]:
        os.kill(process, signal.SIGKILL)
    return pid


def test_one_is_killed__only_what_was_in_flight_on_it_is_lost(network: Network) -> None:
    addresses = list(list_gateways(network).values())
    assert len(addresses) == 2
    network.wait_for("both serve", lambda: all(visit(network, "hello", address) == 200 for address in addresses))
    with under_load(network, "hello", 100, addresses) as both, under_load(network, "hello", 50, addresses[1:]) as other:
        pid = kill_gateway(network, "g1")
        network.wait_for("it is back", lambda: network.pids("g1")[0] not in (None, pid))
        network.wait_for("it serves", lambda: visit(network, "hello", addresses[0]) == 200)
    assert both.failed["a"] <= 5, both.summary
    assert other.failed == {"a": 0, "b": 0, "c": 0}, other.summary


def test_app_deployed_while_one_is_dead__both_serve_it(network: Network, tmp_path: Path) -> None:
    pid, _ = network.pids("g1")
    os.kill(pid, signal.SIGSTOP)
    try:
        (tmp_path / "fluxcloud.yaml").write_text(f"name: late\ncomponents: {{a: {HELLO}}}")
        network.run("deploy", str(tmp_path), "--detach")
        first, second = list_gateways(network).values()
        network.wait_for("the other serves it", lambda: visit(network, "late", second) == 200)
    finally:
        os.kill(pid, signal.SIGCONT)
    network.wait_for("it is served by both", lambda: visit(network, "late", first) == 200)
    network.run("app", "delete", "late", "--yes")
    for address in (first, second):
        network.wait_for("nobody serves it", lambda address=address: visit(network, "late", address) == 404)  # type: ignore[misc]
