"""The state tree: its root against a plain definition, independence of history, and proofs that can't be bent."""

from __future__ import annotations

import hashlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxcloud.codec import Codec, encode
from fluxcloud.tree import EMPTY_HASH, BadProof, OtherLeaf, Proof, Tree, compute_tree_key, verify_proof

# Few different bytes: keys that share long prefixes are common, and so are deep leaves and empty siblings.
close_keys = st.lists(st.sampled_from([0, 1, 2, 0x80, 0xFF]), min_size=4, max_size=4).map(
    lambda parts: bytes(parts[:2]) + bytes(28) + bytes(parts[2:])
)
values = st.binary(max_size=3)
items = st.dictionaries(close_keys, values, max_size=24)
PROOF: Codec[Proof] = Codec(Proof)


def compute_root(entries: dict[bytes, bytes], depth: int = 0) -> bytes:
    """The definition, as short as it can be said."""
    if not entries:
        return EMPTY_HASH
    if len(entries) == 1:
        ((key, value),) = entries.items()
        return hashlib.sha256(b"\x00" + key + hashlib.sha256(value).digest()).digest()
    halves: tuple[dict[bytes, bytes], dict[bytes, bytes]] = ({}, {})
    for key, value in entries.items():
        halves[int.from_bytes(key) >> 255 - depth & 1][key] = value
    return hashlib.sha256(b"\x01" + compute_root(halves[0], depth + 1) + compute_root(halves[1], depth + 1)).digest()


def make_key(number: int) -> bytes:
    return compute_tree_key("test", number.to_bytes(8))


def make_tree(count: int) -> Tree:
    return Tree.build((make_key(i), b"value %d" % i) for i in range(count))


def test_tree_key() -> None:
    assert compute_tree_key("nodes", b"\x01\x02") == hashlib.sha256(b"\x05nodes\x01\x02").digest()
    assert compute_tree_key("ab", b"c") != compute_tree_key("a", b"bc")


def test_empty() -> None:
    assert Tree.EMPTY.root == bytes(32)
    assert Tree.EMPTY.get(bytes(32)) is None
    assert Tree.EMPTY.prove(bytes(32)) == Proof(0, b"", b"")
    verify_proof(bytes(32), bytes(32), None, Tree.EMPTY.prove(bytes(32)))
    assert Tree.EMPTY.update([(bytes(32), None)]).root == bytes(32)


def test_root__known() -> None:
    """Three keys by hand: two that part at bit 2, one on the other side of bit 0; the sibling at depth 2 is empty."""
    key_a, key_b, key_c = b"\x00" * 32, b"\x20" + b"\x00" * 31, b"\x80" + b"\x00" * 31

    def leaf(key: bytes, value: bytes) -> bytes:
        return hashlib.sha256(b"\x00" + key + hashlib.sha256(value).digest()).digest()

    def inner(left: bytes, right: bytes) -> bytes:
        return hashlib.sha256(b"\x01" + left + right).digest()

    a_b = inner(leaf(key_a, b"a"), leaf(key_b, b"b"))
    tree = Tree.build([(key_a, b"a"), (key_b, b"b"), (key_c, b"c")])
    assert tree.root == inner(inner(a_b, EMPTY_HASH), leaf(key_c, b"c"))
    proof = tree.prove(key_b)
    assert (proof.depth, proof.bitmap) == (3, b"\xa0")
    assert proof.siblings == leaf(key_c, b"c") + leaf(key_a, b"a")
    assert tree.update([(key_b, None)]).root == inner(leaf(key_a, b"a"), leaf(key_c, b"c"))


def test_root__vector() -> None:
    """Pinned: a change of this value is a migration of every ledger."""
    assert make_tree(100).root.hex() == "f5d42ecdd4affc64a7e74c3a0b7c95a17ac5757ca6ccafb040f352174a5f343f"


@given(items)
def test_build__is_the_definition(entries: dict[bytes, bytes]) -> None:
    tree = Tree.build(entries.items())
    assert tree.root == compute_root(entries)
    assert tree.root == Tree.build(reversed(entries.items())).root


@given(items, st.lists(st.lists(st.tuples(close_keys, st.none() | values), max_size=8), max_size=8))
def test_update__any_history(entries: dict[bytes, bytes], batches: list[list[tuple[bytes, bytes | None]]]) -> None:
    tree, expected = Tree.build(entries.items()), dict(entries)
    history = [(tree, dict(expected))]
    for batch in batches:
        tree = tree.update(batch)
        for key, value in batch:
            expected.pop(key, None)
            if value is not None:
                expected[key] = value
        history.append((tree, dict(expected)))
    for old, old_entries in history:  # every earlier tree still reads as it did
        assert old.root == compute_root(old_entries)
        assert all(old.get(key) == value for key, value in old_entries.items())


@given(items, st.lists(close_keys, max_size=8))
def test_proof__presence_and_absence(entries: dict[bytes, bytes], others: list[bytes]) -> None:
    tree = Tree.build(entries.items())
    for key in [*entries, *others]:
        value, proof = tree.get(key), tree.prove(key)
        assert value == entries.get(key)
        verify_proof(tree.root, key, value, proof)
        assert PROOF.decode(encode(proof)) == proof
        with pytest.raises(BadProof):
            verify_proof(tree.root, key, b"x" if value is None else None, proof)
        with pytest.raises(BadProof):
            verify_proof(tree.root, key, b"other value", proof)


@given(items.filter(bool), close_keys, st.data())
def test_proof__any_change_is_refused(entries: dict[bytes, bytes], key: bytes, data: st.DataObject) -> None:
    tree = Tree.build(entries.items())
    proof = tree.prove(key)
    raw = bytearray(encode(proof))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        changed = msgspec.msgpack.decode(raw, type=Proof)
    except msgspec.DecodeError:
        return
    if changed != proof:
        with pytest.raises(BadProof):
            verify_proof(tree.root, key, tree.get(key), changed)


@given(items, close_keys, close_keys)
def test_proof__of_another_key_is_refused(entries: dict[bytes, bytes], key: bytes, other: bytes) -> None:
    """A proof of absence may serve a neighbour that is absent for the same reason; nothing else carries over."""
    tree = Tree.build(entries.items())
    try:
        verify_proof(tree.root, other, tree.get(key), tree.prove(key))
    except BadProof:
        return
    assert tree.get(other) == tree.get(key)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"depth": -1}, "depth"),
        ({"depth": 257}, "depth"),
        ({"depth": 1 << 63}, "depth"),
        ({"bitmap": b""}, "bitmap"),
        ({"bitmap": b"\xe0\x00"}, "bitmap"),
        ({"bitmap": b"\xe1"}, "bitmap"),
        ({"siblings": b""}, "siblings"),
        ({"siblings": bytes(96)}, "siblings"),
        ({"siblings": b"\x01" * 97}, "siblings"),
        ({"other": OtherLeaf(bytes(32), bytes(32))}, "presence has none"),
    ],
)
def test_invalid_proof_shape(changes: dict[str, object], problem: str) -> None:
    tree = make_tree(8)
    key = next(key for key in map(make_key, range(8)) if tree.prove(key).bitmap == b"\xe0")
    verify_proof(tree.root, key, tree.get(key), tree.prove(key))
    with pytest.raises(BadProof, match=problem) as caught:
        verify_proof(tree.root, key, tree.get(key), msgspec.structs.replace(tree.prove(key), **changes))
    assert caught.value.code == "tree/1"


def test_invalid_absence() -> None:
    tree = make_tree(1)
    absent = make_key(1)
    proof = tree.prove(absent)
    assert proof == Proof(0, b"", b"", OtherLeaf(make_key(0), hashlib.sha256(b"value 0").digest()))
    verify_proof(tree.root, absent, None, proof)
    with pytest.raises(BadProof, match="another key"):  # a leaf doesn't prove its own absence
        verify_proof(tree.root, make_key(0), None, proof)
    short = Proof(0, b"", b"", OtherLeaf(b"", bytes(32)))
    with pytest.raises(BadProof, match="32 bytes each"):
        verify_proof(tree.root, absent, None, short)
    with pytest.raises(BadProof, match="key: 31 bytes"):
        verify_proof(tree.root, bytes(31), None, proof)


def test_invalid_absence__leaf_of_another_prefix() -> None:
    """A real leaf, on its real path, can't stand for the absence of a key that would be elsewhere."""
    left, right = bytes(32), b"\x80" + bytes(31)
    tree = Tree.build([(left, b"1"), (right, b"2")])
    path = tree.prove(left)
    forged = Proof(path.depth, path.bitmap, path.siblings, OtherLeaf(left, hashlib.sha256(b"1").digest()))
    with pytest.raises(BadProof, match="same bits"):
        verify_proof(tree.root, right, None, forged)


def test_proof__size() -> None:
    tree = make_tree(20_000)
    sizes = [len(encode(tree.prove(make_key(i)))) for i in range(0, 40_000, 40)]
    assert max(sizes) <= 1_536


def test_update__deepest_keys() -> None:
    """Keys that differ in their last bit only: 256 levels, no recursion limit."""
    low, high = bytes(32), bytes(31) + b"\x01"
    tree = Tree.build([(low, b"0"), (high, b"1")])
    proof = tree.prove(high)
    assert (proof.depth, len(proof.siblings)) == (256, 32)
    verify_proof(tree.root, high, b"1", proof)
    assert tree.update([(low, None)]).root == Tree.build([(high, b"1")]).root
    assert tree.update([(low, None), (high, None)]).root == EMPTY_HASH
