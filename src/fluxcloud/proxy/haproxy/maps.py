"""Maps: the tables that HAProxy looks requests up in, as plain values. Pure.

One look-up finds all there is to know about a request, so one command changes all of it at once.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Final, Literal

from fluxcloud.errors import Permanent

from .layout import Layout, LivePeer, LiveRoute, name_backend

Role = Literal["edge", "ingress"]

ROUTES: Final = "routes.map"
"""What a request is found by (its host at an edge, its route at an ingress) -> `backend|route|timeout_ms|flags`."""

STICKY: Final = "sticky.map"
"""Token of a sticky cookie -> server."""

GATEWAYS: Final = "gateways.map"
"""SHA-1 of a certificate that may call -> id of its gateway. The handshake has compared the whole certificate."""

STATE: Final = "state.map"
"""`serving` -> 0 | 1."""

STICKY_FLAG: Final = "s"

_ANSWER_SLACK_MS: Final = 1000
"""How much longer an edge waits than the ingress: whoever is nearer to an app says that it is too slow."""

_WORD: Final = re.compile(r"[A-Za-z0-9_.:/@\[\]|%*-]+")


def check_word(word: str) -> str:
    """A name or path that goes into a command or a file. Raises Permanent."""
    if not _WORD.fullmatch(word):
        raise Permanent(f"{word!r}: letters, digits and _ . : / @ [ ] | % * - are what HAProxy can be told here")
    return word


def build_route_entries(role: Role, live: LiveRoute) -> dict[str, str]:
    """The entries of one route."""
    route = live.route
    timeout_ms = 1000 * route.timeout_s + (_ANSWER_SLACK_MS if role == "edge" else 0)
    value = f"{name_backend(live.backend)}|{route.key}|{timeout_ms}|{STICKY_FLAG if route.sticky else ''}"
    found_by = route.hosts if role == "edge" else (route.key,)
    return {check_word(key): check_word(value) for key in found_by}


def build_sticky_entries(live: LiveRoute) -> dict[str, str]:
    """Only servers that take new requests: a visitor of any other gets a new cookie."""
    if not live.route.sticky:
        return {}
    return {server.token: server.name for server in live.servers if server.server.state == "ready"}


def build_gateway_entries(peers: Iterable[LivePeer]) -> dict[str, str]:
    return {
        hashlib.sha1(live.peer.cert, usedforsecurity=False).hexdigest().upper(): check_word(live.peer.id)
        for live in peers
        if live.pem
    }


def build_maps(role: Role, layout: Layout) -> dict[str, dict[str, str]]:
    """All maps of a layout, by file name."""
    lives = layout.routes.values()
    routes: dict[str, str] = {}
    for live in lives:
        routes |= build_route_entries(role, live)
    if role == "ingress":
        state = {"serving": str(int(layout.serving))}
        return {ROUTES: routes, GATEWAYS: build_gateway_entries(layout.peers.values()), STATE: state}
    sticky: dict[str, str] = {}
    for live in lives:
        sticky |= build_sticky_entries(live)
    return {ROUTES: routes, STICKY: sticky}
