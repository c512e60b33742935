"""The node's unpacked images: `<root>/<hex of the manifest's digest>/root`, made once, shared read-only by all copies.

Unpacking is not flushed to the disk, which would cost seconds on a busy one. Instead a mark says in which run of the
machine (boot id) it was done; after a restart the image is unpacked again from the content store, whose blobs are
flushed. So a power cut can't leave half-written files that look whole.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ...images.deletion import delete_folder
from ...images.manifest import Image, load_image
from ...images.store import ContentStore, validate_digest
from ...images.unpack import Limits, Owner, unpack_image


@dataclass(frozen=True, slots=True)
class UnpackedImage:
    image: Image
    root: Path


class ImageCache:
    """Blocking; one process writes at a time. Raises what `unpack_image` raises, OSError."""

    def __init__(
        self, folder: Path, store: ContentStore, *, boot: str, owner: Owner, limits: Limits | None = None
    ) -> None:
        self._folder = folder
        self._store = store
        self._boot = boot
        self._owner = owner
        self._limits = limits

    def prepare(self, digest: str) -> UnpackedImage:
        """Unpack the image unless that was done since the machine started."""
        folder = self._folder / validate_digest(digest)
        if not self._is_fresh(folder):
            delete_folder(folder)
            folder.mkdir(parents=True)
            try:
                unpack_image(self._store, digest, folder / "root", limits=self._limits, owner=self._owner)
                (folder / "mark").write_text(self._mark())
            except BaseException:
                delete_folder(folder)
                raise
        return UnpackedImage(load_image(self._store, digest), folder / "root")

    def find(self, digest: str) -> UnpackedImage | None:
        """The image if it is ready to run."""
        folder = self._folder / validate_digest(digest)
        return UnpackedImage(load_image(self._store, digest), folder / "root") if self._is_fresh(folder) else None

    def list_digests(self) -> list[str]:
        names = sorted(os.listdir(self._folder)) if self._folder.is_dir() else []
        return [f"sha256:{name}" for name in names if self._is_fresh(self._folder / name)]

    def remove(self, digest: str) -> None:
        """Only when no copy runs it any more."""
        delete_folder(self._folder / validate_digest(digest))

    def _mark(self) -> str:
        return f"{self._boot} {self._owner.keep_ids} {self._owner.base}"

    def _is_fresh(self, folder: Path) -> bool:
        try:
            return (folder / "mark").read_text() == self._mark()
        except (FileNotFoundError, NotADirectoryError):
            return False
