"""Layers from strangers: what is right is unpacked exactly, what is wrong is refused and leaves nothing."""

from __future__ import annotations

import gzip
import io
import os
import stat
import tarfile
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fluxcloud.images.archive import store_manifest
from fluxcloud.images.errors import (
    BadLayer,
    DigestMismatch,
    ForbiddenEntry,
    ImageRejected,
    MissingBlob,
    SizeMismatch,
    TooBig,
    UnsafeLink,
    UnsafePath,
    UnsupportedCompression,
    WrongPlatform,
)
from fluxcloud.images.manifest import OCI_CONFIG, OCI_LAYER_TAR, Config, Descriptor, RootFs, load_image
from fluxcloud.images.store import ContentStore, compute_digest
from fluxcloud.images.unpack import Limits, Owner, check_layers, unpack_image

PLATFORM = "linux/amd64"
FILE, FOLDER, LINK, HARD = tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE

Entry = tuple[str, bytes, Any]  # name, type, content or link


def make_tar(*entries: Entry, **attributes: Any) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, kind, extra in entries:
            header = tarfile.TarInfo(name)
            header.type = kind
            header.mode = attributes.get("mode", 0o755)
            header.uid, header.gid, header.mtime = attributes.get("uid", 0), 7, 1000
            if kind == FILE:
                header.size = len(extra)
                archive.addfile(header, io.BytesIO(extra))
            else:
                header.linkname = extra or ""
                archive.addfile(header)
    return buffer.getvalue()


def make_image(
    store: ContentStore, *layers: bytes, diff_ids: list[str] | None = None, blobs: list[bytes] | None = None
) -> str:
    """`blobs` are the layers as stored, where they are compressed."""
    stored = [store.put(raw) for raw in blobs or layers]
    config = Config("amd64", "linux", RootFs("layers", diff_ids or [compute_digest(raw) for raw in layers]))
    blob = store.put(msgspec.json.encode(config))
    descriptors = [Descriptor(OCI_LAYER_TAR, layer.digest, layer.size) for layer in stored]
    return store_manifest(store, Descriptor(OCI_CONFIG, blob.digest, blob.size), descriptors)


@pytest.fixture
def store(tmp_path: Path) -> ContentStore:
    return ContentStore(tmp_path / "store")


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "images" / "root"


def unpack(store: ContentStore, target: Path, digest: str, **options: Any) -> None:
    unpack_image(store, digest, target, platform=PLATFORM, **options)


def list_tree(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


def test_files_folders_and_links(store: ContentStore, target: Path) -> None:
    layer = make_tar(
        ("./", FOLDER, None),
        ("usr/bin/tool", FILE, b"#!"),
        ("bin", LINK, "usr/bin"),
        ("bin/other", HARD, "bin/tool"),
        ("abs", LINK, "/usr"),
        ("empty", FILE, b""),
    )
    unpack(store, target, make_image(store, layer))
    assert list_tree(target) == ["abs", "bin", "empty", "usr", "usr/bin", "usr/bin/other", "usr/bin/tool"]
    assert (target / "usr/bin/tool").samefile(target / "usr/bin/other")
    assert (target / "usr/bin/tool").stat().st_mtime == 1000
    assert os.readlink(target / "abs") == "/usr"


def test_is_done_once(store: ContentStore, target: Path) -> None:
    digest = make_image(store, make_tar(("a", FILE, b"1")))
    unpack(store, target, digest)
    (target / "a").write_bytes(b"2")
    unpack(store, target, digest)
    assert (target / "a").read_bytes() == b"2"


def test_whiteouts_delete_from_below_only(store: ContentStore, target: Path) -> None:
    lower = make_tar(("a/1", FILE, b""), ("a/2", FILE, b""), ("b/old/deep", FILE, b""), ("b/kept-name", FILE, b"old"))
    upper = make_tar(
        ("a/.wh.1", FILE, b""),
        ("a/3", FILE, b""),
        ("b/new", FILE, b""),
        ("b/kept-name", FILE, b"new"),
        ("b/.wh..wh..opq", FILE, b""),
        ("c/.wh.never-was", FILE, b""),
    )
    unpack(store, target, make_image(store, lower, upper))
    assert list_tree(target) == ["a", "a/2", "a/3", "b", "b/kept-name", "b/new", "c"]
    assert (target / "b/kept-name").read_bytes() == b"new"


def test_layers_replace_each_others_kinds(store: ContentStore, target: Path) -> None:
    lower = make_tar(("x/y", FILE, b""), ("f", FILE, b""), ("l", LINK, "f"))
    upper = make_tar(("x", FILE, b"now a file"), ("f/inside", FILE, b""), ("l", FILE, b"own"))
    with pytest.raises(BadLayer):  # a file does not become a folder by the way
        unpack(store, target, make_image(store, lower, upper))
    upper = make_tar(("x", FILE, b"now a file"), ("f", FOLDER, None), ("f/inside", FILE, b""), ("l", FILE, b"own"))
    unpack(store, target, make_image(store, lower, upper))
    assert list_tree(target) == ["f", "f/inside", "l", "x"]
    assert (target / "l").read_bytes() == b"own"


def test_links_of_earlier_layers_stay_inside(store: ContentStore, target: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    lower = make_tar(("var", FOLDER, None), ("var/run", LINK, str(outside)), ("up", LINK, "var/../var"))
    upper = make_tar(("var/run/pid", FILE, b"1"), ("up/below", FILE, b""))
    unpack(store, target, make_image(store, lower, upper))
    assert list(outside.iterdir()) == []
    assert (target / str(outside).lstrip("/") / "pid").read_bytes() == b"1"
    assert (target / "var/below").exists()


@pytest.mark.parametrize(
    ("entries", "error"),
    [
        ([("../out", FILE, b"x")], UnsafePath),
        ([("a/../../out", FILE, b"x")], UnsafePath),
        ([("n" * 256, FILE, b"x")], UnsafePath),
        ([("d/" * 300 + "f", FILE, b"x")], UnsafePath),
        ([("a/.wh...", FILE, b"")], UnsafePath),
        ([("a/.wh.", FILE, b"")], UnsafePath),
        ([("l", LINK, "../../etc/passwd")], UnsafeLink),
        ([("l", LINK, "")], UnsafeLink),
        ([("h", HARD, "../../etc/passwd")], UnsafePath),
        ([("h", HARD, "/etc/passwd")], UnsafeLink),
        ([("d", FOLDER, None), ("h", HARD, "d")], UnsafeLink),
        ([("a", LINK, "b"), ("b", LINK, "a"), ("a/f", FILE, b"")], UnsafeLink),
        ([("null", tarfile.CHRTYPE, None)], ForbiddenEntry),
        ([("disk", tarfile.BLKTYPE, None)], ForbiddenEntry),
        ([("pipe", tarfile.FIFOTYPE, None)], ForbiddenEntry),
        ([("odd", b"Z", None)], ForbiddenEntry),
    ],
)
def test_invalid_entries(store: ContentStore, target: Path, entries: list[Entry], error: type[ImageRejected]) -> None:
    digest = make_image(store, make_tar(("ok", FILE, b"")), make_tar(*entries))
    with pytest.raises(error, match=r"image sha256:.*, layer 2 of 2: ") as caught:
        unpack(store, target, digest)
    assert caught.value.code.startswith("image/")
    assert list(target.parent.iterdir()) == []


def test_check__refuses_before_anything_is_written(store: ContentStore, target: Path) -> None:
    upper = make_tar(("a", LINK, "../../etc"))
    digest = make_image(store, make_tar(("f", FILE, b"x"), ("h", HARD, "f")), upper)
    with pytest.raises(UnsafeLink, match=r"layer 2 of 2: path 'a'"):
        check_layers(store, load_image(store, digest))
    check_layers(store, load_image(store, make_image(store, make_tar(("l", LINK, "d"), ("h", HARD, "l/f")))))
    for wrong in (("h", HARD, "etc/shadow"), ("h", HARD, "../f"), ("null", tarfile.CHRTYPE, None)):
        with pytest.raises(ImageRejected):
            check_layers(store, load_image(store, make_image(store, make_tar(wrong))))
    assert not target.parent.exists()


def test_hard_link_to_itself_keeps_the_file(store: ContentStore, target: Path) -> None:
    unpack(store, target, make_image(store, make_tar(("f", FILE, b"content"), ("f", HARD, "f"))))
    assert (target / "f").read_bytes() == b"content"


def test_set_user_id_is_dropped(store: ContentStore, target: Path) -> None:
    unpack(store, target, make_image(store, make_tar(("su", FILE, b""), ("d", FOLDER, None), mode=0o7755)))
    assert stat.S_IMODE((target / "su").stat().st_mode) == 0o1755
    assert stat.S_IMODE((target / "d").stat().st_mode) == 0o1755


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give files away")
def test_owners_are_shifted_and_bounded(store: ContentStore, target: Path) -> None:
    layer = make_tar(("f", FILE, b""), ("l", LINK, "f"), uid=33)
    unpack(
        store, target, make_image(store, layer, make_tar(("big", FILE, b""), uid=5_000_000)), owner=Owner(True, 100_000)
    )
    assert [(target / name).lstat().st_uid for name in ("f", "l", "big", ".")] == [100_033, 100_033, 165_534, 100_000]
    assert (target / "f").stat().st_gid == 100_007


def test_gzip(store: ContentStore, target: Path) -> None:
    layer = make_tar(("f", FILE, b"x" * 100_000))
    half = len(layer) // 2
    several = gzip.compress(layer[:half]) + gzip.compress(layer[half:])
    unpack(store, target, make_image(store, layer, blobs=[several]))
    assert (target / "f").read_bytes() == b"x" * 100_000


def test_zstd_is_refused_with_a_way_out(store: ContentStore, target: Path) -> None:
    with pytest.raises(UnsupportedCompression, match="allowed are gzip") as caught:
        unpack(store, target, make_image(store, b"\x28\xb5\x2f\xfd0000"))
    assert "gzip" in caught.value.hint


def test_damaged_streams(store: ContentStore, target: Path) -> None:
    layer = make_tar(("f", FILE, b"x" * 100_000))
    packed = gzip.compress(layer)
    for blob in (packed[:-20], b"\x1f\x8b" + os.urandom(200)):
        with pytest.raises(BadLayer):
            unpack(store, target, make_image(store, layer, blobs=[blob]))
    with pytest.raises(ImageRejected):
        unpack(store, target, make_image(store, layer[:50_000]))
    with pytest.raises(ImageRejected):
        unpack(store, target, make_image(store, os.urandom(5000)))
    assert list(target.parent.iterdir()) == []


def test_bounds(store: ContentStore, target: Path) -> None:
    bomb = make_tar(("zeros", FILE, bytes(50 << 20)))
    digest = make_image(store, bomb, blobs=[gzip.compress(bomb)])
    with pytest.raises(TooBig):
        unpack(store, target, digest, limits=Limits(size_max=1 << 20))
    with pytest.raises(TooBig):  # 50 MiB out of 50 KiB
        unpack(store, target, digest, limits=Limits(free_bytes=0))
    many = make_image(store, make_tar(*((f"f{i}", FILE, b"") for i in range(11))))
    with pytest.raises(TooBig, match="more than 10 files"):
        unpack(store, target, many, limits=Limits(files_max=10))
    with pytest.raises(TooBig, match="at most 128"):
        unpack(store, target, make_image(store, *[make_tar()] * 129))


def test_headers_are_bounded_before_they_are_read(store: ContentStore, target: Path) -> None:
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, 8 << 30
    with pytest.raises(TooBig, match="header"):
        unpack(store, target, make_image(store, header.tobuf(tarfile.GNU_FORMAT) + bytes(2048)))


def test_sizes_and_digests_that_lie(store: ContentStore, target: Path) -> None:
    layer = make_tar(("f", FILE, b"x"))
    with pytest.raises(DigestMismatch, match="the configuration says"):
        unpack(store, target, make_image(store, layer, diff_ids=[compute_digest(b"other")]))
    digest = make_image(store, layer)
    path = store.path(compute_digest(layer))
    path.write_bytes(layer.replace(b"x", b"y", 1))
    with pytest.raises(DigestMismatch):
        unpack(store, target, digest)
    path.write_bytes(layer + b"\0")
    with pytest.raises(SizeMismatch):
        unpack(store, target, digest)
    path.unlink()
    with pytest.raises(MissingBlob):
        unpack(store, target, digest)
    assert list(target.parent.iterdir()) == []


def test_another_platform(store: ContentStore, target: Path) -> None:
    with pytest.raises(WrongPlatform, match="needed is linux/arm64, it is for linux/amd64"):
        unpack_image(store, make_image(store, make_tar()), target, platform="linux/arm64")
