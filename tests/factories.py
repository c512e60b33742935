"""Shared builders of the ledger's tests: keys by name, a genesis like `up` makes it, signed transactions, LedgerRunner.

Everything is a function of names and numbers, so that two runs make the same bytes (vectors, fork test).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from fluxcloud.codec import encode
from fluxcloud.crypto import PrivateKey, Sig, address_of_ed25519
from fluxcloud.ids import KIND_ED25519, Address, GatewayId, NodeId, render_gateway, render_node
from fluxcloud.ledger.accounts.queries import get_account
from fluxcloud.ledger.block import Block, BlockResult, Receipt, get_clock, get_params
from fluxcloud.ledger.gateways.model import Gateway
from fluxcloud.ledger.genesis import (
    Genesis,
    build_state,
    compute_genesis_gateway_id,
    compute_genesis_node_id,
    make_genesis_node,
)
from fluxcloud.ledger.module import Context, Event, Message
from fluxcloud.ledger.nodes.messages import NodeRegister
from fluxcloud.ledger.nodes.model import LANES, NODES, Capacity, Endpoint, Location, Node
from fluxcloud.ledger.nodes.validation import compute_hot_proof_message
from fluxcloud.ledger.params import MINIMAL, Params
from fluxcloud.ledger.signatures import SignatureCache
from fluxcloud.ledger.state import Change, State
from fluxcloud.ledger.transition import apply_block, check_invariants
from fluxcloud.ledger.tx import ProposerTx, RoleTx, SignedTx, UserTx
from fluxcloud.ledger.validators.messages import Reveal
from fluxcloud.ledger.validators.model import Validator
from fluxcloud.ledger.validators.queries import compute_validator_address, get_validator
from fluxcloud.tls import build_identity_cert
from fluxcloud.units import FLUX

CHAIN_ID = "flux-test-1"
GENESIS_MS = 1_700_000_000_000
BLOCK_MS = 500
LINKS = 2_000
PLACES = (
    Location("EU", "DE"),
    Location("EU", "FR"),
    Location("NA", "US"),
    Location("NA", "CA"),
    Location("AS", "SG"),
)
CAPACITY = Capacity(mcpu=4_000, mem_mib=8_192, disk_mib=51_200)
FEE = 1_000_000
NEXT_CHAIN = "validator/1/next"
"""The hash chain that the first validator may register when it renews its own."""
_KEYS: dict[bytes, PrivateKey] = {}  # all that were made, by their public half
UNSIGNED = Sig(0, b"", b"")


@cache
def make_key(name: str) -> PrivateKey:
    """The ed25519 key of a name: `owner/1`, `hot/1`, `alice`."""
    key = PrivateKey.from_seed(hashlib.sha256(b"fluxcloud/test/" + name.encode()).digest())
    _KEYS[key.public] = key
    return key


@cache
def make_address_of(name: str) -> Address:
    return address_of_ed25519(make_key(name).public)


@cache
def make_enc_pub(name: str) -> bytes:
    """An uncompressed P-256 key."""
    secret = int.from_bytes(hashlib.sha256(b"fluxcloud/test/enc/" + name.encode()).digest()) >> 1
    public = ec.derive_private_key(secret, ec.SECP256R1()).public_key()
    return public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


@cache
def make_links(name: str, count: int = LINKS) -> tuple[bytes, ...]:
    """A hash chain: its first element is the tip, the next one is what is revealed first."""
    link = hashlib.sha256(b"fluxcloud/test/links/" + name.encode()).digest()
    links = [link]
    for _ in range(count):
        link = hashlib.sha256(link).digest()
        links.append(link)
    return tuple(reversed(links))


@cache
def make_cert(hot: str, name: str) -> bytes:
    """The certificate of a hot key (by its name) for the text of an id."""
    return build_identity_cert(make_key(hot), name)


def make_node(k: int, operator: int, params: Params = MINIMAL, *, chain_id: str = CHAIN_ID, **claims: Any) -> Node:
    """Node `k` (from 1) of an operator as genesis has it; `hot/k` is its hot key, `owner/operator` its owner's."""
    owner = make_address_of(f"owner/{operator}")
    node_id = compute_genesis_node_id(chain_id, owner, k)
    place = (k - 1) % len(PLACES)
    claimed: dict[str, Any] = {
        "id": node_id,
        "owner": owner,
        "operator": owner,
        "hot": make_key(f"hot/{k}").public,
        "enc": make_enc_pub(f"enc/{k}"),
        "cert": make_cert(f"hot/{k}", render_node(node_id)),
        "payout": owner,
        "tier": 1,
        "collateral": 0,
        "endpoint": make_endpoint(k),
        "arch": "amd64",
        "capacity": CAPACITY,
        "used": Capacity(),
        "location": PLACES[place],
        "asn": 64_512 + place,
        "isolation": "namespaces",
        "state": "active",
        "since_tick": 0,
    }
    return make_genesis_node(Node(**{**claimed, **claims}), params)


def make_endpoint(k: int) -> Endpoint:
    return Endpoint(f"127.{1 + k // 250}.{k % 250}.1", 16_127, 16_128, 16_129, 20_000)


def make_gateway(k: int, *, chain_id: str = CHAIN_ID) -> Gateway:
    owner = make_address_of(f"gateway-owner/{k}")
    gateway_id = compute_genesis_gateway_id(chain_id, owner, k)
    return Gateway(
        id=gateway_id,
        owner=owner,
        operator=owner,
        hot=make_key(f"gateway-hot/{k}").public,
        cert=make_cert(f"gateway-hot/{k}", render_gateway(gateway_id)),
        host="127.0.0.1",
        http_port=8_079 + k,
        zones=("fluxcloud.localhost",),
        location=PLACES[0],
    )


def make_validator(k: int, *, power: int = 1, links: int = LINKS) -> Validator:
    return Validator(make_key(f"validator/{k}").public, power, make_links(f"validator/{k}", links)[0], links)


def make_genesis(
    nodes: int = 4,
    operators: int | None = None,
    *,
    gateways: int = 1,
    validators: int = 1,
    people: Iterable[str] = ("alice", "bob", "carol"),
    balance: int = 1_000_000 * FLUX,
    preset: Params = MINIMAL,
    **overrides: Any,
) -> Genesis:
    """`nodes` nodes dealt to `operators` owners (one each by default), people with money, parameters overridden."""
    params: Params = msgspec.structs.replace(preset, **overrides)
    owners = nodes if operators is None else operators
    names = [f"owner/{k}" for k in range(1, owners + 1)] + [f"gateway-owner/{k}" for k in range(1, gateways + 1)]
    return Genesis(
        chain_id=CHAIN_ID,
        time_ms=GENESIS_MS,
        params=params,
        accounts=tuple((make_address_of(name), balance) for name in (*names, *people)),
        nodes=tuple(make_node(k, (k - 1) % owners + 1, params) for k in range(1, nodes + 1)),
        gateways=tuple(make_gateway(k) for k in range(1, gateways + 1)),
        validators=tuple(make_validator(k) for k in range(1, validators + 1)),
    )


def make_node_register(k: int, owner: str, node_id: NodeId, **claims: Any) -> NodeRegister:
    """Node `k`'s registration by the account `owner`, for the id that its transaction will give it."""
    fields: dict[str, Any] = {
        "operator": make_address_of(owner),
        "hot": make_key(f"hot/{k}").public,
        "hot_proof": sign_hot_proof(f"hot/{k}", make_address_of(owner), node_id),
        "enc": make_enc_pub(f"enc/{k}"),
        "cert": make_cert(f"hot/{k}", render_node(node_id)),
        "payout": make_address_of(owner),
        "tier": 1,
        "endpoint": make_endpoint(k),
        "arch": "amd64",
        "capacity": CAPACITY,
        "location": PLACES[0],
        "asn": 64_512,
        "isolation": "namespaces",
    }
    return NodeRegister(**{**fields, **claims})


def sign_hot_proof(hot: str, owner: Address, subject: NodeId | GatewayId, chain_id: str = CHAIN_ID) -> bytes:
    return make_key(hot).sign(compute_hot_proof_message(chain_id, owner, subject))


def pack(messages: Iterable[Message]) -> tuple[msgspec.Raw, ...]:
    return tuple(msgspec.Raw(encode(message)) for message in messages)


def sign_body(body: UserTx | RoleTx, key: PrivateKey) -> bytes:
    """The wire form of a body signed by an ed25519 key."""
    raw = encode(body)
    tx_id = hashlib.sha256(b"fluxcloud/tx/1" + raw).digest()
    return encode(SignedTx(raw, Sig(KIND_ED25519, key.public, key.sign(tx_id))))


def make_user_tx(
    key: PrivateKey,
    nonce: int,
    *messages: Message,
    fee: int = FEE,
    valid_until_ms: int = GENESIS_MS + 3_600_000,
    chain_id: str = CHAIN_ID,
) -> bytes:
    sender = address_of_ed25519(key.public)
    return sign_body(UserTx(chain_id, sender, nonce, valid_until_ms, fee, pack(messages)), key)


def make_role_tx(
    key: PrivateKey, node: NodeId, lane: str, seq: int, *messages: Message, chain_id: str = CHAIN_ID
) -> bytes:
    return sign_body(RoleTx(chain_id, node, lane, seq, pack(messages)), key)


def make_proposer_tx(height: int, *messages: Message) -> bytes:
    return encode(SignedTx(encode(ProposerTx(height, pack(messages))), UNSIGNED))


def dump(state: State) -> list[Change]:
    """Every record, ordered by table and key."""
    return list(state.dump())


@dataclass
class LedgerRunner:
    """A ledger under test: builds blocks, applies them, and checks after each what must hold of any block.

    With `checks`: invariants; every index equals its rebuild; undoing the block gives the state before, and applying it
    again the same state and result. Transactions are signed for their sender's next nonce (or seq) as they are made.
    """

    genesis: Genesis = field(default_factory=make_genesis)
    checks: bool = True
    state: State = field(init=False)
    height: int = field(init=False, default=0)
    time_ms: int = field(init=False)
    changes: list[Change] = field(init=False)
    last: BlockResult = field(init=False)

    def __post_init__(self) -> None:
        self.state = build_state(self.genesis)
        self.changes = self.state.take_changes()
        self.time_ms = self.genesis.time_ms
        self.cache = SignatureCache()
        self.proposer = compute_validator_address(self.genesis.validators[0].pub)
        self.last = BlockResult((), (), get_clock(self.state))
        self._next: dict[tuple[bytes, str], int] = {}

    @property
    def params(self) -> Params:
        return get_params(self.state)

    @property
    def tick_ms(self) -> int:
        return get_clock(self.state).tick_ms

    def node_id(self, k: int) -> NodeId:
        """The id of genesis node `k` (from 1)."""
        return NodeId(self.genesis.nodes[k - 1].id)

    # transactions

    def user(self, name: str, *messages: Message, **body: Any) -> bytes:
        """Messages of the account of the key `name`."""
        key = make_key(name)
        address = make_address_of(name)
        nonce = max(get_account(self.state, address).nonce, self._next.get((address, "user"), 0))
        self._next[address, "user"] = nonce + 1
        return make_user_tx(key, nonce, *messages, **{"valid_until_ms": self.time_ms + 3_600_000, **body})

    def watch(self, k: int, *messages: Message) -> bytes:
        """Observations and votes of genesis node `k`."""
        return self._role(k, "watch", messages)

    def report(self, k: int, *messages: Message) -> bytes:
        """Reports of genesis node `k`."""
        return self._role(k, "report", messages)

    def _role(self, k: int, lane: str, messages: tuple[Message, ...]) -> bytes:
        node_id = self.node_id(k)
        used = self.state.get(LANES, (node_id, lane))
        seq = max(used.last_seq + 1 if used else 0, self._next.get((node_id, lane), 0), self.time_ms)
        self._next[node_id, lane] = seq + 1
        node = self.state.get(NODES, node_id)
        hot = _KEYS[node.hot] if node else make_key(f"hot/{k}")
        return make_role_tx(hot, node_id, lane, seq, *messages)

    def reveal(self) -> bytes:
        """The proposer's transaction of the next block."""
        return make_proposer_tx(self.height + 1, self.next_reveal())

    def next_reveal(self) -> Reveal:
        validator = get_validator(self.state, self.proposer)
        assert validator is not None
        links = (*make_links("validator/1"), *make_links(NEXT_CHAIN))
        return Reveal(links[links.index(validator.tip) + 1])

    # blocks

    def block(self, *txs: bytes, after_ms: int = BLOCK_MS, reveal: bool = True) -> BlockResult:
        """Apply one block of these transactions; the proposer's reveal is put before them."""
        time_ms = self.time_ms + after_ms
        proposer_txs = (self.reveal(),) if reveal else ()
        block = Block(self.height + 1, time_ms, self.proposer, (*proposer_txs, *txs))
        self.last = self._apply(block)
        self.changes = self.state.take_changes()
        self.height, self.time_ms = block.height, time_ms
        self._next.clear()
        return self.last

    def peek(self, *txs: bytes, after_ms: int = BLOCK_MS) -> tuple[BlockResult, list[Change]]:
        """What a block of these transactions would do: its result, and the state after it; the ledger stays."""
        mark = self.state.mark()
        block = Block(self.height + 1, self.time_ms + after_ms, self.proposer, (self.reveal(), *txs))
        result = apply_block(self.state, self.params, block, self.cache)
        after = dump(self.state)
        self.state.rollback(mark)
        return result, after

    def apply(self, *txs: bytes, after_ms: int = BLOCK_MS) -> list[Event]:
        """Apply one block in which nothing may be refused. All its events: of transactions, then of the block."""
        result = self.block(*txs, after_ms=after_ms)
        for receipt in result.receipts:
            assert receipt.code == "", (receipt.code, receipt.message)
        return [event for receipt in result.receipts for event in receipt.events] + list(result.events)

    def reject(self, tx: bytes) -> Receipt:
        """Apply one block of one transaction that must be refused; its receipt."""
        receipt = self.block(tx).receipts[-1]
        assert receipt.code != ""
        return receipt

    def run_ms(self, duration_ms: int) -> list[Event]:
        """Empty blocks until the tick clock has moved by `duration_ms`; their events."""
        until, events = self.tick_ms + duration_ms, []
        while self.tick_ms < until:
            events += self.apply(after_ms=min(BLOCK_MS, until - self.tick_ms))
        return events

    def context(self, **fields: Any) -> Context:
        """A context as a message in the next block would get it, for calling a `process_*` directly."""
        clock = get_clock(self.state)
        return Context(
            **{
                "chain_id": clock.chain_id,
                "params": self.params,
                "height": clock.height + 1,
                "time_ms": clock.time_ms + BLOCK_MS,
                "tick_ms": clock.tick_ms + BLOCK_MS,
                "beacon": clock.beacon,
                "proposer": self.proposer,
                **fields,
            }
        )

    def check(self) -> None:
        """What must hold of any state: invariants, and indexes that equal their rebuild."""
        check_invariants(self.state, self.params)
        check_indexes(self.state)

    def _apply(self, block: Block) -> BlockResult:
        if not self.checks:
            return apply_block(self.state, self.params, block, self.cache)
        before = dump(self.state)
        mark = self.state.mark()
        first = apply_block(self.state, self.params, block, self.cache)
        self.check()
        after = dump(self.state)
        self.state.rollback(mark)
        assert dump(self.state) == before, "undoing the block did not give the state before it"
        check_indexes(self.state)
        again = apply_block(self.state, self.params, block, SignatureCache())
        assert again == first, "the same block gave another result"
        assert dump(self.state) == after, "the same block gave another state"
        return first


def check_indexes(state: State) -> None:
    rebuilt = state.rebuild_indexes()
    for table in state.tables:
        for index in table.indexes:
            assert state.index(table, index) == rebuilt[table.name, index.name], (table.name, index.name)
