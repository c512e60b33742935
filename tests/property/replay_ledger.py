"""Makes, replays, or replays by way of a snapshot, the blocks of a random story; prints the root of each height.

python replay_ledger.py make|replay|snapshot <file>
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

import msgspec

from factories import LedgerRunner, make_genesis
from factories_world import World
from fluxcloud.ledger.block import Block, get_params
from fluxcloud.ledger.genesis import build_state
from fluxcloud.ledger.nodes.messages import NodeUp
from fluxcloud.ledger.signatures import SignatureCache
from fluxcloud.ledger.state import Change, State
from fluxcloud.ledger.transition import REGISTRY, TABLES, apply_block
from fluxcloud.tree import Tree, compute_tree_key

BLOCKS = 200
KINDS = sorted(REGISTRY.process, key=lambda kind: kind.__name__)
GENESIS = make_genesis(9, 7, epoch_ms=10_000)


class StoredBlock(msgspec.Struct):
    height: int
    time_ms: int
    proposer: bytes
    txs: list[bytes]


def make_blocks(path: Path) -> None:
    """A story in which most of what is said fits the state; its roots as they are made."""
    source = random.Random(7)
    runner = LedgerRunner(GENESIS, checks=False)
    tree = update(Tree(), runner.changes)
    print(tree.root.hex())
    world, stored = World(runner, source.randrange), []
    for _ in range(BLOCKS):
        trouble = make_trouble(world, source)
        txs = [runner.reveal(), *trouble, *(world.make_tx(source.choice(KINDS)) for _ in range(source.randrange(8)))]
        after_ms = source.choice((500, 500, 500, 1_000, 7_000))
        runner.block(*txs, after_ms=after_ms, reveal=False)
        stored.append(StoredBlock(runner.height, runner.time_ms, runner.proposer, txs))
        tree = update(tree, runner.changes)
        print(tree.root.hex())
    path.write_bytes(msgspec.msgpack.encode(stored))


def make_trouble(world: World, source: random.Random) -> list[bytes]:
    """Now and then all monitors of a node find it dead; jurors mostly agree; those who are down come back."""
    if source.random() < 0.1:
        return world.accuse(world.runner.node_id(world.any_k()), miss=True)
    if source.random() < 0.5:
        return world.judge(miss=source.random() < 0.8)
    return [world.make_tx(NodeUp)]


def replay(path: Path, snapshot_height: int) -> None:
    state, cache = build_state(GENESIS), SignatureCache()
    tree = update(Tree(), state.take_changes())
    print(tree.root.hex())
    for stored in msgspec.msgpack.decode(path.read_bytes(), type=list[StoredBlock]):
        block = Block(stored.height, stored.time_ms, stored.proposer, tuple(stored.txs))
        apply_block(state, get_params(state), block, cache)
        tree = update(tree, state.take_changes())
        print(tree.root.hex())
        if stored.height == snapshot_height:
            state = load_snapshot(list(state.dump()))
            tree = update(Tree(), list(state.dump()))


def load_snapshot(records: list[Change]) -> State:
    state = State(TABLES)
    for table, key, value in records:
        assert value is not None
        state.load(table, key, value)
    return state


def update(tree: Tree, changes: list[Change]) -> Tree:
    return tree.update((compute_tree_key(change.table, change.key), change.value) for change in changes)


if __name__ == "__main__":
    mode, path = sys.argv[1], Path(sys.argv[2])
    if mode == "make":
        make_blocks(path)
    else:
        replay(path, BLOCKS // 2 if mode == "snapshot" else 0)
