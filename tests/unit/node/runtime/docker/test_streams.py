"""Frames, log lines and cursors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxcloud.errors import Permanent, Temporary
from fluxcloud.node.runtime.base import LogLine
from fluxcloud.node.runtime.docker.frames import Stream, read_frames, read_pieces
from fluxcloud.node.runtime.docker.logs import (
    LINE_BYTES_MAX,
    SLACK_NS,
    Cursor,
    ResumeFilter,
    parse_cursor,
    parse_lines,
)

STAMP = b"2026-11-23T23:32:37.000000001Z "
STAMP_NS = 1_795_476_757_000_000_001


def frame(stream: int, content: bytes) -> bytes:
    return bytes((stream, 0, 0, 0)) + len(content).to_bytes(4, "big") + content


def feed(raw: bytes) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    reader.feed_data(raw)
    reader.feed_eof()
    return reader


async def collect(frames: AsyncIterator[tuple[Stream, bytes]]) -> list[tuple[str, bytes]]:
    return [piece async for piece in frames]


async def test_frames() -> None:
    raw = frame(1, b"out") + frame(2, b"error") + frame(1, b"") + frame(1, b"cut off")[:-2]
    assert await collect(read_frames(feed(raw), bytes_max=4)) == [("out", b"out"), ("err", b"erro"), ("out", b"")]
    assert await collect(read_pieces(feed(raw))) == [("out", b"out"), ("err", b"error")]


async def test_a_large_frame_comes_in_pieces() -> None:
    raw = frame(1, b"x" * 200_000)
    assert [len(piece) for _, piece in await collect(read_pieces(feed(raw)))] == [65_536, 65_536, 65_536, 3_392]


async def test_what_is_no_frame() -> None:
    for raw in (b"HTTP/1.1 200 OK", b"\x03" + bytes(7)):
        with pytest.raises(Temporary, match="frames"):
            await collect(read_frames(feed(raw), bytes_max=10))


async def as_frames(contents: Iterable[bytes]) -> AsyncIterator[tuple[Stream, bytes]]:
    for content in contents:
        yield "out", content


async def test_lines_of_one_moment_are_numbered_and_long_ones_split() -> None:
    frames = [STAMP + b"a\n", STAMP + b"x" * (LINE_BYTES_MAX + 1), STAMP + b"\n"]
    frames += [b"2026-11-23T23:32:38Z b\n", b"2026-11-23T23:32:38Z \n"]
    found = [line async for _, line in parse_lines(as_frames(frames))]
    assert [(line.cursor, line.text) for line in found] == [
        (f"{STAMP_NS}.1", b"a"),
        (f"{STAMP_NS}.2", b"x" * LINE_BYTES_MAX),
        (f"{STAMP_NS}.3", b"x"),
        ("1795476758000000000.1", b"b"),
        ("1795476758000000000.2", b""),
    ]
    assert found[0].time_ms == STAMP_NS // 1_000_000


def lines_of(*times: int) -> list[tuple[Cursor, LogLine]]:
    found = []
    last = Cursor()
    for time_ns in times:
        last = Cursor(time_ns, last.number + 1 if last.time_ns == time_ns else 1)
        found.append((last, LogLine(last.render(), 0, "out", b"")))
    return found


def resume(lines: list[tuple[Cursor, LogLine]], after: Cursor) -> list[str]:
    resuming = ResumeFilter(after)
    found = [line for cursor, line in lines for line in resuming.take(cursor, line)]
    return [line.cursor for line in (*found, *resuming.finish())]


def test_reading_on_goes_by_the_order_of_the_file() -> None:
    lines = lines_of(5, 9, 7, 7, 8)
    cursors = [line.cursor for _, line in lines]
    for place, (cursor, _) in enumerate(lines):
        assert resume(lines, cursor) == cursors[place + 1 :]
    assert resume(lines, Cursor()) == cursors


def test_reading_on_where_the_line_is_gone() -> None:
    assert resume(lines_of(9, 10), Cursor(8, 1)) == ["9.1", "10.1"]
    assert resume(lines_of(9, 10), Cursor(9, 5)) == ["10.1"]
    assert resume([], Cursor(9, 5)) == []


def test_a_follower_does_not_wait_for_a_line_that_is_gone() -> None:
    resuming = ResumeFilter(Cursor(8, 1))
    (early, late) = lines_of(9, 9 + SLACK_NS)
    assert resuming.take(*early) == []
    assert [line.cursor for line in resuming.take(*late)] == ["9.1", late[1].cursor]


@given(st.lists(st.integers(1, 50), max_size=30), st.data())
def test_nothing_is_lost_or_twice(times: list[int], data: st.DataObject) -> None:
    """For lines in the order of their times, as one output alone gives them."""
    lines = lines_of(*sorted(times))
    if lines:
        place = data.draw(st.integers(0, len(lines) - 1))
        assert resume(lines, lines[place][0]) == [line.cursor for _, line in lines[place + 1 :]]


def test_cursors() -> None:
    assert parse_cursor("") == Cursor()
    assert parse_cursor("12.3") == Cursor(12, 3)
    assert parse_cursor("12") == Cursor(12, 0)
    for text in ("x", "1.", ".1", "-1", "1.2.3", "1" * 21, "\u0661"):
        with pytest.raises(Permanent, match="cursor"):
            parse_cursor(text)
