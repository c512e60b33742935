"""What this node's supervisor is told: whether it is ready, and its figures. Nothing here is for the network."""

from __future__ import annotations

from ..metrics import make_metrics, render_metrics
from ..proxy.metrics import list_metrics
from .parts import Parts


def find_missing(parts: Parts) -> str:
    """What keeps the node from serving as the ledger wants it; empty when nothing does."""
    if parts.health_age.problem:
        return f"engine or disk: {parts.health_age.problem}"
    return "" if parts.view.is_live else "the ledger is not followed; what runs, runs on"


def render_node_metrics(parts: Parts) -> str:
    """Of the agent and of its ingress, as a page."""
    view, probes = parts.view, parts.responder.stats
    own = (
        ("height", "Newest height known.", view.height),
        ("follows_chain", "1 while headers come.", int(view.is_live)),
        ("copies", "Copies assigned here.", len(view.assign.entries)),
        ("clock_skew_ms", "This clock less the last header's time.", parts.skew.skew_ms),
        ("health_age_ms", "Since engine and disk were last seen to work.", parts.health_age.age_ms),
        ("probes_received_total", "Datagrams at the probe port.", probes.received),
        ("probes_answered_total", "PINGs answered.", probes.answered),
        ("probes_limited_total", "PINGs refused for their number.", probes.limited),
        ("probes_forged_total", "PINGs with a wrong signature.", probes.forged),
    )
    ingress = list_metrics(parts.ingress.get_stats())
    return render_metrics((*make_metrics("fluxcloud_node", own), *ingress), {"node": parts.config.id})
