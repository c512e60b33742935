"""The command line beyond the first minutes: plan, diff, open, forward, complete, own, move, export, ask for help."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import select
import signal
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from .harness import Network, run_cli

pytestmark = pytest.mark.timeout(300)

PLANTED = "planted-secret-4711-xyzzy"
SHOP = """
name: NAME
components:
  web:
    image: builtin:hello
    cpu: 0.1
    memory: 64MiB
    disk: 64MiB
    env: {GREETING: PLANTED}
    ports: {http: 8080, side: {port: 9000, protocol: tcp, public: false}}
""".replace("PLANTED", PLANTED)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "shop"
    made.mkdir()
    return made


def write_spec(folder: Path, name: str, **changes: str) -> Path:
    text = SHOP.replace("NAME", name)
    for before, after in changes.items():
        text = text.replace(f"{before}: ", f"{before}: {after} #", 1)
    (folder / "fluxcloud.yaml").write_text(text)
    return folder


@contextmanager
def deployed(network: Network, folder: Path, name: str) -> Iterator[str]:
    """An app that is gone again afterwards."""
    network.run("deploy", str(write_spec(folder, name)))
    try:
        yield name
    finally:
        network.run("app", "delete", name, "--yes")
        network.wait_for(f"no copies of {name}", lambda: name not in {row["app"] for row in list_copies(network)})


def list_copies(network: Network, *app: str) -> list[dict[str, Any]]:
    copies: list[dict[str, Any]] = network.json("ps", *app)["copies"]
    return copies


# --- plan and diff --------------------------------------------------------------------------------------------------


def test_plan__is_where_the_deploy_then_goes_and_sends_nothing(network: Network, folder: Path) -> None:
    planned = network.json("app", "plan", str(write_spec(folder, "planned")))
    assert (planned["new"], planned["exact"], planned["fits"]) == (True, True, True)
    assert "planned" not in {app["name"] for app in network.json("app", "list")["apps"]}
    with deployed(network, folder, "planned"):
        rows = [(row["slot"], row["node"]) for row in list_copies(network, "planned")]
        assert sorted(rows, key=str) == sorted(((row["slot"], row["node"]) for row in planned["copies"]), key=str)


def test_plan_of_what_fits_nowhere__ends_with_9_and_says_why_by_filter(network: Network, folder: Path) -> None:
    done = network.run("app", "plan", str(write_spec(folder, "huge", memory="20GiB")), "--json", check=False)
    assert done.returncode == 9
    body = json.loads(done.stdout)
    assert not body["fits"]
    (refusal,) = body["groups"][0]["refusals"]
    assert (refusal["filter"], refusal["nodes"]) == ("capacity", 5)
    shown = network.run("app", "plan", str(folder), check=False)
    assert "5 lack memory (need 20.0 GiB)" in shown.stdout
    assert "try " in shown.stdout


def test_diff__names_fields_and_what_restarts(network: Network, folder: Path) -> None:
    new = network.run("app", "diff", str(write_spec(folder, "differ")))
    assert "all of it is new" in new.stdout
    with deployed(network, folder, "differ"):
        assert network.json("app", "diff", str(folder))["changed"] is False
        changed = network.json("app", "diff", str(write_spec(folder, "differ", memory="128MiB")))
        assert [row["path"] for row in changed["changes"]] == ["components.web.memory"]
        assert [row["effect"] for row in changed["groups"]] == ["replaced"]
        network.run("scale", "differ", "4")
        scaled = network.json("app", "diff", str(write_spec(folder, "differ")))
        assert scaled["groups"][0]["replicas"] == [4, 3]
        assert scaled["groups"][0]["effect"] == "none"


# --- deploying other sources ----------------------------------------------------------------------------------------


def test_folder_with_index_html__is_served(network: Network, folder: Path) -> None:
    (folder / "index.html").write_text("<h1>a static site</h1>")
    (folder / "data.json").write_text("{}")
    (folder / ".env").write_text(PLANTED)
    done = network.json("deploy", str(folder), "--name", "pages")
    assert done["served_s"] is not None
    assert fetch(network, "pages", "/") == (200, "text/html", b"<h1>a static site</h1>")
    assert fetch(network, "pages", "/data.json") == (200, "application/json", b"{}")
    assert fetch(network, "pages", "/.env")[0] == 404
    network.run("app", "delete", "pages", "--yes")


def test_compose_file__is_deployed_with_what_was_changed(network: Network, folder: Path) -> None:
    service = "{image: 'builtin:hello', ports: ['80:8080'], mem_limit: 64m, cpus: 0.1}"
    (folder / "compose.yaml").write_text(f"name: composed\nservices:\n  web: {service}\n")
    done = network.json("deploy", str(folder))
    assert (done["app"], done["served_s"] is not None) == ("composed", True)
    network.run("app", "delete", "composed", "--yes")


def fetch(network: Network, app: str, path: str) -> tuple[int, str, bytes]:
    context = network.context()
    host, _, port = context["gateway"].rpartition(":")
    with contextlib.closing(http.client.HTTPConnection(host, int(port), timeout=10)) as connection:
        connection.request("GET", path, headers={"Host": f"{app}.{context['zone']}"})
        answer = connection.getresponse()
        return answer.status, answer.headers.get_content_type(), answer.read()


# --- open and port-forward ------------------------------------------------------------------------------------------


def test_open__prints_the_address_that_answers(network: Network) -> None:
    done = network.json("open", "hello", "--print")
    assert (done["url"], done["opened"]) == (network.json("app", "show", "hello")["url"], False)
    missing = network.run("open", "nothing-here", check=False)
    assert missing.returncode == 4
    assert "fluxcloud app list" in missing.stderr


def test_open_where_there_is_a_desktop__hands_it_the_address(network: Network, tmp_path: Path) -> None:
    program, told = tmp_path / "xdg-open", tmp_path / "told"
    os.mkfifo(told)
    program.write_text(f'#!/bin/sh\necho "$1" > {told}\n')
    program.chmod(0o755)
    given = ["env", f"PATH={tmp_path}:{os.environ['PATH']}", "DISPLAY=:77"]
    done = run_cli(network.data, "open", "hello", "--json", prefix=tuple(given))
    assert json.loads(done.stdout)["opened"] is True
    assert told.read_text().strip() == network.json("open", "hello", "--print")["url"]


@contextmanager
def forwarding(network: Network, *arguments: str) -> Iterator[dict[str, Any]]:
    """`port-forward` until the block ends; what it said when it listened."""
    argv = [sys.executable, "-m", "fluxcloud.cli.main", "port-forward", *arguments, "--json"]
    environment = {**os.environ, "FLUXCLOUD_DATA": str(network.data)}
    with subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            ready, _, _ = select.select([process.stdout], [], [], 60)
            assert ready, "port-forward said nothing"
            yield json.loads(process.stdout.readline())
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 130


def get(address: str) -> bytes:
    with contextlib.closing(http.client.HTTPConnection(address, timeout=20)) as connection:
        connection.request("GET", "/")
        return connection.getresponse().read()


def test_port_forward__reaches_the_copy_of_a_slot_from_several_at_once(network: Network) -> None:
    row = next(row for row in list_copies(network, "hello") if row["slot"] == 1)
    with forwarding(network, "hello", "0:http", "--slot", "1") as told:
        assert told["address"].startswith("127.0.0.1:")
        assert told["port"] == 8080
        answers: list[bytes] = []
        threads = [threading.Thread(target=lambda: answers.append(get(told["address"]))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(answers) == 4
        assert all(row["node_id"].encode() in answer for answer in answers)


def test_port_forward_over_a_revocation__signs_anew_and_goes_on(network: Network) -> None:
    with forwarding(network, "hello", "0:8080") as told:
        assert b"Hello from hello" in get(told["address"])
        network.run("app", "sessions", "revoke", "hello")
        assert b"Hello from hello" in get(told["address"])


def test_port_forward_of_what_is_not_there__says_what_is(network: Network) -> None:
    done = network.run("port-forward", "hello", "0:5432", check=False)
    assert done.returncode == 4
    assert "8080" in done.stderr


# --- sessions -------------------------------------------------------------------------------------------------------


def test_session__is_signed_once_kept_privately_and_void_once_revoked(network: Network) -> None:
    folder = network.data / "sessions"
    network.run("logs", "hello")
    app_id = network.json("app", "show", "hello")["id"]
    (file,) = folder.glob(f"*/{app_id}.session.key")
    first = file.read_bytes()
    assert file.stat().st_mode & 0o777 == 0o600
    network.run("exec", "hello", "id")
    assert file.read_bytes() == first
    epoch = network.json("app", "sessions", "revoke", "hello")["session_epoch"]
    assert not file.exists()
    assert network.run("exec", "hello", "id").returncode == 0
    assert file.read_bytes() != first
    file.write_bytes(first)
    assert network.run("exec", "hello", "id").returncode == 0
    assert file.read_bytes() != first, "a void session was used again"
    assert network.json("app", "sessions", "revoke", "hello")["session_epoch"] == epoch + 1


def test_account_of_another_context__does_not_get_in_by_the_owners_session(network: Network, tmp_path: Path) -> None:
    network.run("logs", "hello")
    stranger = Heir(network, tmp_path, data=str(network.data))
    refused = stranger.run("exec", "hello", "id")
    assert refused.returncode == 3, refused.stderr
    assert "another account" in refused.stderr


# --- owner, place, export -------------------------------------------------------------------------------------------


def test_evict__the_slot_runs_elsewhere(network: Network, folder: Path) -> None:
    with deployed(network, folder, "mover"):
        before = next(row for row in list_copies(network, "mover") if row["slot"] == 0)
        done = network.json("app", "evict", "mover", "0")
        assert (done["node"], done["generation"]) == (before["node"], before["generation"])

        def has_moved() -> bool:
            rows = [row for row in list_copies(network, "mover") if row["slot"] == 0 and row["role"] == "active"]
            return bool(rows) and rows[0]["phase"] == "running" and rows[0]["node"] != before["node"]

        network.wait_for("slot 0 runs elsewhere", has_moved)
        missing = network.run("app", "evict", "mover", "9", check=False)
        assert missing.returncode == 4
        assert "fluxcloud ps mover" in missing.stderr


def test_export__deploys_as_the_same_app(network: Network, folder: Path, tmp_path: Path) -> None:
    with deployed(network, folder, "exported"):
        target = tmp_path / "exported.yaml"
        network.run("app", "export", "exported", "-o", str(target))
        assert network.json("app", "diff", str(target))["changed"] is False
        again = network.run("app", "export", "exported", "-o", str(target), check=False)
        assert again.returncode == 2
        assert "--yes" in again.stderr
        assert network.run("app", "export", "exported").stdout == target.read_text()


def test_transfer__the_old_owner_may_do_nothing_any_more(network: Network, folder: Path, tmp_path: Path) -> None:
    network.run("deploy", str(write_spec(folder, "given")))
    network.run("logs", "given")
    wrong = network.run("app", "transfer", "given", "flux1nonsense", "--yes", check=False)
    assert wrong.returncode == 2
    unsure = network.run("app", "transfer", "given", read_owner(network, "given"), check=False)
    assert unsure.returncode == 6
    heir = Heir(network, tmp_path)
    assert network.json("app", "transfer", "given", heir.address, "--yes")["owner"] == heir.address
    for verb in (["logs", "given"], ["app", "delete", "given", "--yes"]):
        refused = network.run(*verb, check=False)
        assert refused.returncode == 3, refused.stderr
    assert heir.run("exec", "given", "id").returncode == 0
    assert heir.run("app", "delete", "given", "--yes").returncode == 0


def read_owner(network: Network, app: str) -> str:
    owner: str = next(row["owner"] for row in network.json("app", "list", "--all")["apps"] if row["name"] == app)
    return owner


class Heir:
    """Another account on the same network, by a context of its own."""

    def __init__(self, network: Network, folder: Path, *, data: str = "") -> None:
        from fluxcloud.ids import render_address
        from fluxcloud.sdk.wallet import Wallet

        # An operator of the local network: an account that has coins.
        key = network.data / "keys" / "operator-1.key"
        self.address = render_address(Wallet.load(key).address)
        self._network = network
        self._config = folder / "config"
        context = {**network.context(), "name": "heir", "key": str(key), "data": data}
        place = self._config / "fluxcloud" / "contexts"
        place.mkdir(parents=True)
        (place / "heir.toml").write_text("".join(f'{name} = "{value}"\n' for name, value in context.items()))

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        given = (f"XDG_CONFIG_HOME={self._config}", f"XDG_STATE_HOME={self._config}", "FLUXCLOUD_CONTEXT=heir")
        return run_cli(self._network.data, *arguments, prefix=("env", *given))


# --- completion and help --------------------------------------------------------------------------------------------


def ask_completion(data: Path, words: str, tmp_path: Path) -> list[str]:
    given = (f"XDG_CACHE_HOME={tmp_path}", f"COMP_WORDS={words}", f"COMP_CWORD={len(words.split(' ')) - 1}")
    done = run_cli(data, prefix=("env", *given, "_FLUXCLOUD_COMPLETE=bash_complete"))
    assert (done.returncode, done.stderr) == (0, "")
    return [line.partition(",")[2] for line in done.stdout.splitlines()]


def test_completion__knows_apps_and_nodes_of_the_network(network: Network, tmp_path: Path) -> None:
    assert ask_completion(network.data, "fluxcloud logs h", tmp_path) == ["hello"]
    assert ask_completion(network.data, "fluxcloud node kill ", tmp_path) == ["n1", "n2", "n3", "n4", "n5"]
    assert "plan" in ask_completion(network.data, "fluxcloud app ", tmp_path)
    for shell in ("bash", "zsh", "fish"):
        assert "_FLUXCLOUD_COMPLETE" in network.run("completion", shell).stdout


def test_completion_without_a_network__offers_verbs_and_stays_silent(tmp_path: Path) -> None:
    assert ask_completion(tmp_path / "none", "fluxcloud logs ", tmp_path) == []
    assert "deploy" in ask_completion(tmp_path / "none", "fluxcloud ", tmp_path)


def test_support_bundle__helps_and_holds_no_secret(network: Network, folder: Path, tmp_path: Path) -> None:
    keys = [path for path in network.data.glob("**/*.key") if path.is_file()]
    seeds = [path.read_text().strip() for path in keys if path.parent.name == "keys"]
    assert len(seeds) == 6
    with deployed(network, folder, "secretive"):
        log = network.data / "logs" / "n1.log"
        with log.open("a") as file:
            file.write(f"GREETING={PLANTED}\nAuthorization: Bearer {PLANTED}\nseed {seeds[0]}\nthe last line\n")
        target = tmp_path / "help.tar.gz"
        body = network.json("doctor", "--bundle", str(target))
        assert body["bundle"] == str(target)
        assert target.stat().st_mode & 0o777 == 0o600
        with tarfile.open(target) as archive:
            contents = {member.name.partition("/")[2]: read_member(archive, member) for member in archive}
    assert sorted(contents) == body["files"]
    assert {"about.json", "findings.json", "ledger.json", "processes.json", "logs/n1.log"} <= contents.keys()
    assert {"config/context.toml", "config/nodes/n5/config.toml", "config/chain/config.toml"} <= contents.keys()
    whole = "\n".join((*contents, *contents.values()))
    assert PLANTED not in whole
    assert not [seed for seed in seeds if seed in whole]
    assert not [name for name in contents if name.endswith(".key")]
    assert "PRIVATE KEY" not in whole
    assert "the last line\n" in contents["logs/n1.log"]
    assert len(contents["logs/n1.log"].splitlines()) <= 500
    assert "secretive" in {app["name"] for app in json.loads(contents["ledger.json"])["apps"]}
    again = network.run("doctor", "--bundle", str(target), check=False)
    assert again.returncode == 6


def read_member(archive: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    file = archive.extractfile(member)
    assert file is not None
    return file.read().decode()
