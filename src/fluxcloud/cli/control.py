"""The control socket of a running `fluxcloud up`: other commands ask it to hold, fault and heal its children.

A unix socket in the data directory (mode 0600), one JSON object a line each way: `{"verb": …, …}` -> `{"ok": …}` or
`{"error": {"message", "exit", "code", "try"}}`. The supervisor answers in `cli/up.py`; this is the line protocol and
the client.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ..errors import FluxCloudError
from .output import UNREACHABLE, USAGE, CliError, as_cli_error

LINE_MAX = 64 * 1024
Answer = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


async def serve_control(path: Path, answer: Answer) -> asyncio.Server:
    """Answer requests at `path` with what `answer` returns; its errors become `error` lines."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, ValueError):
            while line := await reader.readline():
                writer.write(json.dumps(await _answer_one(answer, line)).encode() + b"\n")
                await writer.drain()
        writer.close()

    with suppress(FileNotFoundError):
        path.unlink()
    with _reachable(path) as address:
        server = await asyncio.start_unix_server(handle, address, limit=LINE_MAX)
    path.chmod(0o600)
    return server


async def _answer_one(answer: Answer, line: bytes) -> dict[str, Any]:
    try:
        request = json.loads(line)
        return {"ok": await answer(request)}
    except FluxCloudError as error:
        failure = as_cli_error(error)
        told = {"message": str(failure), "exit": failure.exit_code, "code": failure.code, "try": failure.hints}
        return {"error": told}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        return {"error": {"message": f"bad request: {error}", "exit": USAGE, "code": "", "try": ()}}


async def ask_control(path: Path, verb: str, **arguments: Any) -> dict[str, Any]:
    """One request. Raises CliError where nobody runs the network, or where it refuses."""
    try:
        with _reachable(path) as address:
            reader, writer = await asyncio.open_unix_connection(address, limit=16 * LINE_MAX)
    except (FileNotFoundError, ConnectionRefusedError):
        message = f"no network runs from {path.parent}"
        raise CliError(message, exit_code=UNREACHABLE, hints=("fluxcloud up",)) from None
    try:
        writer.write(json.dumps({"verb": verb, **arguments}).encode() + b"\n")
        line = await reader.readline()
    finally:
        writer.close()
    if not line:
        raise CliError("the network went away while it was asked", exit_code=UNREACHABLE, hints=("fluxcloud up",))
    reply = json.loads(line)
    if "error" in reply:
        told = reply["error"]
        raise CliError(told["message"], exit_code=told["exit"], code=told["code"], hints=told["try"])
    ok: dict[str, Any] = reply["ok"]
    return ok


@contextmanager
def _reachable(path: Path) -> Iterator[str]:
    """The path as a socket address: at most 107 bytes; a longer one goes through its directory's descriptor."""
    if len(os.fsencode(path)) < 108:
        yield str(path)
        return
    descriptor = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/{path.name}"
    finally:
        os.close(descriptor)
