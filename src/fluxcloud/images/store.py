"""The content store: blobs in files named by their SHA-256, `<root>/sha256/<hex>`.

A blob is streamed into a file of `<root>/tmp`, its hash and size are checked while it passes, and only then does it get
its name (fsync, rename, fsync of the folder): what has a name is whole and right, whenever the machine stopped.
Several processes may write at once. Sizes in bytes.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple

from ..files import sync_folder
from .errors import BadDigest, DigestMismatch, MissingBlob, SizeMismatch, StoreFull, TooBig

BLOB_BYTES_MAX = 64 * 1024**3
CHUNK_BYTES = 1 << 20
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class Blob(NamedTuple):
    digest: str
    size: int


def validate_digest(digest: str) -> str:
    """The hexadecimal part. Raises BadDigest (image/1)."""
    if not _DIGEST.fullmatch(digest):
        raise BadDigest(f"digest {digest[:80]!r}: allowed is sha256: and 64 lower-case hexadecimal digits")
    return digest[7:]


def compute_digest(raw: bytes) -> str:
    return "sha256:" + hashlib.sha256(raw).hexdigest()


class BlobWriter:
    """One blob on its way in. `commit` gives it its name; leaving the `with` block without that forgets it."""

    def __init__(
        self, store: ContentStore, file: BinaryIO, digest: str | None, size: int | None, size_max: int
    ) -> None:
        self._store = store
        self._file = file
        self._digest = digest
        self._size = size
        self._size_max = size_max if size is None else size
        self._hash = hashlib.sha256()
        self.written = 0

    def write(self, chunk: bytes) -> None:
        """Raises SizeMismatch (image/3) or TooBig (image/8) before more than allowed is on the disk."""
        self.written += len(chunk)
        if self.written > self._size_max:
            name = self._digest or "blob"
            if self._size is not None:
                raise SizeMismatch(f"{name}: longer than the {self._size} bytes it was said to have")
            raise TooBig(f"{name}: more than {self._size_max} bytes; no more are allowed")
        self._hash.update(chunk)
        self._file.write(chunk)

    def commit(self) -> Blob:
        """Raises SizeMismatch (image/3), DigestMismatch (image/2)."""
        digest = "sha256:" + self._hash.hexdigest()
        if self._size is not None and self.written != self._size:
            raise SizeMismatch(f"{self._digest or digest}: {self.written} bytes, it was said to have {self._size}")
        if self._digest is not None and digest != self._digest:
            raise DigestMismatch(f"{self._digest}: the bytes have the digest {digest}")
        self._file.flush()
        os.fsync(self._file.fileno())
        target = self._store.path(digest)
        os.rename(self._file.name, target)
        sync_folder(target.parent)
        return Blob(digest, self.written)

    def __enter__(self) -> BlobWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):  # a full disk may refuse the last flush; the error itself is on its way up
            self._file.close()
        with contextlib.suppress(FileNotFoundError):  # committed: it has its name already
            os.unlink(self._file.name)


class ContentStore:
    """`capacity` bounds all blobs together; a blob alone is bounded by `size_max` of the call."""

    def __init__(self, root: Path, *, capacity: int | None = None) -> None:
        self.root = root
        self._capacity = capacity
        self._blobs = root / "sha256"
        self._incoming = root / "tmp"

    def path(self, digest: str) -> Path:
        """Where the blob is, or would be. Raises BadDigest (image/1)."""
        return self._blobs / validate_digest(digest)

    def has(self, digest: str) -> bool:
        return self.path(digest).is_file()

    def get_size(self, digest: str) -> int:
        """Raises MissingBlob (image/12)."""
        try:
            return self.path(digest).stat().st_size
        except FileNotFoundError:
            raise MissingBlob(f"{digest} is not in the content store") from None

    def open(self, digest: str) -> BinaryIO:
        """Raises MissingBlob (image/12)."""
        try:
            return self.path(digest).open("rb")
        except FileNotFoundError:
            raise MissingBlob(f"{digest} is not in the content store") from None

    def read(self, digest: str, *, size_max: int) -> bytes:
        """A small blob as a whole, its hash checked again. Raises MissingBlob, TooBig, DigestMismatch."""
        with self.open(digest) as file:
            raw = file.read(size_max + 1)
        if len(raw) > size_max:
            raise TooBig(f"{digest}: more than {size_max} bytes; no more are allowed here")
        if compute_digest(raw) != digest:
            raise DigestMismatch(f"{digest}: the content store holds other bytes under this name")
        return raw

    def begin(
        self, *, digest: str | None = None, size: int | None = None, size_max: int = BLOB_BYTES_MAX
    ) -> BlobWriter:
        """A writer for a blob that should have `digest` and `size`, where these are known.

        Raises BadDigest (image/1), TooBig (image/8) when the size said is over `size_max`, StoreFull (image/14).
        """
        if digest is not None:
            validate_digest(digest)
        if size is not None and size > size_max:
            raise TooBig(f"{digest or 'blob'}: {size} bytes; at most {size_max} are allowed")
        if self._capacity is not None:
            room = self._capacity - self.compute_size()
            if (size or 0) > room or room <= 0:
                raise StoreFull(f"the content store has room for {max(room, 0)} bytes more, of {self._capacity}")
            size_max = min(size_max, room)
        for folder in (self._blobs, self._incoming):
            folder.mkdir(parents=True, exist_ok=True)
        # Not a context manager here: the writer closes and deletes it.
        file = tempfile.NamedTemporaryFile(dir=self._incoming, delete=False)  # noqa: SIM115
        return BlobWriter(self, file, digest, size, size_max)  # type: ignore[arg-type]

    def put_stream(
        self,
        chunks: Iterable[bytes],
        *,
        digest: str | None = None,
        size: int | None = None,
        size_max: int = BLOB_BYTES_MAX,
    ) -> Blob:
        """Store what the chunks hold; nothing is kept when they are not what was said."""
        with self.begin(digest=digest, size=size, size_max=size_max) as writer:
            for chunk in chunks:
                writer.write(chunk)
            return writer.commit()

    def put(self, raw: bytes) -> Blob:
        return self.put_stream((raw,))

    def delete(self, digest: str) -> None:
        self.path(digest).unlink(missing_ok=True)

    def list_digests(self) -> list[str]:
        names = sorted(os.listdir(self._blobs)) if self._blobs.is_dir() else []
        return [digest for digest in (f"sha256:{name}" for name in names) if _DIGEST.fullmatch(digest)]

    def compute_size(self) -> int:
        """Bytes of all blobs together."""
        return sum(self.path(digest).stat().st_size for digest in self.list_digests())

    def remove_leftovers(self) -> None:
        """Delete what writers left that died. Only for a store that nobody else writes to."""
        for entry in os.scandir(self._incoming) if self._incoming.is_dir() else ():
            os.unlink(entry.path)


def read_chunks(file: BinaryIO) -> Iterator[bytes]:
    """The rest of a file in pieces of CHUNK_BYTES."""
    while chunk := file.read(CHUNK_BYTES):
        yield chunk
