"""Search: a node for one copy, by a few random choices among nodes with room, and why there is none.

Rounds of draws from `BLAKE2b(beacon | app | group | slot | generation | round)`; what passes the filters is scored; the
least score wins, then draw order. Only when all rounds fail every node with room is looked at, in order of ids.
Integers only; pure. Source: APPS.md 3, LEDGER.md 1.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import blake2b
from struct import Struct
from typing import cast

from ...codec import encode
from ...ids import NodeId
from ..nodes.capacity import find_free_ports
from ..nodes.model import NODES, NODES_BY_ROOM, Node
from ..params import Params
from ..state import State
from .explain import Refusal
from .filters import FILTERS, describe, find_refusal
from .need import Need
from .request import Request

_WORDS = Struct(">16I")  # of one digest of 64 bytes
_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Found:
    """`ports`: public raw ports on the node, the lowest free ones."""

    node: NodeId
    ports: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class NotFound:
    """Of all `nodes`, how many each filter refused."""

    nodes: int
    refusals: tuple[Refusal, ...]


def search(state: State, request: Request, params: Params, beacon: bytes) -> Found | NotFound:
    """The node for a copy: drawn, or else found by a scan. When any node passes all filters, one is found."""
    return draw(state, request, params, beacon) or scan(state, request)


def draw(state: State, request: Request, params: Params, beacon: bytes) -> Found | None:
    """Look at a few nodes only. None says nothing about the others (but where there are few, or `only` names them)."""
    by_room = state.index(NODES, NODES_BY_ROOM)
    end = len(by_room)
    least = bisect_left(by_room, (request.need.least_room,))
    if request.need.only:
        best = pick(state, request, request.need.only)
    elif end - least <= params.draws_per_round:
        best = pick(state, request, sorted(entry[1] for entry in by_room[least:]))
    else:
        best = _draw_rounds(state, request, params, beacon, least, end)
    return _found(best, request) if best else None


def scan(state: State, request: Request) -> Found | NotFound:
    """Look at every node that may have room; where none will do, at every node for its reason. Budgeted in blocks."""
    by_room = state.index(NODES, NODES_BY_ROOM)
    least = bisect_left(by_room, (request.need.least_room,))
    best = pick(state, request, sorted(entry[1] for entry in by_room[least:]))
    return _found(best, request) if best else NotFound(state.count(NODES), explain(state, request))


def explain(state: State, request: Request) -> tuple[Refusal, ...]:
    """How many nodes each filter refuses first. Looks at every node: budgeted in blocks, free in queries."""
    counts = Counter(find_refusal(node, request) for _, node in state.items(NODES))
    return tuple(Refusal(shown, counts[key], describe(words, request)) for key, shown, words in FILTERS if counts[key])


def count_fitting(state: State, request: Request) -> int:
    """How many nodes would take the copy now."""
    return sum(not find_refusal(node, request) for _, node in state.items(NODES))


def _draw_rounds(state: State, request: Request, params: Params, beacon: bytes, least: int, end: int) -> Node | None:
    """Rounds of draws: first among nodes that have room whatever the copy's shape, then among those that may have."""
    by_room = state.index(NODES, NODES_BY_ROOM)
    sure = bisect_left(by_room, (request.need.sure_room,))
    seed = encode([beacon, request.app, request.group, request.slot, request.generation])
    first: tuple[bytes, ...] = request.need.prefer
    for number in range(params.rounds_max):
        start = sure if sure < end and number * 2 < params.rounds_max else least
        size = end - start
        words = _draw_words(seed, number, params.draws_per_round)
        drawn = [by_room[start + (word * size >> 32)][1] for word in words]
        best = pick(state, request, (*first, *drawn))
        if best is not None:
            return best
        first = ()
    return None


def _draw_words(seed: bytes, number: int, count: int) -> list[int]:
    """`count` words of 32 bits for one round."""
    words: list[int] = []
    part = 0
    while len(words) < count:
        words.extend(_WORDS.unpack(blake2b(seed + bytes((number, part))).digest()))
        part += 1
    return words[:count]


def pick(state: State, request: Request, candidates: Iterable[bytes]) -> Node | None:
    """The candidate with the least score, the earlier one of equals."""
    need = request.need
    get = cast(Callable[[bytes], Node | None], state.reader(NODES))
    is_spread = bool(request.per_asn or need.prefer)
    best: Node | None = None
    best_spread = best_use = 1 << 62
    for node_id in candidates:
        node = get(node_id)
        if node is None or find_refusal(node, request):
            continue
        spread = compute_spread(node, request) if is_spread else 0
        if spread > best_spread:
            continue
        use = compute_use(node, need)
        if spread < best_spread or use < best_use:
            best, best_spread, best_use = node, spread, use
    return best


def compute_spread(node: Node, request: Request) -> int:
    """Not preferred, then copies of the app in its ASN, country, region: one integer that orders as the four do."""
    spread = 0
    if request.per_asn:
        location = node.location
        country = location.country
        spread = (
            request.per_asn.get(node.asn, 0) << 20
            | request.per_country.get(country, 0) << 10
            | request.per_region.get((country, location.region), 0)
        )
    if request.need.prefer and node.id not in request.need.prefer:
        spread |= 1 << 30
    return spread


def compute_use(node: Node, need: Need) -> int:
    """Of the resource that is scarcest on this node, what is in use with the copy on it, in millionths."""
    capacity = node.capacity
    used = node.used
    use = (used.mcpu + need.mcpu) * _MILLION // capacity.mcpu
    memory = (used.mem_mib + need.mem_mib) * _MILLION // capacity.mem_mib
    if memory > use:
        use = memory
    disk = (used.disk_mib + need.disk_mib) * _MILLION // (capacity.disk_mib or 1)
    return max(use, disk)


def _found(node: Node, request: Request) -> Found:
    return Found(NodeId(node.id), find_free_ports(node, request.need.raw_ports))
