"""Files are written whole or not at all."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from fluxcloud.files import write_atomically


def test_write__makes_and_replaces_for_the_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    for raw in (b"one", b"two, longer"):
        write_atomically(path, raw)
        assert path.read_bytes() == raw
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_write__that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    target.mkdir()
    with pytest.raises(IsADirectoryError):
        write_atomically(target, b"raw")
    assert list(tmp_path.iterdir()) == [target]
    with pytest.raises(FileNotFoundError):
        write_atomically(tmp_path / "none" / "file", b"raw")
