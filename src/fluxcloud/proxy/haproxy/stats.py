"""Statistics: what HAProxy says about itself, read and added up. Pure.

Its counters start anew with each process; `Tally` carries them on.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass, fields, replace
from typing import Final

from ..base import ProxyStats

_FAILED: Final = re.compile(r"value=<(\d+)>")


@dataclass(frozen=True, slots=True)
class HaproxyStats(ProxyStats):
    """`failed` is counted by two threads without a lock: it may miss some of those that fail at the same moment."""

    restarts: int = 0  # of HAProxy after it had died or hung
    reloads: int = 0  # for a larger pool, or after a command that was refused
    pool: int = 0  # backends that there are
    pool_free: int = 0
    retired: int = 0  # servers that finish their last requests


@dataclass(frozen=True, slots=True)
class Counters:
    """What one process has counted since it started."""

    requests: int = 0
    failed: int = 0
    retries: int = 0
    refused: int = 0

    def __add__(self, other: Counters) -> Counters:
        return Counters(*(getattr(self, item.name) + getattr(other, item.name) for item in fields(self)))


def parse_csv(text: str) -> list[dict[str, str]]:
    """The rows of `show stat`."""
    return list(csv.DictReader(text.removeprefix("# ").splitlines()))


def read_front(text: str, failed: str, before: Counters) -> tuple[Counters, int]:
    """Counters, and requests under way, from the front end's row and the answer to `get var proc.failed`."""
    (row,) = parse_csv(text)
    found = _FAILED.search(failed)
    counters = replace(
        before,
        requests=int(row["req_tot"]),
        failed=int(found[1]) if found else 0,
        refused=int(row["ereq"]) + int(row["dreq"]),
    )
    return counters, int(row.get("h1_open_streams") or 0) + int(row.get("h2_open_streams") or 0)


def read_retries(text: str) -> int:
    """Of all backends. There are thousands of long rows: only the part that counts is taken apart."""
    names, *rows = text.removeprefix("# ").splitlines()
    place = names.split(",").index("wretr")
    return sum(int(row.split(",", place + 1)[place] or 0) for row in rows)


def read_sessions(text: str) -> dict[str, int]:
    """Requests under way or waiting, by server."""
    return {row["svname"]: int(row["scur"]) + int(row["qcur"]) for row in parse_csv(text)}
