"""The control socket: what the supervisor refuses arrives with its exit code and hints; junk harms nobody."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from fluxcloud.cli.control import ask_control, serve_control
from fluxcloud.cli.output import CliError


async def refuse(request: dict[str, Any]) -> dict[str, Any]:
    if request["verb"] == "status":
        return {"ready": True}
    raise CliError("n9 is unknown", exit_code=4, hints=("fluxcloud node list",))


@asynccontextmanager
async def serving(path: Path) -> AsyncIterator[None]:
    """Until every connection has ended on both sides."""
    server = await serve_control(path, refuse)
    yield
    server.close()
    while len(asyncio.all_tasks()) > 1:
        await asyncio.sleep(0)


async def test_refusal__keeps_its_exit_code_and_hints(tmp_path: Path) -> None:
    async with serving(tmp_path / "control.sock"):
        with pytest.raises(CliError, match="n9 is unknown") as refused:
            await ask_control(tmp_path / "control.sock", "fault", node="n9")
    error = refused.value
    assert (error.exit_code, error.code, error.hints) == (4, "cli/4", ("fluxcloud node list",))


@pytest.mark.parametrize("junk", [b"\xff\xfe", b"[]", b"{}", b"null", b"[" * 60_000, b"x" * 70_000])
async def test_junk__is_answered_or_cut_off(tmp_path: Path, junk: bytes) -> None:
    async with serving(tmp_path / "control.sock"):
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "control.sock"))
        writer.write(junk + b"\n")
        told = await reader.readline()
        assert told == b"" or json.loads(told)["error"]["message"].startswith("bad request: ")
        writer.close()
        await writer.wait_closed()
        assert await ask_control(tmp_path / "control.sock", "status") == {"ready": True}
