"""Configuration of a gateway; `docs/config/gateway.toml` is its documentation, a test compares the defaults."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from msgspec import Meta

from ..config import Section
from ..config import load_config as load_any
from ..proxy.engines import ProxyEngine


class GatewayConfig(Section):
    """`home` holds `hot.key` and `cert.der`, the identity that the ledger knows. `genesis` names whom to trust."""

    home: str
    id: str
    chain: str
    genesis: str
    zones: tuple[str, ...]
    listen_host: str = "127.0.0.1"
    listen_port: int = 8080
    source_host: str = ""
    connect_timeout_ms: Annotated[int, Meta(ge=50, le=5000)] = 250
    proxy: ProxyEngine = "embedded"
    status_host: str = "127.0.0.1"
    status_port: Annotated[int, Meta(ge=0, le=65_535)] = 0
    log_level: str = "info"


def load_config(path: Path) -> GatewayConfig:
    """Raises ConfigError naming the key."""
    return load_any(path, GatewayConfig)
