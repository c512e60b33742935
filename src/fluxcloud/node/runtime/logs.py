"""Reads a component's log (written by logwriter.py). A cursor is the count of bytes up to the end of a line."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import BinaryIO

from ...errors import Permanent
from .base import LogLine

_POLL_S = 0.1
_LINES_PER_TURN = 1_000


async def read_log(folder: Path, *, after: str, tail: int | None, follow: bool) -> AsyncIterator[LogLine]:
    """Lines after a cursor (what was deleted since is passed over), or the last `tail` ones, then as they come.

    Following ends when the copy is removed. Raises Permanent for a cursor that is none.
    """
    position = parse_cursor(after)
    if tail is not None:
        last = deque(_read_lines(folder, position), maxlen=tail)
        for line in last:
            yield line
        position = max(position, int(last[-1].cursor)) if last else _get_end(folder) if tail == 0 else position
    while True:
        count = 0
        for line in _read_lines(folder, position):
            position = int(line.cursor)
            yield line
            count += 1
            if count == _LINES_PER_TURN:
                break
        if count == _LINES_PER_TURN:
            await asyncio.sleep(0)  # let others run
        elif not follow or not folder.is_dir():
            return
        else:
            await asyncio.sleep(_POLL_S)


def parse_cursor(text: str) -> int:
    if text and not (text.isascii() and text.isdigit() and len(text) < 20):
        raise Permanent(f"log cursor {text[:40]!r}: allowed is one that came with a line")
    return int(text or 0)


def parse_line(raw: bytes, cursor: int) -> LogLine | None:
    """None for a line cut off by a full disk."""
    time_ms, _, rest = raw.partition(b" ")
    if not time_ms.isdigit() or rest[:2] not in (b"o ", b"e "):
        return None
    return LogLine(str(cursor), int(time_ms), "out" if rest[:1] == b"o" else "err", rest[2:])


def _list_segments(folder: Path) -> list[tuple[int, Path]]:
    try:
        return sorted((int(path.name), path) for path in folder.iterdir() if path.name.isdigit())
    except FileNotFoundError:
        return []


def _read_lines(folder: Path, position: int) -> Iterator[LogLine]:
    for start, path in _list_segments(folder):
        try:
            file = path.open("rb")
        except FileNotFoundError:  # deleted a moment ago: as if it had been before
            continue
        with file:
            yield from _read_segment(file, start, position)


def _read_segment(file: BinaryIO, start: int, position: int) -> Iterator[LogLine]:
    skip = max(position - start, 0)
    file.seek(skip)
    at = start + skip
    for raw in file:
        if not raw.endswith(b"\n"):  # still being written
            return
        at += len(raw)
        line = parse_line(raw[:-1], at)
        if line is not None:
            yield line


def _get_end(folder: Path) -> int:
    segments = _list_segments(folder)
    return segments[-1][0] + segments[-1][1].stat().st_size if segments else 0
