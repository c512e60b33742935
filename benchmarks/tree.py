"""The state tree: 10,000 updates at 100,000 keys, hashed, and committed to disk; the size of proofs; memory.

    python benchmarks/tree.py

Prints one line a figure: `figure <name> value <number> <unit> ratio <number> (<to what>)`. Ratios are to plain SHA-256
of as many hashes, or to plain writes, in the same run: they say more than milliseconds on an unknown machine.
"""

from __future__ import annotations

import hashlib
import random
import statistics
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Sequence
from typing import TypeVar

import lmdb

from fluxcloud.codec import encode
from fluxcloud.tree import Node, Proof, Tree, compute_tree_key, verify_proof

KEYS = 100_000
UPDATES = 10_000
VALUE_BYTES = 100
ROUNDS = 7
T = TypeVar("T")
Items = list[tuple[bytes, bytes]]


def main() -> None:
    source = random.Random(1)
    items = [(compute_tree_key("bench", i.to_bytes(8)), source.randbytes(VALUE_BYTES)) for i in range(KEYS)]
    changes = [
        [(key, source.randbytes(VALUE_BYTES)) for key, _ in source.sample(items, UPDATES)] for _ in range(ROUNDS)
    ]
    tree = Tree.build(items)
    report_update(tree, changes)
    report_commit(tree, items, changes)
    report_proofs(tree, items, source)
    report_build(items)


def report_update(tree: Tree, changes: list[Items]) -> None:
    hashes = count_hashes(tree, tree.update(changes[0]))
    update_ms = measure_ms(tree.update, changes)
    bare_ms = measure_ms(run_bare_hashes, [hashes] * ROUNDS)
    report("update_10k_at_100k", update_ms, "ms", update_ms / bare_ms, f"to {hashes} bare SHA-256")


def report_commit(tree: Tree, items: Items, changes: list[Items]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = lmdb.open(folder, map_size=1 << 30)
        write_all(store, items)
        commit_ms = measure_ms(lambda batch: write_all(store, batch, tree.update(batch)), changes)
        write_ms = measure_ms(lambda batch: write_all(store, batch), changes)
        store.close()
    report("update_and_commit_10k_at_100k", commit_ms, "ms", commit_ms / write_ms, "to the durable writes alone")


def report_proofs(tree: Tree, items: Items, source: random.Random) -> None:
    absent = [(source.randbytes(32), None) for _ in range(2_000)]
    asked: list[tuple[bytes, bytes | None]] = [*source.sample(items, 2_000), *absent]
    proofs = [(key, value, tree.prove(key)) for key, value in asked]
    sizes = [len(encode(proof)) for _, _, proof in proofs]
    report("proof_bytes_mean", statistics.fmean(sizes), "B", statistics.fmean(sizes) / 1_536, "to the bound of 1,536 B")
    report("proof_bytes_max", max(sizes), "B", max(sizes) / 1_536, "to the bound of 1,536 B")
    prove_ms = measure_ms(lambda some: [tree.prove(key) for key, _ in some], [asked] * 3)
    verify_ms = measure_ms(lambda some: verify_all(tree.root, some), [proofs] * 3)
    report("prove", prove_ms * 1_000 / len(asked), "us", prove_ms / verify_ms, "to verify")
    bare_ms = measure_ms(run_bare_hashes, [18 * len(asked)] * 3)
    report("verify", verify_ms * 1_000 / len(asked), "us", verify_ms / bare_ms, "to 18 bare SHA-256 each")


def report_build(items: Items) -> None:
    build_ms = measure_ms(Tree.build, [items] * 3)
    hashes = count_hashes(Tree.EMPTY, Tree.build(items))
    bare_ms = measure_ms(run_bare_hashes, [hashes] * 3)
    report("build_100k", build_ms, "ms", build_ms / bare_ms, f"to {hashes} bare SHA-256")
    tracemalloc.start()
    tree = Tree.build(items)
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert tree.root
    report(
        "memory_per_key",
        used / KEYS,
        "B",
        used / KEYS / VALUE_BYTES,
        f"to values of {VALUE_BYTES} B; keys and values are not counted",
    )


def write_all(store: lmdb.Environment, batch: Items, tree: Tree | None = None) -> None:
    with store.begin(write=True) as transaction:
        for key, value in batch:
            transaction.put(key, value)
        transaction.put(b"root", tree.root if tree else b"")


def verify_all(root: bytes, proofs: list[tuple[bytes, bytes | None, Proof]]) -> None:
    for key, value, proof in proofs:
        verify_proof(root, key, value, proof)


def run_bare_hashes(count: int) -> None:
    raw = bytes(65)
    for _ in range(count):
        hashlib.sha256(raw).digest()


def count_hashes(old: Tree, new: Tree) -> int:
    """One for each inner node that is not shared, two for each leaf: of the value and of the leaf."""

    def count(before: Node | None, after: Node | None) -> int:
        if after is None or after is before:
            return 0
        if isinstance(after[1], bytes):
            return 2
        pair = before if before is not None and not isinstance(before[1], bytes) else (b"", None, None)
        return 1 + count(pair[1], after[1]) + count(pair[2], after[2])

    return count(old._node, new._node)


def measure_ms(action: Callable[[T], object], inputs: Sequence[T]) -> float:
    """Median over the inputs, after one run that doesn't count."""
    action(inputs[0])
    times = []
    for value in inputs:
        begin = time.perf_counter()
        action(value)
        times.append((time.perf_counter() - begin) * 1_000)
    return statistics.median(times)


def report(name: str, value: float, unit: str, ratio: float, to_what: str) -> None:
    print(f"figure tree/{name} value {value:.1f} {unit} ratio {ratio:.2f} ({to_what})")


if __name__ == "__main__":
    main()
