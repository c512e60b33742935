"""Turns what a container prints into the lines of a bounded log; runs in the copy's relay process.

Folder `log` of a component holds segments named by the count of bytes before them. A line is `<ms> <o|e> <text>`;
text of over LINE_BYTES_MAX is split. At half the bound a new segment begins and all but the last one are deleted, so
the bound holds whether or not an agent runs, and a position counted from the beginning stays good. Read by logs.py.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import time

from .relay import Loop

LINE_BYTES_MAX = 16 * 1024
_READ_BYTES = 65_536


class LogFolder:
    """Appends lines. Works on an open folder: the process has given up the right to find it by its path."""

    def __init__(self, folder: int, bytes_max: int) -> None:
        self._folder = folder
        self._segment_max = max(bytes_max // 2, 4 * LINE_BYTES_MAX)
        segments = sorted(name for name in os.listdir(folder) if name.isdigit())
        self._start = int(segments[-1]) if segments else 0
        self._file = self._open()
        self._size = os.fstat(self._file).st_size

    def append(self, raw: bytes) -> None:
        """A full disk loses the lines, never the process."""
        if self._size and self._size + len(raw) > self._segment_max:
            self._turn()
        with contextlib.suppress(OSError):
            self._size += os.write(self._file, raw)

    def _open(self) -> int:
        name = f"{self._start:020d}"
        return os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600, dir_fd=self._folder)

    def _turn(self) -> None:
        last = f"{self._start:020d}"
        os.close(self._file)
        self._start += self._size
        self._size = 0
        self._file = self._open()
        for name in os.listdir(self._folder):
            if name.isdigit() and name not in (last, f"{self._start:020d}"):
                os.unlink(name, dir_fd=self._folder)


class LogPipe:
    """One stream (`o` or `e`) of one component, from its named pipe, over all its starts."""

    def __init__(self, loop: Loop, folder: int, name: str, mark: bytes, log: LogFolder) -> None:
        self._loop = loop
        self._folder = folder
        self._name = name
        self._mark = mark
        self._log = log
        self._rest = b""
        self._open()

    def _open(self) -> None:
        self._pipe = os.open(self._name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW, dir_fd=self._folder)
        self._loop.watch(self._pipe, selectors.EVENT_READ, self._ready)

    def _ready(self, _: int) -> None:
        try:
            chunk = os.read(self._pipe, _READ_BYTES)
        except BlockingIOError:
            return
        if chunk:
            self._take(chunk)
            return
        # The component has ended. Reading on would be "ready" for ever; a new descriptor waits for the next start.
        if self._rest:
            self._write([self._rest])
            self._rest = b""
        self._loop.watch(self._pipe, 0, self._ready)
        os.close(self._pipe)
        self._open()

    def _take(self, chunk: bytes) -> None:
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        while len(self._rest) >= LINE_BYTES_MAX:
            lines.append(self._rest[:LINE_BYTES_MAX])
            self._rest = self._rest[LINE_BYTES_MAX:]
        if lines:
            self._write(lines)

    def _write(self, lines: list[bytes]) -> None:
        head = b"%d %s " % (time.time_ns() // 1_000_000, self._mark)
        pieces = [line[i : i + LINE_BYTES_MAX] for line in lines for i in range(0, len(line) or 1, LINE_BYTES_MAX)]
        batch = b""
        for piece in pieces:  # many short lines are far longer with their heads
            batch += head + piece + b"\n"
            if len(batch) >= LINE_BYTES_MAX:
                self._log.append(batch)
                batch = b""
        if batch:
            self._log.append(batch)
