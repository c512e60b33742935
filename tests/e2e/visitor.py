"""A visitor under load, inside the test: open loop, nothing retried, every failure kept with its reason."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
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
def under_load(network: Network, app: str, rate: float = 100, gateways: Sequence[str] = ()) -> Iterator[Visits]:
    """Visitors come while the block runs; their counts are in what it yields afterwards. They know these gateways."""
    context = network.context()
    argv = [
        *(sys.executable, "-m", "fluxcloud.cli.demo.loadgen"),
        *("--host", f"{app}.{context['zone']}", "--rate", str(rate)),
        *(f"--connect={address}" for address in gateways or (context["gateway"],)),
    ]
    visits = Visits()
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield visits
            told, _ = process.communicate("end\n", timeout=60)
            visits.summary = json.loads(told.splitlines()[-1])["summary"]
        finally:
            process.kill()


def visit(network: Network, app: str, gateway: str = "") -> int:
    """The status of one GET through a gateway, 0 where nobody answers."""
    context = network.context()
    host, _, port = (gateway or context["gateway"]).rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=5)
    try:
        connection.request("GET", "/", headers={"Host": f"{app}.{context['zone']}"})
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()
