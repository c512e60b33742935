"""Dials: opening a connection to a peer, over TLS 1.3 pinned on both sides, or to an app's local endpoint.

A peer is its certificate: after the handshake the other side's certificate must be, byte for byte, the one the table
names. The connection is given out only then, so an impostor gets no request.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

from fluxcloud.crypto import PrivateKey
from fluxcloud.tls import client_context, peer_cert_of

from .base import ProxyConfig
from .routes import Peer
from .upstream import DialFailed, Upstream


def get_certificate(transport: asyncio.BaseTransport) -> bytes:
    """The DER certificate of the other side, empty without one."""
    tls: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
    return b"" if tls is None else peer_cert_of(tls)


class PeerDial:
    """Dials one peer. Its TLS context is made at the first call: a table may name thousands."""

    def __init__(self, peer: Peer, config: ProxyConfig) -> None:
        self._peer = peer
        self._config = config
        self._context: ssl.SSLContext | None = None

    async def __call__(self, make: Callable[[], Upstream]) -> Upstream:
        peer, config = self._peer, self._config
        try:
            if self._context is None:
                self._context = client_context(PrivateKey(config.key_seed), config.cert_der, peer.cert)
            async with asyncio.timeout(config.connect_timeout_s):
                _, upstream = await asyncio.get_running_loop().create_connection(
                    make,
                    peer.host,
                    peer.port,
                    ssl=self._context,
                    server_hostname=peer.id,
                    local_addr=(config.source_host, 0) if config.source_host else None,
                )
        except (OSError, ValueError) as error:
            raise DialFailed(f"no connection to {peer.id}: {error or type(error).__name__}") from None
        if get_certificate(upstream.transport) != peer.cert:
            upstream.abort()
            raise DialFailed(f"{peer.id} shows another certificate than the table's")
        return upstream


class EndpointDial:
    """Dials an app on this machine: `unix:/path` or `host:port`."""

    def __init__(self, endpoint: str, config: ProxyConfig) -> None:
        self._endpoint = endpoint
        self._timeout_s = config.connect_timeout_s

    async def __call__(self, make: Callable[[], Upstream]) -> Upstream:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._timeout_s):
                if self._endpoint.startswith("unix:"):
                    _, upstream = await loop.create_unix_connection(make, self._endpoint.removeprefix("unix:"))
                else:
                    host, _, port = self._endpoint.rpartition(":")
                    _, upstream = await loop.create_connection(make, host.strip("[]"), int(port))
        except (OSError, ValueError) as error:
            raise DialFailed(f"no connection to {self._endpoint}: {error or type(error).__name__}") from None
        return upstream
