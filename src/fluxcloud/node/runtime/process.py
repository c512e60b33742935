"""Which process an image and a spec make together: its command, environment, user and working directory."""

from __future__ import annotations

import os
import posixpath
from dataclasses import dataclass

from ...errors import Permanent
from ...images.errors import ImageRejected
from ...images.rootdir import RootDir, split_path
from ..images.cache import UnpackedImage
from .base import ComponentSpec

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_TABLE_BYTES_MAX = 1 << 20
_ID_MAX = 65_535


@dataclass(frozen=True, slots=True)
class User:
    uid: int = 0
    gid: int = 0
    home: str = "/"


@dataclass(frozen=True, slots=True)
class PlannedProcess:
    argv: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    user: User
    folder: str

    @property
    def search_path(self) -> str:
        return dict(self.env)["PATH"]


def plan_process(spec: ComponentSpec, image: UnpackedImage) -> PlannedProcess:
    """As Docker does it: a given entrypoint drops the image's command, a given command replaces it.

    Raises Permanent when there is nothing to run or the user is unknown in the image.
    """
    defaults = image.image.process
    entrypoint = spec.entrypoint if spec.entrypoint is not None else tuple(defaults.entrypoint or ())
    command = spec.command or (tuple(defaults.cmd or ()) if spec.entrypoint is None else ())
    argv = (*entrypoint, *command)
    if not argv:
        raise Permanent(f"component {spec.name}: neither the image nor the spec says which command to run")
    user = find_user(image, defaults.user or "")
    env = {"PATH": DEFAULT_PATH, "HOSTNAME": spec.name, "HOME": user.home}
    env.update(_split(text) for text in defaults.env or ())
    env.update(spec.env)
    for part in (*argv, *env, *env.values()):
        if "\0" in part:
            raise Permanent(f"component {spec.name}: a NUL in its command or environment; none is allowed")
    return PlannedProcess(argv, tuple(env.items()), user, posixpath.join("/", defaults.working_dir or "/"))


def list_candidates(process: PlannedProcess) -> list[str]:
    """The paths where the command's program may be, in the order of search."""
    name = process.argv[0]
    if "/" in name:
        return [posixpath.join(process.folder, name)]
    return [posixpath.join(process.folder, folder or ".", name) for folder in process.search_path.split(":")]


def find_user(image: UnpackedImage, text: str) -> User:
    """`USER` of an image: name or number, and perhaps `:` and a group's name or number. Raises Permanent."""
    name, _, group = text.partition(":")
    people = _read_table(image, "/etc/passwd")
    entry = next((row for row in people if len(row) > 5 and (name or "0") in (row[0], row[2])), None)
    try:
        uid = int(entry[2] if entry else name or 0)
        gid = int(entry[3]) if entry else 0
        if group:
            groups = _read_table(image, "/etc/group")
            gid = int(next((row[2] for row in groups if len(row) > 2 and row[0] == group), group))
    except ValueError:
        raise Permanent(f"image {image.image.digest[:19]}: its user {text!r} is not in its /etc/passwd") from None
    if not (0 <= uid <= _ID_MAX and 0 <= gid <= _ID_MAX):
        raise Permanent(f"image {image.image.digest[:19]}: its user {text!r}; allowed are ids up to {_ID_MAX}")
    return User(uid, gid, (entry[5] if entry else "") or "/")


def _split(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value


def _read_table(image: UnpackedImage, path: str) -> list[list[str]]:
    """A file like /etc/passwd, read inside the image's root only."""
    try:
        with RootDir(image.root) as root:
            parts = root.resolve(split_path(path))
            folder = root.open_folder(parts[:-1])
            try:
                file = os.open(parts[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
            finally:
                os.close(folder)
            with os.fdopen(file, "rb") as opened:
                text = opened.read(_TABLE_BYTES_MAX).decode(errors="replace")
    except (OSError, ImageRejected):
        return []
    return [line.split(":") for line in text.splitlines()]
