"""A network with an app on it: deploys, answers for the agents, changes nodes' states, reads what became of copies."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from factories import LedgerRunner, check_indexes, make_address_of, make_genesis
from fluxcloud.codec import encode
from fluxcloud.ids import AppId, NodeId
from fluxcloud.ledger.apps.messages import AppRegistered, RegisterApp, UpdateApp
from fluxcloud.ledger.apps.model import APPS, GROUPS, PLACEMENTS, ROUTES, App, AppGroup, Image, Placement, Routes
from fluxcloud.ledger.apps.queries import get_spec
from fluxcloud.ledger.apps.spec import Component, Group, Health, Port, Spec
from fluxcloud.ledger.block import BlockResult
from fluxcloud.ledger.module import Event, Message
from fluxcloud.ledger.nodes.model import NODES, Node, NodeState
from fluxcloud.ledger.nodes.states import set_node_state
from fluxcloud.ledger.scheduler.messages import CopyReport, NodeReport
from fluxcloud.ledger.scheduler.transitions import handle_node_change
from fluxcloud.ledger.transition import MODULES

DIGEST = "sha256:" + "ab" * 32
COMPONENT = Component("app", "ghcr.io/acme/shop:1.4", ports=(Port("http", 8080),), health=Health("http", "/healthz"))


def make_spec(name: str = "shop", **group: Any) -> Spec:
    """One group `web` of one component `app`, changed as given."""
    return Spec(name, (replace(Group("web", (COMPONENT,)), **group),))


def make_images(spec: Spec, digest: str = DIGEST, size: int = 1_000_000) -> tuple[Image, ...]:
    return tuple(Image(g.name, c.name, digest, size, ("amd64", "arm64")) for g in spec.groups for c in g.components)


def make_register(spec: Spec, images: tuple[Image, ...] | None = None, sealed: bytes = b"") -> RegisterApp:
    return RegisterApp(encode(spec), sealed, make_images(spec) if images is None else images)


class Deployment(LedgerRunner):
    """A ledger of `nodes` nodes, by default of as many operators."""

    def __init__(self, nodes: int = 5, operators: int | None = None, **overrides: Any) -> None:
        super().__init__(make_genesis(nodes, operators, **overrides))
        self.app_id = AppId(b"")

    # the app

    def deploy(self, spec: Spec | None = None, *, owner: str = "alice", is_run: bool = True) -> AppId:
        """Register an app; its copies are placed in the same block and, with `is_run`, report in the next."""
        events = self.apply(self.user(owner, make_register(spec or make_spec())))
        self.app_id = AppId(next(event.app for event in events if isinstance(event, AppRegistered)))
        if is_run:
            self.report_all()
        return self.app_id

    def send(self, *messages: Message, owner: str = "alice") -> list[Event]:
        return self.apply(self.user(owner, *messages))

    def refuse(self, *messages: Message, owner: str = "alice") -> str:
        """The code with which a message is refused."""
        return self.reject(self.user(owner, *messages)).code

    def update(self, spec: Spec, digest: str = DIGEST) -> list[Event]:
        return self.send(UpdateApp(self.app_id, encode(spec), b"", make_images(spec, digest)))

    # what agents say

    def report_copy(self, generation: int, outcome: Any = "running", reason: Any = "", detail: str = "") -> list[Event]:
        k = self.get_k(self.placement(generation).node)
        copy = CopyReport(self.app_id, generation, outcome, reason, detail)
        return self.apply(self.report(k, NodeReport((copy,))))

    def report_all(self) -> None:
        """Every agent that is up reports what its assignment asks for, until nothing new comes of it."""
        for _ in range(200):
            txs = []
            for k in range(1, len(self.genesis.nodes) + 1):
                copies = [c for c in map(self._answer, self._copies_of(k)) if c is not None]
                if copies and self.node(k).state in ("active", "draining", "probation"):
                    txs.append(self.report(k, NodeReport(tuple(copies))))
            if not txs:
                return
            self.apply(*txs)
        raise AssertionError("copies never come to rest")

    def _copies_of(self, k: int) -> list[tuple[int, Placement]]:
        return [(g, p) for g, p in self.placements().items() if p.node == self.node_id(k)]

    def _answer(self, copy: tuple[int, Placement]) -> CopyReport | None:
        generation, placement = copy
        if placement.stop_tick:
            is_due = self.tick_ms >= placement.stop_tick
            return CopyReport(self.app_id, generation, "stopped") if is_due else None
        if placement.role == "standby" and placement.backs < 0:
            return CopyReport(self.app_id, generation, "ready") if placement.phase == "assigned" else None
        return CopyReport(self.app_id, generation, "running") if placement.phase in ("assigned", "ready") else None

    def check(self) -> None:
        """As for any ledger, but for liveness: states of nodes are set here without its cases."""
        for module in MODULES:
            for invariant in module.invariants if module.name != "liveness" else ():
                invariant(self.state, self.params)
        check_indexes(self.state)

    # nodes

    def set_state(self, k: int, *states: NodeState, until_tick: int = 0) -> BlockResult:
        """Take a node through states, as other modules would, in one block."""
        ctx = self.context()
        for new in states:
            node = set_node_state(self.state, self.node_id(k), new, "test", ctx, until_tick)
            if new == "retired":
                self.state.set(NODES, self.node_id(k), replace(node, unbond_ms=ctx.time_ms + ctx.params.unbonding_ms))
        handle_node_change(self.state, self.node_id(k))
        return self.block()

    def change_node(self, k: int, **fields: Any) -> None:
        self.state.set(NODES, self.node_id(k), replace(self.node(k), **fields))
        self.state.take_changes()

    def change_group(self, name: str = "web", **fields: Any) -> None:
        self.state.set(GROUPS, (self.app_id, name), replace(self.group(name), **fields))
        self.state.take_changes()

    # what is

    def node(self, k: int) -> Node:
        node = self.state.get(NODES, self.node_id(k))
        assert node is not None
        return node

    def get_k(self, node_id: bytes) -> int:
        return next(k for k, node in enumerate(self.genesis.nodes, 1) if node.id == node_id)

    def k_of(self, generation: int) -> int:
        """Which node (from 1) holds this copy."""
        return self.get_k(self.placement(generation).node)

    def app(self) -> App:
        app = self.state.get(APPS, self.app_id)
        assert app is not None
        return app

    def group(self, name: str = "web") -> AppGroup:
        group = self.state.get(GROUPS, (self.app_id, name))
        assert group is not None
        return group

    def spec(self) -> Spec:
        return get_spec(self.state, self.app())

    def placement(self, generation: int) -> Placement:
        placement = self.state.get(PLACEMENTS, (self.app_id, generation))
        assert placement is not None
        return placement

    def placements(self) -> dict[int, Placement]:
        return {key[1]: p for key, p in self.state.items(PLACEMENTS) if key[0] == self.app_id}

    def routes(self) -> dict[int, str]:
        """Generation -> state of the routed copies."""
        routes = self.state.get(ROUTES, self.app_id)
        assert isinstance(routes, Routes)
        return {copy.generation: copy.state for copy in routes.copies}

    def slots(self, name: str = "web") -> list[tuple[str, int]]:
        return [(slot.state, slot.generation) for slot in self.group(name).slots]

    def spares(self, name: str = "web") -> list[tuple[str, int]]:
        return [(slot.state, slot.generation) for slot in self.group(name).spares]

    def node_ids(self, *ks: int) -> tuple[NodeId, ...]:
        return tuple(self.node_id(k) for k in ks)


ALICE, BOB = make_address_of("alice"), make_address_of("bob")
