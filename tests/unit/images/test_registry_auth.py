"""Challenges, tokens and the user's Docker configuration."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from fluxcloud.errors import ConfigError
from fluxcloud.images.errors import BadRegistry
from fluxcloud.images.registry_auth import (
    Challenge,
    Credentials,
    build_token_url,
    load_credentials,
    parse_challenge,
    parse_token,
)
from fluxcloud.images.registry_http import parse_retry_after

REALM = "https://auth.docker.io/token"


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (
            f'Bearer realm="{REALM}",service="registry.docker.io",scope="repository:a/b:pull,push"',
            Challenge("bearer", REALM, "registry.docker.io", "repository:a/b:pull,push"),
        ),
        (f'bearer  realm="{REALM}" , scope=aws', Challenge("bearer", REALM, "", "aws")),
        ('Basic realm="a, bearer of news"', Challenge("basic", "a, bearer of news")),
        ("Basic", Challenge("basic")),
        ('Negotiate, Basic realm="x"', Challenge("basic", "x")),
        (f'Bearer realm="{REALM}",realm="https://evil/"', Challenge("bearer", REALM)),
    ],
)
def test_challenge(header: str, expected: Challenge) -> None:
    assert parse_challenge(header) == expected


@pytest.mark.parametrize("header", ["", "Negotiate", 'Digest realm="basic"', "Bearerish x"])
def test_challenge__unknown(header: str) -> None:
    with pytest.raises(BadRegistry, match="known are Bearer and Basic"):
        parse_challenge(header)


def test_token_url() -> None:
    full = build_token_url(Challenge("bearer", REALM, "reg", "s:x:pull"), "a/b", plain_ok=False)
    assert str(full) == f"{REALM}?service=reg&scope=s:x:pull"
    bare = build_token_url(Challenge("bearer", REALM + "?k=v"), "a/b", plain_ok=False)
    assert dict(bare.query) == {"k": "v", "scope": "repository:a/b:pull"}
    assert build_token_url(Challenge("bearer", "http://localhost/t"), "a", plain_ok=True).scheme == "http"


@pytest.mark.parametrize("realm", ["", "/token", "http://auth/t", "https://u:p@auth/t", "https://[x/t", "gopher://a/"])
def test_token_url__refused(realm: str) -> None:
    with pytest.raises(BadRegistry):
        build_token_url(Challenge("bearer", realm), "a", plain_ok=False)


@pytest.mark.parametrize(
    ("answer", "text", "until_s"),
    [
        ({"token": "abc"}, "abc", 155.0),
        ({"access_token": "abc", "expires_in": 300}, "abc", 395.0),
        ({"token": "x", "access_token": "y", "expires_in": 10**9}, "x", 3695.0),
        ({"token": "x", "expires_in": -5}, "x", 95.0),
    ],
)
def test_token(answer: dict[str, object], text: str, until_s: float) -> None:
    token = parse_token(json.dumps(answer).encode(), 100.0)
    assert (token.text, token.until_s) == (text, until_s)


@pytest.mark.parametrize(
    "raw", [b"", b"[]", b"{}", b'{"token": "a\\r\\nb"}', b'{"token": "\xc3\xa9"}', b'{"token": 1}']
)
def test_token__refused(raw: bytes) -> None:
    with pytest.raises(BadRegistry):
        parse_token(raw, 0.0)


def write_config(tmp: Path, auths: dict[str, object]) -> Path:
    path = tmp / "config.json"
    path.write_text(json.dumps({"auths": auths, "credsStore": "desktop", "HttpHeaders": {}}))
    return path


def encode_auth(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("key", "registry"),
    [
        ("https://index.docker.io/v1/", "docker.io"),
        ("docker.io", "docker.io"),
        ("ghcr.io", "ghcr.io"),
        ("https://GHCR.io/v2/", "ghcr.io"),
        ("localhost:5000", "localhost:5000"),
    ],
)
def test_credentials(tmp_path: Path, key: str, registry: str) -> None:
    path = write_config(tmp_path, {"other.io": {"auth": encode_auth("x:y")}, key: {"auth": encode_auth("me:pa:ss")}})
    assert load_credentials(registry, path) == Credentials("me", "pa:ss")
    assert load_credentials("quay.io", path) is None


def test_credentials__in_two_fields_or_with_a_helper(tmp_path: Path) -> None:
    path = write_config(tmp_path, {"a.io": {"username": "me", "password": "word"}, "b.io": {}})
    assert load_credentials("a.io", path) == Credentials("me", "word")
    assert load_credentials("b.io", path) is None
    assert load_credentials("a.io", tmp_path / "absent") is None


def test_credentials__where_docker_keeps_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_config(tmp_path, {"a.io": {"username": "me", "password": "word"}})
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    assert load_credentials("a.io") == Credentials("me", "word")


@pytest.mark.parametrize("auth", ["no base64!", encode_auth("nocolon"), base64.b64encode(b"\xff:\xff").decode()])
def test_credentials__damaged(tmp_path: Path, auth: str) -> None:
    with pytest.raises(ConfigError, match=r"auths\.a\.io: `auth` is not base64"):
        load_credentials("a.io", write_config(tmp_path, {"a.io": {"auth": auth}}))


@pytest.mark.parametrize("text", ["{", '{"auths": {"a.io": {"auth": ["hunter2"]}}}', '{"auths": "hunter2"}'])
def test_credentials__no_configuration(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_credentials("a.io", path)
    assert "hunter2" not in str(caught.value)


def test_secrets_are_not_shown() -> None:
    assert repr(Credentials("me", "word")) == "Credentials(user='me')"
    assert "abc" not in repr(parse_token(b'{"token": "abc"}', 0.0))
    assert Credentials("me", "wörd").render_basic() == "Basic " + encode_auth("me:wörd")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("7", 7.0), ("Thu, 01 Jan 1970 00:01:40 GMT", 40.0), ("Thu, 01 Jan 1970 00:00:10 GMT", 0.0), ("", None),
     ("soon", None), ("-1", None), ("9" * 400, 999999999.0)],
)  # fmt: skip
def test_retry_after(value: str, seconds: float | None) -> None:
    assert parse_retry_after(value, 60.0) == seconds
