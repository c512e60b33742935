"""The registry client against a real registry: what was pushed comes back, with and without a password."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from fluxcloud.images.build import Entry, build_image
from fluxcloud.images.errors import Unauthorised, UnknownImage
from fluxcloud.images.manifest import MANIFEST_BYTES_MAX, OCI_INDEX, OCI_MANIFEST, Process, load_image
from fluxcloud.images.reference import parse_reference
from fluxcloud.images.registry import Repository
from fluxcloud.images.registry_auth import Credentials, load_credentials
from fluxcloud.images.registry_net import USER_ACCESS
from fluxcloud.images.store import ContentStore, compute_digest
from integration.fake_registry import serve
from integration.registry_daemon import PASSWORD, USER, Daemon, run_daemon

AMD, ARM = "linux/amd64", "linux/arm64"
BIG = bytes(range(256)) * 8192  # 2 MiB


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    async with run_daemon(tmp_path) as daemon:
        yield daemon


@pytest.fixture
async def closed_daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    async with run_daemon(tmp_path, with_password=True) as daemon:
        yield daemon


@pytest.fixture
def source(tmp_path: Path) -> ContentStore:
    return ContentStore(tmp_path / "source")


@pytest.fixture
def store(tmp_path: Path) -> ContentStore:
    return ContentStore(tmp_path / "store")


def make_image(source: ContentStore, content: bytes = BIG, platform: str = AMD) -> str:
    return build_image(source, [Entry("app", content)], Process(cmd=["/app"]), platform=platform)


async def test_pull(daemon: Daemon, source: ContentStore, store: ContentStore) -> None:
    digest = make_image(source)
    await daemon.push(source, digest, "team/app", "1.4")
    async with Repository(parse_reference(f"{daemon.host}/team/app:1.4")) as repository:
        resolved = await repository.resolve(AMD)
        await repository.pull(resolved, store)
    assert (resolved.digest, resolved.index_digest, resolved.arches) == (digest, "", ("amd64",))
    assert resolved.size == source.compute_size()
    assert store.list_digests() == source.list_digests()
    assert load_image(store, digest) == load_image(source, digest)


async def test_index(daemon: Daemon, source: ContentStore, store: ContentStore) -> None:
    entries = []
    for platform in (AMD, ARM):
        digest = make_image(source, platform.encode(), platform)
        await daemon.push(source, digest, "team/app", platform.replace("/", "-"))
        system, _, architecture = platform.partition("/")
        where = {"os": system, "architecture": architecture}
        size = source.get_size(digest)
        entries.append({"mediaType": OCI_MANIFEST, "digest": digest, "size": size, "platform": where})
    raw = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}).encode()
    await daemon.put_index(raw, "team/app", "1")
    for platform, entry in zip((AMD, ARM), entries, strict=True):
        for target in (":1", f"@{compute_digest(raw)}"):
            async with Repository(parse_reference(f"{daemon.host}/team/app{target}")) as repository:
                resolved = await repository.resolve(platform)
                await repository.pull(resolved, store)
            assert (resolved.digest, resolved.index_digest) == (entry["digest"], compute_digest(raw))
            assert resolved.arches == ("amd64", "arm64")


async def test_moved_tag(daemon: Daemon, source: ContentStore, store: ContentStore) -> None:
    old, new = make_image(source, b"old"), make_image(source, b"new")
    await daemon.push(source, old, "app", "1")
    async with Repository(parse_reference(f"{daemon.host}/app:1")) as repository:
        resolved = await repository.resolve(AMD)
        await daemon.push(source, new, "app", "1")
        await repository.pull(resolved, store)
        assert load_image(store, old).digest == old
        await _delete(daemon, "app", old)
        with pytest.raises(UnknownImage, match=old):
            await repository.pull(resolved, store)


async def _delete(daemon: Daemon, repository: str, digest: str) -> None:
    url = f"http://{daemon.host}/v2/{repository}/manifests/{digest}"
    async with aiohttp.ClientSession() as session, session.delete(url) as response:
        assert response.status == 202


async def test_fetch(daemon: Daemon, source: ContentStore, store: ContentStore) -> None:
    digest = make_image(source)
    await daemon.push(source, digest, "app", "1")
    layer = load_image(source, digest).manifest.layers[0]
    async with Repository(parse_reference(f"{daemon.host}/app")) as repository:
        await repository.fetch(digest, store, size=None, size_max=MANIFEST_BYTES_MAX, is_manifest=True)
        await repository.fetch(layer.digest, store, size=layer.size, size_max=layer.size)
    assert store.list_digests() == sorted([digest, layer.digest])


async def test_resume(daemon: Daemon, source: ContentStore, store: ContentStore) -> None:
    digest = make_image(source)
    await daemon.push(source, digest, "app", "1")
    layer = load_image(source, digest).manifest.layers[0]
    ranges: list[str | None] = []

    async def break_off(request: web.Request) -> web.StreamResponse:
        """Half of the layer; whoever comes again is sent on to the real registry."""
        ranges.append(request.headers.get("Range"))
        if len(ranges) > 1:
            return web.Response(status=307, headers={"Location": f"http://{daemon.host}{request.path}"})
        response = web.StreamResponse(headers={"Content-Length": str(layer.size)})
        await response.prepare(request)
        await response.write(source.path(layer.digest).read_bytes()[:1_000_000])
        assert request.transport is not None
        request.transport.close()
        return response

    async with serve(break_off) as port:
        access = replace(USER_ACCESS, backoff_s=0.01)
        async with Repository(parse_reference(f"127.0.0.1:{port}/app"), access) as repository:
            await repository.fetch(layer.digest, store, size=layer.size, size_max=layer.size)
    assert ranges == [None, "bytes=1000000-"]
    assert store.get_size(layer.digest) == layer.size


@pytest.mark.parametrize("target", ["other:1", "app:2", "app@sha256:" + "0" * 64])
async def test_unknown(daemon: Daemon, source: ContentStore, target: str) -> None:
    await daemon.push(source, make_image(source, b"x"), "app", "1")
    async with Repository(parse_reference(f"{daemon.host}/{target}")) as repository:
        with pytest.raises(UnknownImage):
            await repository.resolve(AMD)


async def test_password(closed_daemon: Daemon, source: ContentStore, store: ContentStore, tmp_path: Path) -> None:
    digest = make_image(source)
    await closed_daemon.push(source, digest, "app", "1")
    reference = parse_reference(f"{closed_daemon.host}/app:1")
    config = tmp_path / "config.json"
    auth = Credentials(USER, PASSWORD).render_basic().removeprefix("Basic ")
    config.write_text(json.dumps({"auths": {closed_daemon.host: {"auth": auth}}}))
    async with Repository(reference, credentials=load_credentials(reference.registry, config)) as repository:
        await repository.pull(await repository.resolve(AMD), store)
    assert load_image(store, digest).digest == digest


@pytest.mark.parametrize("credentials", [None, Credentials(USER, "wrong")])
async def test_password__missing_or_wrong(closed_daemon: Daemon, credentials: Credentials | None) -> None:
    access = replace(USER_ACCESS, tries=1)
    async with Repository(parse_reference(f"{closed_daemon.host}/app:1"), access, credentials) as repository:
        with pytest.raises(Unauthorised) as caught:
            await repository.resolve(AMD)
    assert f"docker login {closed_daemon.host}" in caught.value.hint
