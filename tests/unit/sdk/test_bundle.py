"""Bundles without registries: what of an image the ledger is told, and what is sent to nodes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fluxcloud.images.build import Entry, build_image
from fluxcloud.images.errors import WrongPlatform
from fluxcloud.images.hello import HELLO_PORT
from fluxcloud.images.manifest import Process, load_image
from fluxcloud.images.store import ContentStore
from fluxcloud.ledger.apps.model import Image
from fluxcloud.ledger.apps.spec import Component, Group, Port, Spec
from fluxcloud.sdk.bundle import (
    BUILTIN_HELLO,
    BadSource,
    Bundle,
    build_archive_bundle,
    build_bundle,
    build_hello_bundle,
    check_image,
)


@pytest.fixture
def store(tmp_path: Path) -> ContentStore:
    return ContentStore(tmp_path / "store")


def write_layout(folder: Path, **exposed: dict[str, str]) -> tuple[Path, str]:
    """An OCI layout of one image as a folder, and the image's digest."""
    source = ContentStore(folder / "source")
    digest = build_image(source, [Entry("app", b"hello")], Process(cmd=["/app"], exposed_ports=exposed or None))
    layout = folder / "shop"
    (layout / "blobs").mkdir(parents=True)
    (layout / "blobs/sha256").symlink_to(source.path(digest).parent)
    (layout / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    media_type = "application/vnd.oci.image.manifest.v1+json"
    entry = {"mediaType": media_type, "digest": digest, "size": source.get_size(digest)}
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    return layout, digest


def get_port(bundle: Bundle) -> Port:
    return bundle.spec.groups[0].components[0].ports[0]


def test_hello(store: ContentStore) -> None:
    bundle = build_hello_bundle(store, "greeter")
    (image,) = bundle.images
    blobs = [blob.digest for blob in load_image(store, image.digest).list_blobs()]
    assert (bundle.spec.name, get_port(bundle), bundle.remote) == ("greeter", Port("http", HELLO_PORT), ())
    assert image.size == sum(store.get_size(digest) for digest in (*blobs, image.digest))
    # the manifest comes last: a node that has it has been sent all of it
    assert bundle.list_digests() == [(image.digest, (*blobs, image.digest))]


@pytest.mark.parametrize(
    ("exposed", "given", "port"),
    [
        ({}, None, 8_080),
        ({"9000/tcp": {}, "3000/tcp": {}, "53/udp": {}}, None, 3_000),
        ({"53/udp": {}, "web/tcp": {}}, None, 8_080),
        ({"3000": {}}, None, 3_000),
        ({"3000/tcp": {}}, 9_999, 9_999),
    ],
)
def test_archive__port_is_the_images_where_none_is_given(
    store: ContentStore, tmp_path: Path, exposed: dict[str, dict[str, str]], given: int | None, port: int
) -> None:
    layout, digest = write_layout(tmp_path, **exposed)
    bundle = build_archive_bundle(layout, "shop", given, store)
    assert (bundle.spec.name, get_port(bundle)) == ("shop", Port("http", port))
    assert [(image.group, image.component, image.digest) for image in bundle.images] == [("main", "app", digest)]


async def test_spec__each_image_is_read_once_and_listed_for_each_component(store: ContentStore, tmp_path: Path) -> None:
    _, digest = write_layout(tmp_path)
    components = tuple(Component(name=name, image=image) for name, image in (("b", "shop"), ("a", BUILTIN_HELLO)))
    more = (Component(name="c", image="shop"),)
    spec = Spec(name="shop", groups=(Group(name="web", components=components), Group(name="jobs", components=more)))
    said: list[str] = []
    bundle = await build_bundle(spec, tmp_path, store, said.append)
    assert said == ["reading shop"]
    assert [(image.group, image.component) for image in bundle.images] == [("jobs", "c"), ("web", "a"), ("web", "b")]
    assert bundle.images[0] == Image("jobs", "c", digest, bundle.images[2].size, bundle.images[2].arches)
    assert [pushed for pushed, _ in bundle.list_digests()] == [digest, bundle.images[1].digest]


async def test_missing_archive__says_how_to_make_it(store: ContentStore, tmp_path: Path) -> None:
    spec = Spec(name="shop", groups=(Group(name="web", components=(Component(name="a", image="./shop.tar"),)),))
    with pytest.raises(BadSource, match=r"shop\.tar does not exist") as error:
        await build_bundle(spec, tmp_path, store, print)
    assert (error.value.code, error.value.hint) == ("spec/3", "make it with: docker save NAME -o FILE")


def test_image_for_machines_that_no_node_is(store: ContentStore) -> None:
    digest = build_image(store, [Entry("app", b"x")], Process(cmd=["/app"]), platform="linux/riscv64")
    with pytest.raises(WrongPlatform, match="is for linux/riscv64; nodes run linux/amd64 and linux/arm64"):
        check_image(store, digest)
