"""Where the `oci` runtime keeps things: names of files and folders below its root.

    images/<hex>/                 unpacked images (see node/images/cache.py)
    copies/<app>.<generation>/    copy.json, pod/ (namespaces, relay), c/<component>/ (writable layer, logs, process)
    s/<short hash>/<port>         a copy's unix sockets: short, for a socket's path holds 107 bytes

A copy is there when its copy.json is; what has none is a leftover.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ...errors import Permanent
from .base import CopyKey

SOCKET_PATH_MAX = 107
_APP = re.compile(r"[A-Za-z0-9_-]{1,100}")
_COMPONENT = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_FOLDER = re.compile(r"([A-Za-z0-9_-]{1,100})\.([0-9]{1,20})")


@dataclass(frozen=True, slots=True)
class ComponentPaths:
    """One component's folder: `upper` and `work` are its writable layer, `lower` and `root` mount points."""

    folder: Path

    @property
    def shim(self) -> Path:
        return self.folder / "shim.pid"

    @property
    def status(self) -> Path:
        return self.folder / "status"  # written by bubblewrap

    @property
    def exit(self) -> Path:
        return self.folder / "exit"  # written by the shim: code, OOM kills

    @property
    def starts(self) -> Path:
        return self.folder / "starts"

    @property
    def args(self) -> Path:
        return self.folder / "args"

    @property
    def upper(self) -> Path:
        return self.folder / "upper"

    @property
    def logs(self) -> Path:
        return self.folder / "log"


@dataclass(frozen=True, slots=True)
class CopyPaths:
    folder: Path
    sockets: Path

    @property
    def spec(self) -> Path:
        return self.folder / "copy.json"

    @property
    def pod(self) -> Path:
        return self.folder / "pod"

    @property
    def pod_shim(self) -> Path:
        return self.pod / "shim.pid"

    @property
    def holder(self) -> Path:
        return self.pod / "holder.pid"

    def component(self, name: str) -> ComponentPaths:
        return ComponentPaths(self.folder / "c" / name)


class Layout:
    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.copies = self.root / "copies"
        self.images = self.root / "images"
        self._sockets = self.root / "s"

    def make_folders(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        for folder in (self.copies, self.images, self._sockets):
            folder.mkdir(exist_ok=True, mode=0o700)

    def copy(self, key: CopyKey) -> CopyPaths:
        """Raises Permanent for a name that can't be a folder's."""
        validate_key(key)
        name = f"{key.app}.{key.generation}"
        return CopyPaths(self.copies / name, self._sockets / hashlib.sha256(name.encode()).hexdigest()[:10])

    def list_keys(self) -> list[CopyKey]:
        names = sorted(os.listdir(self.copies)) if self.copies.is_dir() else []
        return [CopyKey(found[1], int(found[2])) for name in names if (found := _FOLDER.fullmatch(name))]

    def get_socket(self, key: CopyKey, port: int) -> str:
        """A path for `connect`, through a short link where the root's own path is too long."""
        path = self.copy(key).sockets / str(port)
        if len(os.fsencode(path)) <= SOCKET_PATH_MAX:
            return str(path)
        return str(self._make_short_link() / path.relative_to(self._sockets))

    def _make_short_link(self) -> Path:
        folder = Path(tempfile.gettempdir(), f"fluxcloud-{os.geteuid()}")
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.is_symlink() or folder.stat().st_uid != os.geteuid() or folder.stat().st_mode & 0o077:
            raise Permanent(f"{folder} belongs to somebody else, and the path {self.root} is too long for sockets")
        link = folder / hashlib.sha256(os.fsencode(self.root)).hexdigest()[:10]
        if not link.is_symlink():
            link.symlink_to(self._sockets)
        return link


def validate_key(key: CopyKey) -> None:
    """Raises Permanent: a copy's name is a folder's, or a container's."""
    if not _APP.fullmatch(key.app) or not 0 <= key.generation < 2**64:
        raise Permanent(f"copy {key.app[:80]!r}/{key.generation}: allowed are an app id of letters, digits, - and _")


def validate_component(name: str) -> None:
    """Raises Permanent: a component's name is a folder's and a host's name at once."""
    if not _COMPONENT.fullmatch(name):
        raise Permanent(f"component {name[:80]!r}: allowed are 1 to 63 of a-z, 0-9 and -, none at the ends")
