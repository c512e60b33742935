"""Image archives -> blobs in a content store: `docker save` archives (old and new), OCI layouts as tar or folder.

Only blobs that the image needs are taken. An old `docker save` archive has no manifest of its own: one is made from its
configuration and layers, the same one each time. Nothing is unpacked here (see unpack.py).
"""

from __future__ import annotations

import lzma
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol, cast

import msgspec

from .errors import BadArchive, ImageRejected
from .layer import BoundedTarInfo, get_compression
from .manifest import (
    LAYERS_MAX,
    MANIFEST_BYTES_MAX,
    OCI_CONFIG,
    OCI_LAYER_GZIP,
    OCI_LAYER_TAR,
    OCI_LAYER_ZSTD,
    OCI_MANIFEST,
    Descriptor,
    Manifest,
    choose_platform,
    is_index,
    parse_index,
    parse_manifest,
)
from .store import BLOB_BYTES_MAX, ContentStore, read_chunks, validate_digest

_INDEX_DEPTH_MAX = 3
_ENTRIES_MAX = 10_000
_DAMAGE = (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError)
_REFERENCE_KEYS = ("org.opencontainers.image.ref.name", "io.containerd.image.name")


class _Source(Protocol):
    """The files of an archive by name."""

    def has(self, name: str) -> bool: ...
    def open(self, name: str) -> BinaryIO: ...


class _SavedImage(msgspec.Struct, frozen=True, rename="pascal"):
    """One entry of `manifest.json` in a `docker save` archive."""

    config: str
    layers: list[str]
    repo_tags: list[str] | None = None


def read_archive(
    path: Path, store: ContentStore, *, platform: str, reference: str = "", blob_bytes_max: int = BLOB_BYTES_MAX
) -> str:
    """Store the blobs of the one image in `path` (or of the one called `reference`); its manifest's digest.

    Raises BadArchive (image/6), WrongPlatform (image/5), BadManifest (image/4), and what the store raises.
    """
    with _open_source(path) as source:
        try:
            if source.has("index.json"):
                return _read_layout(source, store, platform, reference, blob_bytes_max)
            if source.has("manifest.json"):
                return _read_saved(source, store, reference, blob_bytes_max)
        except ImageRejected as error:
            raise type(error)(f"{path.name}: {error}", hint=error.hint) from error
        except (*_DAMAGE, KeyError, RecursionError) as error:
            raise BadArchive(f"{path.name}: damaged: {error}") from error
    raise BadArchive(
        f"{path.name}: has neither index.json (OCI layout) nor manifest.json (docker save)",
        hint="make one with: docker save -o image.tar NAME",
    )


def _read_layout(source: _Source, store: ContentStore, platform: str, reference: str, blob_bytes_max: int) -> str:
    index = parse_index(_read_small(source, "index.json"), "index.json")
    wanted = [d for d in index.manifests if not reference or reference in map(d.annotations.get, _REFERENCE_KEYS)]
    if not wanted:
        raise BadArchive(f"no image is called {reference!r} in it" if reference else "it holds no image")
    if reference or len(wanted) == 1:
        chosen = wanted[0]
    else:
        named = {name for d in wanted for name in map(d.annotations.get, _REFERENCE_KEYS) if name}
        if len(named) > 1:
            raise BadArchive(f"it holds several images ({', '.join(sorted(named)[:8])}); name one")
        chosen = choose_platform(index, platform, "index.json")
    raw = _read_small(source, _blob_name(chosen.digest))
    for _ in range(_INDEX_DEPTH_MAX):
        if not is_index(chosen.media_type):
            break
        chosen = choose_platform(parse_index(raw, chosen.digest), platform, chosen.digest)
        raw = _read_small(source, _blob_name(chosen.digest))
    manifest = parse_manifest(raw, chosen.digest)
    for blob in (manifest.config, *manifest.layers):
        if not store.has(blob.digest):
            with source.open(_blob_name(blob.digest)) as file:
                store.put_stream(read_chunks(file), digest=blob.digest, size=blob.size, size_max=blob_bytes_max)
    return store.put_stream((raw,), digest=chosen.digest).digest


def _read_saved(source: _Source, store: ContentStore, reference: str, blob_bytes_max: int) -> str:
    saved = _choose_saved(_read_small(source, "manifest.json"), reference)
    if len(saved.layers) > LAYERS_MAX:
        raise BadArchive(f"{len(saved.layers)} layers; at most {LAYERS_MAX} are allowed")
    config = store.put(_read_small(source, saved.config))
    layers = [_store_layer(source, name, store, blob_bytes_max) for name in saved.layers]
    return store_manifest(store, Descriptor(OCI_CONFIG, config.digest, config.size), layers)


def _choose_saved(raw: bytes, reference: str) -> _SavedImage:
    try:
        images = msgspec.json.decode(raw, type=list[_SavedImage])
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadArchive(f"manifest.json: {error}") from error
    wanted = [image for image in images if not reference or reference in (image.repo_tags or ())]
    if len(wanted) != 1:
        tags = ", ".join(sorted(tag for image in images for tag in image.repo_tags or ())[:8])
        raise BadArchive(f"{len(wanted)} images in it fit, exactly one should; it holds: {tags or 'no tags'}")
    return wanted[0]


def _store_layer(source: _Source, name: str, store: ContentStore, blob_bytes_max: int) -> Descriptor:
    with source.open(name) as file:
        blob = store.put_stream(read_chunks(file), size_max=blob_bytes_max)
    with store.open(blob.digest) as file:
        kind = {"gzip": OCI_LAYER_GZIP, "zstd": OCI_LAYER_ZSTD, "": OCI_LAYER_TAR}[get_compression(file.read(4))]
    return Descriptor(kind, blob.digest, blob.size)


def store_manifest(store: ContentStore, config: Descriptor, layers: list[Descriptor]) -> str:
    """Store an OCI manifest of these; always the same bytes for the same parts."""
    return store.put(msgspec.json.encode(Manifest(2, OCI_MANIFEST, config, layers))).digest


def _blob_name(digest: str) -> str:
    return f"blobs/sha256/{validate_digest(digest)}"


def _read_small(source: _Source, name: str) -> bytes:
    with source.open(name) as file:
        raw = file.read(MANIFEST_BYTES_MAX + 1)
    if len(raw) > MANIFEST_BYTES_MAX:
        raise BadArchive(f"{name}: more than {MANIFEST_BYTES_MAX} bytes")
    return raw


@contextmanager
def _open_source(path: Path) -> Iterator[_Source]:
    if path.is_dir():
        yield _Folder(path)
        return
    with _open_tar(path) as archive:
        try:
            source = _Tar(archive)
        except (*_DAMAGE, OSError) as error:
            hint = "copy or save it again: docker save -o image.tar NAME"
            raise BadArchive(f"{path.name}: the archive is damaged or cut short: {error}", hint=hint) from error
        yield source


def _open_tar(path: Path) -> tarfile.TarFile:
    try:
        return tarfile.open(path, "r:*", tarinfo=BoundedTarInfo)
    except FileNotFoundError:
        raise BadArchive(f"{path}: no such file") from None
    except tarfile.ReadError as error:  # its text lists what each compression says
        raise BadArchive(f"{path.name}: not a tar archive, compressed or not") from error
    except (*_DAMAGE, OSError) as error:
        raise BadArchive(f"{path.name}: not a readable tar archive: {error}") from error


class _Folder:
    def __init__(self, root: Path) -> None:
        self._root = root

    def has(self, name: str) -> bool:
        return (self._root / name).is_file()

    def open(self, name: str) -> BinaryIO:
        try:
            return (self._root / name).open("rb")
        except OSError as error:
            raise BadArchive(f"{name}: {error.strerror}") from error


class _Tar:
    def __init__(self, archive: tarfile.TarFile) -> None:
        self._archive = archive
        self._names: dict[str, tarfile.TarInfo] = {}
        for member in archive:
            self._names[member.name.removeprefix("./")] = member
            if len(self._names) > _ENTRIES_MAX:
                raise BadArchive(f"more than {_ENTRIES_MAX} entries; an image archive has no more")

    def has(self, name: str) -> bool:
        return name in self._names

    def open(self, name: str) -> BinaryIO:
        member = self._names.get(name)
        # Old archives link a layer that occurs twice; extractfile follows such links inside the archive only.
        file = self._archive.extractfile(member) if member else None
        if file is None:
            raise BadArchive(f"{name}: missing")
        return cast(BinaryIO, file)
