"""Image manifests: OCI and Docker schema 2, read into one shape, and the choice of a platform.

An image is named by its manifest's digest. Manifest and configuration are JSON; unknown keys are passed over, as both
standards ask. Sizes in bytes. Sources: the OCI image specification 1.1; Docker's manifest schema 2, version 2.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from .errors import BadManifest, TooBig, WrongPlatform
from .store import ContentStore, validate_digest

MANIFEST_BYTES_MAX = 4 << 20
LAYERS_MAX = 128

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER_TAR = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
OCI_LAYER_ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"

T = TypeVar("T")


class Platform(msgspec.Struct, frozen=True):
    architecture: str = ""
    os: str = ""
    variant: str = ""

    def render(self) -> str:
        return f"{self.os}/{self.architecture}"


class Descriptor(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    media_type: str
    digest: str
    size: int
    platform: Platform | None = None
    annotations: dict[str, str] = {}


class Manifest(msgspec.Struct, frozen=True, rename="camel"):
    schema_version: int
    media_type: str
    config: Descriptor
    layers: list[Descriptor]


class Index(msgspec.Struct, frozen=True, rename="camel"):
    manifests: list[Descriptor]


class Process(msgspec.Struct, frozen=True, rename="pascal", omit_defaults=True):
    """The image's defaults for a container; `null` and absent mean the same."""

    user: str | None = None
    exposed_ports: dict[str, Any] | None = None
    env: list[str] | None = None
    entrypoint: list[str] | None = None
    cmd: list[str] | None = None
    working_dir: str | None = None
    labels: dict[str, str] | None = None
    stop_signal: str | None = None


class RootFs(msgspec.Struct, frozen=True):
    type: str
    diff_ids: list[str]


class Config(msgspec.Struct, frozen=True):
    architecture: str
    os: str
    rootfs: RootFs
    config: Process | None = None


@dataclass(frozen=True, slots=True)
class Image:
    """A manifest with its configuration; `config.rootfs.diff_ids[i]` is the digest of layer i without compression."""

    digest: str
    manifest: Manifest
    config: Config

    @property
    def process(self) -> Process:
        return self.config.config or Process()

    def list_blobs(self) -> list[Descriptor]:
        return [self.manifest.config, *self.manifest.layers]


def get_host_platform() -> str:
    """`linux/amd64` or `linux/arm64`, by the machine this runs on; its own name for it where it is neither."""
    machine = os.uname().machine
    return "linux/" + {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


def load_image(store: ContentStore, digest: str) -> Image:
    """Read and check the manifest (not an index) and configuration of an image.

    Raises, first that applies: BadDigest (image/1), MissingBlob (image/12), DigestMismatch (image/2), TooBig (image/8),
        BadManifest (image/4).
    """
    manifest = parse_manifest(store.read(digest, size_max=MANIFEST_BYTES_MAX), digest)
    config = parse_config(store.read(manifest.config.digest, size_max=MANIFEST_BYTES_MAX), digest)
    if len(config.rootfs.diff_ids) != len(manifest.layers):
        counts = (
            f"{len(manifest.layers)} layers, but {len(config.rootfs.diff_ids)} digests of them in its configuration"
        )
        raise BadManifest(f"image {digest}: {counts}")
    for diff_id in config.rootfs.diff_ids:
        validate_digest(diff_id)
    return Image(digest, manifest, config)


def parse_manifest(raw: bytes, name: str) -> Manifest:
    """Raises BadManifest (image/4), TooBig (image/8) for more than LAYERS_MAX layers, BadDigest (image/1)."""
    fields = _decode(raw, dict[str, Any], f"manifest of {name}")
    if fields.get("schemaVersion") != 2 or "config" not in fields:
        raise BadManifest(f"image {name}: allowed is a manifest of OCI or of Docker's schema 2")
    fields.setdefault("mediaType", OCI_MANIFEST)
    try:
        manifest = msgspec.convert(fields, Manifest)
    except msgspec.ValidationError as error:
        raise BadManifest(f"manifest of {name}: {error}") from error
    if len(manifest.layers) > LAYERS_MAX:
        raise TooBig(f"image {name}: {len(manifest.layers)} layers; at most {LAYERS_MAX} are allowed")
    for descriptor in (manifest.config, *manifest.layers):
        validate_digest(descriptor.digest)
        if descriptor.size < 0:
            raise BadManifest(f"image {name}: {descriptor.digest} has a size of {descriptor.size} bytes")
    return manifest


def parse_config(raw: bytes, name: str) -> Config:
    """Raises BadManifest (image/4)."""
    return _decode(raw, Config, f"configuration of {name}")


def parse_index(raw: bytes, name: str) -> Index:
    """Raises BadManifest (image/4)."""
    return _decode(raw, Index, f"index {name}")


def is_index(media_type: str) -> bool:
    return media_type in (OCI_INDEX, DOCKER_INDEX)


def choose_platform(index: Index, platform: str, name: str) -> Descriptor:
    """The entry of an index for `linux/amd64` or the like; one without a platform fits any.

    Raises WrongPlatform (image/5).
    """
    # Attestations ride along in indexes as entries for the platform unknown/unknown.
    for descriptor in index.manifests:
        if descriptor.platform is None or descriptor.platform.render() == platform:
            return descriptor
    offered = ", ".join(sorted({d.platform.render() for d in index.manifests if d.platform})) or "nothing"
    raise WrongPlatform(f"image {name}: needed is {platform}, it offers {offered}")


def check_platform(image: Image, platform: str) -> None:
    """Raises WrongPlatform (image/5)."""
    found = f"{image.config.os}/{image.config.architecture}"
    if found != platform:
        raise WrongPlatform(f"image {image.digest}: needed is {platform}, it is for {found}")


def _decode(raw: bytes, kind: type[T], name: str) -> T:
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise BadManifest(f"{name}: {error}") from error
