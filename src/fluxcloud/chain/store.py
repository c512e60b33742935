"""Store: the chain on disk, one LMDB environment in the node's directory.

It holds the records of the newest state, the kept blocks, an index of transactions, and the head that names them. A
block is one LMDB transaction: after a kill at any instruction the head is either the old or the new one, whole.
Knows bytes only; what they mean is the application's. A failure of the disk is a `StorageError` that says what to do.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import lmdb
import msgspec

from ..codec import Codec, Record, encode
from ..ledger.state import Change
from .errors import StorageDamaged, StorageError, StorageFull, StorageLocked

log = logging.getLogger(__name__)

FORMAT = 1
"""Of this directory; a change of it needs a migration."""

MIB = 1 << 20
PRUNE_PER_BLOCK = 16
"""Old blocks removed with one new one: enough to catch up after the limit was lowered, without a long pause."""

_TABLES = (b"meta", b"state", b"headers", b"bodies", b"results", b"txs")
_HEAD = b"head"


class Head(Record, tag=FORMAT):
    """Where the chain stands. `height` 0: no block yet. `kept_bytes` counts the kept blocks; `genesis`: its hash."""

    chain_id: str
    app_version: int
    height: int
    root: bytes
    first_height: int
    kept_bytes: int
    genesis: bytes = b""


@dataclass(frozen=True, slots=True)
class BlockWrite:
    """One block with all that it changes; `tx_ids` in the order of the block."""

    height: int
    root: bytes
    header: bytes
    body: bytes
    results: bytes
    tx_ids: tuple[bytes, ...]
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is kept: blocks, bytes of blocks, and bytes of the whole file (0: no limit)."""

    keep_blocks: int
    keep_bytes: int
    max_bytes: int = 0


class StoredTxIds(Record):
    """Beside a body, so that pruning can clear the index without decoding transactions."""

    ids: tuple[bytes, ...]


_HEAD_CODEC: Codec[Head] = Codec(Head)
_TX_IDS: Codec[StoredTxIds] = Codec(StoredTxIds, max_bytes=16 * MIB)


def _no_probe(point: str) -> None:
    """Tests give a probe that kills the process at a named point of a write."""


class Store:
    """Open it once per process; a second process is refused while this one has it."""

    def __init__(
        self, home: Path, limits: Limits, *, map_bytes: int = 256 * MIB, probe: Callable[[str], None] = _no_probe
    ) -> None:
        self.home = home
        self._limits = limits
        self._probe = probe
        self._lock = _lock(home)
        try:
            self._env, self._dbs = _open(home, min(map_bytes, limits.max_bytes or map_bytes))
            self.head = self._read_head()
        except BaseException:
            os.close(self._lock)
            raise

    def close(self) -> None:
        self._env.close()
        os.close(self._lock)

    # --- writing

    def create(self, head: Head, records: Iterable[Change]) -> None:
        """Write the state of genesis. The store must be empty."""
        assert self.head is None
        self._transact(lambda txn: self._put_genesis(txn, head, tuple(records)))
        self.head = head

    def commit(self, block: BlockWrite) -> None:
        """Make a block and its state durable, and prune what is older than the limits allow."""
        head = self.head
        assert head is not None
        assert block.height == head.height + 1, "blocks are written one after another"
        self._probe("before_begin")
        self.head = self._transact(lambda txn: self._put_block(txn, head, block))
        self._probe("after_commit")

    def _transact(self, write: Callable[[lmdb.Transaction], Head]) -> Head:
        """One durable transaction; where the map is full it grows and the write is made again from the start."""
        while True:
            try:
                with self._env.begin(write=True) as txn:
                    head = write(txn)
                    txn.put(_HEAD, encode(head), db=self._dbs[b"meta"])
                    self._probe("before_commit")
                return head
            except lmdb.MapFullError:
                self._grow()
            except lmdb.Error as error:
                raise self._explain(error) from error

    def _put_genesis(self, txn: lmdb.Transaction, head: Head, records: tuple[Change, ...]) -> Head:
        self._put_records(txn, records)
        return head

    def _put_block(self, txn: lmdb.Transaction, head: Head, block: BlockWrite) -> Head:
        self._probe("after_begin")
        key = _height_key(block.height)
        self._put_records(txn, block.changes)
        self._probe("between_writes")
        ids = encode(StoredTxIds(block.tx_ids))
        txn.put(key, block.header, db=self._dbs[b"headers"])
        txn.put(key, _join(ids, block.body), db=self._dbs[b"bodies"])
        txn.put(key, block.results, db=self._dbs[b"results"])
        for index, tx_id in enumerate(block.tx_ids):
            txn.put(tx_id, key + index.to_bytes(4, "big"), db=self._dbs[b"txs"])
        kept = head.kept_bytes + len(block.header) + len(ids) + len(block.body) + len(block.results)
        first = head.first_height
        for _ in range(PRUNE_PER_BLOCK):
            too_many = block.height - first + 1 > self._limits.keep_blocks or kept > self._limits.keep_bytes
            if not too_many or first >= block.height:
                break
            kept -= self._remove_block(txn, first)
            first += 1
        return msgspec.structs.replace(head, height=block.height, root=block.root, first_height=first, kept_bytes=kept)

    def _put_records(self, txn: lmdb.Transaction, changes: tuple[Change, ...]) -> None:
        db = self._dbs[b"state"]
        for change in changes:
            key = _state_key(change.table, change.key)
            if change.value is None:
                txn.delete(key, db=db)
            else:
                txn.put(key, change.value, db=db)

    def _remove_block(self, txn: lmdb.Transaction, height: int) -> int:
        """Returns how many bytes this frees."""
        key = _height_key(height)
        header, body, results = (
            bytes(txn.pop(key, db=self._dbs[name]) or b"") for name in (b"headers", b"bodies", b"results")
        )
        ids, _ = _split(body)
        txs = self._dbs[b"txs"]
        for index, tx_id in enumerate(_TX_IDS.decode_trusted(ids).ids):
            if txn.get(tx_id, db=txs) == key + index.to_bytes(4, "big"):  # not where a later block has it again
                txn.delete(tx_id, db=txs)
        return len(header) + len(body) - 4 + len(results)

    def _grow(self) -> None:
        size = self._env.info()["map_size"]
        limit = self._limits.max_bytes
        if limit and size >= limit:
            raise StorageFull(self.home, f"it has reached storage.max_mib = {limit // MIB}")
        wanted = min(size * 2, limit) if limit else size * 2
        log.info("state file: room %s -> %s MiB", size // MIB, wanted // MIB)
        self._env.set_mapsize(wanted)

    def _explain(self, error: lmdb.Error) -> StorageError:
        if isinstance(error, lmdb.CorruptedError | lmdb.PageNotFoundError | lmdb.InvalidError):
            return StorageDamaged(self.home, str(error))
        free = shutil.disk_usage(self.home).free
        return StorageFull(self.home, f"{error} ({free // 1024} KiB are free on its disk)")

    # --- reading

    def read_record(self, table: str, key: bytes) -> bytes | None:
        return self._get(b"state", _state_key(table, key))

    def read_records(self, table: str, prefix: bytes = b"", after: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Records of a table in key order whose key begins with `prefix` and comes after `after`.

        Take what is needed at once: no block can be written while this is open.
        """
        base = _state_key(table, b"")
        wanted = base + prefix
        start = max(wanted, base + after + b"\0") if after else wanted
        with self._reading() as txn, txn.cursor(db=self._dbs[b"state"]) as cursor:
            found = cursor.set_range(start)
            while found and bytes(cursor.key()).startswith(wanted):
                yield bytes(cursor.key())[len(base) :], bytes(cursor.value())
                found = cursor.next()

    def read_all_records(self) -> Iterator[tuple[str, bytes, bytes]]:
        with self._reading() as txn, txn.cursor(db=self._dbs[b"state"]) as cursor:
            for raw, value in cursor:
                table, _, key = bytes(raw).partition(b"\0")
                yield table.decode("ascii"), key, bytes(value)

    def read_header(self, height: int) -> bytes | None:
        return self._get(b"headers", _height_key(height))

    def read_body(self, height: int) -> bytes | None:
        joined = self._get(b"bodies", _height_key(height))
        return None if joined is None else _split(joined)[1]

    def read_results(self, height: int) -> bytes | None:
        return self._get(b"results", _height_key(height))

    def find_tx(self, tx_id: bytes) -> tuple[int, int] | None:
        """Height and index of a transaction in a kept block."""
        place = self._get(b"txs", tx_id)
        return None if place is None else (int.from_bytes(place[:8], "big"), int.from_bytes(place[8:], "big"))

    def _get(self, db: bytes, key: bytes) -> bytes | None:
        with self._reading() as txn:
            value = txn.get(key, db=self._dbs[db])
            return None if value is None else bytes(value)

    @contextlib.contextmanager
    def _reading(self) -> Iterator[lmdb.Transaction]:
        try:
            with self._env.begin() as txn:
                yield txn
        except lmdb.Error as error:
            raise self._explain(error) from error

    def _read_head(self) -> Head | None:
        raw = self._get(b"meta", _HEAD)
        if raw is None:
            return None
        try:
            return _HEAD_CODEC.decode_trusted(raw)
        except msgspec.DecodeError as error:
            found = raw[1] if len(raw) > 1 else 0
            raise StorageError(
                f"{self.home} was written in format {found}; this program reads format {FORMAT} ({error}). "
                "Use the version of the program that wrote it, or a directory of its own"
            ) from error


def _lock(home: Path) -> int:
    """The directory's lock, held until it is closed or the process ends in whatever way."""
    lock = os.open(home / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise StorageLocked(home) from None
    return lock


def _open(home: Path, map_bytes: int) -> tuple[lmdb.Environment, dict[bytes, lmdb._Database]]:
    path = home / "data"
    file = path / "data.mdb"
    size = file.stat().st_size if file.exists() else 0
    try:
        env = lmdb.open(str(path), map_size=max(map_bytes, 2 * size), max_dbs=len(_TABLES), mode=0o600)
        if file.stat().st_size < (env.info()["last_pgno"] + 1) * env.stat()["psize"] and size:
            raise StorageDamaged(home, f"{file.name} is cut short: {size} bytes")  # reading on would be a SIGBUS
        return env, {name: env.open_db(name) for name in _TABLES}
    except (lmdb.InvalidError, lmdb.CorruptedError, lmdb.PageNotFoundError, lmdb.VersionMismatchError) as error:
        raise StorageDamaged(home, str(error)) from error
    except lmdb.Error as error:
        raise StorageFull(home, str(error)) from error


def _height_key(height: int) -> bytes:
    return height.to_bytes(8, "big")


def _state_key(table: str, key: bytes) -> bytes:
    return table.encode("ascii") + b"\0" + key


def _join(first: bytes, second: bytes) -> bytes:
    return len(first).to_bytes(4, "big") + first + second


def _split(joined: bytes) -> tuple[bytes, bytes]:
    size = int.from_bytes(joined[:4], "big")
    return joined[4 : 4 + size], joined[4 + size :]
