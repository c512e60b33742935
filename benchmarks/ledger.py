"""Ledger: signed transfers a second on one core, from a mempool's check to a durable commit.

Each block: check_tx of every transaction, lanes, apply_block, changes, tree update, one LMDB commit that is on disk.
Signatures are checked once (by check_tx) and remembered. Also what a bare PyNaCl check of the same signatures takes, so
that the share of everything else shows; and the cost of a write to a table that holds a large network.

    python benchmarks/ledger.py
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any, TypeVar

import msgspec
from nacl.bindings import crypto_sign_open

from fluxcloud.chain.store import BlockWrite, Head, Limits, Store
from fluxcloud.codec import encode
from fluxcloud.crypto import PrivateKey, Sig, address_of_ed25519
from fluxcloud.ids import NodeId
from fluxcloud.ledger.accounts.messages import Transfer
from fluxcloud.ledger.block import Block, get_params
from fluxcloud.ledger.envelope import Overlay
from fluxcloud.ledger.genesis import Genesis, build_state
from fluxcloud.ledger.lanes import select_txs
from fluxcloud.ledger.nodes.capacity import release, reserve
from fluxcloud.ledger.nodes.model import NODES, Capacity, Endpoint, Location, Node
from fluxcloud.ledger.params import MINIMAL
from fluxcloud.ledger.signatures import SignatureCache
from fluxcloud.ledger.state import Change, State
from fluxcloud.ledger.transition import apply_block, check_tx
from fluxcloud.ledger.tx import SIGNED_TX, SignedTx, UserTx, compute_tx_id
from fluxcloud.ledger.validators.model import Validator
from fluxcloud.ledger.validators.queries import compute_validator_address
from fluxcloud.tree import Tree, compute_tree_key
from fluxcloud.units import FLUX

CHAIN_ID = "bench-1"
TIME_MS = 1_700_000_000_000
ACCOUNTS = 2_000
BLOCKS = 10
FEE = 1_000_000
NODES_COUNT = 10_000
WRITES = 20_000
T = TypeVar("T")


def make_keys(count: int) -> list[PrivateKey]:
    return [PrivateKey.from_seed(number.to_bytes(32)) for number in range(1, count + 1)]


def make_genesis(keys: list[PrivateKey]) -> Genesis:
    accounts = tuple((address_of_ed25519(key.public), 1_000 * FLUX) for key in keys)
    validator = Validator(keys[0].public, 1, bytes(32), 0)
    return Genesis(CHAIN_ID, TIME_MS, MINIMAL, accounts, (), (), (validator,))


def make_transfers(keys: list[PrivateKey], nonce: int) -> list[bytes]:
    """One of each account to its neighbour."""
    addresses = [address_of_ed25519(key.public) for key in keys]
    transfers = []
    for sender, key in enumerate(keys):
        message = msgspec.Raw(encode(Transfer(addresses[sender - 1], 1 + nonce)))
        body = encode(UserTx(CHAIN_ID, addresses[sender], nonce, TIME_MS + 3_600_000, FEE, (message,)))
        transfers.append(encode(SignedTx(body, Sig(0, key.public, key.sign(compute_tx_id(body))))))
    return transfers


class Chain:
    """The ledger with its tree and its disk, as the chain node has them; adds up what each step takes."""

    def __init__(self, genesis: Genesis, home: Path) -> None:
        self.state: State = build_state(genesis)
        self.params = get_params(self.state)
        self.cache = SignatureCache()
        self.proposer = compute_validator_address(genesis.validators[0].pub)
        self.height = 0
        self.spent_s: dict[str, float] = {}
        changes = self.state.take_changes()
        self.tree = Tree.build([(compute_tree_key(c.table, c.key), c.value) for c in changes if c.value is not None])
        self.store = Store(home, Limits(keep_blocks=100, keep_bytes=1 << 30))
        self.store.create(Head(CHAIN_ID, 1, 0, self.tree.root, 1, 0), changes)

    def add_block(self, raws: list[bytes], nonce: int) -> None:
        """One transaction of each account, all with the same nonce."""
        self.height += 1
        self._measure("check_tx", self._check_all, raws, nonce)
        txs = tuple(self._measure("select_txs", select_txs, {"user": raws}, self.params))
        assert len(txs) == len(raws), "they don't fit into one block"
        block = Block(self.height, TIME_MS + 500 * self.height, self.proposer, txs)
        result = self._measure("apply_block", apply_block, self.state, self.params, block, self.cache)
        assert all(receipt.code == "" for receipt in result.receipts)
        changes = self._measure("changes", self.state.take_changes)
        self.tree = self._measure("tree", self._update_tree, changes)
        tx_ids = tuple(receipt.tx_id for receipt in result.receipts)
        write = BlockWrite(self.height, self.tree.root, b"", encode(txs), b"", tx_ids, tuple(changes))
        self._measure("commit", self.store.commit, write)

    def _check_all(self, raws: list[bytes], nonce: int) -> None:
        for raw in raws:
            check_tx(self.state, self.params, raw, self.cache, TIME_MS, Overlay(nonce=nonce))

    def _update_tree(self, changes: list[Change]) -> Tree:
        return self.tree.update((compute_tree_key(change.table, change.key), change.value) for change in changes)

    def _measure(self, name: str, step: Callable[..., T], *args: Any) -> T:
        began = perf_counter()
        result = step(*args)
        self.spent_s[name] = self.spent_s.get(name, 0.0) + perf_counter() - began
        return result


def report_transfers() -> None:
    keys = make_keys(ACCOUNTS)
    blocks = [make_transfers(keys, nonce) for nonce in range(BLOCKS)]
    verify_s = min(measure_bare_verify(raws) for raws in blocks) * BLOCKS
    with tempfile.TemporaryDirectory() as folder:
        chain = Chain(make_genesis(keys), Path(folder))
        for nonce, raws in enumerate(blocks):
            chain.add_block(raws, nonce)
        chain.store.close()
    total_s = sum(chain.spent_s.values())
    count = ACCOUNTS * BLOCKS
    report("transfers", count / total_s, "tx/s", total_s / verify_s, "time to bare PyNaCl checks of the same")
    report("signature_share", 100 * verify_s / total_s, "%", verify_s / total_s, "bare checks to all")
    for name, spent_s in chain.spent_s.items():
        report(name, 1e6 * spent_s / count, "us/tx", spent_s / total_s, "to all")


def measure_bare_verify(raws: list[bytes]) -> float:
    signed = [SIGNED_TX.decode(raw) for raw in raws]
    inputs = [(tx.sig.sig + compute_tx_id(tx.body), tx.sig.pub) for tx in signed]
    began = perf_counter()
    for message, pub in inputs:
        crypto_sign_open(message, pub)
    return perf_counter() - began


def report_writes() -> None:
    """A reservation and its release in a table of a large network, where each write moves index entries."""
    state = State((NODES,))
    ids = [NodeId(compute_tx_id(number.to_bytes(8))[:20]) for number in range(NODES_COUNT)]
    for number, node_id in enumerate(ids):
        state.set(NODES, node_id, make_node(node_id, number))
    state.take_changes()
    need = Capacity(500, 512, 2_048)
    began = perf_counter()
    for number in range(WRITES // 2):
        reserve(state, ids[number % NODES_COUNT], need)
        release(state, ids[number % NODES_COUNT], need)
    write_s = perf_counter() - began
    table: dict[NodeId, Node] = {}
    began = perf_counter()
    for number in range(WRITES):
        table[ids[number % NODES_COUNT]] = msgspec.structs.replace(make_node(ids[0], 0), used=need)
    plain_s = perf_counter() - began
    report("node_write_at_10k", 1e6 * write_s / WRITES, "us", write_s / plain_s, "to a plain dict of records")


def make_node(node_id: NodeId, number: int) -> Node:
    raw = number.to_bytes(4)
    return Node(
        id=node_id,
        owner=bytes(21),
        operator=bytes(21),
        hot=node_id + bytes(12),
        enc=node_id + bytes(45),
        cert=bytes(300),
        payout=bytes(21),
        tier=1,
        collateral=1_000 * FLUX,
        endpoint=Endpoint(f"{10 + raw[1]}.{raw[2]}.{raw[3]}.1", 16_127, 16_128, 16_129, 20_000),
        arch="amd64",
        capacity=Capacity(4_000, 8_192, 51_200),
        used=Capacity(),
        location=Location("EU", "DE"),
        asn=64_512,
        isolation="full",
        state="active",
        since_tick=0,
    )


def report(name: str, value: float, unit: str, ratio: float, to: str) -> None:
    print(f"figure ledger/{name} value {value:.1f} {unit} ratio {ratio:.2f} ({to})", flush=True)


if __name__ == "__main__":
    report_transfers()
    report_writes()
