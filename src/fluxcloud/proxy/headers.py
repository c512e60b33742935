"""What a hop changes in the heads it forwards.

Pure. Hop-by-hop headers end here, with those that Connection names; `FluxCloud-*` is the proxies' own and passes in
neither direction, whatever its spelling: apps behind CGI-like servers read `FluxCloud_Route` as the same header.
The edge alone says who the visitor is: what a visitor claims in `X-Forwarded-*` and its relatives is dropped.
"""

from __future__ import annotations

from typing import Final

from .http1 import CHUNKED, UNTIL_CLOSE, Field, Request, Response
from .sticky import STICKY_COOKIE

_HOP_BY_HOP: Final = frozenset(
    b"connection keep-alive proxy-connection proxy-authenticate proxy-authorization te trailer transfer-encoding "
    b"upgrade http2-settings".split()
)
_FRAMING: Final = frozenset((b"host", b"content-length"))
"""Not for Connection to name: dropping these would change what the message says."""

_EXPECT: Final = frozenset((b"expect",))
_CLAIMS: Final = frozenset((b"forwarded", b"x-real-ip"))


def is_reserved(name: bytes) -> bool:
    """Whether a header (lower case) is one of the proxies' own."""
    return name.startswith(b"fluxcloud") and name.replace(b"_", b"-").startswith(b"fluxcloud-")


def render_request(
    request: Request, *, extra: bytes, body: bytes | None, from_visitor: bool, sticky: bool = False
) -> bytes:
    """The head to send on, `extra` being complete header lines. `body`: the whole body, None when it is yet to come."""
    drop = _build_drops(request.connection)
    if body is not None:
        drop = drop | _EXPECT
    lines = [b"%b %b HTTP/1.1\r\n" % (request.method, request.target)]
    for field in request.fields:
        name = field[0]
        if name in drop or is_reserved(name):
            continue
        if from_visitor and (_is_claim(name) or (b"_" in name and _is_masked(name))):
            continue
        if sticky and name == b"cookie":
            field = _without_sticky_cookie(field)
            if not field[1]:
                continue
        lines.append(field[2] + b"\r\n")
    if request.length == CHUNKED:
        framing = b"Transfer-Encoding: chunked\r\n" if body is None else b"Content-Length: %d\r\n" % len(body)
        lines.append(framing)
    if upgrade := request.upgrade:
        lines.append(b"Connection: Upgrade\r\nUpgrade: %b\r\n" % upgrade)
    lines.append(extra)
    lines.append(b"\r\n")
    return b"".join(lines)


def render_forwarded(request: Request, *, visitor_host: str, proto: str) -> bytes:
    """The lines that tell an app who asks, and for what."""
    host = request.index.get(b"host", b"")
    return b"X-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\nX-Forwarded-Host: %b\r\n" % (
        visitor_host.encode(),
        proto.encode(),
        host,
    )


def render_response(response: Response, *, extra: bytes, chunked: bool, connection: bytes) -> bytes:
    """The head to answer with. `connection`: the value of that header, or empty."""
    drop = _build_drops(response.connection)
    if response.length in (CHUNKED, UNTIL_CLOSE) or response.status == 204:
        drop = drop | {b"content-length"}
    lines = [b"HTTP/1.1 %d %b\r\n" % (response.status, response.reason)]
    lines += [f[2] + b"\r\n" for f in response.fields if f[0] not in drop and not is_reserved(f[0])]
    if chunked:
        lines.append(b"Transfer-Encoding: chunked\r\n")
    if connection:
        lines.append(b"Connection: %b\r\n" % connection)
        if response.status == 101:
            lines.append(b"Upgrade: %b\r\n" % response.index.get(b"upgrade", b""))
    lines.append(extra)
    lines.append(b"\r\n")
    return b"".join(lines)


def get_cookie(request: Request, name: str) -> str:
    """The value of a cookie, or empty."""
    prefix = name.encode() + b"="
    for part in request.index.get(b"cookie", b"").split(b";"):
        if part.strip().startswith(prefix):
            return part.strip().removeprefix(prefix).decode("latin-1")
    return ""


def _build_drops(connection: frozenset[bytes]) -> frozenset[bytes]:
    return _HOP_BY_HOP | (connection - _FRAMING) if connection else _HOP_BY_HOP


def _is_claim(name: bytes) -> bool:
    return name.startswith(b"x-forwarded-") or name in _CLAIMS


def _is_masked(name: bytes) -> bool:
    """Whether a name with underscores is read by some servers as a header that matters here."""
    plain = name.replace(b"_", b"-")
    return _is_claim(plain) or plain in _HOP_BY_HOP or plain in _FRAMING


def _without_sticky_cookie(field: Field) -> Field:
    prefix = STICKY_COOKIE.encode() + b"="
    kept = [part.strip() for part in field[1].split(b";") if not part.strip().startswith(prefix)]
    value = b"; ".join(kept)
    return field[0], value, b"Cookie: " + value
