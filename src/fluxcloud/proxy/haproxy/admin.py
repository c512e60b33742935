"""Admin: HAProxy's runtime API over one kept connection.

Commands go out together and are answered in order, each answer ended by a prompt. One batch at a time.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from fluxcloud.errors import Temporary

from .commands import Command

_PROMPT: Final = b"\n> "
_LIMIT: Final = 64 * 2**20
"""Bytes of one answer: the statistics of a large pool are long."""


class AdminFailed(Temporary):
    """HAProxy does not answer, or not as it should."""


class CommandRefused(AdminFailed):
    """HAProxy answers a command with something else than what it should."""


class Admin:
    """A connection to one process of HAProxy. Broken after an AdminFailed that is no CommandRefused."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._lock = asyncio.Lock()

    @classmethod
    async def connect(cls, directory: Path, name: str) -> Admin:
        """Raises OSError or AdminFailed. The directory's path may be longer than a socket's may be."""
        descriptor = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            path = f"/proc/self/fd/{descriptor}/{name}"
            reader, writer = await asyncio.open_unix_connection(path, limit=_LIMIT)
        finally:
            os.close(descriptor)
        admin = cls(reader, writer)
        await admin._exchange(b"prompt\n", 1, 5.0)
        return admin

    async def run(self, commands: Iterable[Command], timeout_s: float = 30.0) -> list[str]:
        """The answers. Raises AdminFailed when none comes in time, CommandRefused for one that isn't expected."""
        commands = tuple(commands)
        if not commands:
            return []
        answers = await self._exchange("".join(map(_render, commands)).encode(), len(commands), timeout_s)
        for command, answer in zip(commands, answers, strict=True):
            if not _is_expected(command, answer):
                raise CommandRefused(f"haproxy: {command.line!r} was answered {answer!r}")
        return answers

    async def ask(self, line: str, timeout_s: float = 30.0) -> str:
        """The answer to one command, whatever it is."""
        (answer,) = await self._exchange(f"{line}\n".encode(), 1, timeout_s)
        return answer

    def close(self) -> None:
        self._writer.transport.abort()

    async def _exchange(self, data: bytes, count: int, timeout_s: float) -> list[str]:
        async with self._lock:
            try:
                async with asyncio.timeout(timeout_s):
                    sending = asyncio.ensure_future(self._send(data))
                    try:
                        raw = [await self._reader.readuntil(_PROMPT) for _ in range(count)]
                    finally:
                        sending.cancel()
            except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError) as error:
                self.close()
                raise AdminFailed(f"haproxy does not answer on its admin socket: {type(error).__name__}") from None
            except asyncio.CancelledError:
                self.close()  # what is still to come would be taken for another's answer
                raise
        return [_read_answer(piece) for piece in raw]

    async def _send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()


def _render(command: Command) -> str:
    if not command.payload:
        return f"{command.line}\n"
    assert "\n\n" not in command.payload, "an empty line ends a payload"
    return f"{command.line} <<\n{command.payload}\n\n"


def _read_answer(raw: bytes) -> str:
    """Without prompts, of which there is a `+ ` for each line of a payload."""
    text = raw.removesuffix(_PROMPT).decode()
    while text.startswith("+ "):
        text = text[2:]
    return text.strip()


def _is_expected(command: Command, answer: str) -> bool:
    return command.expect in answer if command.expect else answer == ""
