"""HTTP/1.1 message heads: bytes to values, refusing everything that two parsers could read in two ways.

Pure. One narrow grammar instead of a tolerant one: a line is a token, a colon and a value without control characters,
or the message is refused. What can smuggle has no second reading here: Content-Length beside Transfer-Encoding, two
lengths, two Hosts, bare line feeds, folded lines, whitespace before the colon, codings other than `chunked`.
`Request` and `Response` are not frozen: one of each is made per request, and a frozen one costs three times as much.
Source: RFC 9112; tests/unit/proxy/test_http1.py compares it with llhttp.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from fluxcloud.errors import Rejected

Field = tuple[bytes, bytes, bytes]
"""A header line: name in lower case, value, and the line as it came."""

CHUNKED: Final = -1
"""A body length: in chunks."""
UNTIL_CLOSE: Final = -2
"""A body length: all until the connection ends (answers only)."""

HEAD_END: Final = b"\r\n\r\n"

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_match_field = re.compile(rb"(" + _TOKEN + rb"):([\t\x20-\x7e\x80-\xff]*)").fullmatch
_match_request_line = re.compile(rb"(" + _TOKEN + rb") ([\x21\x22\x24-\x7e]+) HTTP/(\d)\.(\d)").fullmatch
_match_status_line = re.compile(rb"HTTP/1\.([01]) ([1-9]\d\d)(?: ([\t\x20-\x7e\x80-\xff]*))?").fullmatch
_match_host = re.compile(rb"((?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]))(?::\d{1,5})?").fullmatch
_match_absolute = re.compile(rb"https?://([^/?]*)(.*)", re.IGNORECASE).fullmatch
_match_length = re.compile(rb"\d{1,18}").fullmatch
_search_bare_line_end = re.compile(rb"(?<!\r)\n|\r(?!\n|\Z)").search
_ONLY_ONCE = frozenset((b"host", b"content-length", b"transfer-encoding"))
_NO_TOKENS: frozenset[bytes] = frozenset()


class BadMessage(Rejected):
    """The message is not HTTP/1.1 as this proxy takes it."""

    CODE = "proxy/1"

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


@dataclass(slots=True)
class Request:
    """A request's head. `target` is in origin form (or `*`); `length` is >= 0 or CHUNKED."""

    method: bytes
    target: bytes
    minor: int  # of HTTP/1.x
    fields: list[Field]
    index: dict[bytes, bytes]  # lower name -> value; of several lines, joined by a comma
    host: str  # lower case, without port and trailing dot; "" when a 1.0 request names none
    length: int
    connection: frozenset[bytes]  # the options of the Connection header, lower case

    @property
    def keep_alive(self) -> bool:
        return b"close" not in self.connection if self.minor else b"keep-alive" in self.connection

    @property
    def upgrade(self) -> bytes:
        """The protocol asked for, or empty. Never h2c: it would carry requests past every check made here."""
        if b"upgrade" not in self.connection or not self.minor or self.length != 0:
            return b""
        protocol = self.index.get(b"upgrade", b"")
        return b"" if b"h2c" in protocol.lower() else protocol

    @property
    def expects_continue(self) -> bool:
        return b"expect" in self.index and self.minor == 1 and self.length != 0


@dataclass(slots=True)
class Response:
    """A response's head. `length` is >= 0, CHUNKED or UNTIL_CLOSE."""

    status: int
    reason: bytes
    minor: int
    fields: list[Field]
    index: dict[bytes, bytes]
    length: int
    connection: frozenset[bytes]

    @property
    def keep_alive(self) -> bool:
        return self.minor == 1 and self.length != UNTIL_CLOSE and b"close" not in self.connection


def has_bare_line_end(data: bytes) -> bool:
    """Whether a line ends in anything but CR LF: then an unfinished head can have no proper end."""
    return _search_bare_line_end(data) is not None


def parse_request(head: bytes) -> Request:
    """A request's head, without the empty line that ends it. Raises BadMessage (400, 417, 501, 505)."""
    lines = head.split(b"\r\n")
    match = _match_request_line(lines[0])
    if match is None:
        raise BadMessage(400, "bad_request", "The request line is not `METHOD target HTTP/1.1`.")
    method, target, major, minor_text = match.groups()
    if major != b"1" or minor_text not in (b"0", b"1"):
        raise BadMessage(505, "bad_version", "Only HTTP/1.1 and HTTP/1.0 are spoken here.")
    minor = int(minor_text)
    fields, index = _parse_fields(lines)
    target, fields = _parse_target(method, target, fields, index)
    if index.get(b"expect", b"100-continue").lower() != b"100-continue":
        raise BadMessage(417, "bad_expect", "The Expect header may only say 100-continue.")
    length = _parse_length(index, minor)
    return Request(
        method=method,
        target=target,
        minor=minor,
        fields=fields,
        index=index,
        host=_parse_host(index, minor),
        length=0 if length == UNTIL_CLOSE else length,
        connection=_parse_connection(index),
    )


def parse_response(head: bytes, method: bytes) -> Response:
    """The head of an answer to a request of this method. Raises BadMessage (502)."""
    lines = head.split(b"\r\n")
    match = _match_status_line(lines[0])
    if match is None:
        raise BadMessage(502, "bad_answer", "The answer does not begin with an HTTP/1.1 status line.")
    minor, status = int(match[1]), int(match[2])
    fields, index = _parse_fields(lines)
    length = _parse_length(index, minor)
    if method == b"HEAD" or status < 200 or status in (204, 304):
        length = 0
    return Response(status, match[3] or b"", minor, fields, index, length, _parse_connection(index))


def parse_field(line: bytes) -> tuple[bytes, bytes]:
    """Name in lower case and value of one header line. Raises BadMessage."""
    match = _match_field(line)
    if match is None:
        raise BadMessage(400, "bad_header", "A header line is not `name: value`.")
    name, value = match.groups()
    return name.lower(), value.strip(b" \t")


def _parse_fields(lines: list[bytes]) -> tuple[list[Field], dict[bytes, bytes]]:
    fields: list[Field] = []
    index: dict[bytes, bytes] = {}
    for line in lines[1:]:
        name, value = parse_field(line)
        if name in index:
            if name in _ONLY_ONCE:
                raise BadMessage(400, "repeated_header", f"The header {name.decode()} is given twice.")
            index[name] += b", " + value
        else:
            index[name] = value
        fields.append((name, value, line))
    return fields, index


def _parse_target(
    method: bytes, target: bytes, fields: list[Field], index: dict[bytes, bytes]
) -> tuple[bytes, list[Field]]:
    """The target in origin form. Of an absolute form, its authority takes the place of Host (RFC 9112, 3.2.2)."""
    if target.startswith(b"/") or (target == b"*" and method == b"OPTIONS"):
        return target, fields
    if method == b"CONNECT":
        raise BadMessage(405, "bad_method", "This is not a forward proxy: CONNECT is not allowed.")
    match = _match_absolute(target)
    if match is None:
        raise BadMessage(400, "bad_target", "The request target must begin with a slash.")
    authority, path = match.groups()
    if b"host" in index:
        index[b"host"] = authority
    host: Field = (b"host", authority, b"Host: " + authority)
    return path if path.startswith(b"/") else b"/" + path, [host if field[0] == b"host" else field for field in fields]


def _parse_host(index: dict[bytes, bytes], minor: int) -> str:
    value = index.get(b"host")
    if value is None:
        if minor:
            raise BadMessage(400, "no_host", "A request of HTTP/1.1 must have a Host header.")
        return ""
    match = _match_host(value)
    if match is None:
        raise BadMessage(400, "bad_host", "The Host header is not a host name.")
    return match[1].decode().lower().removesuffix(".")


def _parse_length(index: dict[bytes, bytes], minor: int) -> int:
    coding, length = index.get(b"transfer-encoding"), index.get(b"content-length")
    if coding is not None:
        if length is not None:
            raise BadMessage(400, "two_lengths", "Content-Length and Transfer-Encoding exclude each other.")
        if minor == 0:
            raise BadMessage(400, "bad_coding", "HTTP/1.0 has no Transfer-Encoding.")
        if coding.lower() != b"chunked":
            raise BadMessage(501, "bad_coding", "The only Transfer-Encoding taken here is chunked.")
        return CHUNKED
    if length is None:
        return UNTIL_CLOSE
    if _match_length(length) is None:
        raise BadMessage(400, "bad_length", "Content-Length must be one decimal number.")
    return int(length)


def _parse_connection(index: dict[bytes, bytes]) -> frozenset[bytes]:
    value = index.get(b"connection")
    if value is None:
        return _NO_TOKENS
    return frozenset(token.strip(b" \t").lower() for token in value.split(b",") if token.strip(b" \t"))
