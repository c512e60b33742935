"""A network under test: nodes, panels and juries on a bare state, with honest monitors and jurors and nodes that die.

Only the tables of nodes and liveness, and no signatures, so that hundreds of nodes walk through hundreds of blocks in a
second. After each block (with `checks`): invariants, indexes and views equal to their rebuild, and undo.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from fluxcloud.errors import Rejected
from fluxcloud.ids import Address, NodeId
from fluxcloud.ledger.liveness.duty import get_duty
from fluxcloud.ledger.liveness.electorate import ELECTORATE
from fluxcloud.ledger.liveness.messages import JuryVote, Observation, Observe, Vote
from fluxcloud.ledger.liveness.module import MODULE
from fluxcloud.ledger.liveness.panels import draw_all_panels, get_liveness_clock
from fluxcloud.ledger.liveness.steps import begin_liveness, end_liveness
from fluxcloud.ledger.liveness.unsettled import UNSETTLED
from fluxcloud.ledger.module import Context, Event, Message
from fluxcloud.ledger.nodes.messages import NodeStateChanged
from fluxcloud.ledger.nodes.model import LANES, NODES, Capacity, Endpoint, Location, Node
from fluxcloud.ledger.nodes.states import set_node_state
from fluxcloud.ledger.params import MINIMAL, Params
from fluxcloud.ledger.state import State

BLOCK_MS = 500
MISSED_AFTER_MS = 3_500  # three probes, one a second, and the last one's time limit
REPEAT_MS = 5_000  # a monitor says again what has not settled
PROBING_MS = 1_000  # a juror's three probes

Messages = Iterable[tuple[NodeId, Message]]
Moved = tuple[str, NodeId]
"""A node's new state, and the node."""


def make_id(k: int) -> NodeId:
    return NodeId(hashlib.sha256(b"node/%d" % k).digest()[:20])


def make_node(k: int, operator: int | None = None, **claims: Any) -> Node:
    """Node `k` (from 1), by default of its own operator and in its own /24; five ASNs in turn."""
    owner = hashlib.sha256(b"owner/%d" % (k if operator is None else operator)).digest()[:21]
    fields: dict[str, Any] = {
        "id": make_id(k),
        "owner": Address(owner),
        "operator": owner,
        "hot": hashlib.sha256(b"hot/%d" % k).digest(),
        "enc": hashlib.sha256(b"enc/%d" % k).digest(),
        "cert": b"",
        "payout": owner,
        "tier": 1,
        "collateral": 1_000,
        "endpoint": Endpoint(f"10.{k // 250}.{k % 250}.1", 1, 2, 3, 20_000),
        "arch": "amd64",
        "capacity": Capacity(1, 1, 1),
        "used": Capacity(),
        "location": Location(),
        "asn": 64_512 + k % 5,
        "isolation": "namespaces",
        "state": "active",
        "since_tick": 0,
    }
    return Node(**{**fields, **claims})


class Network:
    def __init__(self, nodes: Iterable[Node], params: Params = MINIMAL, *, checks: bool = True, **numbers: Any) -> None:
        self.params = msgspec.structs.replace(params, **numbers)
        self.checks = checks
        self.state = State((NODES, LANES, *MODULE.tables))
        self.height = 0
        self.tick_ms = 0
        self.dead: dict[NodeId, int] = {}  # since which tick
        self.rejected: list[str] = []
        self.events: list[Event] = []
        self._said: dict[tuple[NodeId, NodeId], tuple[bool, int]] = {}
        self._seated_since: dict[tuple[NodeId, NodeId], int] = {}
        self._first_seen: dict[tuple[NodeId, NodeId, int, int], int] = {}
        for node in nodes:
            self.state.set(NODES, NodeId(node.id), node)
        draw_all_panels(self.state, self.context())
        self.state.take_changes()

    def context(self, node: NodeId = NodeId(b"")) -> Context:  # noqa: B008
        beacon = hashlib.sha256(b"beacon/%d" % self.height).digest()
        return Context("test", self.params, self.height, self.tick_ms, self.tick_ms, beacon, b"", node=node)

    def node(self, k: int) -> Node:
        node = self.state.get(NODES, make_id(k))
        assert node is not None
        return node

    def set_state(self, k: int, new: Any, until_tick: int = 0) -> None:
        """As a message of the nodes module would, between two blocks."""
        set_node_state(self.state, make_id(k), new, "test", self.context(), until_tick)

    def observe(self, monitor: NodeId, targets: Iterable[NodeId], *, miss: bool, last_ok_tick: int = 0) -> Observe:
        epoch = get_liveness_clock(self.state).epoch
        return Observe(epoch, tuple(Observation(target, miss, last_ok_tick) for target in sorted(targets)))

    def block(self, messages: Messages = ()) -> tuple[Moved, ...]:
        """One block; what is rejected leaves its code in `rejected` and no trace in the state."""
        self.height += 1
        self.tick_ms += BLOCK_MS
        messages = tuple(messages)
        if self.checks:
            mark, before = self.state.mark(), list(self.state.dump())
            expected = self._apply(messages)
            self.check()
            self.state.rollback(mark)
            assert list(self.state.dump()) == before
            assert self._apply(messages) == expected
        else:
            expected = self._apply(messages)
        self.state.take_changes()
        return expected

    def check(self) -> None:
        for invariant in MODULE.invariants:
            invariant(self.state, self.params)
        rebuilt = self.state.rebuild_indexes()
        for table in self.state.tables:
            for index in table.indexes:
                assert self.state.index(table, index) == rebuilt[table.name, index.name], (table.name, index.name)
        lists = self.state.view(UNSETTLED), self.state.build_view(UNSETTLED)
        for name in ("without_panel", "with_needless_panel", "absent_on_duty"):
            assert getattr(lists[0], name) == getattr(lists[1], name), name
        one, other = self.state.view(ELECTORATE), self.state.build_view(ELECTORATE)
        assert (one.size, one.asn_count) == (other.size, other.asn_count)
        for i in range(8 if one.size else 0):
            numbers = [int.from_bytes(hashlib.sha256(b"%d %d" % (self.height, j)).digest()) for j in (i, i + 8)]
            cap = self.params.draw_cap_ppm
            assert one.pick(numbers[0], numbers[1], cap) == other.pick(numbers[0], numbers[1], cap)

    def _apply(self, messages: Messages) -> tuple[Moved, ...]:
        self.rejected, block = [], self.context()
        begin_liveness(self.state, block)
        for sender, message in messages:
            mark, ctx = self.state.mark(), self.context(sender)
            try:
                MODULE.messages[type(message)](self.state, message, ctx)
            except Rejected as error:
                self.state.rollback(mark)
                self.rejected.append(error.code)
            else:
                block.events += ctx.events
        end_liveness(self.state, block)
        self.events = block.events
        return tuple((event.new, NodeId(event.node)) for event in block.events if isinstance(event, NodeStateChanged))

    # nodes that live and die, monitors and jurors that say what is so

    def kill(self, *numbers: int) -> None:
        for k in numbers:
            self.dead[make_id(k)] = self.tick_ms

    def walk(self, until: Callable[[], bool], *, blocks_max: int) -> dict[int, tuple[Moved, ...]]:
        """Blocks in which everybody who lives is honest, until something holds. What moved, by height."""
        outcomes: dict[int, tuple[Moved, ...]] = {}
        for _ in range(blocks_max):
            if result := self.block(self._speak()):
                outcomes[self.height] = result
            if until():
                return outcomes
        raise AssertionError(f"not within {blocks_max} blocks")

    def _speak(self) -> list[tuple[NodeId, Message]]:
        """What living nodes say in the next block."""
        messages: list[tuple[NodeId, Message]] = []
        for node_id, _ in tuple(self.state.items(NODES)):
            if node_id in self.dead:
                continue
            duty = get_duty(self.state, node_id)
            observations = tuple(o for target in duty.targets if (o := self._look(node_id, NodeId(target))))
            if observations:
                messages.append((node_id, Observe(get_liveness_clock(self.state).epoch, observations)))
            votes = []
            for jury in duty.juries:
                key = (node_id, NodeId(jury.target), jury.opened_height, jury.round)
                if self.tick_ms + BLOCK_MS == self._first_seen.setdefault(key, self.tick_ms) + PROBING_MS:
                    votes.append(Vote(jury.target, jury.opened_height, jury.round, NodeId(jury.target) in self.dead))
            if votes:
                messages.append((node_id, JuryVote(tuple(votes))))
        return messages

    def _look(self, monitor: NodeId, target: NodeId) -> Observation | None:
        """A miss while the target is dead, an ok once it answers again; both repeated while nothing came of it."""
        now, node = self.tick_ms + BLOCK_MS, self.state.get(NODES, target)
        assert node is not None
        is_dead = target in self.dead
        since = self._seated_since.setdefault((monitor, target), self.tick_ms)
        if is_dead and now < max(self.dead[target], since) + MISSED_AFTER_MS:
            return None
        if is_dead and node.state not in ("active", "draining", "probation"):
            return None
        before = self._said.get((monitor, target))
        if not is_dead and node.state != "pending" and (before is None or before[0] is False):
            return None
        if before is not None and before[0] == is_dead and now < before[1] + REPEAT_MS:
            return None
        self._said[monitor, target] = (is_dead, now)
        return Observation(target, is_dead, self.dead.get(target, now))
