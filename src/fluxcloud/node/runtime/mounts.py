"""Mounts that only a copy's own processes see, made in a thread that leaves the machine's mount namespace.

A mount namespace belongs to a thread, and a child gets that of the thread that starts it. So: a fresh thread takes a
namespace of its own, mounts, starts the shim and ends; the mounts live as long as the shim and never show on the
machine, whatever happens to the agent. For root only. Calls that the standard library lacks are made by number
(the same on all architectures since 424). Sources: mount_setattr(2), open_tree(2), overlayfs in the kernel's documents.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

_libc = ctypes.CDLL(None, use_errno=True)

CLONE_FS, CLONE_NEWNS = 0x200, 0x20000
_MS_REC, _MS_PRIVATE, _MS_NODEV, _MS_BIND = 0x4000, 1 << 18, 4, 0x1000
_OPEN_TREE, _MOVE_MOUNT, _MOUNT_SETATTR = 428, 429, 442
_OPEN_TREE_CLONE, _AT_EMPTY_PATH, _AT_FDCWD = 1, 0x1000, -100
_MOVE_MOUNT_F_EMPTY_PATH = 4
_MOUNT_ATTR_IDMAP = 0x100000

T = TypeVar("T")


class _MountAttr(ctypes.Structure):
    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


def run_with_private_mounts(work: Callable[[], T]) -> T:
    """Run `work` in a thread with a mount namespace of its own; what it starts keeps that namespace."""
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            _check(_libc.unshare(CLONE_FS | CLONE_NEWNS), "unshare")
            _check(_libc.mount(None, b"/", None, ctypes.c_ulong(_MS_REC | _MS_PRIVATE), None), "mount /")
            results.append(work())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="private-mounts")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def mount_with_ids_of(source: Path, target: Path, user_namespace: str) -> None:
    """Show `source` at `target` with its owners mapped into a user namespace (`/proc/PID/ns/user`)."""
    namespace = os.open(user_namespace, os.O_RDONLY | os.O_CLOEXEC)
    tree = -1
    try:
        flags = ctypes.c_uint(_OPEN_TREE_CLONE | os.O_CLOEXEC)
        tree = _check(_libc.syscall(_OPEN_TREE, _AT_FDCWD, os.fsencode(source), flags), f"open_tree {source}")
        attributes = _MountAttr(_MOUNT_ATTR_IDMAP, 0, 0, namespace)
        size = ctypes.c_size_t(ctypes.sizeof(attributes))
        found = _libc.syscall(_MOUNT_SETATTR, tree, b"", _AT_EMPTY_PATH, ctypes.byref(attributes), size)
        _check(found, f"mount_setattr {source}")
        to = os.fsencode(target)
        _check(_libc.syscall(_MOVE_MOUNT, tree, b"", _AT_FDCWD, to, _MOVE_MOUNT_F_EMPTY_PATH), f"move_mount {target}")
    finally:
        os.close(namespace)
        if tree >= 0:
            os.close(tree)


def mount_overlay(folder: Path, target: Path) -> None:
    """Join `lower`, `upper` and `work` of a folder at `target`. By relative names: paths may hold commas and colons."""
    os.chdir(folder)  # of this thread alone, which has its own (CLONE_FS)
    options = b"lowerdir=lower,upperdir=upper,workdir=work"
    _check(
        _libc.mount(b"overlay", os.fsencode(target), b"overlay", ctypes.c_ulong(_MS_NODEV), options), "mount overlay"
    )


def mount_bind(source: Path, target: Path) -> None:
    _check(
        _libc.mount(os.fsencode(source), os.fsencode(target), None, ctypes.c_ulong(_MS_BIND), None), f"bind {source}"
    )


def _check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result
