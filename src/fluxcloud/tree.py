"""The state tree: a compact sparse Merkle tree, whose root depends on what it holds and never on how it got there.

A leaf stands at the shallowest prefix that no other key shares, so a tree of n keys is about log2(n) + 1 deep. Nodes
never change: an update copies the path it touches, and a tree of an earlier height stays readable as long as somebody
holds it. Each touched inner node is hashed once per update, however many changes lie below it.

Nodes are plain tuples, because the garbage collector stops looking at tuples that hold nothing it has to watch: a tree
of millions of nodes then costs it nothing. A leaf is (hash, key, value), an inner node (hash, left, right), None empty.

    leaf hash  = SHA-256(0x00 || key || SHA-256(value))
    inner hash = SHA-256(0x01 || left || right)
    empty hash = 32 zero bytes
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any, ClassVar

from .codec import Record
from .errors import Rejected

Node = tuple[bytes, Any, Any]

KEY_BYTES = 32
KEY_BITS = 8 * KEY_BYTES
EMPTY_HASH = bytes(32)
_sha256 = hashlib.sha256


class BadProof(Rejected):
    """The proof doesn't show that the key has this value (or is absent) under this root."""

    CODE = "tree/1"


class OtherLeaf(Record):
    """The leaf that stands where the absent key would be."""

    key: bytes
    value_hash: bytes


class Proof(Record):
    """What is needed to hash from a key's place up to the root.

    `depth`: of the place. `bitmap`: bit i (of byte i // 8, highest bit first) tells that the sibling at depth i + 1 is
    not empty. `siblings`: the hashes of those, from the root downwards, joined. `other`: absence by another leaf.
    """

    depth: int
    bitmap: bytes
    siblings: bytes
    other: OtherLeaf | None = None


def compute_tree_key(table: str, key: bytes) -> bytes:
    """Where a record of a table stands: SHA-256(length of the table's name, 1 byte || name || key)."""
    name = table.encode("ascii")
    return _sha256(bytes((len(name),)) + name + key).digest()


class Tree:
    """An immutable tree of keys of 32 bytes and values of any length."""

    __slots__ = ("_node",)

    EMPTY: ClassVar[Tree]

    def __init__(self, node: Node | None = None) -> None:
        self._node = node

    @classmethod
    def build(cls, items: Iterable[tuple[bytes, bytes]]) -> Tree:
        """The tree of these items, in whatever order they come."""
        return cls.EMPTY.update(items)

    @property
    def root(self) -> bytes:
        return EMPTY_HASH if self._node is None else self._node[0]

    def get(self, key: bytes) -> bytes | None:
        leaf = _descend(self._node, key, [])
        return leaf[2] if leaf is not None and leaf[1] == key else None

    def update(self, changes: Iterable[tuple[bytes, bytes | None]]) -> Tree:
        """The tree after these changes; None deletes. Of several changes of one key the last counts."""
        latest = dict(changes)
        assert all(len(key) == KEY_BYTES for key in latest)
        return Tree(_update(self._node, [_make_change(key, latest[key]) for key in sorted(latest)], 0))

    def prove(self, key: bytes) -> Proof:
        """That `key` has the value which `get` gives, or is absent."""
        siblings: list[Node | None] = []
        leaf = _descend(self._node, key, siblings)
        bitmap = bytearray((len(siblings) + 7) // 8)
        for depth, sibling in enumerate(siblings):
            if sibling is not None:
                bitmap[depth >> 3] |= 0x80 >> (depth & 7)
        is_other = leaf is not None and leaf[1] != key
        return Proof(
            depth=len(siblings),
            bitmap=bytes(bitmap),
            siblings=b"".join(sibling[0] for sibling in siblings if sibling is not None),
            other=OtherLeaf(leaf[1], _sha256(leaf[2]).digest()) if leaf is not None and is_other else None,
        )


Tree.EMPTY = Tree()


def verify_proof(root: bytes, key: bytes, value: bytes | None, proof: Proof) -> None:
    """Check that `key` has `value` under `root`, or is absent where `value` is None. Raises BadProof (tree/1)."""
    if len(key) != KEY_BYTES:
        raise BadProof(f"key: {len(key)} bytes, not {KEY_BYTES}")
    siblings = _unpack_siblings(proof)
    digest = _compute_start_hash(key, value, proof)
    for depth in range(proof.depth - 1, -1, -1):
        if _has_bit(key, depth):
            digest = _sha256(b"\x01" + siblings[depth] + digest).digest()
        else:
            digest = _sha256(b"\x01" + digest + siblings[depth]).digest()
    if digest != root:
        raise BadProof("the proof leads to another root")


def _unpack_siblings(proof: Proof) -> list[bytes]:
    """The sibling at each depth. One form only: no spare bits, no spare hashes, no empty one sent as a hash."""
    if not 0 <= proof.depth <= KEY_BITS:
        raise BadProof(f"depth: {proof.depth}; 0..{KEY_BITS} is allowed")
    spare_bits = -proof.depth % 8
    if len(proof.bitmap) != (proof.depth + 7) // 8 or (spare_bits and proof.bitmap[-1] & ((1 << spare_bits) - 1)):
        raise BadProof("bitmap: it has to have one bit for each level, and zeros after them")
    hashes = [proof.siblings[i : i + 32] for i in range(0, len(proof.siblings), 32)]
    if len(proof.siblings) != 32 * int.from_bytes(proof.bitmap).bit_count() or EMPTY_HASH in hashes:
        raise BadProof("siblings: one hash for each bit set in the bitmap, none of them empty")
    following = iter(hashes)
    return [next(following) if _has_bit(proof.bitmap, depth) else EMPTY_HASH for depth in range(proof.depth)]


def _compute_start_hash(key: bytes, value: bytes | None, proof: Proof) -> bytes:
    """Hash of what the proof says stands at the key's place."""
    other = proof.other
    if value is not None:
        if other is not None:
            raise BadProof("other: a proof of presence has none")
        return _compute_leaf_hash(key, _sha256(value).digest())
    if other is None:
        return EMPTY_HASH
    if len(other.key) != KEY_BYTES or len(other.value_hash) != 32:
        raise BadProof(f"other: key and value hash have {KEY_BYTES} bytes each")
    difference = int.from_bytes(key) ^ int.from_bytes(other.key)
    if difference == 0 or difference.bit_length() > KEY_BITS - proof.depth:
        raise BadProof("other: it has to be another key that begins with the same bits")
    return _compute_leaf_hash(other.key, other.value_hash)


def _compute_leaf_hash(key: bytes, value_hash: bytes) -> bytes:
    return _sha256(b"\x00" + key + value_hash).digest()


def _has_bit(key: bytes, depth: int) -> int:
    return key[depth >> 3] >> (7 - (depth & 7)) & 1


def _descend(node: Node | None, key: bytes, siblings: list[Node | None]) -> Node | None:
    """The leaf, or nothing, at the key's place; collects the siblings on the way."""
    depth = 0
    while node is not None and type(node[1]) is not bytes:
        bit = key[depth >> 3] >> (7 - (depth & 7)) & 1
        siblings.append(node[1] if bit else node[2])
        node = node[2] if bit else node[1]
        depth += 1
    return node


def _make_change(key: bytes, value: bytes | None) -> Node:
    """The new leaf; for a deletion one without hash and value, which never enters a tree."""
    if value is None:
        return (b"", key, None)
    return (_sha256(b"\x00" + key + _sha256(value).digest()).digest(), key, value)


def _update(node: Node | None, changes: list[Node], depth: int) -> Node | None:
    """`node` after changes (sorted, one a key, all below `node`), each inner node hashed once."""
    if len(changes) == 1:
        return _update_one(node, changes[0], depth)
    if node is None:
        return _build([leaf for leaf in changes if leaf[2] is not None], depth)
    if type(node[1]) is bytes:
        return _build(_merge(node, changes), depth)
    middle = _find_split(changes, depth)
    left, right = node[1], node[2]
    if middle:
        left = _update(left, changes[:middle], depth + 1)
    if middle < len(changes):
        right = _update(right, changes[middle:], depth + 1)
    return _join(left, right)


def _update_one(node: Node | None, change: Node, depth: int) -> Node | None:
    """The same for a single change, as a loop: most of the work of a block is down here."""
    before, key = node, change[1]
    path: list[tuple[int, Node | None]] = []
    while node is not None and type(node[1]) is not bytes:
        bit = key[depth >> 3] >> (7 - (depth & 7)) & 1
        path.append((bit, node[1] if bit else node[2]))
        node = node[2] if bit else node[1]
        depth += 1
    if change[2] is None and (node is None or node[1] != key):
        return before  # deletes what isn't there
    node = _build(_merge(node, [change]), depth)
    while path:
        bit, sibling = path.pop()
        node = _join(sibling, node) if bit else _join(node, sibling)
    return node


def _merge(leaf: Node | None, changes: list[Node]) -> list[Node]:
    """The leaves, sorted, that are left of one leaf (or nothing) and the changes at its place."""
    leaves = [change for change in changes if change[2] is not None]
    if leaf is not None and all(change[1] != leaf[1] for change in changes):
        leaves.append(leaf)
        leaves.sort(key=_get_key)
    return leaves


def _get_key(leaf: Node) -> bytes:
    key: bytes = leaf[1]
    return key


def _build(leaves: list[Node], depth: int) -> Node | None:
    """The subtree of sorted leaves."""
    if len(leaves) < 2:
        return leaves[0] if leaves else None
    middle = _find_split(leaves, depth)
    return _join(_build(leaves[:middle], depth + 1), _build(leaves[middle:], depth + 1))


def _find_split(leaves: list[Node], depth: int) -> int:
    """Index of the first leaf whose key has the bit at `depth` set; bisecting, as the leaves are sorted."""
    byte, mask = depth >> 3, 0x80 >> (depth & 7)
    low, high = 0, len(leaves)
    while low < high:
        middle = (low + high) >> 1
        if leaves[middle][1][byte] & mask:
            high = middle
        else:
            low = middle + 1
    return low


def _join(left: Node | None, right: Node | None) -> Node | None:
    """The inner node over two subtrees; a leaf that is alone moves up in its place."""
    if left is not None and right is not None:
        return (_sha256(b"\x01" + left[0] + right[0]).digest(), left, right)
    child = left or right
    if child is None or type(child[1]) is bytes:
        return child
    if left is None:
        return (_sha256(b"\x01" + EMPTY_HASH + child[0]).digest(), None, child)
    return (_sha256(b"\x01" + child[0] + EMPTY_HASH).digest(), child, None)
