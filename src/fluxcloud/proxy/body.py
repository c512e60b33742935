"""HTTP/1.1 bodies: decoders that turn what a connection delivers into content, and the framing of chunks.

Pure. A decoder is fed bytes and gives back content; when `done`, what follows the body is in `rest`. Chunks are read
strictly and written anew, so nothing odd in their framing reaches the next hop. Trailers are checked and dropped.
"""

from __future__ import annotations

import re
from typing import Protocol

from .http1 import CHUNKED, UNTIL_CLOSE, BadMessage, parse_field

LAST_CHUNK = b"0\r\n\r\n"

_LINE_MAX = 256
_TRAILERS_MAX = 8 * 1024
_match_size = re.compile(rb"([0-9A-Fa-f]{1,15})(?:;[\t\x20-\x7e\x80-\xff]*)?").fullmatch


class Decoder(Protocol):
    done: bool
    rest: bytes

    def feed(self, data: bytes) -> bytes: ...


def build_decoder(length: int) -> Decoder:
    """The decoder of a body of this length (see `http1`)."""
    if length == CHUNKED:
        return ChunkedBody()
    return RawBody() if length == UNTIL_CLOSE else LengthBody(length)


def render_chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class LengthBody:
    """A body of a known number of bytes."""

    __slots__ = ("_left", "done", "rest")

    def __init__(self, length: int) -> None:
        self._left = length
        self.done = length == 0
        self.rest = b""

    def feed(self, data: bytes) -> bytes:
        size = len(data)
        if size < self._left:
            self._left -= size
            return data
        self.done = True
        if size == self._left:
            return data
        self.rest = data[self._left :]
        return data[: self._left]


class RawBody:
    """All that comes until the connection ends."""

    __slots__ = ("done", "rest")

    def __init__(self) -> None:
        self.done = False
        self.rest = b""

    def feed(self, data: bytes) -> bytes:
        return data


class ChunkedBody:
    """A body in chunks. Raises BadMessage at the first byte that the grammar has no place for."""

    __slots__ = ("_held", "_in_trailers", "_left", "_trailers_size", "done", "rest")

    def __init__(self) -> None:
        self._held = b""  # the beginning of a line
        self._left = 0  # of the present chunk, its line end included
        self._in_trailers = False
        self._trailers_size = 0
        self.done = False
        self.rest = b""

    def feed(self, data: bytes) -> bytes:
        data = self._held + data if self._held else data
        self._held = b""
        content: list[bytes] = []
        at, size = 0, len(data)
        while at < size and not self.done:
            at = self._take_chunk(data, at, content) if self._left else self._take_line(data, at)
        if self.done:
            self.rest = data[at:]
        return content[0] if len(content) == 1 else b"".join(content)

    def _take_chunk(self, data: bytes, at: int, content: list[bytes]) -> int:
        wanted = self._left - 2
        if wanted > 0:
            piece = data[at : at + wanted]
            content.append(piece)
            self._left -= len(piece)
            return at + len(piece)
        end = data[at : at + self._left]
        if not b"\r\n"[2 - self._left :].startswith(end):
            raise BadMessage(400, "bad_chunk", "A chunk does not end where its size says.")
        self._left -= len(end)
        return at + len(end)

    def _take_line(self, data: bytes, at: int) -> int:
        end = data.find(b"\r\n", at)
        if end < 0:
            self._held = data[at:]
            if len(self._held) > (_TRAILERS_MAX if self._in_trailers else _LINE_MAX) or b"\n" in self._held:
                raise BadMessage(400, "bad_chunk", "A chunk's size line does not end.")
            return len(data)
        line = data[at:end]
        if self._in_trailers:
            self._take_trailer(line)
        else:
            self._take_size(line)
        return end + 2

    def _take_size(self, line: bytes) -> None:
        match = _match_size(line)
        if match is None or len(line) > _LINE_MAX:
            raise BadMessage(400, "bad_chunk", "A chunk's size is not a hexadecimal number.")
        length = int(match[1], 16)
        self._in_trailers = length == 0
        self._left = length + 2 if length else 0

    def _take_trailer(self, line: bytes) -> None:
        if not line:
            self.done = True
            return
        parse_field(line)
        self._trailers_size += len(line)
        if self._trailers_size > _TRAILERS_MAX:
            raise BadMessage(431, "headers_too_large", "The trailers are too large.")
