"""Application: the ledger as a consensus engine sees it, in the shape of ABCI 2.0, with dataclasses of our own.

`finalize_block` computes and persists nothing; `commit` makes it durable in one transaction. Whatever is raised here,
other than Rejected by a check and StorageError by the disk, is a bug: the process must end (a receipt made of it would
fork the chain). Knows no socket and no clock: time comes with the block.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from ..codec import encode
from ..errors import Rejected
from ..headers import SignedHeader
from ..ids import TxId
from ..ledger.block import CLOCK, Block, get_clock, get_params
from ..ledger.envelope import NO_OVERLAY, Overlay
from ..ledger.genesis import Genesis, build_state, compute_genesis_hash
from ..ledger.lanes import select_txs
from ..ledger.module import Lane
from ..ledger.params import Params
from ..ledger.proposal import check_proposable, validate_block
from ..ledger.signatures import SignatureCache
from ..ledger.state import Change, State
from ..ledger.transition import TABLES, TxMeta, apply_block, check_tx
from ..tree import Tree, compute_tree_key
from .errors import StorageDamaged, StorageError
from .proofs import ProvenView
from .results import StoredResults, make_results
from .store import BlockWrite, Head, Store

APP_VERSION = 1


@dataclass(frozen=True, slots=True)
class Info:
    """Where the application stands; an engine replays what it has beyond that."""

    chain_id: str
    app_version: int
    height: int
    root: bytes


@dataclass(frozen=True, slots=True)
class Finalized:
    """A block's outcome, not yet durable."""

    block: Block
    results: StoredResults
    root: bytes
    changes: tuple[Change, ...]
    tree: Tree


class Application:
    """One owner calls it, one call at a time."""

    def __init__(self, store: Store, genesis: Genesis) -> None:
        self._store = store
        self._verify = SignatureCache()
        self._finalized: Finalized | None = None
        self._changed: tuple[tuple[str, bytes], ...] = ()
        self.view: ProvenView | None = None
        if store.head is None:
            self.state, self._tree = self._init_chain(genesis)
        else:
            _validate_head(store, store.head, genesis)
            self.state, self._tree = _load(store, store.head)

    @property
    def head(self) -> Head:
        assert self._store.head is not None
        return self._store.head

    @property
    def params(self) -> Params:
        return get_params(self.state)

    def info(self) -> Info:
        head = self.head
        return Info(head.chain_id, head.app_version, head.height, head.root)

    def _init_chain(self, genesis: Genesis) -> tuple[State, Tree]:
        state = build_state(genesis)
        changes = state.take_changes()
        tree = Tree.build((compute_tree_key(table, key), value) for table, key, value in changes if value is not None)
        head = Head(genesis.chain_id, APP_VERSION, 0, tree.root, 1, 0, compute_genesis_hash(genesis))
        self._store.create(head, changes)
        return state, tree

    def check_tx(self, raw: bytes, overlay: Overlay = NO_OVERLAY) -> TxMeta:
        """Whether a mempool may take a transaction. Raises Rejected (tx/n)."""
        now_ms = get_clock(self.state).time_ms
        return check_tx(self.state, self.params, raw, self._verify, now_ms, overlay)

    def prepare_proposal(
        self, time_ms: int, proposer_txs: Sequence[bytes], waiting: Mapping[Lane, Sequence[bytes]]
    ) -> tuple[bytes, ...]:
        """The transactions of the next block, of this time, from what waits."""
        chosen = select_txs(waiting, self.params, proposer_txs)
        return tuple(raw for raw in chosen if self._is_proposable(raw, time_ms))

    def _is_proposable(self, raw: bytes, time_ms: int) -> bool:
        try:
            check_proposable(self.state, self.params, raw, self._verify, time_ms)
        except Rejected:
            return False
        return True

    def process_proposal(self, block: Block) -> None:
        """Raises BadProposal (tx/23) for a block that validators must refuse."""
        validate_block(self.state, self.params, block, self._verify)

    def finalize_block(self, block: Block) -> Finalized:
        """Apply a decided block. From here on the state is ahead of the disk, until `commit`."""
        assert self._finalized is None, "a block was finalized and not committed"
        result = apply_block(self.state, self.params, block, self._verify)
        changes = tuple(self.state.take_changes())
        tree = self._tree.update((compute_tree_key(table, key), value) for table, key, value in changes)
        self._finalized = Finalized(block, make_results(result), tree.root, changes, tree)
        return self._finalized

    def commit(self, signed: SignedHeader) -> Finalized:
        """Make the finalized block durable with the header that was decided for it. Raises StorageError."""
        done = self._finalized
        assert done is not None
        assert signed.header.height == done.block.height
        tick_ms = self._read_tick()
        tx_ids = tuple(TxId(receipt.tx_id) for receipt in done.results.receipts)
        body = encode(list(done.block.txs))
        self._store.commit(
            BlockWrite(done.block.height, done.root, encode(signed), body, encode(done.results), tx_ids, done.changes)
        )
        self.view = ProvenView(signed, self._tree, tick_ms, self._changed)
        self._tree = done.tree
        self._changed = tuple((change.table, change.key) for change in done.changes)
        self._finalized = None
        return done

    def _read_tick(self) -> int:
        """The tick clock of the height before: the state is already one block ahead of the tree."""
        raw = self._tree.get(compute_tree_key(CLOCK.name, b""))
        assert raw is not None
        return CLOCK.codec.decode_trusted(raw).tick_ms


def _validate_head(store: Store, head: Head, genesis: Genesis) -> None:
    if head.app_version > APP_VERSION:
        raise StorageError(
            f"{store.home} holds a chain of application version {head.app_version}; this program knows {APP_VERSION}. "
            "Install the version of the program that wrote it"
        )
    if head.genesis != compute_genesis_hash(genesis):
        raise StorageError(
            f"{store.home} holds the chain {head.chain_id!r} of another genesis file; "
            "give this one a directory of its own, or put the right genesis file back"
        )


def _load(store: Store, head: Head) -> tuple[State, Tree]:
    """State and tree of the newest block; what is on disk must lead to the root that its head names."""
    state = State(TABLES)
    leaves = []
    try:
        for table, key, value in store.read_all_records():
            state.load(table, key, value)
            leaves.append((compute_tree_key(table, key), value))
    except (msgspec.DecodeError, KeyError, UnicodeDecodeError) as error:
        raise StorageDamaged(store.home, f"a record can't be read: {error}") from error
    tree = Tree.build(leaves)
    if tree.root != head.root:
        raise StorageDamaged(store.home, f"its records lead to another root than that of height {head.height}")
    return state, tree
