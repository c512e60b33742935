"""Configuration of a node's agent; `docs/config/node.toml` is its documentation, a test compares the defaults."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, field

from ..config import Section
from ..config import load_config as load_any
from ..errors import ConfigError
from ..ids import NodeId, parse_node
from ..proxy.engines import ProxyEngine

Port = Annotated[int, Meta(ge=0, le=65_535)]


class NodeConfig(Section, frozen=True):
    """`home` holds `hot.key` and `cert.der`, the identity that the ledger knows. `genesis`: the validators trusted.

    All sockets, outgoing ones too, are bound to `host`, so that cutting this address cuts the node off.
    """

    home: str
    id: str
    chain: str
    genesis: str
    host: str
    api_port: Port = 16_127
    ingress_port: Port = 16_128
    probe_port: Port = 16_129
    runtime: Literal["oci", "docker"] = "oci"
    docker_socket: str = "/var/run/docker.sock"
    docker_subnets: str = "10.201.0.0/16"
    proxy: ProxyEngine = "embedded"
    store_mib_max: Annotated[int, Meta(ge=64, le=2**30)] = 20_480
    private_registries: list[str] = field(default_factory=list)
    status_host: str = "127.0.0.1"
    status_port: Port = 0
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_json: bool = False

    @property
    def home_path(self) -> Path:
        return Path(self.home)

    @property
    def node_id(self) -> NodeId:
        return parse_node(self.id)


def load_config(path: Path) -> NodeConfig:
    """Raises ConfigError naming the key."""
    config = load_any(path, NodeConfig)
    try:
        ipaddress.ip_address(config.host)
    except ValueError:
        raise ConfigError("host", f"{config.host!r} is not an IP address of this machine") from None
    if not config.id.startswith("node1"):
        raise ConfigError("id", "a node id (node1…) is expected, as the ledger gave it")
    return config
