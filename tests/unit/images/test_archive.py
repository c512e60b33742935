"""Archives in all their layouts give the same image; images from folders are the same bytes everywhere."""

from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
from pathlib import Path

import pytest

from fluxcloud.images.archive import read_archive
from fluxcloud.images.build import Entry, build_image, build_image_from_folder
from fluxcloud.images.errors import BadArchive, ForbiddenEntry, ImageRejected, WrongPlatform
from fluxcloud.images.manifest import Process, load_image
from fluxcloud.images.store import ContentStore, compute_digest

PLATFORM = "linux/amd64"


def write_tar(path: Path, files: dict[str, bytes], links: dict[str, str] | None = None) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, raw in files.items():
            header = tarfile.TarInfo(name)
            header.size = len(raw)
            archive.addfile(header, io.BytesIO(raw))
        for name, target in (links or {}).items():
            header = tarfile.TarInfo(name)
            header.type, header.linkname = tarfile.SYMTYPE, target
            archive.addfile(header)
    return path


def make_layer(name: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo(name))
    return buffer.getvalue()


LAYERS = [make_layer("one"), make_layer("two")]
CONFIG = json.dumps(
    {
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [compute_digest(x) for x in LAYERS]},
    }
).encode()


def make_saved(**changes: object) -> dict[str, bytes]:
    entry = {"Config": "cfg.json", "RepoTags": ["shop:1"], "Layers": ["1/layer.tar", "2/layer.tar"], **changes}
    return {
        "cfg.json": CONFIG,
        "1/layer.tar": LAYERS[0],
        "2/layer.tar": LAYERS[1],
        "manifest.json": json.dumps([entry]).encode(),
    }


def make_layout(platforms: tuple[str, ...] = ("amd64",)) -> dict[str, bytes]:
    blobs = [CONFIG, *LAYERS]
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "config": {"mediaType": "c", "digest": compute_digest(CONFIG), "size": len(CONFIG)},
            "layers": [{"mediaType": "l", "digest": compute_digest(x), "size": len(x)} for x in LAYERS],
        }
    ).encode()
    entry = {
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": compute_digest(manifest),
        "size": len(manifest),
    }
    index = {"manifests": [{**entry, "platform": {"os": "linux", "architecture": name}} for name in platforms]}
    files = {f"blobs/sha256/{compute_digest(x)[7:]}": x for x in (*blobs, manifest)}
    return {"oci-layout": b"{}", "index.json": json.dumps(index).encode(), **files}


@pytest.fixture
def store(tmp_path: Path) -> ContentStore:
    return ContentStore(tmp_path / "store")


def test_docker_archive_is_one_image_always(store: ContentStore, tmp_path: Path) -> None:
    first = read_archive(write_tar(tmp_path / "a.tar", make_saved()), store, platform=PLATFORM)
    linked = make_saved()
    del linked["2/layer.tar"]
    path = write_tar(tmp_path / "b.tar", {**linked, "x/layer.tar": LAYERS[1]}, {"2/layer.tar": "../x/layer.tar"})
    assert read_archive(path, store, platform=PLATFORM) == first
    image = load_image(store, first)
    assert [layer.digest for layer in image.manifest.layers] == [compute_digest(x) for x in LAYERS]
    assert image.manifest.config.digest == compute_digest(CONFIG)


def test_layout_as_tar_and_folder(store: ContentStore, tmp_path: Path) -> None:
    files = make_layout()
    folder = tmp_path / "layout"
    for name, raw in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(raw)
    digest = read_archive(folder, store, platform=PLATFORM)
    assert read_archive(write_tar(tmp_path / "l.tar", files), store, platform=PLATFORM) == digest
    # what `docker save` writes since version 25 is both at once
    both = write_tar(tmp_path / "both.tar", {**files, **make_saved()})
    assert read_archive(both, store, platform=PLATFORM) == digest


def test_platforms(store: ContentStore, tmp_path: Path) -> None:
    path = write_tar(tmp_path / "l.tar", make_layout(("arm64", "amd64")))
    read_archive(path, store, platform=PLATFORM)
    with pytest.raises(WrongPlatform, match=r"needed is linux/s390x, it offers linux/amd64, linux/arm64"):
        read_archive(path, store, platform="linux/s390x")


def test_reference(store: ContentStore, tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", make_saved())
    read_archive(path, store, platform=PLATFORM, reference="shop:1")
    with pytest.raises(BadArchive, match="it holds: shop:1"):
        read_archive(path, store, platform=PLATFORM, reference="shop:2")


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"manifest.json": b"[]"},
        {"manifest.json": b"{"},
        make_saved(Config="gone.json"),
        make_saved(Layers=["1/layer.tar"] * 129),
        {**make_layout(), "index.json": b'{"manifests": []}'},
        {**make_layout(), "index.json": b"nonsense"},
        {name: raw for name, raw in make_layout().items() if compute_digest(LAYERS[0])[7:] not in name},
        {name: raw + (b"x" if compute_digest(LAYERS[0])[7:] in name else b"") for name, raw in make_layout().items()},
    ],
)
def test_invalid_archives(store: ContentStore, tmp_path: Path, files: dict[str, bytes]) -> None:
    with pytest.raises(ImageRejected, match=r"bad\.tar"):
        read_archive(write_tar(tmp_path / "bad.tar", files), store, platform=PLATFORM)


def test_not_an_archive(store: ContentStore, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no tar")
    for name in ("text", "missing"):
        with pytest.raises(BadArchive):
            read_archive(tmp_path / name, store, platform=PLATFORM)


@pytest.mark.parametrize("packed", [False, True])
def test_archive_cut_short(store: ContentStore, tmp_path: Path, packed: bool) -> None:
    whole = write_tar(tmp_path / "whole.tar", {**make_saved(), "other": os.urandom(100_000)}).read_bytes()
    raw = gzip.compress(whole) if packed else whole
    (tmp_path / "cut.tar").write_bytes(raw[: len(raw) // 2])
    with pytest.raises(BadArchive, match=r"cut\.tar: the archive is damaged or cut short"):
        read_archive(tmp_path / "cut.tar", store, platform=PLATFORM)


def test_a_folder_gives_the_same_image_whatever_its_times(store: ContentStore, tmp_path: Path) -> None:
    digests = set()
    for name in ("a", "b"):
        folder = tmp_path / name
        (folder / "bin").mkdir(parents=True)
        (folder / "bin" / "run").write_text("#!/bin/sh")
        (folder / "bin" / "run").chmod(0o711 if name == "a" else 0o777)
        (folder / "link").symlink_to("bin/run")
        digests.add(build_image_from_folder(store, folder, Process(cmd=["/bin/run"]), platform=PLATFORM))
    (digest,) = digests
    assert load_image(store, digest).process.cmd == ["/bin/run"]
    layer_digest = load_image(store, digest).manifest.layers[0].digest
    with store.open(layer_digest) as file, tarfile.open(fileobj=file) as layer:
        found = [(entry.name, entry.mode, entry.uid, entry.mtime) for entry in layer]
    assert found == [("bin", 0o755, 0, 0), ("bin/run", 0o755, 0, 0), ("link", 0o777, 0, 0)]


def test_known_bytes(store: ContentStore) -> None:
    digest = build_image(store, [Entry("hello", b"hi\n")], Process(cmd=["/hello"]), platform=PLATFORM)
    assert digest == "sha256:3143279f693c94d364bd5fb517ea255ffb4c8f5ee898bb924460150c1ed6ba8e"


def test_sockets_in_a_folder_are_refused(store: ContentStore, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ForbiddenEntry):
        build_image_from_folder(store, tmp_path, Process())
