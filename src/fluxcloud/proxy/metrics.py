"""A proxy's statistics as metrics."""

from __future__ import annotations

from typing import Final

from ..metrics import Metric, make_metrics
from .base import ProxyStats

_TEXTS: Final = {
    "requests_total": "Requests read from visitors or gateways.",
    "failed_total": "Requests that the proxy answered itself with 502, 503 or 504.",
    "retries_total": "Attempts after the first.",
    "refused_total": "Requests refused as malformed, too large or too slow.",
    "active": "Requests under way.",
    "restarts_total": "Starts of HAProxy after it had died or hung.",
    "reloads_total": "Reloads of HAProxy without a lost connection.",
    "pool": "Backends there are, each for one route.",
    "pool_free": "Backends without a route.",
    "retired": "Removed servers that finish their last requests.",
}


def list_metrics(stats: ProxyStats) -> list[Metric]:
    """Of the statistics those that this engine has."""
    fields = ((name, text, name.removesuffix("_total")) for name, text in _TEXTS.items())
    rows = ((name, text, getattr(stats, field)) for name, text, field in fields if hasattr(stats, field))
    down = tuple(({"peer": peer}, 1) for peer in stats.peers_down)
    return [
        *make_metrics("fluxcloud_proxy", rows),
        Metric("fluxcloud_proxy_peer_down", "1 for each peer that fails its checks.", down),
    ]
