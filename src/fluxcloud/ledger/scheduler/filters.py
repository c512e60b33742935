"""Filters: may this node be given this copy, and if not, what is the first reason, in the order of APPS.md 3."""

from __future__ import annotations

from ..apps.bounds import render_cores, render_memory
from ..nodes.capacity import find_free_ports
from ..nodes.model import TIERS, Node
from .places import compute_codes, compute_prefix
from .request import Request


def find_refusal(node: Node, request: Request) -> str:
    """Empty where the node passes every filter; else a key of `FILTERS`.

    The hot path of placement: plain comparisons, in the declared order.
    """
    need = request.need
    state = node.state
    if state != "active" and state != "probation":
        return "state"
    if node.cordoned:
        return "cordoned"
    if node.arch not in need.arches:
        return "arch"
    capacity = node.capacity
    used = node.used
    if capacity.mcpu - used.mcpu < need.mcpu:
        return "cpu"
    if capacity.mem_mib - used.mem_mib < need.mem_mib:
        return "memory"
    if capacity.disk_mib - used.disk_mib < need.disk_mib:
        return "disk"
    if need.raw_ports and len(find_free_ports(node, need.raw_ports)) < need.raw_ports:
        return "ports"
    if node.owner in request.operators:
        return "operator"
    if request.prefixes and compute_prefix(node.endpoint.host, request.prefix_bits) in request.prefixes:
        return "prefix"
    if need.has_places:
        refusal = _judge_place(node, request)
        if refusal:
            return refusal
    if node.tier < need.tier:
        return "tier"
    if need.only and node.id not in need.only:
        return "only"
    if node.id in request.excluded:
        return request.excluded[node.id]
    return "probation" if state == "probation" else ""


def _judge_place(node: Node, request: Request) -> str:
    """Conditions on places beyond the operator and the prefix."""
    need = request.need
    if need.is_asn_distinct and node.asn in request.asns:
        return "asn"
    location = node.location
    if need.is_country_distinct and location.country in request.countries:
        return "country"
    if need.is_region_distinct and (location.country, location.region) in request.regions:
        return "region"
    codes = compute_codes(location)
    if need.allow and need.allow.isdisjoint(codes):
        return "allow"
    return "deny" if not need.deny.isdisjoint(codes) else ""


FILTERS: tuple[tuple[str, str, str], ...] = (
    ("state", "state", "not active"),
    ("cordoned", "state", "cordoned"),
    ("arch", "arch", "of another architecture (need {arches})"),
    ("cpu", "capacity", "lack CPU (need {cpu})"),
    ("memory", "capacity", "lack memory (need {memory})"),
    ("disk", "capacity", "lack disk (need {disk})"),
    ("ports", "capacity", "lack public ports (need {ports})"),
    ("operator", "operator", "same operator"),
    ("prefix", "prefix", "same network prefix"),
    ("asn", "distinct", "same ASN"),
    ("country", "distinct", "same country"),
    ("region", "distinct", "same region"),
    ("allow", "place", "not in place.allow [{allow}]"),
    ("deny", "place", "excluded by place.deny [{deny}]"),
    ("tier", "tier", "below tier {tier}"),
    ("only", "nodes", "not in place.nodes.only"),
    ("holds", "operator", "hold a copy of it already"),
    ("never", "nodes", "excluded by place.nodes.never"),
    ("evicted", "evicted", "left by order of the owner within a day"),
    ("failed", "evicted", "failed to run it lately"),
    ("probation", "probation", "on probation"),
)
"""(key, filter as shown, words) in the order in which filters explain themselves."""


def describe(words: str, request: Request) -> str:
    """The words with what the request asks for."""
    need = request.need
    return words.format(
        arches=" or ".join(need.arches),
        cpu=render_cores(need.mcpu),
        memory=render_memory(need.mem_mib),
        disk=render_memory(need.disk_mib),
        ports=need.raw_ports,
        allow=", ".join(sorted(need.allow)),
        deny=", ".join(sorted(need.deny)),
        tier=TIERS[need.tier],
    )
