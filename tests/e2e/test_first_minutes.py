"""What a new user does by hand: deploy, look, scale, read logs, run commands, delete, stop and start again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .harness import Network, run_cli, running_network

pytestmark = pytest.mark.timeout(300)

SHOP = """
name: shop
components:
  web:
    image: builtin:hello
    cpu: 0.1
    memory: 64MiB
    disk: 64MiB
    ports: {http: 8080}
  worker:
    image: builtin:hello
    cpu: 0.1
    memory: 64MiB
    disk: 64MiB
    command: [/bin/sh, -c, "while :; do echo working; sleep 1; done"]
    health: none
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    (tmp_path / "fluxcloud.yaml").write_text(SHOP)
    return tmp_path


def test_deploy_folder_with_two_components__serves_and_shows_itself(network: Network, shop: Path) -> None:
    deployed = network.json("deploy", str(shop))
    assert deployed["app"] == "shop"
    assert deployed["served_s"] is not None
    copies = network.json("ps", "shop")["copies"]
    assert [row["phase"] for row in copies if row["role"] == "active"] == ["running"] * 3
    assert len({row["node"] for row in copies}) == 4
    assert "shop" in [app["name"] for app in network.json("app", "list")["apps"]]
    assert network.json("app", "show", "shop")["running"] == 3
    explained = network.json("app", "explain", "shop")["slots"]
    assert all(row["where"] for row in explained)
    assert {"AppRegistered", "CopyPlaced"} <= {row["event"] for row in network.json("app", "events", "shop")["events"]}
    reached = network.run("exec", "shop", "--component", "worker", "wget", "-qO-", "http://web:8080/")
    assert "Hello from shop" in reached.stdout
    logs = network.run("logs", "shop", "--component", "worker", "--json").stdout.splitlines()
    assert {json.loads(line)["text"] for line in logs} == {"working"}
    network.run("scale", "shop", "4")
    network.wait_for("four copies", lambda: network.json("app", "show", "shop")["running"] == 4)
    network.run("scale", "shop", "2")
    network.wait_for("two copies", lambda: len(network.json("ps", "shop")["copies"]) == 3)
    network.run("app", "delete", "shop", "--yes")
    network.wait_for("no copies", lambda: network.json("ps")["copies"] == network.json("ps", "hello")["copies"])


def test_exec__exit_code_and_input_pass(network: Network) -> None:
    assert network.run("exec", "hello", "sh", "-c", "exit 7", check=False).returncode == 7


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: x\ncomponents: {a: {imag: y}}", "did you mean 'image'"),
        ("name: shop1\ncomponents: {a: {image: builtin:hello, memory: 100GiB}}", "memory"),
        ("name: shop1\ncomponents: {a: {image: ./missing.tar}}", "does not exist"),
    ],
)
def test_bad_spec__is_refused_with_what_to_do(network: Network, tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "fluxcloud.yaml").write_text(text)
    done = network.run("deploy", str(tmp_path), check=False)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr


def test_name_of_somebody_else_or_no_app__says_so(network: Network) -> None:
    done = network.run("ps", "nothing-here", check=False)
    assert done.returncode == 4
    assert "no app is named" in done.stderr


def test_second_up_in_one_directory__is_refused(network: Network) -> None:
    done = run_cli(network.data, "up")
    assert done.returncode == 6
    assert "already runs" in done.stderr


def test_down_and_up__brings_everything_back(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with running_network(data) as network:
        network.wait_for("hello is whole", network.is_whole)
        before = [(row["node"], row["generation"]) for row in network.json("ps", "hello")["copies"]]
    with running_network(data) as network:
        network.wait_for("hello is whole again", network.is_whole)
        assert [(row["node"], row["generation"]) for row in network.json("ps", "hello")["copies"]] == before


def test_corrupted_network_file__is_named_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "network.json").write_text("{")
    done = run_cli(tmp_path, "up")
    assert done.returncode == 2
    assert "network.json" in done.stderr
    assert "--reset" in done.stderr


def test_nothing_runs__each_verb_says_what_to_do(tmp_path: Path) -> None:
    for verb in (["ps"], ["status"], ["down"], ["node", "kill", "n1"], ["demo", "failover"]):
        done = run_cli(tmp_path, *verb)
        assert done.returncode == 10, (verb, done.stderr)
        assert "fluxcloud up" in done.stderr
