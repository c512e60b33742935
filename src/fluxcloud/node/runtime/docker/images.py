"""Images in the engine: loaded once from the blobs of the content store, named after their digest, checked before.

The name is `fluxcloud/<digest>:<node>`: nodes on one engine share the layers, and each lets go of its own name only.
What comes from strangers is bounded here, for the engine unpacks whatever it is given. Sizes in bytes.
"""

from __future__ import annotations

import asyncio
import re
import tarfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import BinaryIO

import msgspec

from ....errors import Permanent, Temporary
from ....images.errors import BadLayer, DigestMismatch, ImageRejected, MissingBlob, TooBig
from ....images.layer import BoundedTarInfo, LayerStream, open_layer
from ....images.manifest import Image, check_platform, get_host_platform, load_image
from ....images.store import ContentStore, read_chunks, validate_digest
from ....images.unpack import Limits
from .api import DockerApi

REPOSITORY = "fluxcloud"
_DIGITS = 32
_BLOCK = tarfile.BLOCKSIZE
_NAME = re.compile(rf"{REPOSITORY}/([0-9a-f]{{{_DIGITS}}}):(.+)")


@dataclass(frozen=True, slots=True)
class LoadedImage:
    """What the engine calls it, and what it is."""

    id: str
    image: Image


def make_repository(digest: str) -> str:
    return f"{REPOSITORY}/{validate_digest(digest)[:_DIGITS]}"


def make_name(digest: str, node: str) -> str:
    return f"{make_repository(digest)}:{node}"


def check_layers(store: ContentStore, image: Image, limits: Limits | None = None) -> None:
    """Read all layers once: digests, size and number of files as `unpack_image` wants them.

    Blocking. Raises ImageRejected of all kinds.
    """
    bounds = limits or Limits()
    left, files = bounds.size_max, bounds.files_max
    for layer, diff_id in zip(image.manifest.layers, image.config.rootfs.diff_ids, strict=True):
        with open_layer(store, layer, size_max=left) as stream:
            files -= _count_files(stream, files)
            left -= stream.finish()
            if stream.digest != diff_id:
                raise DigestMismatch(f"{layer.digest} unpacked has another digest than the configuration says")


def _count_files(stream: LayerStream, files_max: int) -> int:
    count = 0
    try:
        with tarfile.open(fileobj=stream, mode="r|", tarinfo=BoundedTarInfo) as archive:
            while archive.next() is not None:
                archive.members.clear()  # type: ignore[attr-defined]  # else a million names stay in memory
                count += 1
                if count > files_max:
                    raise TooBig(f"more than {files_max} files; no more are allowed")
    except (tarfile.TarError, EOFError, UnicodeError, ValueError, OverflowError) as error:
        raise BadLayer(f"not a readable tar archive: {error}") from error
    return count


def build_archive(store: ContentStore, image: Image, name: str) -> Iterator[bytes]:
    """A `docker save` archive made on the fly, layers as they are in the store. Blocking between pieces."""
    config = validate_digest(image.manifest.config.digest) + ".json"
    layers = [f"{number:03d}.tar" for number, _ in enumerate(image.manifest.layers)]
    manifest = msgspec.json.encode([{"Config": config, "RepoTags": [name], "Layers": layers}])
    yield _pack("manifest.json", manifest)
    with store.open(image.manifest.config.digest) as file:
        yield _pack(config, file.read())
    for member, layer in zip(layers, image.manifest.layers, strict=True):
        with store.open(layer.digest) as file:
            yield from _pack_file(member, file, layer.size)
    yield bytes(2 * _BLOCK)


def _pack(name: str, content: bytes) -> bytes:
    return _make_header(name, len(content)) + content + bytes(-len(content) % _BLOCK)


def _pack_file(name: str, file: BinaryIO, size: int) -> Iterator[bytes]:
    yield _make_header(name, size)
    yield from read_chunks(file)
    yield bytes(-size % _BLOCK)


def _make_header(name: str, size: int) -> bytes:
    header = tarfile.TarInfo(name)
    header.size = size
    return header.tobuf(tarfile.GNU_FORMAT)


async def _read_in_threads(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    while piece := await asyncio.to_thread(next, pieces, b""):
        yield piece


class ImageLoader:
    """One image at a time. Errors in the runtime's words."""

    def __init__(self, api: DockerApi, store: ContentStore, node: str) -> None:
        self._api = api
        self._store = store
        self._node = node
        self._lock = asyncio.Lock()

    async def ensure(self, digest: str) -> LoadedImage:
        """The image in the engine, loaded unless it is there. Raises Temporary, Permanent."""
        try:
            image = await asyncio.to_thread(load_image, self._store, digest)
            check_platform(image, get_host_platform())
            async with self._lock:
                found = await self._find(digest) or await self._load(image)
        except MissingBlob as error:
            raise Temporary(str(error)) from error
        except ImageRejected as error:
            raise Permanent(str(error)) from error
        except OSError as error:
            raise Temporary(f"image {digest[:19]} can't be read: {error}") from error
        return LoadedImage(found, image)

    async def collect(self, keep: str) -> None:
        """Let go of images, but for `keep`, whose manifest has left the content store: nothing needs them any more."""
        digests = [keep, *await asyncio.to_thread(self._store.list_digests)]
        kept = {validate_digest(digest)[:_DIGITS] for digest in digests}
        for image in await self._api.list_images({"reference": [f"{REPOSITORY}/*"]}):
            for name in image.repo_tags or ():
                found = _NAME.fullmatch(name)
                if found and found[2] == self._node and found[1] not in kept:
                    await self._api.remove_image(name)

    async def _find(self, digest: str) -> str | None:
        """By our own name, or by that of another node on this engine."""
        own = await self._api.inspect_image(make_name(digest, self._node))
        if own is not None:
            return own.id
        others = await self._api.list_images({"reference": [make_repository(digest)]})
        if not others:
            return None
        await self._api.tag_image(others[0].id, make_repository(digest), self._node)
        return others[0].id

    async def _load(self, image: Image) -> str:
        await asyncio.to_thread(check_layers, self._store, image)
        name = make_name(image.digest, self._node)
        await self._api.load_image(_read_in_threads(build_archive(self._store, image, name)))
        found = await self._api.inspect_image(name)
        if found is None:
            raise Temporary(f"Docker has taken image {image.digest[:19]}, but doesn't have it")
        return found.id
