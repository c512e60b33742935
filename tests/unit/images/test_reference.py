"""References: what each way of writing an image's name means, and what is refused."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxcloud.images.errors import BadReference
from fluxcloud.images.reference import (
    Reference,
    find_reference,
    is_loopback,
    normalise_registry,
    parse_reference,
    split_host,
)

DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nginx", Reference("docker.io", "library/nginx", "latest")),
        ("nginx:1.27", Reference("docker.io", "library/nginx", "1.27")),
        ("acme/shop", Reference("docker.io", "acme/shop", "latest")),
        ("docker.io/nginx", Reference("docker.io", "library/nginx", "latest")),
        ("index.docker.io/acme/shop:2", Reference("docker.io", "acme/shop", "2")),
        ("registry-1.docker.io/nginx", Reference("docker.io", "library/nginx", "latest")),
        ("Docker.IO/nginx", Reference("docker.io", "library/nginx", "latest")),
        ("ghcr.io/acme/shop/web:1.4", Reference("ghcr.io", "acme/shop/web", "1.4")),
        ("localhost/shop", Reference("localhost", "shop", "latest")),
        ("localhost:5000/shop:a_b.c-D", Reference("localhost:5000", "shop", "a_b.c-D")),
        ("registry:5000/shop", Reference("registry:5000", "shop", "latest")),
        ("10.0.0.7:65535/a/b", Reference("10.0.0.7:65535", "a/b", "latest")),
        ("[::1]:5000/shop", Reference("[::1]:5000", "shop", "latest")),
        ("[2001:db8::1]/shop:1", Reference("[2001:db8::1]", "shop", "1")),
        (f"nginx@{DIGEST}", Reference("docker.io", "library/nginx", "", DIGEST)),
        (f"ghcr.io/a/b:1@{DIGEST}", Reference("ghcr.io", "a/b", "1", DIGEST)),
        ("a__b/c.d/e---f", Reference("docker.io", "a__b/c.d/e---f", "latest")),
        ("x:" + "t" * 128, Reference("docker.io", "library/x", "t" * 128)),
    ],
)
def test_parse(text: str, expected: Reference) -> None:
    assert parse_reference(text) == expected
    assert parse_reference(expected.render()) == expected


def test_parts() -> None:
    hub, other = parse_reference("nginx"), parse_reference(f"ghcr.io/a/b:1@{DIGEST}")
    assert (hub.name, hub.api_host, hub.target) == ("docker.io/library/nginx", "registry-1.docker.io", "latest")
    assert (other.name, other.api_host, other.target) == ("ghcr.io/a/b", "ghcr.io", DIGEST)
    assert hub.render() == "docker.io/library/nginx:latest"


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "the name's part ''"),
        ("Nginx", "the name's part 'Nginx'"),
        ("ghcr.io/", "the name's part ''"),
        ("ghcr.io/a//b", "the name's part ''"),
        ("/nginx", "the name's part ''"),
        ("nginx:", "the tag ''"),
        ("nginx:-1", "the tag '-1'"),
        ("nginx:" + "t" * 129, "the tag"),
        ("nginx:1\n", "the tag '1\\n'"),
        ("nginx\n", "the name's part 'nginx\\n'"),
        ("nginx:é", "the tag 'é'"),
        ("a..b", "the name's part 'a..b'"),
        ("a/../b", "the name's part '..'"),
        ("_a", "the name's part '_a'"),
        ("a___b", "the name's part 'a___b'"),
        ("ghcr.io:0/a", "port '0'"),
        ("ghcr.io:/a", "port ''"),
        ("ghcr.io:65536/a", "port '65536'"),
        ("ghcr.io:80:80/a", "port '80:80'"),
        ("-a.io/b", "the registry '-a.io'"),
        ("a..io/b", "the registry 'a..io'"),
        ("user@ghcr.io/a", "digest 'ghcr.io/a'"),
        ("https://ghcr.io/a", "port ''"),
        ("127.1/a", "the registry '127.1'"),
        ("2130706433:80/a", "the registry '2130706433:80'"),
        ("[::1/a", "the registry '[::1'"),
        ("[::1]5000/a", "the registry '[::1]5000'"),
        ("[fe80::1%eth0]/a", "the registry '[fe80::1%eth0]'"),
        ("[127.0.0.1]/a", "the registry '[127.0.0.1]'"),
        ("nginx@", "digest ''"),
        ("nginx@sha512:" + "0" * 128, "digest 'sha512:"),
        (f"nginx@{DIGEST}@{DIGEST}", "digest 'sha256:"),
        (f"nginx@{DIGEST.upper()}", "digest 'SHA256:"),
        ("ghcr.io/" + "a" * 248, "at most 255 characters"),
        ("a" * 457, "at most 456 are allowed"),
    ],
)
def test_refused(text: str, part: str) -> None:
    with pytest.raises(BadReference) as caught:
        parse_reference(text)
    assert part in caught.value.message
    assert caught.value.code == "image/15"


def test_upper_case_has_a_hint() -> None:
    with pytest.raises(BadReference) as caught:
        parse_reference("Nginx")
    assert caught.value.hint == "names of images are in lower case"


@pytest.mark.parametrize("image", ["./shop", "../a.tar", "/srv/shop", "shop.tar", "a/shop.TAR.GZ", "builtin:hello"])
def test_not_in_a_registry(image: str) -> None:
    assert find_reference(image) is None


def test_in_a_registry() -> None:
    assert find_reference("nginx:1") == Reference("docker.io", "library/nginx", "1")


@pytest.mark.parametrize(
    ("registry", "host", "port", "loopback"),
    [
        ("ghcr.io", "ghcr.io", None, False),
        ("localhost:5000", "localhost", 5000, True),
        ("127.9.9.9:5000", "127.9.9.9", 5000, True),
        ("[::1]:5000", "::1", 5000, True),
        ("[2001:db8::1]", "2001:db8::1", None, False),
        ("localhost.example.com", "localhost.example.com", None, False),
    ],
)
def test_host(registry: str, host: str, port: int | None, loopback: bool) -> None:
    assert split_host(registry) == (host, port)
    assert is_loopback(registry) is loopback


def test_normalise_registry() -> None:
    assert [normalise_registry(name) for name in ("INDEX.docker.io", "GHCR.io")] == ["docker.io", "ghcr.io"]


@given(st.text(alphabet=string.ascii_letters + string.digits + "./:@_-[]% \n", max_size=60))
def test_what_is_read_is_rendered_the_same(text: str) -> None:
    try:
        reference = parse_reference(text)
    except BadReference:
        return
    assert parse_reference(reference.render()) == reference


@pytest.mark.parametrize("text", ["a" * 254 + "!", "a-" * 127 + "!", "a_" * 127 + "!", "-" * 400, "a.b/" * 100])
def test_odd_names_are_refused_without_backtracking(text: str) -> None:
    with pytest.raises(BadReference):
        parse_reference(text)
