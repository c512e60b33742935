"""Image archives as strangers may hand them over: right ones, and each kind of wrong one."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fluxcloud.images.hello import find_busybox, list_busybox
from fluxcloud.images.manifest import OCI_LAYER_TAR, OCI_MANIFEST
from fluxcloud.images.store import compute_digest

ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
SERVE = "mkdir -p /tmp/w; echo from an archive > /tmp/w/index.html; exec httpd -f -p 8080 -h /tmp/w"


def make_entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o755) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname, entry.mode = kind, link, mode
    return entry


def make_layer(*entries: tarfile.TarInfo | tuple[str, bytes]) -> bytes:
    """A layer with these files and entries."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for entry in entries:
            if isinstance(entry, tuple):
                header = make_entry(entry[0])
                header.size = len(entry[1])
                archive.addfile(header, io.BytesIO(entry[1]))
            else:
                archive.addfile(entry)
    return buffer.getvalue()


def make_busybox_layer() -> bytes:
    busybox = find_busybox()
    assert busybox is not None, "apt-get install busybox-static"
    parts: list[tarfile.TarInfo | tuple[str, bytes]] = []
    for entry in list_busybox(busybox):
        if entry.is_folder:
            parts.append(make_entry(entry.path, tarfile.DIRTYPE))
        elif entry.link:
            parts.append(make_entry(entry.path, tarfile.SYMTYPE, entry.link))
        else:
            content = entry.source
            parts.append((entry.path, content.read_bytes() if isinstance(content, Path) else content))
    return make_layer(*parts)


def make_config(layers: Iterable[bytes], *, architecture: str = ARCHITECTURE) -> bytes:
    """`layers` without compression."""
    process = {"Cmd": ["/bin/sh", "-c", SERVE], "Env": ["PATH=/bin"], "ExposedPorts": {"8080/tcp": {}}}
    rootfs = {"type": "layers", "diff_ids": [compute_digest(layer) for layer in layers]}
    return json.dumps({"architecture": architecture, "os": "linux", "rootfs": rootfs, "config": process}).encode()


def make_layout(
    *layers: bytes, blobs: tuple[bytes, ...] = (), config: bytes = b"", sizes: dict[int, int] | None = None
) -> dict[str, bytes]:
    """The files of an OCI layout. `blobs`: the layers as stored; `sizes`: what the manifest says of a layer's size."""
    stored = blobs or layers
    config = config or make_config(layers)

    def describe(kind: str, raw: bytes, size: int | None = None) -> dict[str, Any]:
        return {"mediaType": kind, "digest": compute_digest(raw), "size": len(raw) if size is None else size}

    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": describe("application/vnd.oci.image.config.v1+json", config),
            "layers": [describe(OCI_LAYER_TAR, raw, (sizes or {}).get(i)) for i, raw in enumerate(stored)],
        }
    ).encode()
    files = {f"blobs/sha256/{compute_digest(raw)[7:]}": raw for raw in (*stored, config, manifest)}
    index = {"schemaVersion": 2, "manifests": [describe(OCI_MANIFEST, manifest)]}
    return {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": json.dumps(index).encode(), **files}


def write_archive(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, raw in files.items():
            header = tarfile.TarInfo(name)
            header.size = len(raw)
            archive.addfile(header, io.BytesIO(raw))
    return path


def make_bomb(size_mib: int) -> tuple[str, bytes]:
    """(diff id, the gzip stream) of a layer with one file of so many MiB of zeros."""
    header = make_entry("zeros")
    header.size = size_mib << 20
    whole, buffer, zeros = hashlib.sha256(), io.BytesIO(), bytes(1 << 20)
    with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as packed:
        for piece in (header.tobuf(), *(zeros for _ in range(size_mib)), bytes(1024)):
            packed.write(piece)
            whole.update(piece)
    return f"sha256:{whole.hexdigest()}", buffer.getvalue()
