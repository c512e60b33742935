"""A node's fetching from registries: last of all, of what everybody may have, and never in the way of a push."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from fluxcloud.clock import ManualClock
from fluxcloud.errors import Permanent
from fluxcloud.ids import AppId
from fluxcloud.images.errors import StoreFull, TooBig
from fluxcloud.images.manifest import load_image
from fluxcloud.images.store import ContentStore
from fluxcloud.node.images.fetch import Fetcher, Sibling
from fluxcloud.node.images.registry import make_open_registry
from fluxcloud.node.model import ImageNeed
from integration.fake_registry import FakeRegistry, run_registry

APP = AppId(b"\x01" * 20)


@pytest.fixture
async def registry() -> AsyncIterator[FakeRegistry]:
    async with run_registry() as registry:
        yield registry


def make_fetcher(
    store: ContentStore, registry: FakeRegistry, host: str = "127.0.0.1", *, listed: bool = True
) -> tuple[Fetcher, ManualClock]:
    async def list_siblings(app: AppId) -> tuple[Sibling, ...]:
        return ()

    clock = ManualClock()
    names = (f"http://127.0.0.1:{registry.port}",) if listed else ()
    return Fetcher(store, list_siblings, make_open_registry(host, names, clock.monotonic_s), clock.monotonic_s), clock


def need(registry: FakeRegistry, digest: str, size: int = 200_000) -> ImageNeed:
    return ImageNeed("app", digest, size, f"{registry.name}:1")


async def test_image__by_its_digest(registry: FakeRegistry, tmp_path: Path) -> None:
    digest = registry.add_image(tmp_path, b"old")
    registry.add_image(tmp_path, b"new")
    store = ContentStore(tmp_path / "store")
    fetcher, _ = make_fetcher(store, registry)
    await fetcher.fetch(APP, [need(registry, digest)])
    assert load_image(store, digest).digest == digest
    assert registry.count("/manifests/1") == 0


async def test_private_image__is_waited_for(registry: FakeRegistry, tmp_path: Path) -> None:
    digest = registry.add_image(tmp_path)
    store = ContentStore(tmp_path / "store")
    refused = asyncio.Event()

    async def refuse(request: web.Request) -> web.StreamResponse:
        refused.set()
        return web.Response(status=403)

    registry.overrides[""] = refuse
    fetcher, _ = make_fetcher(store, registry)
    task = asyncio.create_task(fetcher.fetch(APP, [need(registry, digest)]))
    await refused.wait()
    for raw in (*registry.blobs.values(), registry.manifests[digest][1]):
        store.put(raw)
        fetcher.note_arrival()
    await asyncio.wait_for(task, 10)
    assert len(registry.seen) == 1


async def test_registry_that_hangs__is_left_for_a_push(registry: FakeRegistry, tmp_path: Path) -> None:
    digest = registry.add_image(tmp_path)
    store = ContentStore(tmp_path / "store")
    asked, over = asyncio.Event(), asyncio.Event()

    async def hang(request: web.Request) -> web.StreamResponse:
        asked.set()
        await over.wait()
        return web.Response(status=500)

    registry.overrides[""] = hang
    fetcher, _ = make_fetcher(store, registry)
    task = asyncio.create_task(fetcher.fetch(APP, [need(registry, digest)]))
    await asked.wait()
    for raw in (*registry.blobs.values(), registry.manifests[digest][1]):
        store.put(raw)
        fetcher.note_arrival()
    await asyncio.wait_for(task, 10)
    over.set()
    assert len(registry.seen) == 1


async def test_nobody_has_it__says_what_the_registry_said(registry: FakeRegistry, tmp_path: Path) -> None:
    store = ContentStore(tmp_path / "store")
    fetcher, clock = make_fetcher(store, registry)
    task = asyncio.create_task(fetcher.fetch(APP, [need(registry, "sha256:" + "0" * 64)]))
    while not registry.seen:
        await asyncio.sleep(0)
    clock.advance_ms(91_000)
    fetcher.note_arrival()
    with pytest.raises(Permanent, match=r"image_unavailable: .* has no sha256:0+ in team/app: nothing here; deploy"):
        await asyncio.wait_for(task, 10)
    assert len(registry.seen) == 1


async def test_registry_on_a_private_address__is_not_asked(registry: FakeRegistry, tmp_path: Path) -> None:
    digest = registry.add_image(tmp_path)
    open_registry = make_open_registry("127.0.0.1", (), ManualClock().monotonic_s)
    async with open_registry(f"{registry.name}:1") as source:
        assert not await source.pull(ContentStore(tmp_path / "store"), digest, None)
        assert "at a private address, which may not be asked from here" in source.problem
    assert registry.seen == []


@pytest.mark.parametrize("image", ["./app.tar", "builtin:hello", "No Reference"])
async def test_no_image_of_a_registry(tmp_path: Path, image: str) -> None:
    async with make_open_registry("127.0.0.1", (), ManualClock().monotonic_s)(image) as source:
        assert not await source.pull(ContentStore(tmp_path), "sha256:" + "0" * 64, None)


async def test_busy_registry__is_asked_again_after_a_while(registry: FakeRegistry, tmp_path: Path) -> None:
    digest = registry.add_image(tmp_path)
    is_busy = True

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(status=503, headers={"Retry-After": "60"}) if is_busy else registry.serve(request)

    registry.overrides[""] = answer
    clock, store = ManualClock(), ContentStore(tmp_path / "store")
    open_registry = make_open_registry("127.0.0.1", (f"http://127.0.0.1:{registry.port}",), clock.monotonic_s)
    async with open_registry(f"{registry.name}:1") as source:
        assert not await source.pull(store, digest, None)
        is_busy = False
        assert not await source.pull(store, digest, None)
        assert len(registry.seen) == 1
        clock.advance_ms(60_000)
        assert await source.pull(store, digest, None)


async def test_full_store__is_said_at_once(registry: FakeRegistry, tmp_path: Path) -> None:
    digest = registry.add_image(tmp_path, bytes(100_000))
    fetcher, _ = make_fetcher(ContentStore(tmp_path / "store", capacity=50_000), registry)
    with pytest.raises(StoreFull):
        await fetcher.fetch(APP, [need(registry, digest)])


async def test_more_bytes_than_the_ledger_says(registry: FakeRegistry, tmp_path: Path) -> None:
    digest = registry.add_image(tmp_path)
    size = sum(map(len, registry.blobs.values()))
    store = ContentStore(tmp_path / "store")
    fetcher, _ = make_fetcher(store, registry)
    with pytest.raises(TooBig, match=f"{size} bytes to fetch, the ledger says {size - 1}"):
        await fetcher.fetch(APP, [need(registry, digest, size - 1)])
    assert store.list_digests() == [digest]
    await fetcher.fetch(APP, [need(registry, digest, size)])
