"""Fetching: brings an image's blobs into the content store, from the app's other nodes, its registry or a push.

A node that lacks a blob asks its siblings, then the image's registry and, as long as none has it, waits for a push, up
to a deadline that follows from the bytes. Size and hash are checked while a blob streams in, so a
sibling that lies costs one try. Source: APPS.md 4 (images).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Protocol

from ...errors import FluxCloudError, Permanent, Rejected, Temporary
from ...ids import AppId, NodeId, render_node
from ...images.errors import MissingBlob, StoreFull, TooBig
from ...images.manifest import MANIFEST_BYTES_MAX, Descriptor, load_image, parse_manifest
from ...images.store import ContentStore
from ..model import ImageNeed
from .registry import OpenRegistry, RegistrySource

_log = logging.getLogger(__name__)

DEADLINE_S = 90.0
BYTES_PER_S = 2_000_000
"""What an assignment's deadline allows for: 120 s and its bytes at 2 MB/s; fetching ends before that."""

PAUSE_S_MAX = 5.0


class Sibling(Protocol):
    """Another node of the app."""

    @property
    def id(self) -> NodeId: ...

    def pull(self, digest: str) -> AsyncIterator[bytes]:
        """The blob's bytes. Raises MissingBlob where it has none, Temporary where it can't be asked."""


ListSiblings = Callable[[AppId], Awaitable[Sequence[Sibling]]]


class Fetcher:
    """One per node. `now` in seconds, monotonic."""

    def __init__(
        self, store: ContentStore, list_siblings: ListSiblings, open_registry: OpenRegistry, now: Callable[[], float]
    ) -> None:
        self._store = store
        self._list_siblings = list_siblings
        self._open_registry = open_registry
        self._now = now
        self._arrival = asyncio.Event()
        self._locks: dict[str, asyncio.Lock] = {}
        self._complete: set[str] = set()

    def note_arrival(self) -> None:
        """A push has ended: whoever waits looks again."""
        self._arrival.set()
        self._arrival = asyncio.Event()

    def is_complete(self, digest: str) -> bool:
        """Whether every blob of the image is in the store. A bad image never is: fetching says what is wrong."""
        if digest not in self._complete:
            try:
                blobs = load_image(self._store, digest).list_blobs()
            except Rejected:
                return False
            if not all(self._store.has(blob.digest) for blob in blobs):
                return False
            self._complete.add(digest)
        return True

    def forget_complete(self) -> None:
        """Blobs were deleted: look at the store itself again."""
        self._complete.clear()

    async def fetch(self, app: AppId, images: Sequence[ImageNeed]) -> None:
        """Bring all blobs of these images. Raises Rejected for a bad image, Permanent where nobody has it in time."""
        deadline_s = self._now() + DEADLINE_S + sum(image.size for image in images) / BYTES_PER_S
        for image in images:
            async with self._open_registry(image.reference) as registry:
                await self._ensure(app, registry, image.digest, None, deadline_s)
                for blob in self._list_blobs(image):
                    await self._ensure(app, registry, blob.digest, blob.size, deadline_s)
            load_image(self._store, image.digest)

    def _list_blobs(self, image: ImageNeed) -> list[Descriptor]:
        """Raises TooBig (image/8) for more bytes than the ledger says: nobody has agreed to fetch those."""
        manifest = parse_manifest(self._store.read(image.digest, size_max=MANIFEST_BYTES_MAX), image.digest)
        blobs = {blob.digest: blob for blob in (manifest.config, *manifest.layers)}
        size = sum(blob.size for blob in blobs.values())
        if size > image.size:
            raise TooBig(f"image {image.digest}: {size} bytes to fetch, the ledger says {image.size}")
        return list(blobs.values())

    async def _ensure(
        self, app: AppId, registry: RegistrySource, digest: str, size: int | None, deadline_s: float
    ) -> None:
        async with self._locks.setdefault(digest, asyncio.Lock()):
            pause_s = 0.25
            while not self._store.has(digest):
                arrival = self._arrival
                if await self._pull_from_any(app, digest, size):
                    break
                if await self._pull_from_registry(registry, digest, size):
                    break
                left_s = deadline_s - self._now()
                if left_s <= 0:
                    raise Permanent(
                        f"image_unavailable: no node of the app has {digest}; registry: {registry.problem}; "
                        "deploy again to push it"
                    )
                await _wait(arrival, min(pause_s, left_s))
                pause_s = min(pause_s * 2, PAUSE_S_MAX)
        self._locks.pop(digest, None)

    async def _pull_from_any(self, app: AppId, digest: str, size: int | None) -> bool:
        try:
            siblings = await self._list_siblings(app)
        except FluxCloudError as error:
            _log.info("siblings unknown: %s", error)
            return False
        for sibling in siblings:
            try:
                await self._pull(sibling, digest, size)
            except MissingBlob:
                continue
            except StoreFull:
                raise
            except (Rejected, Temporary) as error:
                _log.warning("blob %s not got: %s", digest, error, extra={"fields": {"peer": render_node(sibling.id)}})
                continue
            return True
        return False

    async def _pull_from_registry(self, registry: RegistrySource, digest: str, size: int | None) -> bool:
        """Given up when a push is quicker: a registry that does not answer must not hold up what is there."""
        fetching = asyncio.create_task(registry.pull(self._store, digest, size))
        try:
            while not fetching.done() and not self._store.has(digest):
                arriving = asyncio.create_task(self._arrival.wait())
                try:
                    await asyncio.wait({fetching, arriving}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    arriving.cancel()
            return self._store.has(digest) or await fetching
        finally:
            fetching.cancel()
            await asyncio.gather(fetching, return_exceptions=True)

    async def _pull(self, sibling: Sibling, digest: str, size: int | None) -> None:
        size_max = MANIFEST_BYTES_MAX if size is None else size
        with self._store.begin(digest=digest, size=size, size_max=size_max) as writer:
            async with aclosing(sibling.pull(digest)) as chunks:  # type: ignore[type-var]
                async for chunk in chunks:
                    writer.write(chunk)
            await asyncio.to_thread(writer.commit)
        _log.info("blob %s got", digest, extra={"fields": {"peer": render_node(sibling.id)}})


async def _wait(event: asyncio.Event, timeout_s: float) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        return
