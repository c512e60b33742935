"""Where a local network keeps its things, and which names and addresses its nodes have.

```
<data>/  genesis.json  context.toml  network.json  lock  control.sock  keys/<account>.key
         chain/   gateways/g1/   nodes/n1/ …   logs/<daemon>.log
```
Node k has the address 127.1.k.1, with the same ports on each (RECORDS.md 5); a second network on the machine takes
127.2.k.1, and so on.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from ..ids import parse_gateway, parse_node, render_gateway, render_node
from ..ledger.nodes.model import Endpoint, Location
from .reading import read_or_explain

_NAME = re.compile(r"[ng][1-9][0-9]{0,3}")
CHAIN_ID = "fluxcloud-local"
ZONE = "fluxcloud.localhost"
CHAIN_PORT = 26_659
GATEWAY_PORT = 8_080
API_PORT, INGRESS_PORT, PROBE_PORT, PORT_BASE = 16_127, 16_128, 16_129, 20_000
NODES_MAX = 50
GATEWAYS_MAX = 4

PLACES = (
    Location("EU", "DE", "HE"),
    Location("EU", "FR", "IDF"),
    Location("NA", "US", "VA"),
    Location("NA", "CA", "ON"),
    Location("AS", "SG", ""),
)
MCPU, MEM_MIB, DISK_MIB = 4_000, 8 * 1024, 50 * 1024
"""What every local node offers, whatever the machine has."""


def node_endpoint(subnet: int, number: int) -> Endpoint:
    return Endpoint(f"127.{subnet}.{number}.1", API_PORT, INGRESS_PORT, PROBE_PORT, PORT_BASE)


def node_name(number: int) -> str:
    return f"n{number}"


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths below one data directory."""

    root: Path

    @property
    def genesis(self) -> Path:
        return self.root / "genesis.json"

    @property
    def context(self) -> Path:
        return self.root / "context.toml"

    @property
    def network(self) -> Path:
        return self.root / "network.json"

    @property
    def lock(self) -> Path:
        return self.root / "lock"

    @property
    def control(self) -> Path:
        return self.root / "control.sock"

    @property
    def chain(self) -> Path:
        return self.root / "chain"

    def key(self, account: str) -> Path:
        return self.root / "keys" / f"{account}.key"

    def node(self, name: str) -> Path:
        return self.root / "nodes" / name

    def gateway(self, name: str) -> Path:
        return self.root / "gateways" / name

    def log(self, daemon: str) -> Path:
        return self.root / "logs" / f"{daemon}.log"


@dataclass(frozen=True, slots=True)
class NetworkFile:
    """What `up` has made: names of nodes and gateways with their ids as text, and what it was told to use."""

    nodes: dict[str, str]
    gateways: dict[str, str]
    engine: str

    def save(self, layout: Layout) -> None:
        body = {"nodes": self.nodes, "gateways": self.gateways, "engine": self.engine}
        layout.network.write_text(json.dumps(body, indent=1) + "\n")


def load_network(layout: Layout) -> NetworkFile:
    """Raises ConfigError with the remedy where the file can't be understood."""
    return read_or_explain(layout.network, _parse_network)


def _parse_network(path: Path) -> NetworkFile:
    raw = json.loads(path.read_text())
    nodes = {_check_name(name): render_node(parse_node(node)) for name, node in raw["nodes"].items()}
    gateways = {_check_name(name): render_gateway(parse_gateway(gw)) for name, gw in raw["gateways"].items()}
    if not nodes or not gateways:
        raise ValueError("it names no node or no gateway")
    return NetworkFile(nodes, gateways, str(raw["engine"]))


def _check_name(name: str) -> str:
    """Names are folders, too."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name of a node or gateway")
    return name
