"""Processes that an earlier network has left: known by pid and start time, ended politely, then not."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fluxcloud.cli import processes
from fluxcloud.cli.layout import Layout
from fluxcloud.cli.processes import PidFile, end_leftovers, list_copy_pids, wait_ended
from fluxcloud.node.runtime.procs import observe_ref

POLITE = "import time; print('up', flush=True); time.sleep(60)"
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"


@contextmanager
def run(script: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


def test_pid_file__tells_what_is_alive(layout: Layout) -> None:
    pids = PidFile(layout)
    assert pids.read_alive() == {}
    with run(POLITE) as process:
        pids.write({"chain": process.pid, "gone": 2**22 + 1})
        assert pids.read_alive() == {"chain": observe_ref(process.pid)}
        process.kill()
        process.wait()
        assert pids.read_alive() == {}


def test_pid_file__pid_that_was_given_away_again_is_a_stranger(layout: Layout) -> None:
    with run(POLITE) as process:
        ref = observe_ref(process.pid)
        assert ref is not None
        (layout.root / "pids.json").write_text(json.dumps({"chain": ref._replace(start=ref.start - 1)}))
        assert PidFile(layout).read_alive() == {}


@pytest.mark.parametrize("text", ["", "[]", "{", '{"chain": 7}', '{"chain": [1]}'])
def test_pid_file__damaged_counts_as_empty(layout: Layout, text: str) -> None:
    (layout.root / "pids.json").write_text(text)
    assert PidFile(layout).read_alive() == {}


def test_leftovers__are_asked_to_end_and_then_killed(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "GRACE_S", 0.2)
    with run(POLITE) as polite, run(STUBBORN) as stubborn:
        PidFile(layout).write({"chain": polite.pid, "gateway": stubborn.pid})
        assert end_leftovers(layout) == 2
        assert (polite.wait(), stubborn.wait()) == (-15, -9)
        assert end_leftovers(layout) == 0


def test_copies__are_found_by_their_nodes_folder_and_killed(layout: Layout) -> None:
    shims = layout.node("n1") / "runtime/copies/app.1/c/web"
    shims.mkdir(parents=True)
    layout.node("n2").mkdir()
    assert list_copy_pids(layout) == []
    with run(POLITE) as copy:
        ref = observe_ref(copy.pid)
        assert ref is not None
        (shims / "shim.pid").write_text(f"{ref.pid} {ref.start} {ref.boot}\n")
        assert list_copy_pids(layout) == list_copy_pids(layout, "n1") == [copy.pid]
        assert list_copy_pids(layout, "n2") == []
        assert end_leftovers(layout) == 1
        assert copy.wait() == -9
        wait_ended(ref)  # at once
