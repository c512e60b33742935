"""Bundles: a spec with the images it names, ready to be deployed.

A *source* is a folder with `fluxcloud.yaml`, or an image archive (`docker save` tar, OCI layout as tar or folder).
Image references in a file are archives relative to its folder, `builtin:hello`, or images in registries. What a tag
means is settled here, before the owner signs. An image that everybody may have stays in its registry and nodes fetch
it by its digest; any other one is fetched here and sent to the nodes, when the deployer says so (`push`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import Rejected
from ..images.archive import read_archive
from ..images.errors import ForbiddenAddress, PrivateImage, Unauthorised, WrongPlatform
from ..images.hello import HELLO_PORT, build_hello_image
from ..images.manifest import Image as StoredImage
from ..images.manifest import get_host_platform, load_image
from ..images.reference import Reference, find_reference
from ..images.registry import Repository, Resolved
from ..images.registry_auth import load_credentials
from ..images.registry_net import PUBLIC_ACCESS, USER_ACCESS, Access
from ..images.store import ContentStore
from ..images.unpack import check_layers
from ..ledger.apps.model import Image
from ..ledger.apps.rules import ARCHES
from ..ledger.apps.spec import Component, Group, Port, Spec

BUILTIN_HELLO = "builtin:hello"
BUILTIN_STATIC = "builtin:static"
DEFAULT_PORT = 8080


class BadSource(Rejected):
    """What was given can't be deployed."""

    CODE = "spec/3"


@dataclass(frozen=True, slots=True)
class Bundle:
    """`images` as the ledger wants them. Those whose digest is in `remote` are in registries, where nodes fetch them;
    the blobs of the others are in `store`."""

    spec: Spec
    images: tuple[Image, ...]
    store: ContentStore
    remote: tuple[str, ...] = ()

    def list_digests(self) -> list[tuple[str, tuple[str, ...]]]:
        """(manifest digest, all blobs to push for it) of each image once that is to be pushed."""
        digests = dict.fromkeys(image.digest for image in self.images if image.digest not in self.remote)
        return [(digest, _list_blobs(load_image(self.store, digest))) for digest in digests]


@dataclass(frozen=True, slots=True)
class Registries:
    """How images in registries are got. `push`: fetch them here, with the user's credentials, and send them to nodes.

    Without it they are looked up as a node would: as nobody in particular, in a registry on a public address. `public`
    and `user` say what may be reached in the two cases, `docker_config` where the credentials are.
    """

    platform: str = field(default_factory=get_host_platform)
    push: bool = False
    public: Access = PUBLIC_ACCESS
    user: Access = USER_ACCESS
    docker_config: Path | None = None


async def build_bundle(
    spec: Spec, folder: Path, store: ContentStore, say: Callable[[str], None], registries: Registries | None = None
) -> Bundle:
    """Read or look up every image that the spec names; one that is named twice, once.

    Raises BadSource (spec/3), PrivateImage (image/20), and what reading an archive or asking a registry raises.
    """
    registries = registries or Registries()
    found: dict[str, Resolved | str] = {}
    for component in (component for group in spec.groups for component in group.components):
        if component.image not in found:
            found[component.image] = await _find_image(component.image, folder, store, say, registries)
    images = [
        _describe_found(store, group.name, component.name, found[component.image])
        for group in spec.groups
        for component in group.components
    ]
    stored = {digest for digest in found.values() if isinstance(digest, str)}
    remote = {resolved.digest for resolved in found.values() if isinstance(resolved, Resolved)} - stored
    ordered = tuple(sorted(images, key=lambda image: (image.group, image.component)))
    return Bundle(spec, ordered, store, tuple(sorted(remote)))


def build_archive_bundle(archive: Path, name: str, port: int | None, store: ContentStore, *, image: str = "") -> Bundle:
    """An app of one component from an image archive; the port is the image's own where none is given.

    `image` is what the spec calls it: the archive's file name where it is empty.
    """
    digest = read_archive(archive, store, platform=get_host_platform())
    chosen = port or _find_port(check_image(store, digest)) or DEFAULT_PORT
    component = Component(name="app", image=image or archive.name, ports=(Port("http", chosen),))
    return build_stored_bundle(Spec(name=name, groups=(Group(name="main", components=(component,)),)), digest, store)


def build_stored_bundle(spec: Spec, digest: str, store: ContentStore) -> Bundle:
    """An app of one component whose image is in the store."""
    ((group, component),) = [(group, component) for group in spec.groups for component in group.components]
    return Bundle(spec, (_describe(store, group.name, component.name, digest),), store)


def build_hello_bundle(store: ContentStore, name: str = "hello") -> Bundle:
    """The app that `fluxcloud up` deploys."""
    digest = build_hello_image(store)
    component = Component(
        name="app", image=BUILTIN_HELLO, mcpu=100, memory_mib=64, disk_mib=64, ports=(Port("http", HELLO_PORT),)
    )
    return build_stored_bundle(Spec(name=name, groups=(Group(name="main", components=(component,)),)), digest, store)


async def _find_image(
    image: str, folder: Path, store: ContentStore, say: Callable[[str], None], registries: Registries
) -> Resolved | str:
    """Where the image stays in a registry, what it is there; otherwise the digest under which it is in the store."""
    if image == BUILTIN_HELLO:
        return await asyncio.to_thread(build_hello_image, store)
    if image == BUILTIN_STATIC:
        hint = "fluxcloud deploy FOLDER serves a folder with an index.html; in a file name an image with a web server"
        raise BadSource(f"image {image!r}: only the deploy of a folder can make it", hint=hint)
    path = (folder / image).resolve()
    is_archive = path.is_file() or (path / "index.json").is_file()
    reference = None if is_archive else find_reference(image)
    if reference is None:
        return await asyncio.to_thread(_read_archive, image, path, store, say)
    say(f"looking up {reference.render()}")
    if not registries.push:
        return await _resolve_public(reference, registries)
    credentials = load_credentials(reference.registry, registries.docker_config)
    async with Repository(reference, registries.user, credentials) as repository:
        resolved = await repository.resolve(registries.platform)
        await repository.pull(resolved, store, on_progress=_make_progress(reference, say))
        await asyncio.to_thread(check_image, store, resolved.digest)
        return resolved.digest


def _read_archive(image: str, path: Path, store: ContentStore, say: Callable[[str], None]) -> str:
    if not path.exists():
        hint = "make it with: docker save NAME -o FILE"
        raise BadSource(f"image {image!r}: {path} does not exist", hint=hint)
    say(f"reading {image}")
    digest = read_archive(path, store, platform=get_host_platform())
    check_image(store, digest)
    return digest


def check_image(store: ContentStore, digest: str) -> StoredImage:
    """Refuse here what no node would run, before anything is signed. Raises WrongPlatform (image/5), and what reading
    its layers raises."""
    image = load_image(store, digest)
    if image.config.os != "linux" or image.config.architecture not in ARCHES:
        found = f"{image.config.os}/{image.config.architecture}"
        allowed = " and ".join(f"linux/{arch}" for arch in ARCHES)
        raise WrongPlatform(f"image {digest[:19]} is for {found}; nodes run {allowed}")
    check_layers(store, image)
    return image


async def _resolve_public(reference: Reference, registries: Registries) -> Resolved:
    """Look it up as nodes will. Raises PrivateImage (image/20) where they could not have it."""
    async with Repository(reference, registries.public) as repository:
        try:
            return await repository.resolve(registries.platform)
        except (Unauthorised, ForbiddenAddress) as error:
            raise PrivateImage(
                f"{error}; nodes could not fetch it, for they have no credentials of yours",
                hint="deploy with --push to fetch it here and send it to them",
            ) from error


def _make_progress(reference: Reference, say: Callable[[str], None]) -> Callable[[int, int], None]:
    """Tells each tenth of what is fetched once."""
    told = 0

    def note(done: int, total: int) -> None:
        nonlocal told
        tenth = done * 10 // max(total, 1)
        if tenth > told:
            told = tenth
            say(f"fetching {reference.render()}: {tenth * 10} % of {total / 1e6:.1f} MB")

    return note


def _describe_found(store: ContentStore, group: str, component: str, found: Resolved | str) -> Image:
    if isinstance(found, str):
        return _describe(store, group, component, found)
    architecture = found.platform.partition("/")[2]
    return Image(group=group, component=component, digest=found.digest, size=found.size, arches=(architecture,))


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
