"""What is out of step between nodes and panels, whoever changed a node and why: found without looking at all nodes.

A view over NODES, SEATS and DUTY. `panels.py` works the three lists off, so that draining, retiring, a verdict or a
registration need not tell anybody.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import Any

from ...ids import NodeId
from ..nodes.model import NODES
from ..state import TableKey, ViewKey
from .model import DUTY, SEATS

_TO_WATCH, _ACTIVE, _HAS_PANEL, _ON_DUTY = 1, 2, 4, 8


class Unsettled:
    """Each list is sorted by node. Read them (slice); only writes to the tables may change them."""

    def __init__(self) -> None:
        self.without_panel: list[NodeId] = []  # to be watched, but by nobody yet
        self.with_needless_panel: list[NodeId] = []  # retired or gone
        self.absent_on_duty: list[NodeId] = []  # not active, but with seats or jury duties
        self._facts: dict[NodeId, int] = {}

    def follow(self, table: TableKey[Any, Any], key: NodeId, old: Any | None, new: Any | None) -> None:
        if table is NODES:
            mask, facts = _TO_WATCH | _ACTIVE, _get_node_facts(new)
        elif table is SEATS:
            mask, facts = _HAS_PANEL, _HAS_PANEL if new is not None else 0
        else:
            mask, facts = _ON_DUTY, _ON_DUTY if new is not None else 0
        before = self._facts.get(key, 0)
        after = before & ~mask | facts
        if before == after:
            return
        if after:
            self._facts[key] = after
        else:
            del self._facts[key]
        _move(self.without_panel, key, _lacks_panel(before), _lacks_panel(after))
        _move(self.with_needless_panel, key, _has_needless_panel(before), _has_needless_panel(after))
        _move(self.absent_on_duty, key, _is_absent(before), _is_absent(after))


def _get_node_facts(node: Any | None) -> int:
    if node is None:
        return 0
    return (_TO_WATCH if node.state != "retired" else 0) | (_ACTIVE if node.state == "active" else 0)


def _lacks_panel(facts: int) -> bool:
    return facts & (_TO_WATCH | _HAS_PANEL) == _TO_WATCH


def _has_needless_panel(facts: int) -> bool:
    return facts & (_TO_WATCH | _HAS_PANEL) == _HAS_PANEL


def _is_absent(facts: int) -> bool:
    return facts & (_ACTIVE | _ON_DUTY) == _ON_DUTY


def _move(entries: list[NodeId], key: NodeId, was_in: bool, is_in: bool) -> None:
    if was_in and not is_in:
        del entries[bisect_left(entries, key)]
    elif is_in and not was_in:
        insort(entries, key)


UNSETTLED: ViewKey[Unsettled] = ViewKey("unsettled", (NODES, SEATS, DUTY), Unsettled)
