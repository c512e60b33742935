"""Copies outlive the agent that started them, as they should; they don't outlive the test."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def no_copy_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Kills what was started from the test's own folder."""
    if "tmp_path" not in request.fixturenames:
        yield
        return
    folder = os.fsencode(f"{request.getfixturevalue('tmp_path')}/")
    yield
    for process in Path("/proc").iterdir():
        if process.name.isdecimal() and int(process.name) != os.getpid():
            with suppress(OSError):
                if folder in (process / "cmdline").read_bytes():
                    os.kill(int(process.name), signal.SIGKILL)
