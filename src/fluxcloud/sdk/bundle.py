"""Bundles: a spec with the images it names, ready to be deployed.

A *source* is a folder with `fluxcloud.yaml`, or an image archive (`docker save` tar, OCI layout as tar or folder).
Image references in a file are archives relative to its folder, or `builtin:hello`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..errors import Rejected
from ..images.archive import read_archive
from ..images.hello import HELLO_PORT, build_hello_image
from ..images.manifest import Image as StoredImage
from ..images.manifest import get_host_platform, load_image
from ..images.store import ContentStore
from ..ledger.apps.model import Image
from ..ledger.apps.spec import Component, Group, Port, Spec

BUILTIN_HELLO = "builtin:hello"
DEFAULT_PORT = 8080


class BadSource(Rejected):
    """What was given can't be deployed."""

    CODE = "spec/3"


@dataclass(frozen=True, slots=True)
class Bundle:
    """`images` as the ledger wants them; their blobs are in `store`."""

    spec: Spec
    images: tuple[Image, ...]
    store: ContentStore

    def list_digests(self) -> list[tuple[str, tuple[str, ...]]]:
        """(manifest digest, all blobs to push for it) of each image once."""
        digests = dict.fromkeys(image.digest for image in self.images)
        return [(digest, _list_blobs(load_image(self.store, digest))) for digest in digests]


def build_bundle(spec: Spec, folder: Path, store: ContentStore, say: Callable[[str], None]) -> Bundle:
    """Read every image that the spec names. Raises BadSource (spec/3) and what reading an image raises."""
    images = []
    for group in spec.groups:
        for component in group.components:
            digest = _store_image(component.image, folder, store, say)
            images.append(_describe(store, group.name, component.name, digest))
    return Bundle(spec, tuple(sorted(images, key=lambda image: (image.group, image.component))), store)


def build_archive_bundle(archive: Path, name: str, port: int | None, store: ContentStore) -> Bundle:
    """An app of one component from an image archive; the port is the image's own where none is given."""
    digest = read_archive(archive, store, platform=get_host_platform())
    image = load_image(store, digest)
    chosen = port or _find_port(image) or DEFAULT_PORT
    component = Component(name="app", image=str(archive.name), ports=(Port("http", chosen),))
    spec = Spec(name=name, groups=(Group(name="main", components=(component,)),))
    return Bundle(spec, (_describe(store, "main", "app", digest),), store)


def build_hello_bundle(store: ContentStore, name: str = "hello") -> Bundle:
    """The app that `fluxcloud up` deploys."""
    digest = build_hello_image(store)
    component = Component(
        name="app", image=BUILTIN_HELLO, mcpu=100, memory_mib=64, disk_mib=64, ports=(Port("http", HELLO_PORT),)
    )
    spec = Spec(name=name, groups=(Group(name="main", components=(component,)),))
    return Bundle(spec, (_describe(store, "main", "app", digest),), store)


def _store_image(reference: str, folder: Path, store: ContentStore, say: Callable[[str], None]) -> str:
    if reference == BUILTIN_HELLO:
        return build_hello_image(store)
    path = (folder / reference).resolve()
    if not reference.startswith((".", "/")) and not path.exists():
        raise BadSource(
            f"image {reference!r}: registries come in a later version",
            hint=f"docker save {reference} -o image.tar, then image: ./image.tar",
        )
    if not path.exists():
        raise BadSource(f"image {reference!r}: {path} does not exist")
    say(f"reading {reference}")
    return read_archive(path, store, platform=get_host_platform())


def _describe(store: ContentStore, group: str, component: str, digest: str) -> Image:
    image = load_image(store, digest)
    size = sum(store.get_size(blob) for blob in _list_blobs(image))
    return Image(group=group, component=component, digest=digest, size=size, arches=(image.config.architecture,))


def _list_blobs(image: StoredImage) -> tuple[str, ...]:
    """Layers and configuration first, the manifest last: a node that has the manifest has asked for all of it."""
    return (*(descriptor.digest for descriptor in image.list_blobs()), image.digest)


def _find_port(image: StoredImage) -> int | None:
    """The lowest TCP port that the image says it exposes."""
    exposed = [key.partition("/") for key in (image.process.exposed_ports or {})]
    ports = [int(port) for port, _, kind in exposed if port.isdecimal() and kind in ("", "tcp")]
    return min(ports, default=None)
