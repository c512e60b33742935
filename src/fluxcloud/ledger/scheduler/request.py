"""Request: one slot or spare that wants a node, with what the app already holds and so what it must keep away from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass, field

from ...ids import AppId, NodeId
from ..apps.model import App, AppGroup, Placement, Slot
from ..apps.queries import get_copies, get_group, get_revision, read_spec
from ..nodes.model import NODES, Node
from ..params import Params
from ..state import State
from .need import Need, compute_need
from .places import compute_prefix


@dataclass(slots=True)
class Request:
    """`slot` of a spare is -1 - its index. Sets are asked for membership only.

    `operators` (the accounts that own the nodes), `prefixes` and the sets of places are those of the group's active and
    standby copies. `excluded`: nodes by name, with the filter that refuses them; those that hold a superseded copy of
    the group are among them, for a node never holds two. The counts are of all the app's copies.
    """

    app: bytes
    group: str
    slot: int
    generation: int
    need: Need
    prefix_bits: int
    operators: set[bytes] = field(default_factory=set)
    prefixes: set[Hashable] = field(default_factory=set)
    asns: set[int] = field(default_factory=set)
    countries: set[str] = field(default_factory=set)
    regions: set[tuple[str, str]] = field(default_factory=set)
    excluded: dict[bytes, str] = field(default_factory=dict)
    per_asn: Counter[int] = field(default_factory=Counter)
    per_country: Counter[str] = field(default_factory=Counter)
    per_region: Counter[tuple[str, str]] = field(default_factory=Counter)


def build_request(
    state: State, app: App, name: str, slot: int, slot_record: Slot, params: Params, tick_ms: int
) -> Request:
    """What slot `slot` (a spare: -1 - index) of the app's group `name` wants now."""
    app_id = AppId(app.id)
    revision = get_revision(state, app_id, app.revision)
    need = compute_need(revision.public, name, revision.images)
    request = start_request(app.id, name, slot, app.gen_counter + 1, need, params)
    for group in read_spec(revision.public).groups:
        record = get_group(state, app_id, group.name)
        for _, placement in get_copies(state, app_id, record):
            _add_copy(state, request, placement, group.name == name)
        if group.name == name:
            _add_exclusions(request, record, slot_record, params, tick_ms)
    return request


def start_request(app: bytes, name: str, slot: int, generation: int, need: Need, params: Params) -> Request:
    """The request of an app that holds nothing yet."""
    never = dict.fromkeys(sorted(need.never), "never")
    return Request(app, name, slot, generation, need, params.prefix_bits, excluded=never)


def _add_copy(state: State, request: Request, placement: Placement, is_own_group: bool) -> None:
    node = state.get(NODES, NodeId(placement.node))
    assert node is not None, placement.node.hex()
    is_current = placement.role in ("active", "standby")
    if is_own_group:
        request.excluded[node.id] = "holds"
        if is_current:
            _keep_away(request, node)
    if is_current:
        location = node.location
        request.per_asn[node.asn] += 1
        request.per_country[location.country] += 1
        request.per_region[location.country, location.region] += 1


def _keep_away(request: Request, node: Node) -> None:
    location = node.location
    request.operators.add(node.owner)
    request.prefixes.add(compute_prefix(node.endpoint.host, request.prefix_bits))
    request.asns.add(node.asn)
    request.countries.add(location.country)
    request.regions.add((location.country, location.region))


def _add_exclusions(request: Request, group: AppGroup, slot: Slot, params: Params, tick_ms: int) -> None:
    request.excluded.update((e.node, "evicted") for e in group.evictions if e.until_tick > tick_ms)
    since = tick_ms - params.held_window_ms
    request.excluded.update((node, "failed") for node, tick in slot.failures if node and tick > since)
