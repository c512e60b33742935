"""Specs: what the entries of an assignment mean, read with proof and kept on disk.

A revision never changes, so each is read once. Its public part must have the hash that the assignment names.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from ..codec import encode
from ..errors import FluxCloudError, Rejected
from ..files import write_atomically
from ..ids import AppId, render_app
from ..ledger.apps.model import REVISIONS, AssignEntry, Revision
from ..ledger.apps.spec import SPEC, Spec
from .model import DesiredCopy, ImageNeed
from .runtime.base import CopyKey

_log = logging.getLogger(__name__)

ReadRevision = Callable[[AppId, int], Awaitable[Revision | None]]
"""Reads a proven record. Raises FluxCloudError."""


class SpecBook:
    """Revisions of the assigned apps, in memory and in `directory`. `node`: own id as text, told to copies."""

    def __init__(self, directory: Path, read: ReadRevision, node: str = "") -> None:
        self._directory = directory
        self._node = node
        self._read = read
        self._known: dict[tuple[bytes, int], tuple[Revision, Spec]] = {}

    def get(self, entry: AssignEntry) -> DesiredCopy | None:
        """The entry with its group, or None while its revision is not known."""
        known = self._known.get((entry.app, entry.revision)) or self._load(entry)
        return build_desired_copy(entry, *known, self._node) if known is not None else None

    async def learn(self, entries: tuple[AssignEntry, ...]) -> bool:
        """Read what is missing for these entries. Returns whether anything was learnt."""
        learnt = False
        for entry in entries:
            if self.get(entry) is None:
                learnt = await self._learn_one(entry) or learnt
        return learnt

    def forget(self, entries: tuple[AssignEntry, ...]) -> None:
        """Keep only what these entries need, in memory and on disk."""
        needed = {(entry.app, entry.revision) for entry in entries}
        for key in self._known.keys() - needed:
            del self._known[key]
            self._path(*key).unlink(missing_ok=True)

    async def _learn_one(self, entry: AssignEntry) -> bool:
        try:
            revision = await self._read(AppId(entry.app), entry.revision)
            if revision is None:
                raise Rejected(f"revision {entry.revision} is proven not to exist")
            self._put(entry, revision)
            self._directory.mkdir(parents=True, exist_ok=True)
            write_atomically(self._path(entry.app, entry.revision), encode(revision))
        except (FluxCloudError, OSError) as error:
            _log.warning(
                "revision %d not read: %s",
                entry.revision,
                error,
                extra={"fields": {"app": render_app(AppId(entry.app))}},
            )
            return False
        return True

    def _load(self, entry: AssignEntry) -> tuple[Revision, Spec] | None:
        try:
            return self._put(entry, REVISIONS.codec.decode(self._path(entry.app, entry.revision).read_bytes()))
        except FileNotFoundError:
            return None
        except (OSError, Rejected) as error:
            _log.warning(
                "a kept revision can't be read: %s", error, extra={"fields": {"app": render_app(AppId(entry.app))}}
            )
            return None

    def _put(self, entry: AssignEntry, revision: Revision) -> tuple[Revision, Spec]:
        if hashlib.sha256(revision.public).digest() != entry.spec_hash:
            raise Rejected(f"revision {entry.revision}: the spec does not have the assigned hash")
        known = (revision, SPEC.decode(revision.public))
        build_desired_copy(entry, *known)
        self._known[entry.app, entry.revision] = known
        return known

    def _path(self, app: bytes, revision: int) -> Path:
        return self._directory / f"{app.hex()}.{revision}"


def make_key(entry: AssignEntry, generation: int | None = None) -> CopyKey:
    """The entry's copy, or another generation of its app."""
    return CopyKey(render_app(AppId(entry.app)), entry.generation if generation is None else generation)


def build_desired_copy(entry: AssignEntry, revision: Revision, spec: Spec, node: str = "") -> DesiredCopy:
    """Raises Rejected where the revision lacks the entry's group or the image of a component."""
    group = next((group for group in spec.groups if group.name == entry.group), None)
    if group is None:
        raise Rejected(f"revision {entry.revision}: no group {entry.group!r}")
    images = {image.component: image for image in revision.images if image.group == group.name}
    missing = [component.name for component in group.components if component.name not in images]
    if missing:
        raise Rejected(f"revision {entry.revision}: no image for component {missing[0]!r}")
    return DesiredCopy(
        key=make_key(entry),
        entry=entry,
        app_name=spec.name,
        group=group,
        images=tuple(ImageNeed(c.name, images[c.name].digest, images[c.name].size, c.image) for c in group.components),
        adopts=entry.adopts,
        node=node,
    )
