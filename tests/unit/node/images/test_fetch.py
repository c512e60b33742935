"""Fetching images: siblings that have, lack, lie or are away; pushes; deadlines; garbage."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from fluxcloud.clock import ManualClock
from fluxcloud.errors import Permanent, Rejected, Temporary
from fluxcloud.ids import AppId, NodeId
from fluxcloud.images.errors import MissingBlob
from fluxcloud.images.manifest import OCI_CONFIG, OCI_LAYER_TAR, OCI_MANIFEST
from fluxcloud.images.store import ContentStore, compute_digest
from fluxcloud.node.images.collect import KEEP_S, Collector
from fluxcloud.node.images.fetch import Fetcher
from fluxcloud.node.images.registry import make_open_registry
from fluxcloud.node.model import ImageNeed

APP = AppId(b"\x01" * 20)


def make_image() -> tuple[dict[str, bytes], ImageNeed]:
    """Blobs of an image of one layer, by digest."""
    layer = b"a layer"
    rootfs = {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]}
    config = msgspec.json.encode({"architecture": "amd64", "os": "linux", "rootfs": rootfs})

    def describe(raw: bytes, kind: str) -> dict[str, object]:
        return {"mediaType": kind, "digest": compute_digest(raw), "size": len(raw)}

    manifest = msgspec.json.encode(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": describe(config, OCI_CONFIG),
            "layers": [describe(layer, OCI_LAYER_TAR)],
        }
    )
    blobs = {compute_digest(raw): raw for raw in (layer, config, manifest)}
    return blobs, ImageNeed("app", compute_digest(manifest), sum(map(len, blobs.values())), "./app.tar")


BLOBS, IMAGE = make_image()


class Neighbour:
    """A sibling with these blobs; `lies` gives other bytes, `away` none."""

    def __init__(self, blobs: dict[str, bytes], *, lies: bool = False, away: bool = False) -> None:
        self.blobs, self.lies, self.away = blobs, lies, away
        self.asked = 0

    @property
    def id(self) -> NodeId:
        return NodeId(b"\x09" * 20)

    async def pull(self, digest: str) -> AsyncIterator[bytes]:
        self.asked += 1
        if self.away:
            raise Temporary("away")
        if digest not in self.blobs:
            raise MissingBlob(digest)
        raw = self.blobs[digest]
        yield raw[:3]
        yield b"x" * len(raw[3:]) if self.lies else raw[3:]


def make_fetcher(tmp_path: Path, *siblings: Neighbour) -> tuple[Fetcher, ContentStore, ManualClock]:
    async def list_siblings(app: AppId) -> tuple[Neighbour, ...]:
        return siblings

    store, clock = ContentStore(tmp_path), ManualClock()
    open_registry = make_open_registry("127.0.0.1", (), clock.monotonic_s)
    return Fetcher(store, list_siblings, open_registry, clock.monotonic_s), store, clock


async def test_image__comes_from_whoever_has_it(tmp_path: Path) -> None:
    away, empty, liar, good = Neighbour({}, away=True), Neighbour({}), Neighbour(BLOBS, lies=True), Neighbour(BLOBS)
    fetcher, store, _ = make_fetcher(tmp_path, away, empty, liar, good)
    assert not fetcher.is_complete(IMAGE.digest)
    await fetcher.fetch(APP, [IMAGE])
    assert fetcher.is_complete(IMAGE.digest)
    assert store.list_digests() == sorted(BLOBS)
    assert [sibling.asked for sibling in (away, empty, liar, good)] == [3, 3, 3, 3]


async def test_two_copies__fetch_a_blob_once(tmp_path: Path) -> None:
    good = Neighbour(BLOBS)
    fetcher, _, _ = make_fetcher(tmp_path, good)
    await asyncio.gather(fetcher.fetch(APP, [IMAGE]), fetcher.fetch(APP, [IMAGE]))
    assert good.asked == 3


async def test_push__is_waited_for(tmp_path: Path) -> None:
    fetcher, store, _ = make_fetcher(tmp_path)
    task = asyncio.create_task(fetcher.fetch(APP, [IMAGE]))
    for raw in reversed(list(BLOBS.values())):
        store.put(raw)
        fetcher.note_arrival()
    await asyncio.wait_for(task, 5)


async def test_nobody_has_it__ends_after_the_deadline(tmp_path: Path) -> None:
    fetcher, _, clock = make_fetcher(tmp_path)
    task = asyncio.create_task(fetcher.fetch(APP, [IMAGE]))
    await asyncio.sleep(0)
    clock.advance_ms(91_000)
    fetcher.note_arrival()
    with pytest.raises(Permanent, match="image_unavailable"):
        await asyncio.wait_for(task, 5)


async def test_bad_manifest__is_refused(tmp_path: Path) -> None:
    fetcher, store, _ = make_fetcher(tmp_path)
    blob = store.put(b"{}")
    with pytest.raises(Rejected):
        await fetcher.fetch(APP, [ImageNeed("app", blob.digest, 2, "./app.tar")])
    assert not fetcher.is_complete(blob.digest)


def test_garbage__goes_after_an_hour_of_being_unneeded(tmp_path: Path) -> None:
    store = ContentStore(tmp_path)
    for raw in (*BLOBS.values(), b"old", b"young"):
        store.put(raw)
    old, young = compute_digest(b"old"), compute_digest(b"young")
    for digest in (*BLOBS, old):
        os.utime(store.path(digest), (1, 1))
    collector = Collector(store)
    assert collector.collect([IMAGE.digest], 0.0) == []
    assert collector.collect([IMAGE.digest], KEEP_S - 1) == []
    assert collector.collect([IMAGE.digest], KEEP_S) == [old]
    assert store.list_digests() == sorted((*BLOBS, young))
    assert collector.collect([], KEEP_S + 1) == []
