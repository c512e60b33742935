"""The registry client against a registry that answers honestly, and against one that doesn't."""

from __future__ import annotations

import asyncio
import base64
import logging
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web

from engines import require_engine
from fluxcloud.images.errors import (
    BadRegistry,
    DigestMismatch,
    ForbiddenAddress,
    ImageRejected,
    SizeMismatch,
    TooBig,
    Unauthorised,
    UnknownImage,
    WrongPlatform,
)
from fluxcloud.images.manifest import MANIFEST_BYTES_MAX, OCI_MANIFEST, load_image, parse_manifest
from fluxcloud.images.reference import Reference, parse_reference
from fluxcloud.images.registry import Repository, Resolved
from fluxcloud.images.registry_auth import Credentials
from fluxcloud.images.registry_http import RegistryBusy, RegistryUnreachable
from fluxcloud.images.registry_net import PUBLIC_ACCESS, USER_ACCESS
from fluxcloud.images.store import ContentStore, compute_digest
from integration.fake_registry import REPOSITORY, FakeRegistry, run_registry, serve

AMD, ARM = "linux/amd64", "linux/arm64"
QUICK = replace(USER_ACCESS, backoff_s=0.01)
ME = Credentials("me", "pass-word")


@pytest.fixture
async def registry() -> AsyncIterator[FakeRegistry]:
    async with run_registry() as registry:
        yield registry


@pytest.fixture
def store(tmp_path: Path) -> ContentStore:
    return ContentStore(tmp_path / "store")


def refer(registry: FakeRegistry, target: str = ":1") -> Reference:
    return parse_reference(registry.name + target)


async def resolve(registry: FakeRegistry, platform: str = AMD, credentials: Credentials | None = None) -> Resolved:
    async with Repository(refer(registry), QUICK, credentials) as repository:
        return await repository.resolve(platform)


async def resolve_and_pull(
    registry: FakeRegistry, store: ContentStore, credentials: Credentials | None = None
) -> Resolved:
    async with Repository(refer(registry), QUICK, credentials) as repository:
        resolved = await repository.resolve(AMD)
        await repository.pull(resolved, store)
        return resolved


# What an honest one gives.


async def test_index__one_platform_of_two(registry: FakeRegistry, tmp_path: Path, store: ContentStore) -> None:
    amd = registry.add_image(tmp_path, b"amd")
    arm = registry.add_image(tmp_path, b"arm", platform=ARM)
    index = registry.add_index({AMD: amd, ARM: arm, "unknown/unknown": amd}, docker=True)
    async with Repository(refer(registry), QUICK) as repository:
        resolved = await repository.resolve(ARM)
        seen: list[tuple[int, int]] = []
        await repository.pull(resolved, store, on_progress=lambda done, total: seen.append((done, total)))
    manifest = load_image(store, arm).manifest
    blob_bytes = sum(blob.size for blob in (manifest.config, *manifest.layers))
    assert (resolved.digest, resolved.index_digest, resolved.arches) == (arm, index, ("amd64", "arm64"))
    assert resolved.size == blob_bytes + store.get_size(arm)
    assert seen[-1] == (blob_bytes, blob_bytes)
    assert not store.has(amd)


async def test_index_in_an_index(registry: FakeRegistry, tmp_path: Path) -> None:
    digest = registry.add_image(tmp_path)
    inner = registry.add_index({AMD: digest})
    outer = registry.add_index({AMD: inner})
    resolved = await resolve(registry)
    assert (resolved.digest, resolved.index_digest) == (digest, outer)
    registry.add_index({AMD: registry.add_index({AMD: outer})})
    with pytest.raises(ImageRejected, match="more than 3"):
        await resolve(registry)


async def test_what_is_there_is_not_fetched(registry: FakeRegistry, tmp_path: Path, store: ContentStore) -> None:
    digest = registry.add_image(tmp_path)
    await resolve_and_pull(registry, store)
    registry.seen.clear()
    await resolve_and_pull(registry, store)
    assert registry.count(registry.list_layers(digest)[0]) == 0


async def test_by_digest__a_moved_tag_changes_nothing(
    registry: FakeRegistry, tmp_path: Path, store: ContentStore
) -> None:
    old = registry.add_image(tmp_path, b"old")
    async with Repository(refer(registry), QUICK) as repository:
        resolved = await repository.resolve(AMD)
        registry.add_image(tmp_path, b"new")
        await repository.pull(resolved, store)
    assert resolved.digest == old
    assert load_image(store, old).digest == old


async def test_digest_gone_after_the_tag_moved(registry: FakeRegistry, tmp_path: Path, store: ContentStore) -> None:
    digest = registry.add_image(tmp_path, b"old")
    async with Repository(refer(registry), QUICK) as repository:
        resolved = await repository.resolve(AMD)
        del registry.manifests[digest]
        with pytest.raises(UnknownImage, match=f"has no {digest} in {REPOSITORY}: nothing here") as caught:
            await repository.pull(resolved, store)
    assert "may have been deleted" in caught.value.hint
    assert store.list_digests() == []


async def test_fetch__single_blobs_by_digest(registry: FakeRegistry, tmp_path: Path, store: ContentStore) -> None:
    digest = registry.add_image(tmp_path)
    layer = registry.list_layers(digest)[0]
    async with Repository(parse_reference(registry.name), QUICK) as repository:
        await repository.fetch(digest, store, size=None, size_max=MANIFEST_BYTES_MAX, is_manifest=True)
        await repository.fetch(layer, store, size=None, size_max=len(registry.blobs[layer]))
        with pytest.raises(TooBig):
            await repository.fetch(load_image_config(store, digest), store, size=None, size_max=10)
    assert store.list_digests() == sorted([digest, layer])


def load_image_config(store: ContentStore, digest: str) -> str:
    return parse_manifest(store.read(digest, size_max=MANIFEST_BYTES_MAX), digest).config.digest


async def test_another_platform(registry: FakeRegistry, tmp_path: Path) -> None:
    digest = registry.add_image(tmp_path, platform=ARM)
    with pytest.raises(WrongPlatform, match="needed is linux/amd64, it is for linux/arm64"):
        await resolve(registry)
    registry.add_index({ARM: digest})
    with pytest.raises(WrongPlatform, match="needed is linux/amd64, it offers linux/arm64"):
        await resolve(registry)
    registry.add_index({AMD: digest})
    with pytest.raises(WrongPlatform, match="it is for linux/arm64"):
        await resolve(registry)


async def test_unknown(registry: FakeRegistry) -> None:
    with pytest.raises(UnknownImage, match=f"image {registry.name}:1: 127.0.0.1:{registry.port} has no 1") as caught:
        await resolve(registry)
    assert caught.value.code == "image/17"


async def test_unreachable() -> None:
    async with run_registry() as registry:
        pass
    with pytest.raises(RegistryUnreachable, match=r"registry 127\.0\.0\.1 can't be reached"):
        await resolve(registry)


# Who may have it.


def require_token(registry: FakeRegistry, realm: str, token: str = "t0ken") -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") == f"Bearer {token}":
            return registry.serve(request)
        challenge = f'Bearer realm="{realm}",service="fake",scope="repository:{REPOSITORY}:pull"'
        return web.Response(status=401, headers={"WWW-Authenticate": challenge})

    registry.overrides[""] = answer


@pytest.mark.parametrize("credentials", [None, ME])
async def test_token(
    registry: FakeRegistry, tmp_path: Path, store: ContentStore, credentials: Credentials | None
) -> None:
    asked: list[tuple[str, str | None]] = []

    async def give(request: web.Request) -> web.StreamResponse:
        asked.append((request.path_qs, request.headers.get("Authorization")))
        return web.json_response({"token": "t0ken", "expires_in": 60})

    registry.add_image(tmp_path)
    async with serve(give) as port:
        require_token(registry, f"http://127.0.0.1:{port}/token")
        await resolve_and_pull(registry, store, credentials)
    basic = "Basic " + base64.b64encode(b"me:pass-word").decode() if credentials else None
    assert asked == [(f"/token?service=fake&scope=repository:{REPOSITORY}:pull", basic)]
    assert [headers.get("Authorization") for _, headers in registry.seen][:2] == [None, "Bearer t0ken"]


async def test_token__an_expired_one_is_renewed(registry: FakeRegistry, tmp_path: Path, store: ContentStore) -> None:
    asked = 0

    async def give(request: web.Request) -> web.StreamResponse:
        nonlocal asked
        asked += 1
        require_token(registry, str(request.url.with_query(None)), f"t{asked}")
        return web.json_response({"token": f"t{asked}"})

    registry.add_image(tmp_path)
    async with serve(give) as port:
        require_token(registry, f"http://127.0.0.1:{port}/token", "t0")
        async with Repository(refer(registry), QUICK) as repository:
            resolved = await repository.resolve(AMD)
            require_token(registry, f"http://127.0.0.1:{port}/token", "revoked")
            await repository.pull(resolved, store)
    assert asked == 2


@pytest.mark.parametrize("status", [401, 403])
async def test_token__credentials_refused(
    registry: FakeRegistry, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def refuse(request: web.Request) -> web.StreamResponse:
        return web.json_response({"errors": [{"message": "wrong\x1b[31m"}]}, status=status)

    caplog.set_level(logging.DEBUG)
    async with serve(refuse) as port:
        require_token(registry, f"http://127.0.0.1:{port}/token")
        with pytest.raises(Unauthorised, match=f"refuses me for {REPOSITORY}: wrong ") as caught:
            await resolve(registry, credentials=ME)
    assert (
        caught.value.hint == f"does this user have the image? log in again with: docker login 127.0.0.1:{registry.port}"
    )
    secret = base64.b64encode(b"me:pass-word").decode()
    assert not any(word in caught.value.message + caplog.text for word in ("pass-word", secret, "\x1b"))


async def test_token__does_not_reach_the_image(registry: FakeRegistry, tmp_path: Path) -> None:
    async def give(request: web.Request) -> web.StreamResponse:
        return web.json_response({"token": "other"})

    registry.add_image(tmp_path)
    async with serve(give) as port:
        require_token(registry, f"http://127.0.0.1:{port}/token")
        with pytest.raises(Unauthorised, match=f"has no {REPOSITORY} that everybody may have") as caught:
            await resolve(registry)
    assert len(registry.seen) == 2
    assert "docker login" in caught.value.hint


async def test_basic(registry: FakeRegistry, tmp_path: Path, store: ContentStore) -> None:
    wanted = "Basic " + base64.b64encode(b"me:pass-word").decode()

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") == wanted:
            return registry.serve(request)
        return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="fake"'})

    registry.overrides[""] = answer
    registry.add_image(tmp_path)
    await resolve_and_pull(registry, store, ME)
    with pytest.raises(Unauthorised, match="everybody"):
        await resolve(registry)
    with pytest.raises(Unauthorised, match="refuses you"):
        await resolve(registry, credentials=Credentials("you", "pass-word"))


# Redirects.


async def test_redirect__to_another_host_without_our_authorization(
    registry: FakeRegistry, tmp_path: Path, store: ContentStore
) -> None:
    digest = registry.add_image(tmp_path)
    layer = registry.list_layers(digest)[0]
    seen: list[tuple[str, str | None]] = []

    async def cdn(request: web.Request) -> web.StreamResponse:
        seen.append((request.raw_path, request.headers.get("Authorization")))
        return web.Response(body=registry.blobs[layer])

    async def give(request: web.Request) -> web.StreamResponse:
        return web.json_response({"token": "t0ken"})

    async with serve(cdn) as cdn_port, serve(give) as auth_port:
        require_token(registry, f"http://127.0.0.1:{auth_port}/token")
        location = f"http://127.0.0.1:{cdn_port}/x%2Fy?sig=a%2Bb%3D"
        registry.overrides = {layer: redirect_to(location), **registry.overrides}
        await resolve_and_pull(registry, store)
    assert seen == [("/x%2Fy?sig=a%2Bb%3D", None)]
    assert store.has(layer)


def redirect_to(location: str, status: int = 307):  # type: ignore[no-untyped-def]
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, headers={"Location": location})

    return answer


async def test_redirect__at_most_five(registry: FakeRegistry, tmp_path: Path) -> None:
    registry.add_image(tmp_path)

    async def hop(request: web.Request) -> web.StreamResponse:
        left = int(request.query.get("left", start))
        if not left:
            return registry.serve(request)
        return web.Response(status=302, headers={"Location": f"?left={left - 1}"})

    registry.overrides["/manifests/1"] = hop
    start = 5
    await resolve(registry)
    start = 6
    with pytest.raises(BadRegistry, match="leads on and on; allowed are 5 redirects"):
        await resolve(registry)


@pytest.mark.parametrize("location", ["", "file:///etc/passwd", "http://user:word@127.0.0.1/"])
async def test_redirect__to_no_address(registry: FakeRegistry, location: str) -> None:
    registry.overrides["/manifests/1"] = redirect_to(location)
    with pytest.raises(BadRegistry):
        await resolve(registry)


async def test_private_registry_is_not_asked_for_strangers(registry: FakeRegistry) -> None:
    async with Repository(refer(registry), PUBLIC_ACCESS) as repository:
        with pytest.raises(ForbiddenAddress, match="is at a private address, which may not be asked from here"):
            await repository.resolve(AMD)
    assert registry.seen == []


# Registries that lie.


@pytest.mark.parametrize("by", ["header", "body"])
async def test_wrong_digest__manifest(registry: FakeRegistry, tmp_path: Path, by: str) -> None:
    digest = registry.add_image(tmp_path)
    raw = registry.manifests[digest][1] + (b" " if by == "body" else b"")
    said = digest if by == "body" else compute_digest(b"other")

    async def lie(request: web.Request) -> web.StreamResponse:
        return web.Response(body=raw, headers={"Content-Type": OCI_MANIFEST, "Docker-Content-Digest": said})

    registry.overrides["/manifests/1"] = lie
    with pytest.raises(DigestMismatch, match=said):
        await resolve(registry)


async def test_wrong_digest__layer(registry: FakeRegistry, tmp_path: Path, store: ContentStore) -> None:
    digest = registry.add_image(tmp_path)
    layer = registry.list_layers(digest)[0]
    registry.blobs[layer] = bytes(len(registry.blobs[layer]))
    with pytest.raises(DigestMismatch, match=layer):
        await resolve_and_pull(registry, store)
    assert not store.has(layer)
    assert not store.has(digest)
    assert list((store.root / "tmp").iterdir()) == []


async def test_endless_layer(registry: FakeRegistry, tmp_path: Path, store: ContentStore) -> None:
    digest = registry.add_image(tmp_path)
    layer = registry.list_layers(digest)[0]

    async def pour(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(bytes(65_536))

    registry.overrides[layer] = pour
    with pytest.raises(SizeMismatch, match=f"{layer}: longer than the {len(registry.blobs[layer])} bytes"):
        await resolve_and_pull(registry, store)


@pytest.mark.parametrize("change", [-1, 1])
async def test_another_length_than_the_manifest_says(
    registry: FakeRegistry, tmp_path: Path, store: ContentStore, change: int
) -> None:
    layer = registry.list_layers(registry.add_image(tmp_path))[0]
    length = len(registry.blobs[layer])
    registry.blobs[layer] = bytes(length + change)
    with pytest.raises(SizeMismatch, match=f"says it has {length + change} bytes, the manifest says {length}"):
        await resolve_and_pull(registry, store)


@pytest.mark.parametrize("framed", [True, False])
async def test_huge_manifest(registry: FakeRegistry, framed: bool) -> None:
    async def pour(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": OCI_MANIFEST})
        if framed:
            response.content_length = 1 << 40
        await response.prepare(request)
        while True:
            await response.write(b" " * 65_536)

    registry.overrides["/manifests/1"] = pour
    with pytest.raises(TooBig, match=f"more than {MANIFEST_BYTES_MAX} bytes"):
        await resolve(registry)


@pytest.mark.parametrize(
    ("content_type", "raw"),
    [
        ("text/html", b"<html>"),
        ("application/vnd.docker.distribution.manifest.v1+prettyjws", b"{}"),
        (OCI_MANIFEST, b'{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json"}'),
        (OCI_MANIFEST, b'{"schemaVersion": 2, "config": {}, "layers": [], "manifests": []}'),
        ("application/vnd.oci.image.index.v1+json", b'{"manifests": [], "layers": []}'),
    ],
)
async def test_wrong_content_type(registry: FakeRegistry, content_type: str, raw: bytes) -> None:
    registry.manifests["1"] = (content_type, raw)
    with pytest.raises(BadRegistry):
        await resolve(registry)


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"[" * 100_000, b'{"schemaVersion": 2}'])
async def test_unreadable_manifest(registry: FakeRegistry, raw: bytes) -> None:
    registry.manifests["1"] = (OCI_MANIFEST, raw)
    with pytest.raises(ImageRejected) as caught:
        await resolve(registry)
    assert caught.value.code == "image/4"


async def test_total_is_bounded(registry: FakeRegistry, tmp_path: Path, store: ContentStore) -> None:
    registry.add_image(tmp_path)
    async with Repository(refer(registry), QUICK) as repository:
        resolved = await repository.resolve(AMD)
        with pytest.raises(TooBig, match="at most 100 are allowed"):
            await repository.pull(resolved, store, bytes_max=100)


# Registries in trouble.


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_busy__tried_again(registry: FakeRegistry, tmp_path: Path, store: ContentStore, status: int) -> None:
    digest = registry.add_image(tmp_path)
    layer = registry.list_layers(digest)[0]
    for ending in ("/manifests/1", layer):
        registry.overrides[ending] = make_busy(registry, status, "0", times=3)
    await resolve_and_pull(registry, store)
    assert (registry.count("/manifests/1"), registry.count(layer)) == (4, 4)


def make_busy(registry: FakeRegistry, status: int, retry_after: str, times: int):  # type: ignore[no-untyped-def]
    left = times

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal left
        left -= 1
        return (
            web.Response(status=status, headers={"Retry-After": retry_after}) if left >= 0 else registry.serve(request)
        )

    return answer


async def test_busy__for_too_long(registry: FakeRegistry, tmp_path: Path) -> None:
    registry.add_image(tmp_path)
    registry.overrides["/manifests/1"] = make_busy(registry, 503, "0", times=100)
    with pytest.raises(RegistryBusy, match=r"127\.0\.0\.1 answers 503 Service Unavailable"):
        await resolve(registry)
    assert registry.count("/manifests/1") == QUICK.tries


async def test_busy__retry_after_is_waited_for(registry: FakeRegistry, tmp_path: Path) -> None:
    registry.add_image(tmp_path)
    registry.overrides["/manifests/1"] = make_busy(registry, 429, "1", times=1)
    began = asyncio.get_running_loop().time()
    await resolve(registry)
    assert asyncio.get_running_loop().time() - began >= 1.0


async def test_busy__a_long_pause_is_the_callers_to_wait(registry: FakeRegistry, tmp_path: Path) -> None:
    registry.add_image(tmp_path)
    registry.overrides["/manifests/1"] = make_busy(registry, 429, "3600", times=1)
    with pytest.raises(RegistryBusy) as caught:
        await resolve(registry)
    assert caught.value.retry_after_s == 3600.0


@pytest.mark.parametrize("knows_ranges", [True, False])
async def test_broken_off__taken_up_again(
    registry: FakeRegistry, tmp_path: Path, store: ContentStore, knows_ranges: bool
) -> None:
    digest = registry.add_image(tmp_path, bytes(range(256)) * 4000)
    layer = registry.list_layers(digest)[0]
    raw = registry.blobs[layer]
    ranges: list[str | None] = []

    async def break_off(request: web.Request) -> web.StreamResponse:
        ranges.append(request.headers.get("Range"))
        if len(ranges) == 1:
            response = web.StreamResponse(headers={"Content-Length": str(len(raw))})
            await response.prepare(request)
            await response.write(raw[:300_000])
            assert request.transport is not None
            request.transport.close()
            return response
        return registry.serve(request) if knows_ranges else web.Response(body=raw)

    registry.overrides[layer] = break_off
    done: list[int] = []
    async with Repository(refer(registry), QUICK) as repository:
        resolved = await repository.resolve(AMD)
        await repository.pull(resolved, store, on_progress=lambda count, _: done.append(count))
    assert ranges == [None, "bytes=300000-"]
    assert done[-1] == resolved.size - store.get_size(digest)


async def test_broken_off__another_range_than_asked_for(
    registry: FakeRegistry, tmp_path: Path, store: ContentStore
) -> None:
    layer = registry.list_layers(registry.add_image(tmp_path))[0]

    async def lie(request: web.Request) -> web.StreamResponse:
        return web.Response(status=206, body=b"x", headers={"Content-Range": "bytes 0-0/1"})

    registry.overrides[layer] = lie
    with pytest.raises(BadRegistry, match="answers with another range"):
        await resolve_and_pull(registry, store)


async def test_truncated__for_ever(registry: FakeRegistry, tmp_path: Path, store: ContentStore) -> None:
    layer = registry.list_layers(registry.add_image(tmp_path))[0]

    async def break_off(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(len(registry.blobs[layer]))})
        await response.prepare(request)
        assert request.transport is not None
        request.transport.close()
        return response

    registry.overrides[layer] = break_off
    with pytest.raises(RegistryUnreachable):
        await resolve_and_pull(registry, store)
    assert registry.count(layer) == QUICK.tries
    assert not store.has(layer)


# A public registry, in a network of its own.


@pytest.mark.needs_root
def test_public_registry_leads_to_private_addresses() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to make a network namespace")
    script = "ip link set lo up && ip address add 8.8.4.4/32 dev lo && exec $0 -m integration.registry_public 8.8.4.4"
    argv = [require_engine("unshare"), "--net", "sh", "-c", script, sys.executable]
    require_engine("ip", package="iproute2")
    done = subprocess.run(argv, cwd=Path(__file__).parents[1], capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "8.8.4.4 ok",
        "127.0.0.1 image/19",
        "localhost image/19",
        "[::ffff:7f00:1] image/19",
        "reached 0",
    ]
