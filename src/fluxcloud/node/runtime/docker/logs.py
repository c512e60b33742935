"""Logs of a component as the engine keeps them: lines with a time each, in frames.

A cursor is a line's time in nanoseconds and its number among the lines of that very time. Two outputs are written by
two hands, so lines may stand a little out of the order of their times: reading on begins a moment before the cursor's
time, passes over everything up to the line that the cursor names, and goes by the order of the file from there.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import NamedTuple

from ....errors import Permanent
from ..base import LogLine
from .answers import parse_time_ns
from .api import DockerApi
from .frames import Reader, Stream, read_frames
from .transport import Conflict, NotFound

LINE_BYTES_MAX = 16_384
SLACK_NS = 1_000_000_000
_FRAME_BYTES_MAX = 1 << 20
_SAME_TIME_MAX = 64  # pieces of one long line have one time
_CURSOR = re.compile(r"(\d{1,20})(?:\.(\d{1,9}))?", re.ASCII)


class Cursor(NamedTuple):
    """0, 0 stands before all lines."""

    time_ns: int = 0
    number: int = 0

    def render(self) -> str:
        return f"{self.time_ns}.{self.number}"


def parse_cursor(text: str) -> Cursor:
    """Raises Permanent."""
    if not text:
        return Cursor()
    found = _CURSOR.fullmatch(text)
    if found is None:
        raise Permanent(f"log cursor {text[:40]!r}: allowed is one that came with a line")
    return Cursor(int(found[1]), int(found[2] or 0))


class ResumeFilter:
    """Decides for lines in the order of the file which of them come after a cursor."""

    def __init__(self, after: Cursor) -> None:
        self._after = after
        self._is_past = after == Cursor()
        self._newer: list[LogLine] = []  # seen before the cursor's own line, which may be gone

    def take(self, cursor: Cursor, line: LogLine) -> list[LogLine]:
        """What can be given out now."""
        if self._is_past:
            return [line]
        if cursor == self._after:
            self._is_past, self._newer = True, []
            return []
        if cursor > self._after:
            self._newer.append(line)
        return self.finish() if cursor.time_ns > self._after.time_ns + SLACK_NS else []

    def finish(self) -> list[LogLine]:
        """The cursor's line is not there any more: what is newer comes after it."""
        self._is_past, found = True, self._newer
        self._newer = []
        return found


async def parse_lines(frames: AsyncIterator[tuple[Stream, bytes]]) -> AsyncIterator[tuple[Cursor, LogLine]]:
    """Pieces of a line that the engine gives apart stay apart, but the end of one is no line of its own."""
    last = Cursor()
    unended: set[Stream] = set()
    async for stream, frame in frames:
        stamp, _, text = frame.partition(b" ")
        if text == b"\n" and stream in unended:
            unended.discard(stream)
            continue
        (unended.discard if text.endswith(b"\n") else unended.add)(stream)
        time_ns = parse_time_ns(stamp.decode(errors="replace"))
        text = text.removesuffix(b"\n")
        for start in range(0, max(len(text), 1), LINE_BYTES_MAX):
            last = Cursor(time_ns, last.number + 1 if time_ns == last.time_ns else 1)
            piece = text[start : start + LINE_BYTES_MAX]
            yield last, LogLine(last.render(), time_ns // 1_000_000, stream, piece)


class LogReader:
    """The logs of one container. `wait` returns when following on may be worth while."""

    def __init__(self, api: DockerApi, container: str, wait: Callable[[], Awaitable[None]]) -> None:
        self._api = api
        self._container = container
        self._wait = wait

    async def read(self, *, after: str, tail: int | None, follow: bool) -> AsyncIterator[LogLine]:
        """Following ends when the container is removed. Raises Permanent for a cursor that is none."""
        position = parse_cursor(after)
        if tail is not None:
            kept: deque[LogLine] = deque(maxlen=tail)
            async for line in self._read_once(position, "all" if after else str(tail + _SAME_TIME_MAX)):
                kept.append(line)
                position = parse_cursor(line.cursor)
            for line in kept:
                yield line
            if not follow:
                return
        while True:
            try:
                async for line in self._read_once(position, "all", follow=follow):
                    position = parse_cursor(line.cursor)
                    yield line
            except NotFound:
                if follow:
                    return
                raise
            except Conflict:  # it is being removed
                if not follow:
                    raise
            if not follow:
                return
            await self._wait()

    async def _read_once(self, position: Cursor, tail: str, *, follow: bool = False) -> AsyncIterator[LogLine]:
        params = {"stdout": "1", "stderr": "1", "timestamps": "1", "tail": tail, "follow": "1" if follow else "0"}
        if position.time_ns:
            since_ns = max(position.time_ns - SLACK_NS, 1)
            params["since"] = f"{since_ns // 1_000_000_000}.{since_ns % 1_000_000_000:09d}"
        resume = ResumeFilter(position)
        async with self._api.logs(self._container, params) as response:
            reader: Reader = response.content
            async for cursor, line in parse_lines(read_frames(reader, bytes_max=_FRAME_BYTES_MAX)):
                for found in resume.take(cursor, line):
                    yield found
        for found in resume.finish():
            yield found
