"""Building an image from files: one layer, the same bytes for the same content on every machine.

The tar is sorted, without times and owners, and not compressed (compressors differ between versions). Permissions are
0755 for folders and what may be executed, else 0644.
"""

from __future__ import annotations

import io
import os
import stat
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import msgspec

from .archive import store_manifest
from .errors import ForbiddenEntry
from .manifest import OCI_CONFIG, OCI_LAYER_TAR, Config, Descriptor, Process, RootFs, get_host_platform
from .store import ContentStore, read_chunks


@dataclass(frozen=True, slots=True)
class Entry:
    """One file, folder or link of a layer. `source` is its content: bytes, or a file on this machine."""

    path: str
    source: bytes | Path = b""
    link: str = ""
    is_folder: bool = False
    executable: bool = False


def build_image(store: ContentStore, entries: Iterable[Entry], process: Process, *, platform: str = "") -> str:
    """Store an image of these entries; its manifest's digest."""
    with tempfile.TemporaryFile() as file:
        _write_layer(file, sorted(entries, key=lambda entry: entry.path))
        file.seek(0)
        layer = store.put_stream(read_chunks(file))
    system, _, architecture = (platform or get_host_platform()).partition("/")
    config = store.put(msgspec.json.encode(Config(architecture, system, RootFs("layers", [layer.digest]), process)))
    return store_manifest(
        store,
        Descriptor(OCI_CONFIG, config.digest, config.size),
        [Descriptor(OCI_LAYER_TAR, layer.digest, layer.size)],
    )


def build_image_from_folder(store: ContentStore, folder: Path, process: Process, *, platform: str = "") -> str:
    """The folder becomes the image's root. Raises ForbiddenEntry (image/10) for sockets, pipes and devices in it."""
    return build_image(store, list_folder(folder), process, platform=platform)


def list_folder(folder: Path) -> Iterator[Entry]:
    """All that is in a folder as entries, links as they are."""
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(place, name)
            mode = path.lstat().st_mode
            inside = str(path.relative_to(folder))
            if stat.S_ISLNK(mode):
                yield Entry(inside, link=os.readlink(path))
            elif stat.S_ISDIR(mode):
                yield Entry(inside, is_folder=True)
            elif stat.S_ISREG(mode):
                yield Entry(inside, path, executable=bool(mode & stat.S_IXUSR))
            else:
                raise ForbiddenEntry(f"path {inside!r}: allowed are files, folders and links")


def _write_layer(file: BinaryIO, entries: list[Entry]) -> None:
    with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for entry in entries:
            header = tarfile.TarInfo(entry.path)
            header.mode = 0o755 if entry.is_folder or entry.executable else 0o644
            if entry.link:
                header.type, header.linkname, header.mode = tarfile.SYMTYPE, entry.link, 0o777
                archive.addfile(header)
            elif entry.is_folder:
                header.type = tarfile.DIRTYPE
                archive.addfile(header)
            else:
                with _open_source(entry.source) as source:
                    header.size = source.seek(0, io.SEEK_END)
                    source.seek(0)
                    archive.addfile(header, source)


def _open_source(source: bytes | Path) -> BinaryIO:
    return io.BytesIO(source) if isinstance(source, bytes) else source.open("rb")
