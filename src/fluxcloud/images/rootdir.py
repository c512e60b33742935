"""Names inside a folder that is the root of an image: resolved as the container would, never leading out of it.

A symbolic link, even an absolute one or one from an earlier layer, is followed inside the root; `..` stops at it. Each
step opens one folder relative to its parent without following links, so nothing outside is ever touched.
"""

from __future__ import annotations

import os
import stat

from .errors import BadLayer, UnsafeLink, UnsafePath

NAME_BYTES_MAX = 255
PATH_BYTES_MAX = 4096
DEPTH_MAX = 256
_LINKS_MAX = 40
_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

Parts = tuple[str, ...]


def split_path(path: str) -> Parts:
    """`./usr/bin/` -> (usr, bin). Raises UnsafePath (image/9) for what can't be a name in the root."""
    raw = os.fsencode(path) if "\0" not in path else b""
    if not raw or len(raw) > PATH_BYTES_MAX:
        raise UnsafePath(f"path {path[:80]!r}: allowed are 1 to {PATH_BYTES_MAX} bytes, no NUL")
    parts = tuple(part for part in path.split("/") if part not in ("", "."))
    if len(parts) > DEPTH_MAX:
        raise UnsafePath(f"path {path[:80]!r}: {len(parts)} folders deep; at most {DEPTH_MAX} are allowed")
    for part in parts:
        if part == "..":
            raise UnsafePath(f"path {path[:200]!r}: `..` is not allowed")
        if len(os.fsencode(part)) > NAME_BYTES_MAX:
            raise UnsafePath(f"path {path[:80]!r}: a name of over {NAME_BYTES_MAX} bytes; no longer one is allowed")
    return parts


def is_link_inside(parts: Parts, target: str) -> bool:
    """Whether a relative link at `parts` stays inside the root as written; absolute ones mean the container's root."""
    if target.startswith("/"):
        return True
    depth = len(parts) - 1
    for part in target.split("/"):
        depth += {"..": -1, ".": 0, "": 0}.get(part, 1)
        if depth < 0:
            return False
    return True


class RootDir:
    """Owns an open descriptor of the root; use it as a context manager."""

    def __init__(self, path: os.PathLike[str] | str) -> None:
        self._root = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def close(self) -> None:
        os.close(self._root)

    def __enter__(self) -> RootDir:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open_folder(self, parts: Parts) -> int:
        """A descriptor of the folder with exactly these names, no link among them. Raises OSError."""
        current = os.dup(self._root)
        for part in parts:
            try:
                below = os.open(part, _OPEN_FOLDER, dir_fd=current)
            finally:
                os.close(current)
            current = below
        return current

    def resolve(self, parts: Parts, *, create: bool = False, follow_last: bool = True) -> Parts:
        """The names without links that these lead to. What does not exist yet stays as it is, or is made (0755).

        Raises UnsafeLink (image/11) for a loop, BadLayer (image/13) when a file stands where a folder is needed.
        """
        pending = list(reversed(parts))
        done: list[str] = []
        links = 0
        current = os.dup(self._root)
        try:
            while pending:
                part = pending.pop()
                if part == "..":
                    done = done[:-1]
                    os.close(current)
                    current = self.open_folder(tuple(done))
                    continue
                target = None if not pending and not follow_last else _read_link(part, current)
                if target is not None:
                    links += 1
                    if links > _LINKS_MAX:
                        raise UnsafeLink(f"path {'/'.join(parts)[:200]!r}: more than {_LINKS_MAX} links on the way")
                    if target.startswith("/"):
                        done = []
                        os.close(current)
                        current = os.dup(self._root)
                    pending.extend(reversed([name for name in target.split("/") if name not in ("", ".")]))
                    continue
                done.append(part)
                if len(done) > DEPTH_MAX:
                    raise UnsafePath(f"path {'/'.join(parts)[:80]!r}: links lead over {DEPTH_MAX} folders deep")
                if not pending and not create:
                    break
                below = _enter(part, current, create=create)
                if below is None:
                    return (*done, *_drop_dots(tuple(reversed(pending))))
                os.close(current)
                current = below
            return tuple(done)
        except NotADirectoryError as error:
            raise BadLayer(f"path {'/'.join(parts)[:200]!r}: a file stands where a folder is needed") from error
        finally:
            os.close(current)

    def stat(self, parts: Parts) -> os.stat_result | None:
        """Of what is there under exactly these names, a link itself; None when nothing is."""
        if not parts:
            return os.fstat(self._root)
        try:
            parent = self.open_folder(parts[:-1])
        except (FileNotFoundError, NotADirectoryError, OSError):
            return None
        try:
            return os.stat(parts[-1], dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            return None
        finally:
            os.close(parent)


def _read_link(name: str, folder: int) -> str | None:
    try:
        return os.readlink(name, dir_fd=folder)
    except OSError:  # not there, or not a link
        return None


def _enter(name: str, folder: int, *, create: bool) -> int | None:
    try:
        return os.open(name, _OPEN_FOLDER, dir_fd=folder)
    except FileNotFoundError:
        if not create:
            return None
        os.mkdir(name, 0o755, dir_fd=folder)
        return os.open(name, _OPEN_FOLDER, dir_fd=folder)


def _drop_dots(parts: Parts) -> Parts:
    kept: list[str] = []
    for part in parts:
        if part == "..":
            kept = kept[:-1]
        else:
            kept.append(part)
    return tuple(kept)


def remove_entry(name: str, folder: int) -> None:
    """Delete a file, link or whole folder below an open folder; nothing when it isn't there. Not recursive in Python
    terms: a layer may nest folders deeper than the interpreter's stack."""
    try:
        mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(mode):
        os.unlink(name, dir_fd=folder)
        return
    top = os.open(name, _OPEN_FOLDER, dir_fd=folder)
    stack = [(name, top)]
    try:
        while stack:
            parent = stack[-2][1] if len(stack) > 1 else folder
            below = _delete_files(stack[-1][1])
            if below is not None:
                stack.append((below, os.open(below, _OPEN_FOLDER, dir_fd=stack[-1][1])))
                continue
            gone, descriptor = stack.pop()
            os.close(descriptor)
            os.rmdir(gone, dir_fd=parent)
    finally:
        for _, descriptor in stack:
            os.close(descriptor)


def _delete_files(folder: int) -> str | None:
    """Delete all but folders; the name of one folder that is left, or None."""
    left = None
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                left = entry.name
            else:
                os.unlink(entry.name, dir_fd=folder)
    return left
