"""Writing files that a crash must not leave half written."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def write_atomically(path: Path, raw: bytes) -> None:
    """Replace the file as a whole, durably, for its owner's eyes only (mode 0600).

    Raises OSError, and then the file is what it was. Several writers at once leave the whole file of one of them.
    """
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """The new name itself must survive, too."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
