"""Processes die, hang and are cut off under load: no class (a) request fails, and the app becomes whole again."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest

from fluxcloud.cli.faults import can_cut

from .harness import Network
from .visitor import under_load, visit

pytestmark = pytest.mark.timeout(300)


def serving_nodes(network: Network, app: str = "hello") -> list[str]:
    return [row["node"] for row in network.json("ps", app)["copies"] if row["role"] == "active"]


def wait_replaced(network: Network, node: str) -> None:
    """The copy of this node runs elsewhere, and its slot is active there."""

    def replaced() -> bool:
        copies = network.json("ps", "hello")["copies"]
        active = [row["node"] for row in copies if row["role"] == "active" and row["phase"] == "running"]
        return len(active) == 3 and node not in active

    network.wait_for(f"{node} is replaced", replaced)


def is_ledger_up(network: Network) -> bool:
    done = network.run("network", "status", "--json", check=False)
    return done.returncode == 0 and not json.loads(done.stdout)["halted"]


@pytest.mark.parametrize("kind", ["kill", "stop", "cut"])
def test_node_breaks__no_visitor_notices(network: Network, kind: str) -> None:
    if kind == "cut" and not can_cut():
        pytest.skip("cutting needs root and nftables")
    node = serving_nodes(network)[0]
    with under_load(network, "hello") as visits:
        network.run("node", kind, node)
        wait_replaced(network, node)
    network.run("node", "start", node)
    network.wait_for("whole again", network.is_whole, timeout_s=90)
    assert visits.failed["a"] == 0, visits.summary


def test_two_nodes_killed_at_once__third_copy_serves(network: Network) -> None:
    first, second = serving_nodes(network)[:2]
    with under_load(network, "hello") as visits:
        network.run("node", "kill", first)
        network.run("node", "kill", second)
        network.wait_for(
            "both are found down",
            lambda: [row["state"] for row in network.json("node", "list")["nodes"]].count("down") == 2,
        )
    for node in (first, second):
        network.run("node", "start", node)
    network.wait_for("whole again", network.is_whole, timeout_s=120)
    assert visits.failed["a"] == 0, visits.summary


def test_agent_alone_is_killed__copies_run_on_and_are_adopted(network: Network) -> None:
    node = serving_nodes(network)[0]
    before = {row["node"]: row["generation"] for row in network.json("ps", "hello")["copies"]}
    pid, copies = network.pids(node)
    with under_load(network, "hello") as visits:
        os.kill(pid, signal.SIGKILL)
        network.wait_for("the agent is back", lambda: network.pids(node)[0] not in (None, pid))
        time.sleep(3)
    assert visits.failed["a"] == 0, visits.summary
    network.wait_for("whole again", network.is_whole)
    assert {row["node"]: row["generation"] for row in network.json("ps", "hello")["copies"]} == before
    assert set(copies) <= set(network.pids(node)[1])


def test_chain_is_killed__visitors_are_served_and_nothing_is_lost(network: Network) -> None:
    before = network.json("ps", "hello")["copies"]
    pid, _ = network.pids("chain")
    with under_load(network, "hello") as visits:
        os.kill(pid, signal.SIGKILL)
        network.wait_for("the ledger is back", lambda: is_ledger_up(network))
        time.sleep(3)
    assert visits.failed["a"] == 0, visits.summary
    after = network.json("ps", "hello")["copies"]
    assert [row["generation"] for row in after] == [row["generation"] for row in before]


def test_gateway_is_killed__it_is_back_with_its_routes(network: Network) -> None:
    pid, _ = network.pids("g1")
    os.kill(pid, signal.SIGKILL)
    network.wait_for("the gateway is back", lambda: network.pids("g1")[0] not in (None, pid))
    network.wait_for("it answers", lambda: visit(network, "hello") == 200)
    with under_load(network, "hello") as visits:
        time.sleep(2)
    assert visits.failed["a"] == 0, visits.summary


def test_drain__nothing_fails_in_any_class(network: Network) -> None:
    node = serving_nodes(network)[0]
    with under_load(network, "hello") as visits:
        network.run("node", "drain", node, "--for", "10m")
        network.wait_for(
            f"{node} is drained",
            lambda: {row["node"]: row["state"] for row in network.json("node", "list")["nodes"]}[node] == "drained",
        )
    network.run("node", "resume", node)
    network.wait_for("whole again", network.is_whole)
    assert visits.failed == {"a": 0, "b": 0, "c": 0}, visits.summary
