"""The content store keeps only what has the hash and size it was said to have."""

from __future__ import annotations

from pathlib import Path

import pytest

from fluxcloud.images.errors import BadDigest, DigestMismatch, MissingBlob, SizeMismatch, StoreFull, TooBig
from fluxcloud.images.store import ContentStore, compute_digest

RAW = b"some blob"
DIGEST = compute_digest(RAW)


@pytest.fixture
def store(tmp_path: Path) -> ContentStore:
    return ContentStore(tmp_path / "store")


def list_files(store: ContentStore) -> list[str]:
    return sorted(str(path.relative_to(store.root)) for path in store.root.rglob("*") if path.is_file())


def test_put_and_read(store: ContentStore) -> None:
    assert store.put_stream((b"some ", b"blob"), digest=DIGEST, size=len(RAW)) == (DIGEST, len(RAW))
    assert store.read(DIGEST, size_max=100) == RAW
    assert (store.has(DIGEST), store.get_size(DIGEST), store.list_digests()) == (True, len(RAW), [DIGEST])
    assert list_files(store) == [f"sha256/{DIGEST[7:]}"]
    store.delete(DIGEST)
    store.delete(DIGEST)
    assert not store.has(DIGEST)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"digest": compute_digest(b"other")}, DigestMismatch),
        ({"size": len(RAW) + 1}, SizeMismatch),
        ({"size": len(RAW) - 1}, SizeMismatch),
        ({"size_max": len(RAW) - 1}, TooBig),
        ({"size": 11, "size_max": 10}, TooBig),
    ],
)
def test_invalid_blob_leaves_nothing(store: ContentStore, options: dict[str, object], error: type[Exception]) -> None:
    with pytest.raises(error):
        store.put_stream((RAW,), **options)  # type: ignore[arg-type]
    assert list_files(store) == []


def test_an_interrupted_stream_leaves_nothing(store: ContentStore) -> None:
    def chunks() -> object:
        yield b"some"
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        store.put_stream(chunks())  # type: ignore[arg-type]
    assert list_files(store) == []


@pytest.mark.parametrize(
    "digest", ["", "sha256:../../../etc/passwd", "sha256:" + "A" * 64, "md5:" + "a" * 64, DIGEST + "0"]
)
def test_invalid_digest(store: ContentStore, digest: str) -> None:
    with pytest.raises(BadDigest):
        store.path(digest)


def test_missing_and_damaged(store: ContentStore) -> None:
    with pytest.raises(MissingBlob):
        store.open(DIGEST)
    store.put(RAW)
    store.path(DIGEST).write_bytes(b"tampered!")
    with pytest.raises(DigestMismatch):
        store.read(DIGEST, size_max=100)
    with pytest.raises(TooBig):
        store.read(DIGEST, size_max=3)


def test_capacity_bounds_all_blobs(tmp_path: Path) -> None:
    store = ContentStore(tmp_path, capacity=12)
    store.put(RAW)
    with pytest.raises(StoreFull):
        store.begin(size=4)
    with pytest.raises(TooBig):
        store.put(b"four")
    assert store.put(b"abc").size == 3
    with pytest.raises(StoreFull):
        store.begin()
