"""Everything as an ordinary user, without any right of root's: images in user namespaces, faults, logs, commands."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import factories_archives as archives

from .harness import Network, running_network

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        os.geteuid() != 0, reason="only root can become another user; every other test runs as this one"
    ),
]

UID = 54_321
ROOT = Path(__file__).parents[2]


def find_closed(path: Path) -> Path | None:
    """The uppermost folder on the way that others may not enter."""
    way = [*reversed(path.parents), path]
    return next((folder for folder in way if not folder.stat().st_mode & stat.S_IXOTH), None)


def build_prefix(home: Path) -> tuple[str, ...]:
    """argv before a command that makes it run as another user. Where the interpreter lies in root's own folder, it is
    shown to that user in a mount namespace of the command's, which ends with it."""
    become = f'exec setpriv --reuid {UID} --regid {UID} --clear-groups --no-new-privs env HOME={home} "$@"'
    base = Path(sys.base_prefix).resolve()
    closed = find_closed(base)
    if closed is None:
        return ("sh", "-c", become, "sh")
    show = (
        f"mount --bind {base} {home}/python && mount -t tmpfs -o mode=755 tmpfs {closed} && mkdir -p {base}"
        f" && mount --bind {home}/python {base} && {become}"
    )
    return ("unshare", "--mount", "--propagation", "private", "sh", "-c", show, "sh")


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="fluxcloud-user-") as name:
        folder = Path(name)
        (folder / "python").mkdir()
        archive = archives.make_layout(archives.make_busybox_layer())
        archives.write_archive(folder / "app.tar", archive)
        for path in (folder, folder / "app.tar"):
            os.chown(path, UID, UID)
        yield folder


@pytest.fixture(scope="module")
def network(home: Path) -> Iterator[Network]:
    if (closed := find_closed(ROOT)) is not None:
        pytest.fail(f"{closed} is closed to others; check out where everybody may read")
    with running_network(home / "data", prefix=build_prefix(home)) as running:
        running.wait_for("hello is whole", running.is_whole)
        yield running


def test_nothing_runs_as_root(network: Network) -> None:
    pids = [row["pid"] for row in network.json("status")["processes"]]
    pids += [pid for row in network.json("ps")["copies"] for pid in row["node_pids"]]
    assert len(pids) > 10
    assert {Path(f"/proc/{pid}").stat().st_uid for pid in pids if Path(f"/proc/{pid}").exists()} == {UID}


def test_doctor_and_first_screen__say_what_isolation_there_is(network: Network, home: Path) -> None:
    findings = {
        row["check"]: row for row in json.loads(network.run("doctor", "--json", check=False).stdout)["findings"]
    }
    assert findings["sandbox"]["saw"] == "bubblewrap, user namespace: limits are soft"
    assert findings["faults"]["saw"] == "kill and stop; cutting links needs root"
    screen = (home / "data.up.log").read_text()
    assert "oci (bubblewrap, user namespace): limits are soft, no disk quota" in screen
    assert network.run("node", "cut", "n1", check=False).returncode == 2
    assert [row["state"] for row in network.json("status")["processes"] if row["name"] == "n1"] == ["running"]


def test_folder_and_archive__serve_and_are_isolated(network: Network, home: Path) -> None:
    assert network.json("deploy", str(ROOT / "examples" / "hello"), timeout_s=200)["served_s"] is not None
    assert network.json("deploy", str(home / "app.tar"), "--name", "app")["served_s"] is not None
    inside = network.run(
        "exec", "app", "sh", "-c", "echo $$; ls /; ls /proc | grep -c '^[0-9]'; cat /proc/self/uid_map"
    )
    assert "home" not in inside.stdout.split()
    assert inside.stdout.split()[-3:] == ["0", str(UID), "1"], "root inside is this user outside, and nobody else"
    assert network.run("exec", "app", "cat", "/etc/shadow", check=False).returncode == 1
    assert network.run("exec", "app", "sh", "-c", "exit 7", check=False).returncode == 7
    network.run("exec", "app", "sh", "-c", "echo to the log > /proc/1/fd/1")
    network.wait_for("it is logged", lambda: "to the log" in network.run("logs", "app").stdout)
    for name in ("app", "greeter"):
        network.run("app", "delete", name, "--yes")


def test_failover_demo__no_request_fails(network: Network) -> None:
    done = network.run("demo", "failover", "--faults", "kill,stop", "--rate", "50", "--json", timeout_s=250)
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["failed"]["a"] == 0
    assert [fault["kind"] for fault in result["faults"]] == ["kill", "stop"]
    assert all(fault["replacement_s"] is not None for fault in result["faults"])


def test_nothing_is_left(network: Network) -> None:
    """Last: `down` ends everything that ran as this user; with `--delete`, nothing stays on disk either."""
    network.run("down", "--delete")
    assert [path.name for path in network.data.iterdir()] == ["lock"]
    network.process.wait(30)
    left = subprocess.run(
        ["pgrep", "--uid", str(UID), "--runstates", "RSDT", "--list-full"], capture_output=True, text=True, check=False
    )
    assert left.stdout == ""
