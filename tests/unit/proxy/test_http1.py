"""Message heads: what is read from a good one, what is refused, and that llhttp reads the same from what is taken."""

from __future__ import annotations

import httptools
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxcloud.proxy.http1 import (
    CHUNKED,
    UNTIL_CLOSE,
    BadMessage,
    has_bare_line_end,
    parse_request,
    parse_response,
)


def make_request(*lines: str, first: str = "GET /a?b HTTP/1.1", host: str = "Host: Shop.Test:80") -> bytes:
    return "\r\n".join((first, *([host] if host else []), *lines)).encode("latin-1")


def test_request__what_is_read() -> None:
    request = parse_request(make_request("Accept: a", "X-Y:\t b \t", "accept: c", "Connection: Close, X-Y"))
    assert (request.method, request.target, request.minor, request.host) == (b"GET", b"/a?b", 1, "shop.test")
    assert request.index[b"accept"] == b"a, c"
    assert request.fields[2] == (b"x-y", b"b", b"X-Y:\t b \t")
    assert request.connection == {b"close", b"x-y"}
    assert (request.length, request.keep_alive, request.upgrade) == (0, False, b"")


@pytest.mark.parametrize(
    ("lines", "length"),
    [
        ([], 0),
        (["Content-Length: 0"], 0),
        (["Content-Length: 12"], 12),
        (["Transfer-Encoding: chunked"], CHUNKED),
        (["transfer-encoding: Chunked"], CHUNKED),
    ],
)
def test_request__length(lines: list[str], length: int) -> None:
    assert parse_request(make_request(*lines)).length == length


@pytest.mark.parametrize(
    ("first", "lines", "keep_alive"),
    [
        ("GET / HTTP/1.1", [], True),
        ("GET / HTTP/1.1", ["Connection: close"], False),
        ("GET / HTTP/1.0", [], False),
        ("GET / HTTP/1.0", ["Connection: Keep-Alive"], True),
    ],
)
def test_request__keep_alive(first: str, lines: list[str], keep_alive: bool) -> None:
    assert parse_request(make_request(*lines, first=first)).keep_alive is keep_alive


@pytest.mark.parametrize(
    ("target", "host", "path"),
    [
        ("http://Other.Test/x?y", "other.test", b"/x?y"),
        ("HTTPS://other.test:8443", "other.test", b"/"),
        ("http://other.test?q", "other.test", b"/?q"),
    ],
)
def test_request__absolute_target(target: str, host: str, path: bytes) -> None:
    request = parse_request(make_request(first=f"GET {target} HTTP/1.1"))
    assert (request.host, request.target) == (host, path)
    assert [value for name, value, _ in request.fields if name == b"host"] == [request.index[b"host"]]


def test_request__options_for_the_server_itself() -> None:
    assert parse_request(make_request(first="OPTIONS * HTTP/1.1")).target == b"*"


def test_request__old_one_without_host() -> None:
    assert parse_request(make_request(first="GET / HTTP/1.0", host="")).host == ""


@pytest.mark.parametrize(
    ("lines", "upgrade"),
    [
        (["Connection: keep-alive, Upgrade", "Upgrade: websocket"], b"websocket"),
        (["Upgrade: websocket"], b""),
        (["Connection: Upgrade"], b""),
        (["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c"], b""),
        (["Connection: Upgrade", "Upgrade: websocket", "Content-Length: 3"], b""),
    ],
)
def test_request__upgrade(lines: list[str], upgrade: bytes) -> None:
    assert parse_request(make_request(*lines)).upgrade == upgrade


@pytest.mark.parametrize(
    ("head", "status", "reason"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a", 400, "repeated_header"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\ncontent-length: 1", 400, "repeated_header"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked", 400, "two_lengths"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked", 501, "bad_coding"),
        (b"GET / HTTP/1.0\r\nTransfer-Encoding: chunked", 400, "bad_coding"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1_0", 400, "bad_length"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: \xb2", 400, "bad_length"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: " + b"9" * 19, 400, "bad_length"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length:", 400, "bad_length"),
        (b"GET / HTTP/1.1", 400, "no_host"),
        (b"GET / HTTP/1.1\r\nHost: a b", 400, "bad_host"),
        (b"GET / HTTP/1.1\r\nHost: user@a", 400, "bad_host"),
        (b"GET / HTTP/1.1\r\nHost:", 400, "bad_host"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n X: folded", 400, "bad_header"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX : 1", 400, "bad_header"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX", 400, "bad_header"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\nY: b", 400, "bad_header"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x00", 400, "bad_header"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x7f", 400, "bad_header"),
        (b"GET  / HTTP/1.1\r\nHost: a", 400, "bad_request"),
        (b"GET /\xc3\xa9 HTTP/1.1\r\nHost: a", 400, "bad_request"),
        (b"GET /a#b HTTP/1.1\r\nHost: a", 400, "bad_request"),
        (b"GET / http/1.1\r\nHost: a", 400, "bad_request"),
        (b"G(T / HTTP/1.1\r\nHost: a", 400, "bad_request"),
        (b"GET a HTTP/1.1\r\nHost: a", 400, "bad_target"),
        (b"GET * HTTP/1.1\r\nHost: a", 400, "bad_target"),
        (b"GET ftp://a/ HTTP/1.1\r\nHost: a", 400, "bad_target"),
        (b"GET http://u:p@a/ HTTP/1.1\r\nHost: a", 400, "bad_host"),
        (b"CONNECT a:443 HTTP/1.1\r\nHost: a", 405, "bad_method"),
        (b"PRI * HTTP/2.0", 505, "bad_version"),
        (b"GET / HTTP/1.2\r\nHost: a", 505, "bad_version"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 200-maybe", 417, "bad_expect"),
    ],
)
def test_bad_request(head: bytes, status: int, reason: str) -> None:
    with pytest.raises(BadMessage) as caught:
        parse_request(head)
    assert (caught.value.status, caught.value.reason, caught.value.code) == (status, reason, "proxy/1")


@pytest.mark.parametrize(
    ("head", "method", "length"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5", b"GET", 5),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5", b"HEAD", 0),
        (b"HTTP/1.1 200\r\nTransfer-Encoding: chunked", b"GET", CHUNKED),
        (b"HTTP/1.0 200 ", b"GET", UNTIL_CLOSE),
        (b"HTTP/1.1 204 No Content\r\nContent-Length: 5", b"GET", 0),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5", b"GET", 0),
        (b"HTTP/1.1 101 Switching Protocols", b"GET", 0),
        (b"HTTP/1.1 999 What", b"GET", UNTIL_CLOSE),
    ],
)
def test_response__length(head: bytes, method: bytes, length: int) -> None:
    assert parse_response(head, method).length == length


@pytest.mark.parametrize(
    "head",
    [
        b"220 mail",
        b"HTTP/2 200 OK",
        b"HTTP/1.1 20 OK",
        b"HTTP/1.1 099 OK",
        b"HTTP/1.1 200 O\x00K",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked",
    ],
)
def test_bad_response(head: bytes) -> None:
    with pytest.raises(BadMessage):
        parse_response(head, b"GET")


@pytest.mark.parametrize(
    ("part", "bad"),
    [(b"GET / HTTP/1.1\r\nHo", False), (b"GET / HTTP/1.1\r", False), (b"GET /\nHo", True), (b"GET /\rHo", True)],
)
def test_bare_line_end__in_an_unfinished_head(part: bytes, bad: bool) -> None:
    assert has_bare_line_end(part) is bad


def test_long_value__takes_no_time() -> None:
    """A value that a backtracking pattern would take minutes for."""
    request = parse_request(make_request("X: a" + " " * 1_000_000 + "b"))
    assert len(request.index[b"x"]) == 1_000_002


class Reading:
    """What llhttp reads: the calls it makes, put together."""

    def __init__(self) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        self.url = b""
        self.body = b""
        self.complete = 0

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value.strip(b" \t")))

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.complete += 1


_TOKENS = st.text("abcXYZ-_!", min_size=1, max_size=8).filter(lambda name: name.lower() != "host")
_NAMES = st.sampled_from(["Content-Length", "Transfer-Encoding", "Connection", "Expect", "X-A", "Cookie"]) | _TOKENS
_VALUES = st.sampled_from(["3", "chunked", "close", "gzip, chunked", "", "3, 3", "+3"]) | st.text(
    st.characters(max_codepoint=255), max_size=8
)
_LINE_ENDS = st.sampled_from(["\r\n"] * 6 + ["\n", "\r", "\r\n ", "\r\n\t"])


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(_NAMES, st.sampled_from([":", ": ", " :", ":\t"]), _VALUES, _LINE_ENDS), max_size=5))
def test_what_is_taken__llhttp_reads_the_same(lines: list[tuple[str, str, str, str]]) -> None:
    """One message, with the same headers and length; a request after it is seen by neither as part of it."""
    text = "POST /p HTTP/1.1\r\nHost: a\r\n" + "".join("".join(line) for line in lines)
    head = text.encode("latin-1").removesuffix(b"\r\n")
    try:
        request = parse_request(head)
    except BadMessage:
        return
    body = {0: b"", CHUNKED: b"3\r\nabc\r\n0\r\n\r\n"}.get(request.length, b"a" * min(request.length, 1000))
    reading = Reading()
    parser = httptools.HttpRequestParser(reading)
    parser.feed_data(head + b"\r\n\r\n" + body)
    assert reading.headers == [(name, value) for name, value, _ in request.fields]
    assert reading.url == request.target
    if request.length <= 1000:
        assert reading.complete == 1
        assert reading.body == (b"abc" if request.length == CHUNKED else body)
