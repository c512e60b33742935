"""Writes the entries of layers into a root folder: files, folders, links, and whiteouts that delete from below."""

from __future__ import annotations

import os
import stat
import tarfile

from .errors import BadLayer, ForbiddenEntry, SizeMismatch, TooBig, UnsafeLink, UnsafePath
from .rootdir import Parts, RootDir, is_link_inside, remove_entry, split_path
from .store import CHUNK_BYTES

_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
_MODE_MASK = 0o1777  # without set-user-id and set-group-id
_ID_MAX = 65_535
_ID_NOBODY = 65_534
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class EntryChecker:
    """What every entry has to be, whatever stands in the root already. Writes nothing."""

    def __init__(self, files_max: int) -> None:
        self._files_max = files_max
        self._files = 0
        self._names: set[Parts] = set()
        self._links: set[Parts] = set()

    def begin_layer(self) -> None:
        """The entries of another layer follow."""

    def add(self, entry: tarfile.TarInfo, archive: tarfile.TarFile) -> None:
        """Raises UnsafePath (image/9), ForbiddenEntry (image/10), UnsafeLink (image/11), TooBig (image/8)."""
        parts = self._check(entry)
        if entry.islnk() and not self._may_exist(split_path(entry.linkname)):
            raise _refuse_hard_link(entry)
        (self._links if entry.issym() else self._names).add(parts)

    def _may_exist(self, target: Parts) -> bool:
        """Named before, or reached through links: where those lead, only a real tree can tell."""
        prefixes = (target[:length] for length in range(1, len(target) + 1))
        return target in self._names or any(prefix in self._links for prefix in prefixes)

    def _check(self, entry: tarfile.TarInfo) -> Parts:
        self._files += 1
        if self._files > self._files_max:
            raise TooBig(f"more than {self._files_max} files; no more are allowed")
        parts = split_path(entry.name)
        if parts and not parts[-1].startswith(_WHITEOUT):
            _check_kind(entry, parts)
        return parts


class TreeWriter(EntryChecker):
    """`base` is added to the owner's ids where `keep_ids` says that owners are kept."""

    def __init__(self, root: RootDir, *, files_max: int, keep_ids: bool, base: int) -> None:
        super().__init__(files_max)
        self._root = root
        self._keep_ids = keep_ids
        self._base = base
        self._made: set[Parts] = set()  # by the layer at hand: its own whiteouts don't mean these
        if keep_ids:
            top = root.open_folder(())
            os.chown(top, base, base)
            os.close(top)

    def begin_layer(self) -> None:
        self._made.clear()

    def add(self, entry: tarfile.TarInfo, archive: tarfile.TarFile) -> None:
        """Raises UnsafePath (image/9), ForbiddenEntry (image/10), UnsafeLink (image/11), TooBig (image/8),
        SizeMismatch (image/3), BadLayer (image/13)."""
        parts = self._check(entry)
        if not parts:
            self._set_root_attributes(entry)
            return
        parent = self._root.resolve(parts[:-1], create=True)
        folder = self._root.open_folder(parent)
        try:
            if parts[-1].startswith(_WHITEOUT):
                self._white_out(parts[-1], parent, folder)
            else:
                self._make((*parent, parts[-1]), folder, entry, archive)
        except OSError as error:
            if isinstance(error, FileExistsError | NotADirectoryError | IsADirectoryError):
                raise BadLayer(f"path {entry.name[:200]!r}: {error.strerror}") from error
            raise
        finally:
            os.close(folder)

    def _white_out(self, name: str, parent: Parts, folder: int) -> None:
        if name == _OPAQUE:
            self._remove_lower(parent, folder)
        elif name.startswith(_WHITEOUT * 2):
            return  # aufs' own bookkeeping
        else:
            hidden = name[len(_WHITEOUT) :]
            if hidden in ("", ".", ".."):
                raise UnsafePath(f"path {name!r}: a whiteout must name what it deletes")
            if (*parent, hidden) not in self._made:
                remove_entry(hidden, folder)

    def _remove_lower(self, parent: Parts, folder: int) -> None:
        """An opaque folder hides all from below, but nothing of its own layer, in whatever order they come."""
        for name in os.listdir(folder):
            path = (*parent, name)
            if path not in self._made:
                remove_entry(name, folder)
            elif stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
                below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
                try:
                    self._remove_lower(path, below)
                finally:
                    os.close(below)

    def _make(self, path: Parts, folder: int, entry: tarfile.TarInfo, archive: tarfile.TarFile) -> None:
        for length in range(1, len(path) + 1):
            self._made.add(path[:length])
        if entry.isdir():
            self._make_folder(path[-1], folder, entry)
        elif entry.issym():
            self._make_symlink(path, folder, entry)
        elif entry.islnk():
            self._make_hard_link(path[-1], folder, entry)
        else:
            self._make_file(path[-1], folder, entry, archive)

    def _make_folder(self, name: str, folder: int, entry: tarfile.TarInfo) -> None:
        try:
            is_folder = stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
        except FileNotFoundError:
            is_folder = False
        if not is_folder:
            remove_entry(name, folder)
            os.mkdir(name, 0o700, dir_fd=folder)
        made = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        try:
            self._set_attributes(made, entry)
        finally:
            os.close(made)

    def _make_file(self, name: str, folder: int, entry: tarfile.TarInfo, archive: tarfile.TarFile) -> None:
        remove_entry(name, folder)
        source = archive.extractfile(entry)
        assert source is not None
        made = os.open(name, _CREATE, 0o600, dir_fd=folder)
        try:
            left = entry.size
            while left and (chunk := source.read(min(left, CHUNK_BYTES))):
                _write_all(made, chunk)
                left -= len(chunk)
            if left:
                raise SizeMismatch(f"path {entry.name[:200]!r}: {left} of {entry.size} bytes are missing")
            self._set_attributes(made, entry)
            os.utime(made, (entry.mtime, entry.mtime))
        finally:
            os.close(made)

    def _make_symlink(self, path: Parts, folder: int, entry: tarfile.TarInfo) -> None:
        _check_symlink(entry, path)
        remove_entry(path[-1], folder)
        os.symlink(entry.linkname, path[-1], dir_fd=folder)
        if self._keep_ids:
            uid, gid = self._get_ids(entry)
            os.chown(path[-1], uid, gid, dir_fd=folder, follow_symlinks=False)

    def _make_hard_link(self, name: str, folder: int, entry: tarfile.TarInfo) -> None:
        wanted = self._root.resolve(split_path(entry.linkname), follow_last=False)
        found = self._root.stat(wanted)
        if found is None or stat.S_ISDIR(found.st_mode):
            raise _refuse_hard_link(entry)
        source = self._root.open_folder(wanted[:-1])
        try:
            if (os.stat(source).st_ino, wanted[-1]) == (os.stat(folder).st_ino, name):
                return  # to itself: replacing it would delete it
            remove_entry(name, folder)
            os.link(wanted[-1], name, src_dir_fd=source, dst_dir_fd=folder, follow_symlinks=False)
        finally:
            os.close(source)

    def _set_root_attributes(self, entry: tarfile.TarInfo) -> None:
        top = self._root.open_folder(())
        try:
            if entry.isdir():
                self._set_attributes(top, entry)
        finally:
            os.close(top)

    def _set_attributes(self, made: int, entry: tarfile.TarInfo) -> None:
        """Owner first: changing it clears bits of the mode. Whoever unpacks for himself must stay able to read."""
        if self._keep_ids:
            os.chown(made, *self._get_ids(entry))
            os.chmod(made, entry.mode & _MODE_MASK)
        else:
            os.chmod(made, entry.mode & _MODE_MASK | (0o700 if entry.isdir() else 0o400))

    def _get_ids(self, entry: tarfile.TarInfo) -> tuple[int, int]:
        uid, gid = (number if 0 <= number <= _ID_MAX else _ID_NOBODY for number in (entry.uid, entry.gid))
        return self._base + uid, self._base + gid


def _check_kind(entry: tarfile.TarInfo, parts: Parts) -> None:
    if entry.issym():
        _check_symlink(entry, parts)
    elif entry.islnk():
        split_path(entry.linkname)
    elif not entry.isdir() and (not entry.isreg() or entry.sparse is not None):
        kinds = {b"3": "a character device", b"4": "a block device", b"6": "a named pipe"}
        kind = kinds.get(entry.type, "of an odd kind")
        raise ForbiddenEntry(
            f"path {entry.name[:200]!r} is {kind}; allowed are files, folders and links",
            hint="remove it in the image's build; /dev is filled when the container starts",
        )


def _check_symlink(entry: tarfile.TarInfo, parts: Parts) -> None:
    if not entry.linkname or "\0" in entry.linkname or not is_link_inside(parts, entry.linkname):
        raise UnsafeLink(f"path {entry.name[:200]!r}: a link to {entry.linkname[:200]!r}; it may not leave the root")


def _refuse_hard_link(entry: tarfile.TarInfo) -> UnsafeLink:
    return UnsafeLink(f"path {entry.name[:200]!r}: a hard link to {entry.linkname[:200]!r}, which is no file here")


def _write_all(file: int, chunk: bytes) -> None:
    view = memoryview(chunk)
    while view:
        view = view[os.write(file, view) :]
