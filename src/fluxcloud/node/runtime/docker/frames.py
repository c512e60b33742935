"""The engine's way to send two outputs in one stream: frames of 8 bytes head (stream, length) and content."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Literal, Protocol

from ....errors import Temporary

Stream = Literal["out", "err"]
HEAD_BYTES = 8
_PIECE_BYTES = 65_536
_ERR = 2


class Reader(Protocol):
    """An asyncio stream, or the content of an HTTP answer."""

    async def readexactly(self, n: int, /) -> bytes: ...


def parse_head(head: bytes) -> tuple[Stream, int]:
    """Raises Temporary for what is no frame."""
    if head[0] > _ERR or any(head[1:4]):
        raise Temporary("Docker sends something else than frames of output")
    return ("err" if head[0] == _ERR else "out"), int.from_bytes(head[4:], "big")


async def read_pieces(reader: Reader) -> AsyncIterator[tuple[Stream, bytes]]:
    """All content in pieces, until the stream ends, also in the middle of a frame."""
    try:
        while True:
            stream, left = parse_head(await reader.readexactly(HEAD_BYTES))
            while left:
                piece = await reader.readexactly(min(left, _PIECE_BYTES))
                left -= len(piece)
                yield stream, piece
    except asyncio.IncompleteReadError:
        return


async def read_frames(reader: Reader, *, bytes_max: int) -> AsyncIterator[tuple[Stream, bytes]]:
    """Frame by frame. What of one is longer than `bytes_max` is passed over."""
    try:
        while True:
            stream, size = parse_head(await reader.readexactly(HEAD_BYTES))
            content = await reader.readexactly(min(size, bytes_max))
            left = size - len(content)
            while left:
                left -= len(await reader.readexactly(min(left, _PIECE_BYTES)))
            yield stream, content
    except asyncio.IncompleteReadError:
        return
