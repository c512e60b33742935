"""A site as an image: what is in it, and that the same files make the same image."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from engines import require_engine
from fluxcloud.images import static
from fluxcloud.images.build import Entry
from fluxcloud.images.errors import NoBusybox
from fluxcloud.images.manifest import load_image
from fluxcloud.images.static import build_static_image
from fluxcloud.images.store import ContentStore

FILES = (Entry("img", is_folder=True), Entry("index.html", b"<h1>hi"), Entry("img/a.svg", b"<svg/>"))


def read_layer(store: ContentStore, digest: str) -> dict[str, bytes]:
    (layer,) = load_image(store, digest).manifest.layers
    with tarfile.open(store.path(layer.digest)) as archive:
        return {member.name: archive.extractfile(member).read() for member in archive if member.isfile()}  # type: ignore[union-attr]


@pytest.fixture
def store(tmp_path: Path) -> ContentStore:
    require_engine("busybox", package="busybox-static")
    return ContentStore(tmp_path)


def test_site__is_below_www_with_types_that_browsers_want(store: ContentStore) -> None:
    files = read_layer(store, build_static_image(store, FILES))
    assert files["www/index.html"] == b"<h1>hi"
    assert files["www/img/a.svg"] == b"<svg/>"
    assert b".wasm:application/wasm\n" in files["etc/httpd.conf"]
    assert b"E404" not in files["etc/httpd.conf"]


def test_own_page_for_what_is_not_there__is_configured(store: ContentStore) -> None:
    files = read_layer(store, build_static_image(store, (*FILES, Entry("404.html", b"gone"))))
    assert b"E404:/www/404.html\n" in files["etc/httpd.conf"]


def test_same_files__same_image_whatever_their_order(store: ContentStore) -> None:
    assert build_static_image(store, FILES) == build_static_image(store, tuple(reversed(FILES)))


def test_port__is_exposed_so_that_deploy_finds_it(store: ContentStore) -> None:
    image = load_image(store, build_static_image(store, FILES))
    assert image.process.exposed_ports == {"8080/tcp": {}}


def test_no_busybox__says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(static, "find_busybox", lambda: None)
    with pytest.raises(NoBusybox) as refused:
        build_static_image(ContentStore(tmp_path), FILES)
    assert "busybox-static" in refused.value.hint
