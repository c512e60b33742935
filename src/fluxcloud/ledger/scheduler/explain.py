"""Why no node fits: how many nodes each filter refused, in the order in which filters explain themselves."""

from __future__ import annotations

from ...codec import Record


class Refusal(Record):
    """`filter`: state, arch, capacity, operator, prefix, distinct, place, tier, static_ip, attested, nodes, evicted or
    probation. `count` nodes had it as their first refusal. `detail` for people: `need 2.0 GiB memory`."""

    filter: str
    count: int
    detail: str


def render_refusals(nodes: int, refusals: tuple[Refusal, ...]) -> str:
    """`9 nodes: 4 lack memory (need 2.0 GiB), 3 same operator`."""
    parts = ", ".join(f"{r.count} {r.detail}" for r in refusals)
    return f"{nodes} nodes: {parts}" if parts else f"{nodes} nodes"
