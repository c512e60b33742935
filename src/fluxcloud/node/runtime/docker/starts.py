"""How often each component was started: the one thing that an engine doesn't keep for containers started by hand."""

from __future__ import annotations

import contextlib
from pathlib import Path

from ..base import CopyKey


class StartBook:
    """One small file per component, `<root>/starts/<copy>.<component>`. A lost one only lets the count begin anew."""

    def __init__(self, root: Path) -> None:
        self._folder = root / "starts"

    def open(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def count(self, key: CopyKey, component: str) -> int:
        try:
            return int(self._path(key, component).read_text())
        except (OSError, ValueError):
            return 0

    def note(self, key: CopyKey, component: str) -> None:
        """One more. A disk that is full must not keep a component from starting."""
        count = self.count(key, component) + 1
        part = self._folder / f".{key.app}.{key.generation}.{component}"
        with contextlib.suppress(OSError):
            part.write_text(str(count))
            part.rename(self._path(key, component))

    def forget(self, key: CopyKey) -> None:
        for path in self._folder.glob(f"{key.app}.{key.generation}.*"):
            path.unlink(missing_ok=True)

    def _path(self, key: CopyKey, component: str) -> Path:
        return self._folder / f"{key.app}.{key.generation}.{component}"
