"""The electorate: active nodes by operator and collateral, ready to be drawn from.

A view over NODES: each write of a node costs it a few bisections, a draw costs as many, and nothing is made anew.
An operator's weight is the collateral of its active nodes, capped so that nobody is drawn more often than `cap_ppm` of
the time (or than 1/operators, where that is more). The cap holds of the *capped* total: with the k heaviest operators
capped at weight c, c = cap * (k*c + weight of the others). Source: LIVENESS.md 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address
from typing import Any

from ...ids import NodeId
from ..nodes.model import NODES, Node
from ..state import TableKey, ViewKey
from .weighted import WeightedOrder

_MILLION = 1_000_000

Prefix = tuple[int, int]
"""IP version and the address's leading bits."""


@dataclass(frozen=True, slots=True)
class Member:
    """What a draw has to know of a node. `operator` is the account that counts as one (its owner)."""

    node: NodeId
    operator: bytes
    version: int
    address: int
    asn: int
    weight: int

    def compute_prefix(self, prefix_bits: int) -> Prefix:
        """`prefix_bits` of an IPv4 address, twice as many of an IPv6 one (/24 and /48)."""
        if self.version == 4:
            return 4, self.address >> (32 - prefix_bits)
        return 6, self.address >> (128 - 2 * prefix_bits)


def make_member(node: Node) -> Member:
    version, address = _parse_host(node.endpoint.host)
    return Member(NodeId(node.id), node.owner, version, address, node.asn, max(node.collateral, 1))


@lru_cache(maxsize=1 << 16)  # parsing costs more than the rest of a try
def _parse_host(host: str) -> tuple[int, int]:
    address = ip_address(host)
    return address.version, int(address)


@dataclass(frozen=True, slots=True)
class _Cap:
    """The heaviest operators, each drawn with weight `weight`; `total` is the weight of all after the cap."""

    cap_ppm: int
    capped: tuple[bytes, ...]
    weight: int
    total: int


class Electorate:
    """Members by operator. Operators stand in order of (weight, operator), an operator's nodes in order of their id."""

    def __init__(self) -> None:
        self._members: dict[NodeId, Member] = {}
        self._operators: WeightedOrder[tuple[int, bytes]] = WeightedOrder()
        self._nodes: dict[bytes, WeightedOrder[NodeId]] = {}
        self._asns: dict[int, int] = {}
        self._cap: _Cap | None = None

    @property
    def size(self) -> int:
        return len(self._members)

    @property
    def asn_count(self) -> int:
        return len(self._asns)

    def get(self, node_id: NodeId) -> Member | None:
        return self._members.get(node_id)

    def count_operators(self, *, without: bytes) -> int:
        """Operators with an eligible node, other than `without`."""
        return len(self._nodes) - (without in self._nodes)

    def pick(self, operator_number: int, node_number: int, cap_ppm: int) -> Member:
        """The member that two large uniform numbers stand for: the first chooses the operator, the second its node."""
        cap = self._cap
        if cap is None or cap.cap_ppm != cap_ppm:
            cap = self._cap = self._compute_cap(cap_ppm)
        offset = operator_number % cap.total
        capped_total = len(cap.capped) * cap.weight
        if offset < capped_total:
            operator = cap.capped[offset // cap.weight]
        else:
            operator = self._operators.find(offset - capped_total)[1]  # the capped ones stand at the end
        nodes = self._nodes[operator]
        return self._members[nodes.find(node_number % nodes.total)]

    def follow(self, table: TableKey[Any, Any], key: NodeId, old: Node | None, new: Node | None) -> None:
        if old is not None and new is not None and _is_same_member(old, new):
            return
        if key in self._members:
            self._remove(self._members.pop(key))
        if new is not None and new.state == "active":
            member = self._members[key] = make_member(new)
            self._add(member)

    def _add(self, member: Member) -> None:
        nodes = self._nodes.setdefault(member.operator, WeightedOrder())
        self._reweigh(member.operator, nodes.total, nodes.total + member.weight)
        nodes.add(member.node, member.weight)
        self._asns[member.asn] = self._asns.get(member.asn, 0) + 1

    def _remove(self, member: Member) -> None:
        nodes = self._nodes[member.operator]
        self._reweigh(member.operator, nodes.total, nodes.total - member.weight)
        nodes.remove(member.node)
        if not nodes.count:
            del self._nodes[member.operator]
        self._asns[member.asn] -= 1
        if not self._asns[member.asn]:
            del self._asns[member.asn]

    def _reweigh(self, operator: bytes, before: int, after: int) -> None:
        self._cap = None
        if before:
            self._operators.remove((before, operator))
        if after:
            self._operators.add((after, operator), after)

    def _compute_cap(self, cap_ppm: int) -> _Cap:
        if self._operators.count * cap_ppm <= _MILLION:  # then 1/operators is the cap: all are equal
            everyone = tuple(operator for (_, operator), _ in self._operators.iterate_down())
            return _Cap(cap_ppm, everyone, 1, len(everyone))
        capped: list[bytes] = []
        rest = self._operators.total
        weight = 0
        for (own, operator), _ in self._operators.iterate_down():  # at most 1/cap steps
            weight = cap_ppm * rest // (_MILLION - cap_ppm * len(capped))
            if own <= weight:
                break
            capped.append(operator)
            rest -= own
        return _Cap(cap_ppm, tuple(capped), weight, len(capped) * weight + rest)


def _is_same_member(old: Node, new: Node) -> bool:
    """Whether a write (mostly of `used`) leaves the electorate as it was."""
    if old.state != "active" or new.state != "active":
        return old.state != "active" and new.state != "active"
    if old.endpoint is not new.endpoint and old.endpoint.host != new.endpoint.host:
        return False
    return (old.collateral, old.owner, old.asn) == (new.collateral, new.owner, new.asn)


ELECTORATE: ViewKey[Electorate] = ViewKey("electorate", (NODES,), Electorate)
