"""The draw: monitors and jurors, by collateral and a seed that nobody chose (LIVENESS.md 1).

Try i of 512 stands for the node that H(seed | target | i) picks. It is taken if its operator and its network prefix are
new and not the target's; of those, the first n with at least three ASNs. Where 512 tries give too few, the rule on ASNs
is dropped, then the one on prefixes, over the same candidates in the same order. Distinct operators are never dropped.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence

from ...ids import NodeId
from ..nodes.model import Node
from ..params import Params
from .electorate import Electorate, Member, make_member

TRIES = 512
ASNS_MIN = 3

_TAG = b"fluxcloud/draw/1"


def draw(
    electorate: Electorate,
    seed: bytes,
    target: Node,
    n: int,
    params: Params,
    *,
    excluded: Collection[bytes] = (),
    taken: Sequence[Member] = (),
) -> tuple[NodeId, ...]:
    """Up to `n` nodes for `target`, in the order in which they were drawn; fewer where fewer operators are eligible.

    `excluded` nodes are passed over. `taken` nodes have seats already: the drawn ones differ from them as from each
    other, and their ASNs count.
    """
    choice = _Choice(electorate, target, n, params, taken)
    candidates: list[Member] = []
    seen: set[NodeId] = set()
    prehashed = hashlib.sha256(b"".join((_TAG, seed, target.id)))
    for i in range(TRIES if n and electorate.size else 0):
        hashed = prehashed.copy()
        hashed.update(i.to_bytes(2, "big"))
        digest = hashed.digest()
        member = electorate.pick(
            int.from_bytes(digest[:16], "big"), int.from_bytes(digest[16:], "big"), params.draw_cap_ppm
        )
        if member.node in seen:
            continue
        seen.add(member.node)
        if member.node not in excluded:
            candidates.append(member)
            if choice.take(member):
                return choice.chosen
        if len(seen) == electorate.size:  # no further try can bring another
            break
    for relax in (choice.relax_asns, choice.relax_prefixes):
        relax()
        if any(choice.take(member) for member in candidates):
            break
    return choice.chosen


class _Choice:
    """What is chosen so far, and what the next one must differ in."""

    def __init__(self, electorate: Electorate, target: Node, n: int, params: Params, taken: Sequence[Member]) -> None:
        own = make_member(target)
        self._bits = params.prefix_bits
        self._missing = n
        self._drawn: list[NodeId] = []
        self._operators = {own.operator, *(member.operator for member in taken)}
        self._prefixes = {member.compute_prefix(self._bits) for member in (own, *taken)}
        self._asns = {member.asn for member in taken}
        self._asns_min = min(ASNS_MIN, n + len(taken), electorate.asn_count)
        self._distinct_prefixes = True

    @property
    def chosen(self) -> tuple[NodeId, ...]:
        return tuple(self._drawn)

    def relax_asns(self) -> None:
        self._asns_min = 0

    def relax_prefixes(self) -> None:
        self._distinct_prefixes = False

    def take(self, member: Member) -> bool:
        """Take the member if the rules allow it. Returns whether the choice is complete."""
        if member.operator in self._operators:
            return False
        prefix = member.compute_prefix(self._bits)
        if self._distinct_prefixes and prefix in self._prefixes:
            return False
        # the seats left must suffice for the ASNs still missing
        if member.asn in self._asns and self._missing <= self._asns_min - len(self._asns):
            return False
        self._operators.add(member.operator)
        self._prefixes.add(prefix)
        self._asns.add(member.asn)
        self._drawn.append(member.node)
        self._missing -= 1
        return self._missing == 0
