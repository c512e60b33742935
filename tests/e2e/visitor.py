"""A visitor under load, inside the test: open loop, nothing retried, every failure kept with its reason."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from .harness import Network


@dataclass
class Visits:
    """Filled when the load ends."""

    summary: dict[str, Any] = field(default_factory=dict)

    @property
    def failed(self) -> dict[str, int]:
        return dict(self.summary["failed"])


@contextmanager
def under_load(network: Network, app: str, rate: float = 100) -> Iterator[Visits]:
    """Visitors come while the block runs; their counts are in what it yields afterwards."""
    context = network.context()
    argv = [
        *(sys.executable, "-m", "fluxcloud.cli.demo.loadgen", "--connect", context["gateway"]),
        *("--host", f"{app}.{context['zone']}", "--rate", str(rate)),
    ]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    visits = Visits()
    try:
        yield visits
        told, _ = process.communicate("end\n", timeout=60)
        visits.summary = json.loads(told.splitlines()[-1])["summary"]
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
