"""World: transactions of every kind that fit the state they meet, or nearly, chosen by whoever asks.

`choose(n)` gives 0..n-1: hypothesis for the property test, a seeded generator for the fork test. One maker for each
message type of the ledger; a test fails on a type that has none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from factories import (
    NEXT_CHAIN,
    LedgerRunner,
    make_address_of,
    make_cert,
    make_enc_pub,
    make_endpoint,
    make_key,
    make_links,
    make_node_register,
    make_proposer_tx,
    sign_hot_proof,
)
from factories_apps import make_images, make_register, make_spec
from fluxcloud.codec import encode
from fluxcloud.ids import NodeId, compute_gateway_id, compute_node_id, render_gateway, render_node
from fluxcloud.ledger.accounts.messages import Transfer
from fluxcloud.ledger.accounts.queries import get_account
from fluxcloud.ledger.apps.messages import (
    DeleteApp,
    EvictInstance,
    RegisterApp,
    RevokeSessions,
    ScaleGroup,
    TransferApp,
    UndeleteApp,
    UpdateApp,
)
from fluxcloud.ledger.apps.model import APPS, ASSIGN
from fluxcloud.ledger.gateways.messages import GatewayRegister, GatewayRetire
from fluxcloud.ledger.gateways.queries import get_gateways
from fluxcloud.ledger.liveness.duty import get_duty
from fluxcloud.ledger.liveness.messages import JuryVote, Observation, Observe, Vote
from fluxcloud.ledger.liveness.panels import get_liveness_clock
from fluxcloud.ledger.module import Message
from fluxcloud.ledger.nodes.messages import (
    NodeAddress,
    NodeDrain,
    NodeRegister,
    NodeReplaceHot,
    NodeResume,
    NodeRetire,
    NodeUp,
)
from fluxcloud.ledger.nodes.model import NODES, Location
from fluxcloud.ledger.scheduler.messages import CopyReport, NodeReport
from fluxcloud.ledger.validators.messages import RegisterTip, Reveal

T = TypeVar("T")

PEOPLE = ("alice", "bob", "carol")
NAMES = ("shop", "blog", "wiki")
AMOUNTS = (0, 1, 10**8, 10**13, 2**62)
WAITS_MS = (0, 1, 500, 2_000, 5_000, 60_000, 3_600_000)


class World:
    def __init__(self, runner: LedgerRunner, choose: Callable[[int], int]) -> None:
        self.runner = runner
        self.choose = choose
        self.made = 100  # numbers of keys that nobody has yet
        self.makers: dict[type[Message], Callable[[], bytes]] = {
            Transfer: self.transfer,
            NodeRegister: self.node_register,
            NodeRetire: lambda: self.operate(NodeRetire(self.any_node())),
            NodeDrain: lambda: self.operate(NodeDrain(self.any_node(), self.soon())),
            NodeResume: lambda: self.operate(NodeResume(self.any_node())),
            NodeReplaceHot: self.node_replace_hot,
            NodeAddress: lambda: self.operate(NodeAddress(self.any_node(), make_endpoint(1 + self.choose(20)))),
            NodeUp: lambda: self.runner.report(self.any_k(), NodeUp()),
            Observe: self.observe,
            JuryVote: self.jury_vote,
            RegisterApp: self.register_app,
            UpdateApp: self.update_app,
            ScaleGroup: lambda: self.own(ScaleGroup(self.any_app(), "web", self.choose(6))),
            DeleteApp: lambda: self.own(DeleteApp(self.any_app())),
            TransferApp: lambda: self.own(TransferApp(self.any_app(), make_address_of(self.pick(PEOPLE)))),
            EvictInstance: lambda: self.own(EvictInstance(self.any_app(), self.choose(12))),
            UndeleteApp: lambda: self.own(UndeleteApp(self.any_app())),
            RevokeSessions: lambda: self.own(RevokeSessions(self.any_app())),
            NodeReport: self.node_report,
            GatewayRegister: self.gateway_register,
            GatewayRetire: self.gateway_retire,
            Reveal: self.reveal,
            RegisterTip: lambda: make_proposer_tx(self.runner.height + 1, RegisterTip(make_links(NEXT_CHAIN)[0])),
        }

    def make_tx(self, kind: type[Message]) -> bytes:
        return self.makers[kind]()

    # choices

    def pick(self, options: Sequence[T]) -> T:
        return options[self.choose(len(options))]

    def any_k(self) -> int:
        return 1 + self.choose(len(self.runner.genesis.nodes))

    def any_node(self) -> NodeId:
        nodes = [node_id for node_id, _ in self.runner.state.items(NODES)]
        return self.pick([*nodes, NodeId(bytes(20))])

    def any_app(self) -> bytes:
        return self.pick([*(app_id for app_id, _ in self.runner.state.items(APPS)), bytes(20)])

    def soon(self) -> int:
        return self.runner.tick_ms + self.pick(WAITS_MS)

    def flag(self) -> bool:
        return self.choose(4) > 0

    # senders

    def own(self, message: Any) -> bytes:
        """Mostly from the app's owner."""
        app = self.runner.state.get(APPS, message.app)
        owners = {make_address_of(name): name for name in PEOPLE}
        return self.runner.user(owners[app.owner] if app and self.flag() else self.pick(PEOPLE), message)

    def operate(self, message: Any) -> bytes:
        """Mostly from the node's operator."""
        return self.runner.user(self.operator_of(message.node) if self.flag() else "alice", message)

    def operator_of(self, node_id: bytes) -> str:
        node = self.runner.state.get(NODES, NodeId(node_id))
        names = (*PEOPLE, *(f"owner/{k}" for k in range(1, len(self.runner.genesis.nodes) + 1)))
        return next((name for name in names if node and make_address_of(name) == node.owner), "alice")

    # messages

    def reveal(self) -> bytes:
        link = self.runner.next_reveal() if self.flag() else Reveal(bytes(32))
        return make_proposer_tx(self.runner.height + 1, link)

    def transfer(self) -> bytes:
        to = self.pick([make_address_of("bob"), make_address_of(f"new/{self.choose(3)}"), b""])
        return self.runner.user(self.pick(PEOPLE), *[Transfer(to, self.pick(AMOUNTS))] * (1 + self.choose(3)))

    def node_register(self) -> bytes:
        self.made += 1
        owner = self.pick(PEOPLE)
        nonce = get_account(self.runner.state, make_address_of(owner)).nonce
        node_id = compute_node_id(self.runner.genesis.chain_id, make_address_of(owner), nonce, 0)
        k = self.pick([self.made, self.made, 1])
        return self.runner.user(owner, make_node_register(k, owner, node_id, tier=1 + self.choose(3)))

    def node_replace_hot(self) -> bytes:
        self.made += 1
        node_id = self.any_node()
        node = self.runner.state.get(NODES, node_id)
        owner = make_address_of("alice") if node is None else node.owner
        key = f"hot/{self.made}"
        proof = sign_hot_proof(key, owner, node_id)  # type: ignore[arg-type]
        cert = make_cert(key, render_node(node_id))
        return self.operate(NodeReplaceHot(node_id, make_key(key).public, proof, make_enc_pub(key), cert))

    def observe(self) -> bytes:
        """Mostly of two nodes that their monitors find dead, so that cases open; or of a node that it doesn't watch."""
        target = self.runner.node_id(1 + self.choose(2)) if self.flag() else self.any_node()
        ks = range(1, len(self.runner.genesis.nodes) + 1)
        seated = [k for k in ks if target in get_duty(self.runner.state, self.runner.node_id(k)).targets]
        k = self.pick(seated) if seated else self.any_k()
        ok_tick = max(0, self.runner.tick_ms - self.pick(WAITS_MS))
        epoch = get_liveness_clock(self.runner.state).epoch
        return self.runner.watch(k, Observe(epoch, (Observation(target, self.flag(), ok_tick),)))

    def accuse(self, target: NodeId, *, miss: bool) -> list[bytes]:
        """The same word of all who watch it."""
        epoch = get_liveness_clock(self.runner.state).epoch
        word = Observe(epoch, (Observation(target, miss, self.runner.tick_ms),))
        ks = range(1, len(self.runner.genesis.nodes) + 1)
        return [
            self.runner.watch(k, word)
            for k in ks
            if target in get_duty(self.runner.state, self.runner.node_id(k)).targets
        ]

    def judge(self, *, miss: bool) -> list[bytes]:
        """The votes of every juror, all alike."""
        txs = []
        for k in range(1, len(self.runner.genesis.nodes) + 1):
            juries = get_duty(self.runner.state, self.runner.node_id(k)).juries
            if juries:
                votes = tuple(Vote(jury.target, jury.opened_height, jury.round, miss) for jury in juries)
                txs.append(self.runner.watch(k, JuryVote(votes)))
        return txs

    def jury_vote(self) -> bytes:
        """Of somebody who sits on a jury, where there is one."""
        state = self.runner.state
        ks = range(1, len(self.runner.genesis.nodes) + 1)
        jurors = [k for k in ks if get_duty(state, self.runner.node_id(k)).juries]
        k = self.pick(jurors) if jurors else self.any_k()
        miss = self.flag()
        juries = get_duty(state, self.runner.node_id(k)).juries
        votes = [Vote(jury.target, jury.opened_height, jury.round, miss) for jury in juries]
        return self.runner.watch(k, JuryVote(tuple(votes) or (Vote(self.any_node(), 1, 0, miss),)))

    def register_app(self) -> bytes:
        spec = make_spec(self.pick(NAMES), replicas=1 + self.choose(4), spares=self.choose(3))
        return self.runner.user(self.pick(PEOPLE), make_register(spec))

    def update_app(self) -> bytes:
        spec = make_spec(self.pick(NAMES), replicas=1 + self.choose(4), spares=self.choose(2))
        digest = "sha256:" + self.pick("abc") * 64
        return self.own(UpdateApp(self.any_app(), encode(spec), b"", make_images(spec, digest)))

    def node_report(self) -> bytes:
        """What its assignment asks for, or a failure, or of a copy that it doesn't hold."""
        held = [node_id for node_id, assign in self.runner.state.items(ASSIGN) if assign.entries]
        ids = [node.id for node in self.runner.genesis.nodes]
        ks = [ids.index(node_id) + 1 for node_id in held if node_id in ids]
        k = self.pick(ks) if ks and self.flag() else self.any_k()
        assign = self.runner.state.get(ASSIGN, self.runner.node_id(k))
        copies = [(entry.app, entry.generation) for entry in assign.entries] if assign else [(self.any_app(), 1)]
        outcome, reason = self.pick(
            [("running", ""), ("running", ""), ("ready", ""), ("stopped", ""), ("failed", "exit"), ("failed", "engine")]
        )
        reports = [CopyReport(app, generation, outcome, reason) for app, generation in copies]  # type: ignore[arg-type]
        return self.runner.report(k, NodeReport(tuple(reports)))

    def gateway_register(self) -> bytes:
        self.made += 1
        owner, key = self.pick(PEOPLE), f"gateway-hot/{self.made}"
        address = make_address_of(owner)
        nonce = get_account(self.runner.state, address).nonce
        gateway_id = compute_gateway_id(self.runner.genesis.chain_id, address, nonce, 0)
        message = GatewayRegister(
            operator=address,
            hot=make_key(key).public,
            hot_proof=sign_hot_proof(key, address, gateway_id),
            cert=make_cert(key, render_gateway(gateway_id)),
            host="127.0.0.1",
            http_port=8_080 + self.choose(4),
            zones=("a.example",),
            location=Location("EU", "DE"),
        )
        return self.runner.user(owner, message)

    def gateway_retire(self) -> bytes:
        ids = [*(gateway.id for gateway in get_gateways(self.runner.state)), bytes(20)]
        return self.runner.user(self.pick((*PEOPLE, "gateway-owner/1")), GatewayRetire(self.pick(ids)))
