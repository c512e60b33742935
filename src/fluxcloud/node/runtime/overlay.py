"""A component's writable layer: folders for the overlay, and the files that a copy adds to its image.

Names, addresses and given files are put into the upper layer before the first start, at the place where the image's own
links lead to. Folders on the way get the attributes they have in the image, for the upper layer's are the ones seen.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ...errors import Permanent
from ...images.errors import ImageRejected
from ...images.rootdir import Parts, RootDir, split_path
from .base import CopySpec
from .layout import ComponentPaths

LAYER_FOLDERS = ("lower", "upper", "work", "root")
_MOUNT_POINTS = ("proc", "dev", "tmp")


def render_system_files(copy: CopySpec, component: str) -> list[tuple[str, bytes]]:
    """All components share one network namespace, so each name is the loopback."""
    names = " ".join(("localhost", *(spec.name for spec in copy.components)))
    hosts = f"127.0.0.1 {names}\n::1 localhost ip6-localhost ip6-loopback\n"
    return [
        ("/etc/hosts", hosts.encode()),
        ("/etc/hostname", f"{component}\n".encode()),
        ("/etc/resolv.conf", b"# there is no way out of this network; names are in /etc/hosts\n"),
    ]


@dataclass(frozen=True, slots=True)
class Ids:
    """Where the ids of an image begin: in its unpacked files, and in the copy. All 0: everything is the agent's own."""

    image: int = 0
    copy: int = 0


def make_layers(paths: ComponentPaths, image: Path, files: Iterable[tuple[str, bytes]], base: Ids) -> None:
    """Make the overlay's folders and fill the upper one.

    Raises Permanent for a path that can't be made in this image, OSError.
    """
    for name in LAYER_FOLDERS:
        (paths.folder / name).mkdir(mode=0o755)
    with RootDir(image) as lower, RootDir(paths.upper) as upper:
        _copy_attributes(lower.stat(()), paths.upper, base)
        for name in _MOUNT_POINTS:
            if lower.stat((name,)) is None:
                _make_folder(upper, (name,), None, base)
        for path, content in files:
            try:
                _write_file(lower, upper, path, content, base)
            except ImageRejected as error:
                raise Permanent(f"file {path}: {error}") from error


def find_program(image: Path, upper: Path | None, path: str) -> bool:
    """Whether a program of this absolute path is in the image or was added by the copy."""
    for place in filter(None, (upper, image)):
        with RootDir(place) as root:
            try:
                found = root.stat(root.resolve(split_path(path)))
            except ImageRejected:
                continue
            if found is not None and stat.S_ISREG(found.st_mode) and found.st_mode & 0o111:
                return True
    return False


def _write_file(lower: RootDir, upper: RootDir, path: str, content: bytes, base: Ids) -> None:
    parts = lower.resolve(split_path(path))
    found = lower.stat(parts)
    if not parts or (found is not None and stat.S_ISDIR(found.st_mode)):
        raise Permanent(f"file {path}: the image has a folder there")
    for length in range(1, len(parts)):
        _make_folder(upper, parts[:length], lower.stat(parts[:length]), base)
    folder = upper.open_folder(parts[:-1])
    try:
        file = os.open(parts[-1], os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o644, dir_fd=folder)
        with os.fdopen(file, "wb") as opened:
            opened.write(content)
            os.fchmod(file, 0o644)
            if base.copy:
                os.fchown(file, base.copy, base.copy)
    finally:
        os.close(folder)


def _make_folder(upper: RootDir, parts: Parts, like: os.stat_result | None, base: Ids) -> None:
    if upper.stat(parts) is not None:
        return
    if like is not None and not stat.S_ISDIR(like.st_mode):
        raise Permanent(f"file below /{'/'.join(parts)}: that is no folder in the image")
    parent = upper.open_folder(parts[:-1])
    try:
        os.mkdir(parts[-1], 0o755, dir_fd=parent)
        made = os.open(parts[-1], os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
    finally:
        os.close(parent)
    try:
        _copy_attributes(like, made, base)
    finally:
        os.close(made)


def _copy_attributes(like: os.stat_result | None, target: Path | int, base: Ids) -> None:
    if base.copy:
        shift = base.copy - base.image
        os.chown(target, like.st_uid + shift if like else base.copy, like.st_gid + shift if like else base.copy)
    os.chmod(target, stat.S_IMODE(like.st_mode) if like else 0o755)
