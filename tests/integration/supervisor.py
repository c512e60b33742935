"""What a supervisor of a program does: gives it a port, and asks it there."""

from __future__ import annotations

import asyncio
import socket

import aiohttp


def find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def wait_told(port: int, page: str, told: str, status: int = 200) -> None:
    """Until the page has this status and these words in it."""
    async with asyncio.timeout(20), aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.get(f"http://127.0.0.1:{port}/{page}") as response:
                    if response.status == status and told in await response.text():
                        return
            except aiohttp.ClientConnectionError:
                pass  # it is not up yet
            await asyncio.sleep(0.05)
