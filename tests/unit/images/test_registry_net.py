"""Addresses: which ones are public, where redirects may lead, what a registry's connections may reach."""

from __future__ import annotations

import ipaddress

import pytest
from yarl import URL

from fluxcloud.images.errors import BadRegistry, ForbiddenAddress
from fluxcloud.images.reference import parse_reference
from fluxcloud.images.registry_net import (
    PUBLIC_ACCESS,
    USER_ACCESS,
    Access,
    Guard,
    build_base_url,
    follow_redirect,
    is_public,
)

SIGNED = "https://cdn.example.com/a%2Fb?X-Sig=q%2Bw%3D&e=a+b"


@pytest.mark.parametrize("address", ["1.1.1.1", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"])
def test_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
        "255.255.255.255", "::1", "::", "fe80::1", "fd00::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
        "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2002:a00:1::1",
    ],
)  # fmt: skip
def test_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    ("image", "access", "url"),
    [
        ("nginx", USER_ACCESS, "https://registry-1.docker.io/v2/library/nginx/"),
        ("ghcr.io/a/b", USER_ACCESS, "https://ghcr.io/v2/a/b/"),
        ("localhost:5000/a", USER_ACCESS, "http://localhost:5000/v2/a/"),
        ("[::1]:5000/a", USER_ACCESS, "http://[::1]:5000/v2/a/"),
        ("10.0.0.1:5000/a", USER_ACCESS, "https://10.0.0.1:5000/v2/a/"),
        ("10.0.0.1:5000/a", Access(insecure=frozenset({"10.0.0.1:5000"})), "http://10.0.0.1:5000/v2/a/"),
    ],
)
def test_base_url(image: str, access: Access, url: str) -> None:
    assert str(build_base_url(parse_reference(image), access)) == url


@pytest.mark.parametrize(
    ("location", "target"),
    [
        (SIGNED, SIGNED),
        ("/blob?x=1#part", "https://ghcr.io/blob?x=1"),
        ("//cdn.example.com/b", "https://cdn.example.com/b"),
    ],
)
def test_redirect(location: str, target: str) -> None:
    assert str(follow_redirect(URL("https://ghcr.io/v2/a/blobs/x"), location)) == target


@pytest.mark.parametrize(
    "location",
    ["", "file:///etc/passwd", "ftp://a/b", "https://user:word@cdn/b", "https://cdn/a b", "https://[x/b",
     "https://cdn:99999/b", "https://cdn/é"],
)  # fmt: skip
def test_redirect_to_no_address(location: str) -> None:
    with pytest.raises(BadRegistry):
        follow_redirect(URL("https://ghcr.io/v2/"), location)


def test_redirect_keeps_tls() -> None:
    with pytest.raises(ForbiddenAddress, match="from https to http"):
        follow_redirect(URL("https://ghcr.io/v2/"), "http://cdn.example.com/b")
    assert follow_redirect(URL("http://localhost:5000/v2/"), "http://localhost:9/b") == URL("http://localhost:9/b")


def make_guard(image: str, access: Access = USER_ACCESS) -> Guard:
    reference = parse_reference(image)
    return Guard(reference, build_base_url(reference, access), access)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "169.254.169.254", "10.0.0.1", "[::1]", "[::ffff:10.0.0.1]", "127.1", "2130706433", "0"]
)
async def test_guard__a_public_registry_leads_to_a_private_address(host: str) -> None:
    guard = make_guard("1.1.1.1/a")
    guard.check_literal(URL("https://1.1.1.1/v2/"))
    with pytest.raises(ForbiddenAddress):
        guard.check_literal(URL(f"https://{host}/blob", encoded=True))


async def test_guard__names_are_checked_by_their_addresses() -> None:
    guard = make_guard("1.1.1.1/a")
    guard.check_literal(URL("https://1.1.1.1/v2/"))
    with pytest.raises(ForbiddenAddress, match=r"1\.1\.1\.1 leads to localhost, which is at a private address"):
        await guard.resolve("localhost", 443)


async def test_guard__a_private_registry_may_lead_to_private_addresses() -> None:
    guard = make_guard("10.0.0.1/a")
    guard.check_literal(URL("https://10.0.0.1/v2/"))
    guard.check_literal(URL("https://10.0.0.2/blob"))
    assert [place["host"] for place in await guard.resolve("localhost", 443)] == ["127.0.0.1"]


async def test_guard__private_registries_are_named() -> None:
    with pytest.raises(ForbiddenAddress, match="localhost:5000 is at a private address"):
        await make_guard("localhost:5000/a", PUBLIC_ACCESS).resolve("localhost", 5000)
    with pytest.raises(ForbiddenAddress, match=r"10\.0\.0\.1 is at a private address"):
        make_guard("10.0.0.1/a", PUBLIC_ACCESS).check_literal(URL("https://10.0.0.1/v2/"))
    named = Access(private=frozenset({"localhost:5000"}))
    assert [place["host"] for place in await make_guard("localhost:5000/a", named).resolve("localhost", 5000)] == [
        "127.0.0.1"
    ]


async def test_guard__another_port_of_the_registry_is_another_place() -> None:
    guard = make_guard("1.1.1.1/a")
    with pytest.raises(ForbiddenAddress):
        await guard.resolve("localhost", 443)
