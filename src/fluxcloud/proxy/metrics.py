"""A proxy's statistics as metrics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from .base import ProxyStats

_METRICS: Final[Mapping[str, tuple[str, str]]] = {
    "requests": ("counter", "Requests read from visitors or gateways."),
    "failed": ("counter", "Requests that the proxy answered itself with 502, 503 or 504."),
    "retries": ("counter", "Attempts after the first."),
    "refused": ("counter", "Requests refused as malformed, too large or too slow."),
    "active": ("gauge", "Requests under way."),
    "restarts": ("counter", "Starts of HAProxy after it had died or hung."),
    "reloads": ("counter", "Reloads of HAProxy without a lost connection."),
    "pool": ("gauge", "Backends there are, each for one route."),
    "pool_free": ("gauge", "Backends without a route."),
    "retired": ("gauge", "Removed servers that finish their last requests."),
}


def render_metrics(stats: ProxyStats, labels: Mapping[str, str]) -> str:
    """Prometheus' text format: of the statistics those that this engine has. `labels` stand on every sample."""
    lines: list[str] = []
    for name, (kind, text) in _METRICS.items():
        if not hasattr(stats, name):
            continue
        suffix = "_total" if kind == "counter" else ""
        lines += _render_metric(f"fluxcloud_proxy_{name}{suffix}", kind, text, [(labels, getattr(stats, name))])
    down = [({**labels, "peer": peer}, 1) for peer in stats.peers_down]
    lines += _render_metric("fluxcloud_proxy_peer_down", "gauge", "1 for each peer that fails its checks.", down)
    return "\n".join(lines) + "\n"


def _render_metric(name: str, kind: str, text: str, samples: Iterable[tuple[Mapping[str, str], int]]) -> list[str]:
    lines = [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
    for labels, value in samples:
        pairs = ",".join(f'{key}="{_escape(word)}"' for key, word in sorted(labels.items()))
        lines.append(f"{name}{{{pairs}}} {value}" if pairs else f"{name} {value}")
    return lines


def _escape(word: str) -> str:
    return word.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
