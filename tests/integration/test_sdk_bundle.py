"""Bundles of images in registries: what stays there for nodes to fetch, and what is sent to them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from fluxcloud.images.build import Entry, build_image
from fluxcloud.images.errors import BadReference, PrivateImage, UnknownImage
from fluxcloud.images.manifest import Process, load_image
from fluxcloud.images.registry_auth import Credentials
from fluxcloud.images.registry_net import PUBLIC_ACCESS
from fluxcloud.images.store import ContentStore
from fluxcloud.ledger.apps.model import Image
from fluxcloud.ledger.apps.spec import Component, Group, Spec
from fluxcloud.sdk.bundle import BUILTIN_HELLO, BadSource, Bundle, Registries, build_bundle
from integration.registry_daemon import PASSWORD, USER, Daemon, run_daemon

AMD = "linux/amd64"


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


async def push_image(daemon: Daemon, source: ContentStore) -> str:
    digest = build_image(source, [Entry("app", b"hello")], Process(cmd=["/app"]), platform=AMD)
    await daemon.push(source, digest, "team/app", "1.4")
    return digest


def make_spec(*images: str) -> Spec:
    components = tuple(Component(name=f"c{number}", image=image) for number, image in enumerate(images))
    return Spec(name="shop", groups=(Group(name="main", components=components),))


def allow(daemon: Daemon, *, push: bool = False, docker_config: Path | None = None) -> Registries:
    """As if the registry were on a public address."""
    public = replace(PUBLIC_ACCESS, private=frozenset({daemon.host}))
    return Registries(AMD, push=push, public=public, docker_config=docker_config or Path("/nonexistent"))


async def build(spec: Spec, store: ContentStore, registries: Registries) -> tuple[Bundle, list[str]]:
    said: list[str] = []
    return await build_bundle(spec, store.root.parent, store, said.append, registries), said


async def test_stays_in_the_registry(daemon: Daemon, source: ContentStore, store: ContentStore) -> None:
    digest = await push_image(daemon, source)
    image = f"{daemon.host}/team/app:1.4"
    bundle, said = await build(make_spec(image, image, BUILTIN_HELLO), store, allow(daemon))
    size = source.compute_size()
    assert bundle.images[:2] == tuple(Image("main", name, digest, size, ("amd64",)) for name in ("c0", "c1"))
    assert bundle.remote == (digest,)
    assert [pushed for pushed, _ in bundle.list_digests()] == [bundle.images[2].digest]
    assert not store.has(digest)
    assert said == [f"looking up {image}"]


async def test_push(daemon: Daemon, source: ContentStore, store: ContentStore) -> None:
    digest = await push_image(daemon, source)
    image = f"{daemon.host}/team/app:1.4"
    bundle, said = await build(make_spec(image), store, Registries(AMD, push=True, docker_config=Path("/nonexistent")))
    assert bundle.remote == ()
    assert bundle.images == (Image("main", "c0", digest, source.compute_size(), ("amd64",)),)
    [(pushed, blobs)] = bundle.list_digests()
    assert (pushed, sorted(blobs)) == (digest, source.list_digests())
    assert load_image(store, digest) == load_image(source, digest)
    assert said[-1].startswith(f"fetching {image}: 100 % of ")


async def test_an_image_that_is_here_too_is_sent(
    daemon: Daemon, source: ContentStore, store: ContentStore, tmp_path: Path
) -> None:
    digest = await push_image(daemon, source)
    layout = tmp_path / "layout"
    (layout / "blobs").mkdir(parents=True)
    (layout / "blobs" / "sha256").symlink_to(source.path(digest).parent)
    media_type = "application/vnd.oci.image.manifest.v1+json"
    entry = {"mediaType": media_type, "digest": digest, "size": source.get_size(digest)}
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    spec = make_spec("layout", f"{daemon.host}/team/app:1.4")
    bundle, said = await build(spec, store, allow(daemon))
    assert (bundle.remote, [pushed for pushed, _ in bundle.list_digests()]) == ((), [digest])
    assert said == ["reading layout", f"looking up {daemon.host}/team/app:1.4"]


async def test_private__refused_unless_pushed(
    closed_daemon: Daemon, source: ContentStore, store: ContentStore, tmp_path: Path
) -> None:
    digest = await push_image(closed_daemon, source)
    spec = make_spec(f"{closed_daemon.host}/team/app:1.4")
    config = tmp_path / "config.json"
    auth = Credentials(USER, PASSWORD).render_basic().removeprefix("Basic ")
    config.write_text(json.dumps({"auths": {closed_daemon.host: {"auth": auth}}}))
    with pytest.raises(PrivateImage, match="nodes could not fetch it") as caught:
        await build(spec, store, allow(closed_daemon, docker_config=config))
    assert (caught.value.code, "--push" in caught.value.hint) == ("image/20", True)
    bundle, _ = await build(spec, store, allow(closed_daemon, push=True, docker_config=config))
    assert [pushed for pushed, _ in bundle.list_digests()] == [digest]


async def test_registry_that_nodes_may_not_ask(daemon: Daemon, store: ContentStore) -> None:
    with pytest.raises(PrivateImage, match=f"{daemon.host} is at a private address"):
        await build(make_spec(f"{daemon.host}/team/app"), store, Registries(AMD))


async def test_unknown(daemon: Daemon, store: ContentStore) -> None:
    with pytest.raises(UnknownImage, match="has no latest in team/other"):
        await build(make_spec(f"{daemon.host}/team/other"), store, allow(daemon))


@pytest.mark.parametrize("image", ["./shop", "shop.tar", "/nonexistent/shop.tar.gz"])
async def test_archive_that_is_not_there(store: ContentStore, image: str) -> None:
    with pytest.raises(BadSource, match=r"shop\S* does not exist"):
        await build(make_spec(image), store, Registries(AMD))


async def test_no_reference(store: ContentStore) -> None:
    with pytest.raises(BadReference, match="the name's part 'Shop'"):
        await build(make_spec("Shop"), store, Registries(AMD))
