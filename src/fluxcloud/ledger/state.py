"""State: tables of records by typed key, with an undo journal and derived indexes.

A table is declared once, by the module that owns it (`APPS: TableKey[AppId, App]`); codec, genesis, storage and root
follow from the declaration. Every write is journalled, so a rejected message is undone at the cost of what it touched.
An *index* is declared with its table as a pure function of one record: it is never hashed, follows each write and undo,
and can be rebuilt from the records alone, so it may decide (LEDGER.md 1). A *view* is the same for what a sorted list
can't express: any structure, over one or several tables, that follows each write and undo.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterator
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from ..codec import Codec, encode

K = TypeVar("K")
V = TypeVar("V")

IndexEntry = tuple[Any, ...]
"""Comparable, unique: ends with the record's key."""


class IndexKey(Generic[K, V]):
    """Declares a derived index: `entries(key, record)` gives the record's entries, none to leave it out."""

    def __init__(self, name: str, entries: Callable[[K, V], tuple[IndexEntry, ...]]) -> None:
        self.name = name
        self.entries = entries


class TableKey(Generic[K, V]):
    """Declares a table. `key_parts` are byte lengths (bytes), `u64` (int) or `text` (ASCII str, last part only).

    A key of one part is given as it is, of several as a tuple.
    """

    def __init__(self, name: str, key_parts: tuple[int | str, ...], record: type[V], *indexes: IndexKey[K, V]) -> None:
        self.name = name
        self.key_parts = key_parts
        self.codec: Codec[V] = Codec(record)
        self.indexes = indexes

    def encode_key(self, key: K) -> bytes:
        parts: tuple[Any, ...] = key if isinstance(key, tuple) else (key,)
        assert len(parts) == len(self.key_parts), (self.name, key)
        encoded = []
        for part, kind in zip(parts, self.key_parts, strict=True):
            if kind == "u64":
                encoded.append(part.to_bytes(8, "big"))
            elif kind == "text":
                encoded.append(part.encode("ascii"))
            else:
                assert len(part) == kind, (self.name, part)
                encoded.append(part)
        return b"".join(encoded)

    def decode_key(self, raw: bytes) -> K:
        parts: list[Any] = []
        offset = 0
        for kind in self.key_parts:
            if kind == "u64":
                parts.append(int.from_bytes(raw[offset : offset + 8], "big"))
                offset += 8
            elif kind == "text":
                parts.append(raw[offset:].decode("ascii"))
                offset = len(raw)
            else:
                assert isinstance(kind, int)
                parts.append(raw[offset : offset + kind])
                offset += kind
        return parts[0] if len(parts) == 1 else tuple(parts)  # type: ignore[return-value]


class View(Protocol):
    """A derived structure over tables. What it answers must follow from the records, not from the way to them."""

    def follow(self, table: TableKey[Any, Any], key: Any, old: Any | None, new: Any | None) -> None:
        """A record was written: `old` is None where there was none, `new` where it was deleted."""


D = TypeVar("D", bound=View)


class ViewKey(Generic[D]):
    """Declares a view over `tables`; `make` gives an empty one. It is built at its first use."""

    def __init__(self, name: str, tables: tuple[TableKey[Any, Any], ...], make: Callable[[], D]) -> None:
        self.name = name
        self.tables = tables
        self.make = make


class Change(NamedTuple):
    """One record that differs from the last commit; `value` is None where it was deleted."""

    table: str
    key: bytes
    value: bytes | None


class _Table:
    """Records of one table, their keys in order (built on first use), its indexes as sorted lists, and its views."""

    __slots__ = ("declared", "indexes", "order", "records", "views")

    def __init__(self, declared: TableKey[Any, Any]) -> None:
        self.declared = declared
        self.records: dict[Any, Any] = {}
        self.order: list[Any] | None = None
        self.indexes: dict[str, list[IndexEntry]] = {index.name: [] for index in declared.indexes}
        self.views: list[View] = []

    def put(self, key: Any, new: Any | None) -> Any | None:
        """Write (or with None delete) a record, and all that is derived from it. Returns the old one."""
        old = self.records.get(key)
        if new is None:
            self.records.pop(key, None)
        else:
            self.records[key] = new
        if self.order is not None and (old is None) != (new is None):
            if new is None:
                del self.order[bisect_left(self.order, key)]
            else:
                insort(self.order, key)
        for index in self.declared.indexes:
            before = () if old is None else index.entries(key, old)
            after = () if new is None else index.entries(key, new)
            if before != after:
                entries = self.indexes[index.name]
                for entry in before:
                    del entries[bisect_left(entries, entry)]
                for entry in after:
                    insort(entries, entry)
        for view in self.views:
            view.follow(self.declared, key, old, new)
        return old

    def keys_in_order(self) -> list[Any]:
        if self.order is None:
            self.order = sorted(self.records)
        return self.order


class State:
    """All tables of the ledger at one point. Not thread-safe; one owner writes."""

    def __init__(self, tables: tuple[TableKey[Any, Any], ...]) -> None:
        self.tables = tables
        self._tables = {declared.name: _Table(declared) for declared in tables}
        assert len(self._tables) == len(tables), "two tables share a name"
        self._journal: list[tuple[_Table, Any, Any]] = []
        self._views: dict[str, View] = {}

    def get(self, table: TableKey[K, V], key: K) -> V | None:
        record: V | None = self._tables[table.name].records.get(key)
        return record

    def reader(self, table: TableKey[K, V]) -> Callable[[K], V | None]:
        """`get` of one table as a bare function, for loops over many keys."""
        get: Callable[[K], V | None] = self._tables[table.name].records.get
        return get

    def set(self, table: TableKey[K, V], key: K, record: V) -> None:
        target = self._tables[table.name]
        old = target.put(key, record)
        self._journal.append((target, key, old))

    def delete(self, table: TableKey[K, V], key: K) -> None:
        target = self._tables[table.name]
        if key in target.records:
            self._journal.append((target, key, target.put(key, None)))

    def count(self, table: TableKey[K, V]) -> int:
        return len(self._tables[table.name].records)

    def items(self, table: TableKey[K, V], start: K | None = None, stop: K | None = None) -> Iterator[tuple[K, V]]:
        """Records with start <= key < stop in key order. The table may be written while this runs."""
        target = self._tables[table.name]
        order = target.keys_in_order()
        low = 0 if start is None else bisect_left(order, start)
        high = len(order) if stop is None else bisect_left(order, stop)
        for key in order[low:high]:
            record = target.records.get(key)
            if record is not None:
                yield key, record

    def index(self, table: TableKey[K, V], index: IndexKey[K, V]) -> list[IndexEntry]:
        """The index's entries in order. Read it (bisect, slice); only writes to the table may change it."""
        return self._tables[table.name].indexes[index.name]

    def view(self, key: ViewKey[D]) -> D:
        """The view, up to date with every write."""
        view = self._views.get(key.name)
        if view is None:
            view = self._views[key.name] = self.build_view(key)
            for declared in key.tables:
                self._tables[declared.name].views.append(view)
        return view  # type: ignore[return-value]

    def build_view(self, key: ViewKey[D]) -> D:
        """A view made anew from the records; equal in all its answers to `view()`, or something is broken."""
        view = key.make()
        for declared in key.tables:
            for record_key, record in self.items(declared):
                view.follow(declared, record_key, None, record)
        return view

    def mark(self) -> int:
        """A point to roll back to, within this block."""
        return len(self._journal)

    def rollback(self, mark: int) -> None:
        """Undo every write since `mark`, latest first."""
        while len(self._journal) > mark:
            table, key, old = self._journal.pop()
            table.put(key, old)

    def take_changes(self) -> list[Change]:
        """What differs from the last call, each key once, ordered by table and key; and forget the journal.

        A record that was changed and changed back counts as no change.
        """
        first: dict[tuple[str, bytes], tuple[_Table, Any, Any]] = {}
        for table, key, old in self._journal:
            first.setdefault((table.declared.name, table.declared.encode_key(key)), (table, key, old))
        self._journal.clear()
        changes = []
        for (name, raw_key), (table, key, old) in sorted(first.items(), key=lambda item: item[0]):
            now = table.records.get(key)
            if now is not old and now != old:
                changes.append(Change(name, raw_key, None if now is None else encode(now)))
        return changes

    def load(self, table_name: str, raw_key: bytes, raw_value: bytes) -> None:
        """Put a record that storage holds, without journalling it."""
        target = self._tables[table_name]
        target.put(target.declared.decode_key(raw_key), target.declared.codec.decode_trusted(raw_value))

    def dump(self) -> Iterator[Change]:
        """Every record, ordered by table and key: what a snapshot holds, and what a fresh state is loaded from."""
        for _, table in sorted(self._tables.items()):
            for key, record in self.items(table.declared):
                yield Change(table.declared.name, table.declared.encode_key(key), encode(record))

    def rebuild_indexes(self) -> dict[tuple[str, str], list[IndexEntry]]:
        """Every index computed anew from the records; equal to `index()` of each, or something is broken."""
        rebuilt = {}
        for name, table in sorted(self._tables.items()):
            for index in table.declared.indexes:
                entries = [e for key, record in table.records.items() for e in index.entries(key, record)]
                rebuilt[name, index.name] = sorted(entries)
        return rebuilt
