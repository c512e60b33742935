"""Daemons that can't run: they end with an exit code that says so, and the reason in the last line of their log."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable

from ..chain.errors import EXIT_CONFIG, EXIT_STORAGE
from .output import CliError
from .reading import REMEDY
from .supervisor import Child

_PREFIX = re.compile(r"^(error: |\S+Z \w+ [\w.]+: (stopped: )?)")
POLL_S = 0.1
TAIL_BYTES = 4096


async def wait_failing(children: Iterable[Child]) -> None:
    """Until one of these has ended because a file of its own is wrong. Raises CliError with what it said."""
    while True:
        for child in children:
            if child.last_exit in (EXIT_CONFIG, EXIT_STORAGE):
                raise CliError(f"{child.spec.name} can't run", why=read_last_line(child), hints=(REMEDY,))
        await asyncio.sleep(POLL_S)


def read_last_line(child: Child) -> str:
    """What the daemon wrote last, without the time."""
    try:
        with child.spec.log.open("rb") as log:
            log.seek(0, 2)
            log.seek(max(0, log.tell() - TAIL_BYTES))
            lines = log.read().decode("utf-8", "replace").splitlines()
    except OSError as error:
        return str(error)
    last = next((line for line in reversed(lines) if line.strip()), "")
    return _PREFIX.sub("", last)
