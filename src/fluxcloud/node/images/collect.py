"""Garbage collection of blobs: what no assignment has needed for a while leaves the content store."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from pathlib import Path

from ...errors import Rejected
from ...images.manifest import load_image
from ...images.store import ContentStore

_log = logging.getLogger(__name__)

KEEP_S = 3600.0
"""A blob is kept this long after it came or was last needed: a deploy may push before its assignment is seen here."""


def list_needed(store: ContentStore, digests: Iterable[str]) -> set[str]:
    """Every blob of these images, as far as their manifests are in the store."""
    needed: set[str] = set()
    for digest in digests:
        needed.add(digest)
        try:
            needed.update(blob.digest for blob in load_image(store, digest).list_blobs())
        except Rejected:
            continue  # not complete yet, or bad: nothing more is known of it
    return needed


class Collector:
    """Remembers since when a blob is needed by nobody. `now` in seconds, monotonic."""

    def __init__(self, store: ContentStore) -> None:
        self._store = store
        self._unneeded_since: dict[str, float] = {}

    def collect(self, digests: Iterable[str], now_s: float) -> list[str]:
        """Delete what has been unneeded for KEEP_S. Returns what was deleted."""
        needed = list_needed(self._store, digests)
        unneeded = [digest for digest in self._store.list_digests() if digest not in needed]
        self._unneeded_since = {digest: self._unneeded_since.get(digest, now_s) for digest in unneeded}
        old = [d for d, since_s in self._unneeded_since.items() if now_s - since_s >= KEEP_S]
        gone = [digest for digest in old if _compute_age_s(self._store.path(digest)) >= KEEP_S]
        for digest in gone:
            self._store.delete(digest)
            del self._unneeded_since[digest]
        if gone:
            _log.info("%d blobs deleted that nothing needs", len(gone))
        return gone


def _compute_age_s(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
