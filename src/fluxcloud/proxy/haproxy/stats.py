"""Statistics: what HAProxy says about itself, read and added up. Pure.

Its counters start anew with each process; `Tally` carries them on.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping
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


_METRICS: Final[Mapping[str, tuple[str, str]]] = {
    "requests": ("counter", "Requests read from visitors or gateways."),
    "failed": ("counter", "Requests that the proxy answered itself with 502, 503 or 504."),
    "retries": ("counter", "Attempts after the first."),
    "refused": ("counter", "Requests refused as malformed, too large or too slow."),
    "active": ("gauge", "Requests under way."),
    "restarts": ("counter", "Starts of HAProxy after it had died or hung."),
    "reloads": ("counter", "Reloads of HAProxy without a lost connection."),
    "pool": ("gauge", "Backends there are, each for one route."),
    "pool_free": ("gauge", "Backends without a route."),
    "retired": ("gauge", "Removed servers that finish their last requests."),
}


def render_metrics(stats: HaproxyStats, labels: Mapping[str, str]) -> str:
    """Prometheus' text format. `labels` stand on every sample."""
    lines: list[str] = []
    for name, (kind, text) in _METRICS.items():
        suffix = "_total" if kind == "counter" else ""
        lines += _render_metric(f"fluxcloud_proxy_{name}{suffix}", kind, text, [(labels, getattr(stats, name))])
    down = [({**labels, "peer": peer}, 1) for peer in stats.peers_down]
    lines += _render_metric("fluxcloud_proxy_peer_down", "gauge", "1 for each peer that fails its checks.", down)
    return "\n".join(lines) + "\n"


def _render_metric(name: str, kind: str, text: str, samples: Iterable[tuple[Mapping[str, str], int]]) -> list[str]:
    lines = [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
    for labels, value in samples:
        pairs = ",".join(f'{key}="{_escape(word)}"' for key, word in sorted(labels.items()))
        lines.append(f"{name}{{{pairs}}} {value}" if pairs else f"{name} {value}")
    return lines


def _escape(word: str) -> str:
    return word.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
