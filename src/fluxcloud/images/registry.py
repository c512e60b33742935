"""Images from registries (OCI distribution, Docker's v2 API): what a tag means, and the image's blobs into a store.

A registry is not trusted: a tag is resolved once to the digest of one platform's manifest, and from there on each byte
is checked against digests and sizes while it streams in. A tag that moves afterwards changes nothing. Sizes in bytes.
Source: the OCI distribution and image specifications 1.1.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import msgspec

from .errors import BadManifest, BadRegistry, DigestMismatch, ImageRejected, SizeMismatch, TooBig
from .manifest import (
    DOCKER_INDEX,
    DOCKER_MANIFEST,
    MANIFEST_BYTES_MAX,
    OCI_INDEX,
    OCI_MANIFEST,
    Descriptor,
    Image,
    Index,
    check_platform,
    choose_platform,
    is_index,
    parse_config,
    parse_index,
    parse_manifest,
)
from .reference import Reference
from .registry_auth import Credentials
from .registry_blob import pull_blob
from .registry_http import RegistryHttp
from .registry_net import USER_ACCESS, Access
from .store import BLOB_BYTES_MAX, ContentStore, compute_digest

PARALLEL = 3
_INDEX_DEPTH_MAX = 3
_INDEXES = (OCI_INDEX, DOCKER_INDEX)
_MANIFESTS = (OCI_MANIFEST, DOCKER_MANIFEST)
_ACCEPT = ", ".join((*_INDEXES, *_MANIFESTS))

OnProgress = Callable[[int, int], None]
"""Bytes there, bytes in all."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a reference means for one platform. `size`: manifest, configuration and layers, each once.

    `index_digest` is empty where the reference names the manifest itself. `arches`: all that are offered.
    """

    reference: Reference
    platform: str
    digest: str
    index_digest: str
    size: int
    arches: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Found:
    """A manifest or index that the registry gave, with its real digest."""

    raw: bytes
    media_type: str
    digest: str


class Repository:
    """One repository of a registry, asked for a reference. Open with `async with`.

    Every method raises, beside what it names: Unauthorised (image/16), UnknownImage (image/17), BadRegistry (image/18),
    ForbiddenAddress (image/19), DigestMismatch (image/2), SizeMismatch (image/3), TooBig (image/8), and the Temporary
    errors RegistryBusy and RegistryUnreachable.
    """

    def __init__(
        self, reference: Reference, access: Access = USER_ACCESS, credentials: Credentials | None = None
    ) -> None:
        self.reference = reference
        self._http = RegistryHttp(reference, access, credentials)

    async def __aenter__(self) -> Repository:
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.__aexit__(kind, error, trace)

    async def resolve(self, platform: str) -> Resolved:
        """What it means for `linux/amd64` or the like. Raises WrongPlatform (image/5), BadManifest (image/4)."""
        with _naming(self.reference):
            found = await self._get_manifest(self.reference.target)
            index_digest, arches = "", set[str]()
            for _ in range(_INDEX_DEPTH_MAX):
                if not is_index(found.media_type):
                    break
                index = parse_index(found.raw, found.digest)
                index_digest = index_digest or found.digest
                arches |= _list_arches(index)
                found = await self._get_chosen(choose_platform(index, platform, found.digest))
            if is_index(found.media_type):
                raise BadManifest(f"indexes inside indexes, more than {_INDEX_DEPTH_MAX} deep")
            manifest = parse_manifest(found.raw, found.digest)
            config = parse_config(await self._get_config(manifest.config), found.digest)
            check_platform(Image(found.digest, manifest, config), platform)
            size = len(found.raw) + sum(_list_sizes([manifest.config, *manifest.layers]).values())
            offered = tuple(sorted(arches | {config.architecture}))
            return Resolved(self.reference, platform, found.digest, index_digest, size, offered)

    async def pull(
        self,
        resolved: Resolved,
        store: ContentStore,
        *,
        bytes_max: int = BLOB_BYTES_MAX,
        on_progress: OnProgress | None = None,
    ) -> None:
        """Bring the image into the store, the manifest last; what is there already is not fetched."""
        with _naming(self.reference):
            found = await self._get_manifest(resolved.digest)
            manifest = parse_manifest(found.raw, found.digest)
            sizes = _list_sizes([manifest.config, *manifest.layers])
            total = sum(sizes.values())
            if total > bytes_max:
                raise TooBig(f"{total} bytes to fetch; at most {bytes_max} are allowed")
            progress = _Progress(total, on_progress)
            await self._pull_blobs(sizes, store, progress)
            await asyncio.to_thread(store.put, found.raw)

    async def fetch(
        self, digest: str, store: ContentStore, *, size: int | None, size_max: int, is_manifest: bool = False
    ) -> None:
        """Bring one blob, or a manifest, into the store; by its digest alone, whatever the reference says."""
        with _naming(self.reference):
            if is_manifest:
                found = await self._get_manifest(digest, size_max=min(size_max, MANIFEST_BYTES_MAX))
                await asyncio.to_thread(store.put, found.raw)
            else:
                await pull_blob(self._http, store, digest, size=size, size_max=size_max)

    async def _pull_blobs(self, sizes: dict[str, int], store: ContentStore, progress: _Progress) -> None:
        free = asyncio.Semaphore(PARALLEL)

        async def pull(digest: str, size: int) -> None:
            async with free:
                if store.has(digest):
                    progress.add(size)
                else:
                    await pull_blob(self._http, store, digest, size=size, size_max=size, note=progress.add)

        try:
            async with asyncio.TaskGroup() as group:
                for digest, size in sizes.items():
                    group.create_task(pull(digest, size))
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None

    async def _get_manifest(self, target: str, *, size_max: int = MANIFEST_BYTES_MAX) -> _Found:
        """A manifest or index by tag or digest, its digest computed and compared with all that was said of it."""
        answer = await self._http.get_small(f"manifests/{target}", accept=_ACCEPT, size_max=size_max)
        digest = compute_digest(answer.raw)
        said = [name for name in (target, answer.digest) if name.startswith("sha256:")]
        for name in said:
            if name != digest:
                raise DigestMismatch(f"the registry gives for {name} a manifest whose digest is {digest}")
        return _Found(answer.raw, _read_media_type(answer.raw, answer.content_type, self.reference), digest)

    async def _get_chosen(self, chosen: Descriptor) -> _Found:
        found = await self._get_manifest(chosen.digest)
        if len(found.raw) != chosen.size:
            raise SizeMismatch(f"{chosen.digest}: {len(found.raw)} bytes, its index says {chosen.size}")
        return found

    async def _get_config(self, config: Descriptor) -> bytes:
        answer = await self._http.get_small(f"blobs/{config.digest}", accept="*/*", size_max=MANIFEST_BYTES_MAX)
        if len(answer.raw) != config.size:
            raise SizeMismatch(f"{config.digest}: {len(answer.raw)} bytes, the manifest says {config.size}")
        if compute_digest(answer.raw) != config.digest:
            raise DigestMismatch(f"{config.digest}: the bytes have the digest {compute_digest(answer.raw)}")
        return answer.raw


@dataclass(slots=True)
class _Progress:
    total: int
    on_progress: OnProgress | None
    done: int = 0

    def add(self, count: int) -> None:
        self.done += count
        if self.on_progress is not None:
            self.on_progress(self.done, self.total)


def _list_sizes(blobs: list[Descriptor]) -> dict[str, int]:
    """Size by digest, each blob once. Raises BadManifest (image/4) where one digest is given two sizes."""
    sizes: dict[str, int] = {}
    for blob in blobs:
        if sizes.setdefault(blob.digest, blob.size) != blob.size:
            raise BadManifest(f"{blob.digest} is said to have {sizes[blob.digest]} and {blob.size} bytes")
    return sizes


def _list_arches(index: Index) -> set[str]:
    """What an index offers for Linux; attestations ride along as entries for `unknown`."""
    platforms = [descriptor.platform for descriptor in index.manifests if descriptor.platform]
    return {platform.architecture for platform in platforms if platform.os == "linux"}


def _read_media_type(raw: bytes, content_type: str, reference: Reference) -> str:
    """What the bytes are; header and body have to agree, or one digest could mean two things (CVE-2021-41190)."""
    if content_type not in (*_INDEXES, *_MANIFESTS):
        raise BadRegistry(
            f"{reference.registry} answers with {content_type!r}; allowed is a manifest of OCI or of Docker's schema 2"
        )
    try:
        fields = msgspec.json.decode(raw, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadManifest(f"not readable: {error}") from error
    foreign = ("config", "layers") if is_index(content_type) else ("manifests",)
    if fields.get("mediaType", content_type) != content_type or any(key in fields for key in foreign):
        raise BadRegistry(f"{reference.registry} says {content_type!r}, but the manifest is something else")
    return content_type


@contextmanager
def _naming(reference: Reference) -> Iterator[None]:
    """Put the image's name in front of what is wrong with it."""
    try:
        yield
    except ImageRejected as error:
        raise type(error)(f"image {reference.render()}: {error}", hint=error.hint) from error
