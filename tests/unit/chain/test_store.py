"""Store: what a block writes is there whole or not at all; limits, growth, damage and locks."""

from __future__ import annotations

from pathlib import Path

import pytest

from fluxcloud.chain.errors import StorageDamaged, StorageError, StorageFull, StorageLocked
from fluxcloud.chain.store import MIB, BlockWrite, Head, Limits, Store
from fluxcloud.ledger.state import Change

GENESIS = Head("test-1", 1, 0, b"r0", 1, 0)
NO_LIMITS = Limits(keep_blocks=10**9, keep_bytes=10**12)


def make_block(
    height: int, changes: tuple[Change, ...] = (), tx_ids: tuple[bytes, ...] = (), body: bytes = b"body"
) -> BlockWrite:
    return BlockWrite(height, b"r%d" % height, b"header%d" % height, body, b"results", tx_ids, changes)


def open_store(home: Path, limits: Limits = NO_LIMITS, map_bytes: int = MIB) -> Store:
    store = Store(home, limits, map_bytes=map_bytes)
    if store.head is None:
        store.create(
            GENESIS, [Change("accounts", b"a", b"1"), Change("accounts", b"b", b"2"), Change("apps", b"a", b"3")]
        )
    return store


def test_commit_and_reopen(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.commit(
        make_block(1, (Change("accounts", b"a", None), Change("accounts", b"c", b"4")), (b"t" * 32, b"u" * 32))
    )
    store.close()
    store = open_store(tmp_path)
    assert store.head == Head("test-1", 1, 1, b"r1", 1, store.head.kept_bytes if store.head else 0)
    assert list(store.read_all_records()) == [("accounts", b"b", b"2"), ("accounts", b"c", b"4"), ("apps", b"a", b"3")]
    assert (store.read_header(1), store.read_body(1), store.read_results(1)) == (b"header1", b"body", b"results")
    assert store.find_tx(b"u" * 32) == (1, 1)
    assert (store.find_tx(b"v" * 32), store.read_header(2), store.read_record("accounts", b"a")) == (None, None, None)
    store.close()


def test_read_records__prefix_and_after(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    keys = (b"p1", b"p1x", b"p2", b"q")
    store.commit(make_block(1, tuple(Change("groups", key, b"v") for key in keys)))
    assert [key for key, _ in store.read_records("groups")] == list(keys)
    assert [key for key, _ in store.read_records("groups", prefix=b"p")] == [b"p1", b"p1x", b"p2"]
    assert [key for key, _ in store.read_records("groups", prefix=b"p", after=b"p1")] == [b"p1x", b"p2"]
    assert [key for key, _ in store.read_records("group")] == []
    store.close()


def test_prune__by_blocks(tmp_path: Path) -> None:
    store = open_store(tmp_path, Limits(keep_blocks=3, keep_bytes=10**9))
    again = b"t" * 32
    for height in range(1, 8):
        store.commit(make_block(height, tx_ids=(bytes([height]) * 32, again)))
    assert store.head is not None
    assert store.head.first_height == 5
    assert [store.read_body(height) is not None for height in range(1, 8)] == [False] * 4 + [True] * 3
    assert store.find_tx(b"\4" * 32) is None
    assert store.find_tx(again) == (7, 1)
    assert store.find_tx(b"\5" * 32) == (5, 0)
    store.close()


def test_prune__by_bytes_and_after_lowered_limit(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    for height in range(1, 41):
        store.commit(make_block(height, body=bytes(1_000)))
    store.close()
    store = open_store(tmp_path, Limits(keep_blocks=10**9, keep_bytes=5_000))
    for height in range(41, 45):
        store.commit(make_block(height, body=bytes(1_000)))
    assert store.head is not None
    assert store.head.first_height == 41
    assert store.head.kept_bytes == 4 * (len(b"header41") + len(b"results") + 1_000 + 2)
    store.close()


def test_map_grows(tmp_path: Path) -> None:
    store = open_store(tmp_path, map_bytes=MIB)
    for height in range(1, 9):
        store.commit(make_block(height, body=bytes(500_000)))
    assert store.read_body(8) == bytes(500_000)
    store.close()


def test_full__limit_below_the_first_size(tmp_path: Path) -> None:
    store = open_store(tmp_path, Limits(10**9, 10**12, max_bytes=2 * MIB), map_bytes=64 * MIB)
    with pytest.raises(StorageFull, match=r"storage.max_mib = 2"):
        store.commit(make_block(1, body=bytes(3 * MIB)))
    store.close()


def test_full__max_bytes(tmp_path: Path) -> None:
    store = open_store(tmp_path, Limits(10**9, 10**12, max_bytes=2 * MIB))
    kept = 3
    for height in range(1, kept + 1):
        store.commit(make_block(height, body=bytes(500_000)))
    with pytest.raises(StorageFull, match=r"storage.max_mib = 2.*Nothing that was acknowledged is lost"):
        store.commit(make_block(kept + 1, body=bytes(500_000)))
    assert store.head is not None
    assert store.head.height == kept
    store.close()
    store = open_store(tmp_path, Limits(10**9, 10**12, max_bytes=8 * MIB))
    store.commit(make_block(kept + 1, body=bytes(500_000)))
    store.close()


def test_second_process_is_refused(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    with pytest.raises(StorageLocked, match="in use by another chain node"):
        open_store(tmp_path)
    store.close()
    open_store(tmp_path).close()


@pytest.mark.parametrize("damage", ["cut", "meta", "pages"])
def test_damaged_file_is_named(tmp_path: Path, damage: str) -> None:
    store = open_store(tmp_path)
    store.commit(make_block(1, tuple(Change("apps", b"%d" % i, bytes(500)) for i in range(500))))
    store.close()
    file = tmp_path / "data" / "data.mdb"
    raw = bytearray(file.read_bytes())
    if damage == "cut":
        raw = raw[: len(raw) // 2]
    elif damage == "meta":
        raw[:8_192] = b"\xa5" * 8_192
    else:
        raw[8_192:] = b"\xa5" * (len(raw) - 8_192)
    file.write_bytes(raw)
    with pytest.raises(StorageDamaged, match=r"the state in .*data is damaged: .*backup"):
        open_store(tmp_path)


def test_other_format_is_named(tmp_path: Path) -> None:
    store = Store(tmp_path, NO_LIMITS, map_bytes=MIB)
    with store._env.begin(write=True) as txn:
        txn.put(b"head", b"\x96\x09", db=store._dbs[b"meta"])
    store.close()
    with pytest.raises(StorageError, match="written in format 9; this program reads format 1"):
        Store(tmp_path, NO_LIMITS)
