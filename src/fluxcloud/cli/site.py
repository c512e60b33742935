"""A folder of files as a site: what of it goes to visitors, and what is left out because nobody should see it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ..images.build import Entry
from ..sdk.bundle import BadSource
from ..specfile.public import is_secret_file

FILES_MAX = 100_000
BYTES_MAX = 1 << 30
_LOOK_BYTES = 64 * 1024
_SHOWN_HIDDEN = frozenset((".well-known",))


@dataclass(frozen=True, slots=True)
class Site:
    """`files` by their path below the folder; `left_out` paths, folders with a slash at their end."""

    files: tuple[Entry, ...]
    size: int
    left_out: tuple[str, ...]


def read_site(folder: Path) -> Site:
    """Every file but hidden ones, links, and what looks like a key. Raises BadSource (spec/3) where it is too much."""
    files: list[Entry] = []
    left_out: list[str] = []
    size = 0
    for path, inside in _walk(folder, left_out):
        if path.is_symlink() or not path.is_file() or is_secret_file(inside, _read_beginning(path)):
            left_out.append(inside)
            continue
        files.append(Entry(inside, path))
        size += path.stat().st_size
        if len(files) > FILES_MAX or size > BYTES_MAX:
            raise BadSource(
                f"{folder}: a site has at most {FILES_MAX:,} files and {BYTES_MAX >> 20} MiB",
                hint="deploy the folder that the build made, or make an image of it",
            )
    folders = {parent.as_posix() for entry in files for parent in Path(entry.path).parents if parent.parts}
    entries = (*(Entry(name, is_folder=True) for name in sorted(folders)), *files)
    return Site(entries, size, tuple(sorted(left_out)))


def _walk(folder: Path, left_out: list[str]) -> list[tuple[Path, str]]:
    found: list[tuple[Path, str]] = []
    for place, folders, names in os.walk(folder):
        below = Path(place).relative_to(folder)
        kept = [name for name in folders if _is_shown(name) and not Path(place, name).is_symlink()]
        left_out += [f"{(below / name).as_posix()}/" for name in folders if name not in kept]
        folders[:] = sorted(kept)
        for name in sorted(names):
            inside = (below / name).as_posix()
            if _is_shown(name):
                found.append((Path(place, name), inside))
            else:
                left_out.append(inside)
    return found


def _is_shown(name: str) -> bool:
    return not name.startswith(".") or name in _SHOWN_HIDDEN


def _read_beginning(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_LOOK_BYTES)
