"""Unpacking: an image's layers -> one folder that becomes the root of containers.

Layers come from strangers. Nothing is trusted: digests and sizes are checked while streaming, what comes out of a
decompressor is counted before it is written, names are resolved inside the root (see rootdir.py), and only files,
folders and links are made; set-user-id bits, extended attributes and ids over 65,535 are dropped. The folder gets its
name when all of it was right (rename). Sizes in bytes.
"""

from __future__ import annotations

import os
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from .deletion import delete_folder
from .errors import BadLayer, DigestMismatch, ImageRejected
from .layer import BoundedTarInfo, LayerStream, open_layer
from .manifest import Image, check_platform, get_host_platform, load_image
from .rootdir import RootDir
from .store import ContentStore
from .treewriter import EntryChecker, TreeWriter


@dataclass(frozen=True, slots=True)
class Limits:
    """What an image may need once unpacked; what a later layer deletes counts too.

    What was fetched is bounded by the app's disk, so `expansion_max` times that bounds what a bomb can fill; real
    layers shrink to a third or so when they are compressed.
    """

    size_max: int = 16 * 1024**3
    files_max: int = 1_000_000
    expansion_max: int = 20
    free_bytes: int = 64 * 1024**2

    def compute_size_max(self, stored: int) -> int:
        """Bytes of all layers together, of which so many bytes are stored."""
        return min(self.size_max, self.free_bytes + self.expansion_max * stored)


@dataclass(frozen=True, slots=True)
class Owner:
    """Who owns the files: the ids of the image plus `base`, or (`keep_ids` off) whoever unpacks."""

    keep_ids: bool = False
    base: int = 0


def unpack_image(
    store: ContentStore,
    digest: str,
    target: Path,
    *,
    limits: Limits | None = None,
    owner: Owner | None = None,
    platform: str | None = None,
) -> Image:
    """Make `target`, the root folder of this image; nothing is done when it is there.

    Raises what `load_image` raises, then WrongPlatform (image/5), and for a layer: UnsupportedCompression (image/7),
        SizeMismatch (image/3), TooBig (image/8), BadLayer (image/13), UnsafePath (image/9), ForbiddenEntry (image/10),
        UnsafeLink (image/11), DigestMismatch (image/2).
    """
    image = load_image(store, digest)
    check_platform(image, platform or get_host_platform())
    if target.is_dir():
        return image
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=target.parent, prefix=".unpack-"))
    try:
        root = scratch / "root"
        root.mkdir(mode=0o755)
        _unpack_layers(store, image, root, limits or Limits(), owner or Owner())
        os.rename(root, target)
    finally:
        delete_folder(scratch)
    return image


def check_layers(store: ContentStore, image: Image, *, limits: Limits | None = None) -> None:
    """Read all layers as unpacking would, and write nothing: for whoever is about to hand an image to others.

    Raises what `unpack_image` raises, but for what only shows once links are followed.
    """
    limits = limits or Limits()
    _read_layers(store, image, limits, EntryChecker(limits.files_max))


def _unpack_layers(store: ContentStore, image: Image, root: Path, limits: Limits, owner: Owner) -> None:
    with RootDir(root) as folder:
        writer = TreeWriter(folder, files_max=limits.files_max, keep_ids=owner.keep_ids, base=owner.base)
        _read_layers(store, image, limits, writer)


def _read_layers(store: ContentStore, image: Image, limits: Limits, writer: EntryChecker) -> None:
    left = limits.compute_size_max(sum(store.get_size(layer.digest) for layer in image.manifest.layers))
    layers = zip(image.manifest.layers, image.config.rootfs.diff_ids, strict=True)
    for number, (layer, diff_id) in enumerate(layers, start=1):
        try:
            with open_layer(store, layer, size_max=left) as stream:
                _read_layer(stream, writer)
                left -= stream.finish()
                _check_diff_id(stream.digest, diff_id)
        except ImageRejected as error:
            place = f"image {image.digest[:19]}, layer {number} of {len(image.manifest.layers)}"
            raise type(error)(f"{place}: {error}", hint=error.hint) from error


def _check_diff_id(found: str, wanted: str) -> None:
    if found != wanted:
        raise DigestMismatch(f"unpacked it has the digest {found}, the configuration says {wanted}")


def _read_layer(stream: LayerStream, writer: EntryChecker) -> None:
    writer.begin_layer()
    try:
        with tarfile.open(fileobj=stream, mode="r|", tarinfo=BoundedTarInfo) as archive:
            while (entry := archive.next()) is not None:
                archive.members.clear()  # type: ignore[attr-defined]  # else a million names stay in memory
                writer.add(entry, archive)
    except (tarfile.TarError, EOFError, UnicodeError, ValueError, OverflowError) as error:
        raise BadLayer(f"not a readable tar archive: {error}") from error
