"""Servers: one line's options, the same in a configuration and for `add server`. Pure."""

from __future__ import annotations

import ipaddress
from typing import Final

from ..base import ProxyConfig
from .layout import LivePeer, LiveRoute, LiveServer
from .maps import check_word

OWN_CERT: Final = "own.pem"

_APP_IDLE_S: Final = 2
"""Shorter than what app servers keep: the closing side of an idle connection should be this one."""

_PEER_IDLE_S: Final = 10
"""Shorter than what an ingress keeps, for the same reason."""


def render_server(config: ProxyConfig, live: LiveRoute, server: LiveServer, peer: LivePeer | None) -> str:
    """Address and options. A peer's server is pinned to it: its certificate, and its id as the name in it."""
    limits = f"maxconn {live.route.connections_max}"
    if server.server.state == "last":
        limits += " backup"
    if peer is None:
        return f"{render_endpoint(server.server.endpoint)} {limits} pool-purge-delay {_APP_IDLE_S}s"
    source = f" source {check_word(config.source_host)}" if config.source_host else ""
    return (
        f"{render_address(peer.peer.host, peer.peer.port)} ssl verify required verifyhost {check_word(peer.peer.id)}"
        f" ca-file {peer.ca_file} crt {OWN_CERT} ssl-min-ver TLSv1.3 track nodes/n{peer.slot}"
        f" on-marked-down shutdown-sessions {limits} pool-purge-delay {_PEER_IDLE_S}s{source}"
    )


def render_endpoint(endpoint: str) -> str:
    """`unix:/path` or `host:port` as HAProxy writes it."""
    if endpoint.startswith("unix:"):
        return f"unix@{check_word(endpoint.removeprefix('unix:'))}"
    host, _, port = endpoint.rpartition(":")
    return render_address(host.strip("[]"), int(port))


def render_address(host: str, port: int) -> str:
    try:
        version = ipaddress.ip_address(host).version
    except ValueError:
        return f"{check_word(host)}:{port}"
    return f"ipv{version}@{host}:{port}"
