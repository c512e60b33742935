"""Proxy: one reverse proxy in two roles, as a protocol with interchangeable engines.

Engines: `embedded` (asyncio, in this process) and `haproxy`. All pass `tests/integration/proxy_contract.py`.
An engine is given whole tables; it never asks the ledger and never blocks a request on a table change.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from .routes import Table


@dataclass(frozen=True, slots=True)
class ProxyConfig:
    """`edge`: plain HTTP from visitors, pinned TLS to peers. `ingress`: pinned TLS from peers, plain inside.

    `source_host`: local address for outgoing connections, so that cutting this address cuts all.
    """

    role: Literal["edge", "ingress"]
    listen_host: str
    listen_port: int  # 0: any; `Proxy.port` tells
    identity_id: str  # own id, CN of the certificate
    cert_der: bytes  # own certificate
    key_seed: bytes  # own ed25519 hot key, 32 bytes
    state_dir: Path  # for sockets and files of the engine, mode 0700
    source_host: str = ""
    header_max_bytes: int = 16 * 1024
    client_header_timeout_s: float = 10.0
    client_idle_timeout_s: float = 30.0
    connect_timeout_s: float = 0.25
    attempt_timeout_s: float = 0.75  # class (a): without a response head by then, try the next server as well
    retries: int = 3
    check_interval_s: float = 0.5
    check_fall: int = 2
    check_rise: int = 1
    connections_max: int = 4096
    queue_timeout_s: float = 5.0  # how long a request waits for a server that can take it
    queue_max: int = 1024  # requests that may wait so, of all routes together
    forwarded_proto: Literal["http", "https"] = "http"  # what visitors speak, for X-Forwarded-Proto
    sticky_key: bytes = b""  # keys the sticky cookie; gateways that share it honour each other's. Empty: own hot key


@dataclass(frozen=True, slots=True)
class ProxyStats:
    """Counters since start. A request is counted once, a retry apart."""

    requests: int = 0
    failed: int = 0  # answered by the proxy itself with 502, 503 or 504
    retries: int = 0
    refused: int = 0  # 4xx by the proxy itself: malformed, too large, too slow, smuggling
    active: int = 0
    peers_down: tuple[str, ...] = ()


class Proxy(Protocol):
    @property
    def port(self) -> int: ...

    async def start(self, table: Table) -> None: ...

    async def apply(self, table: Table) -> None:
        """Bring the proxy to this table; return when new requests follow it. Those in flight finish as they began."""

    async def stop(self, *, drain_s: float = 0.0) -> None: ...

    def get_stats(self) -> ProxyStats: ...
