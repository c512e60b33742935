"""Children are kept running, are left alone while held, and end when told to."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from fluxcloud.cli.supervisor import ChildSpec, Supervisor


@pytest.fixture
async def supervisor() -> AsyncIterator[Supervisor]:
    running = Supervisor()
    yield running
    await running.stop(*running.children)
    await running.close()


def spec(tmp_path: Path, script: str) -> ChildSpec:
    return ChildSpec("c", ("/bin/sh", "-c", script), tmp_path / "logs" / "c.log", os.environ)


async def wait_for(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.01)


async def test_child_that_ends__starts_again(supervisor: Supervisor, tmp_path: Path) -> None:
    child = await supervisor.start(spec(tmp_path, "echo up; exit 3"))
    await wait_for(lambda: child.restarts >= 2)
    assert child.last_exit == 3
    assert (tmp_path / "logs" / "c.log").read_text().startswith("up\nup\n")


async def test_killed_child__comes_back_with_another_pid(supervisor: Supervisor, tmp_path: Path) -> None:
    child = await supervisor.start(spec(tmp_path, "exec sleep 60"))
    before = child.pid
    assert before is not None
    os.kill(before, signal.SIGKILL)
    await wait_for(lambda: child.pid not in (None, before))


async def test_held_child__stays_down_until_released(supervisor: Supervisor, tmp_path: Path) -> None:
    child = await supervisor.start(spec(tmp_path, "exec sleep 60"))
    supervisor.hold("c")
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    await wait_for(lambda: child.pid is None and child.last_exit is not None)
    assert child.restarts == 0
    await supervisor.release("c")
    await wait_for(lambda: child.pid is not None)


async def test_stop__ends_also_a_child_that_is_frozen(supervisor: Supervisor, tmp_path: Path) -> None:
    child = await supervisor.start(spec(tmp_path, "exec sleep 60"))
    assert child.pid is not None
    os.kill(child.pid, signal.SIGSTOP)
    await supervisor.stop("c")
    assert child.pid is None
