"""Proofs: the newest state that can be proven, which is the one before the newest block.

The header of height H names the root after H-1 (LEDGER.md 4). Trees never change, so this one stays whole while the
next block is made. Each item is proven once per block, however many followers want it.
"""

from __future__ import annotations

from ..headers import SignedHeader
from ..rpc import Item
from ..tree import Tree, compute_tree_key

TableAndKey = tuple[str, bytes]


class ProvenView:
    """State after `height`, proven by `header`; `changed` is what block `height` changed of it."""

    def __init__(self, header: SignedHeader, tree: Tree, tick_ms: int, changed: tuple[TableAndKey, ...]) -> None:
        self.header = header
        self.tick_ms = tick_ms
        self.changed = changed
        self._tree = tree
        self._items: dict[TableAndKey, Item] = {}

    @property
    def height(self) -> int:
        return self.header.header.height - 1

    def get_item(self, table: str, key: bytes) -> Item:
        """The value or its absence, with proof."""
        item = self._items.get((table, key))
        if item is None:
            tree_key = compute_tree_key(table, key)
            item = Item(table, key, self._tree.get(tree_key), self._tree.prove(tree_key))
            self._items[table, key] = item
        return item
