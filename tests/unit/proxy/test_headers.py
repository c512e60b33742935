"""Heads as they are sent on."""

from __future__ import annotations

import pytest

from fluxcloud.proxy.headers import get_cookie, is_reserved, render_forwarded, render_request, render_response
from fluxcloud.proxy.http1 import parse_request, parse_response


def send_on(*lines: str, body: bytes | None = b"", from_visitor: bool = True, sticky: bool = False) -> list[str]:
    """The lines after the request line and Host."""
    request = parse_request("\r\n".join(("POST /p HTTP/1.1", "Host: a.test", *lines)).encode())
    head = render_request(request, extra=b"E: 1\r\n", body=body, from_visitor=from_visitor, sticky=sticky)
    first, host, *rest = head.decode().split("\r\n")
    assert (first, host) == ("POST /p HTTP/1.1", "Host: a.test")
    assert rest[-3:] == ["E: 1", "", ""]
    return rest[:-3]


@pytest.mark.parametrize(
    "line",
    [
        "FluxCloud-Route: x",
        "fluxcloud_route: x",
        "FLUXCLOUD-anything: x",
        "Keep-Alive: 1",
        "Proxy-Connection: x",
        "TE: trailers",
        "Trailer: X",
        "Upgrade: websocket",
        "X-Forwarded-For: 1.2.3.4",
        "X_Forwarded_For: 1.2.3.4",
        "X-Forwarded-Anything: x",
        "Forwarded: for=1.2.3.4",
        "X-Real-IP: 1.2.3.4",
        "Transfer_Encoding: chunked",
        "Content_Length: 5",
    ],
)
def test_request__not_sent_on(line: str) -> None:
    assert send_on("Before: 1", line, "After: 2") == ["Before: 1", "After: 2"]


@pytest.mark.parametrize("line", ["X_Other: 1", "X-FluxCloud-Route: 1", "FluxCloudy: 1", "Cookie: FXS=1"])
def test_request__sent_on(line: str) -> None:
    assert send_on(line) == [line]


def test_request__what_connection_names_ends_here_but_never_its_framing() -> None:
    lines = ("Connection: X-Hop, Host, Content-Length", "x-hop: 1", "Content-Length: 3", "Kept: 1")
    assert send_on(*lines, body=None) == ["Content-Length: 3", "Kept: 1"]


def test_request__ingress_believes_the_edge_about_the_visitor() -> None:
    lines = send_on("X-Forwarded-For: 1.2.3.4", "FluxCloud-Route: x", from_visitor=False)
    assert lines == ["X-Forwarded-For: 1.2.3.4"]


@pytest.mark.parametrize(
    ("body", "expected"), [(None, ["Transfer-Encoding: chunked"]), (b"abcd", ["Content-Length: 4"])]
)
def test_request__chunks_that_were_gathered_have_a_length(body: bytes | None, expected: list[str]) -> None:
    assert send_on("Transfer-Encoding: chunked", body=body) == expected


@pytest.mark.parametrize(("body", "expected"), [(None, ["Expect: 100-continue"]), (b"abc", [])])
def test_request__expectation_goes_on_only_with_a_body_to_come(body: bytes | None, expected: list[str]) -> None:
    assert send_on("Content-Length: 3", "Expect: 100-continue", body=body) == ["Content-Length: 3", *expected]


def test_request__upgrade() -> None:
    lines = send_on("Connection: Upgrade, X-Hop", "Upgrade: websocket", "X-Hop: 1")
    assert lines == ["Connection: Upgrade", "Upgrade: websocket"]


@pytest.mark.parametrize(
    ("cookie", "expected"),
    [("FXS=abc", []), ("a=1; FXS=abc; b=2", ["Cookie: a=1; b=2"]), ("FXSX=1", ["Cookie: FXSX=1"])],
)
def test_request__sticky_cookie_is_not_the_apps(cookie: str, expected: list[str]) -> None:
    assert send_on(f"Cookie: {cookie}", sticky=True) == expected


@pytest.mark.parametrize(
    ("cookie", "value"), [("FXS=abc", "abc"), ("a=1;FXS=x; b", "x"), ("XFXS=1", ""), ("FXS", ""), ("b=FXS=1", "")]
)
def test_get_cookie(cookie: str, value: str) -> None:
    request = parse_request(f"GET / HTTP/1.1\r\nHost: a\r\nCookie: {cookie}".encode())
    assert get_cookie(request, "FXS") == value


def test_forwarded() -> None:
    request = parse_request(b"GET / HTTP/1.1\r\nHost: A.test:80")
    lines = render_forwarded(request, visitor_host="1.2.3.4", proto="https")
    assert lines == b"X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: A.test:80\r\n"


def answer_with(head: bytes, *, chunked: bool = False, connection: bytes = b"") -> bytes:
    return render_response(parse_response(head, b"GET"), extra=b"E: 1\r\n", chunked=chunked, connection=connection)


def test_response() -> None:
    head = (
        b"HTTP/1.0 404 Not Here\r\nFluxCloud-Error: x\r\nConnection: X-Hop\r\nX-Hop: 1\r\nContent-Length: 2\r\nKept: 1"
    )
    assert answer_with(head) == b"HTTP/1.1 404 Not Here\r\nContent-Length: 2\r\nKept: 1\r\nE: 1\r\n\r\n"


def test_response__framing_is_written_anew() -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X"
    expected = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\nE: 1\r\n\r\n"
    assert answer_with(head, chunked=True, connection=b"close") == expected


def test_response__no_length_with_204_and_length_with_304() -> None:
    assert answer_with(b"HTTP/1.1 204 No\r\nContent-Length: 2") == b"HTTP/1.1 204 No\r\nE: 1\r\n\r\n"
    assert b"Content-Length: 2" in answer_with(b"HTTP/1.1 304 No\r\nContent-Length: 2")


def test_response__upgrade() -> None:
    head = b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket"
    expected = b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nE: 1\r\n\r\n"
    assert answer_with(head, connection=b"Upgrade") == expected


@pytest.mark.parametrize(
    ("name", "reserved"), [(b"fluxcloud-route", True), (b"fluxcloud_x", True), (b"fluxcloud", False), (b"x", False)]
)
def test_reserved(name: bytes, reserved: bool) -> None:
    assert is_reserved(name) is reserved
