"""A layer as a stream of tar bytes: decompressed, counted and hashed on both sides while it is read."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zlib
from typing import BinaryIO

from .errors import BadLayer, DigestMismatch, SizeMismatch, TooBig, UnsupportedCompression
from .manifest import Descriptor
from .store import CHUNK_BYTES, ContentStore

_GZIP_MAGIC = b"\x1f\x8b"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_GZIP_WINDOW = 16 + zlib.MAX_WBITS


def get_compression(head: bytes) -> str:
    """`gzip`, `zstd` or nothing, from a layer's first bytes: media types are often wrong."""
    return "gzip" if head.startswith(_GZIP_MAGIC) else "zstd" if head.startswith(_ZSTD_MAGIC) else ""


def open_layer(store: ContentStore, layer: Descriptor, *, size_max: int) -> LayerStream:
    """Raises MissingBlob (image/12), SizeMismatch (image/3), UnsupportedCompression (image/7)."""
    size = store.get_size(layer.digest)
    if size != layer.size:
        raise SizeMismatch(f"{layer.digest} has {size} bytes, the manifest says {layer.size}")
    file = store.open(layer.digest)
    compression = get_compression(file.read(4))
    file.seek(0)
    if compression == "zstd":
        file.close()
        raise UnsupportedCompression(
            f"{layer.digest} is compressed with zstd; allowed are gzip and plain tar",
            hint="build the image with gzip layers: docker buildx build --output type=docker,compression=gzip",
        )
    return LayerStream(file, layer.digest, size_max, gzip=compression == "gzip")


class LayerStream(io.RawIOBase):
    """Reads tar bytes of one layer. `finish` reads the rest and checks the blob; then `digest` is that of the tar."""

    def __init__(self, file: BinaryIO, name: str, size_max: int, *, gzip: bool) -> None:
        self._file = file
        self._name = name
        self._size_max = size_max
        self._gzip = zlib.decompressobj(_GZIP_WINDOW) if gzip else None
        self._input = b""
        self._blob_hash = hashlib.sha256()
        self._tar_hash = hashlib.sha256()
        self._count = 0

    @property
    def digest(self) -> str:
        return "sha256:" + self._tar_hash.hexdigest()

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._file.close()
        super().close()

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes, fewer at the end only; never more in memory than was asked for and one chunk."""
        assert size >= 0
        pieces: list[bytes] = []
        while size > 0 and (piece := self._read_piece(size)):
            pieces.append(piece)
            size -= len(piece)
            self._count += len(piece)
            self._tar_hash.update(piece)
            if self._count > self._size_max:
                hint = "does it hold large files of nothing but zeros? make those when the container starts"
                raise TooBig(f"{self._name}: the image's layers unpack to more bytes than are allowed", hint=hint)
        return b"".join(pieces)

    def finish(self) -> int:
        """The tar's size in all. Raises BadLayer (image/13), TooBig (image/8), DigestMismatch (image/2)."""
        while self.read(CHUNK_BYTES):
            pass
        found = "sha256:" + self._blob_hash.hexdigest()
        if found != self._name:
            raise DigestMismatch(f"{self._name}: the content store holds bytes with the digest {found}")
        return self._count

    def _read_piece(self, size: int) -> bytes:
        if self._gzip is None:
            return self._read_blob(size)
        while True:
            if self._gzip.eof and not self._restart():
                return b""
            if not self._input:
                self._input = self._read_blob(CHUNK_BYTES)
                if not self._input:
                    raise BadLayer(f"{self._name}: the gzip stream ends early")
            try:
                piece = self._gzip.decompress(self._input, size)
            except zlib.error as error:
                raise BadLayer(f"{self._name}: not readable as gzip: {error}") from error
            self._input = self._gzip.unconsumed_tail
            if piece:
                return piece

    def _restart(self) -> bool:
        """A gzip file may hold several streams one after the other (pigz, estargz)."""
        assert self._gzip is not None
        self._input = (self._gzip.unused_data or self._read_blob(CHUNK_BYTES)).lstrip(b"\0")
        self._gzip = zlib.decompressobj(_GZIP_WINDOW) if self._input else self._gzip
        return bool(self._input)

    def _read_blob(self, size: int) -> bytes:
        chunk = self._file.read(size)
        self._blob_hash.update(chunk)
        return chunk


class BoundedTarInfo(tarfile.TarInfo):
    """Long names and attributes of an entry are read into memory as a whole: bounded here, before that happens."""

    _HEADER_BYTES_MAX = 1 << 20
    _HEADERS = (
        tarfile.XHDTYPE,
        tarfile.XGLTYPE,
        tarfile.SOLARIS_XHDTYPE,
        tarfile.GNUTYPE_LONGNAME,
        tarfile.GNUTYPE_LONGLINK,
    )

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> BoundedTarInfo:
        entry = super().frombuf(buf, encoding, errors)
        if entry.size < 0:
            raise BadLayer(f"path {entry.name[:80]!r}: a size of {entry.size} bytes")
        if entry.type in cls._HEADERS and entry.size > cls._HEADER_BYTES_MAX:
            raise TooBig(f"a header of {entry.size} bytes; at most {cls._HEADER_BYTES_MAX} are allowed")
        return entry
