"""Waiting for processes and pipes in an event loop, always with a bound."""

from __future__ import annotations

import asyncio
import os


async def wait_readable(file: int, timeout_s: float) -> bool:
    """Whether the descriptor became readable (or ended) in time."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_reader(file, wake, ready)
    try:
        async with asyncio.timeout(timeout_s):
            await ready
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(file)
    return True


def wake(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


async def read_until(file: int, words: tuple[bytes, ...], timeout_s: float) -> bool:
    """Whether all these words came, in any order, before the stream's end and the timeout."""
    seen = b""
    deadline = asyncio.get_running_loop().time() + timeout_s
    while not all(word in seen for word in words):
        left = deadline - asyncio.get_running_loop().time()
        if left <= 0 or not await wait_readable(file, left):
            return False
        chunk = os.read(file, 4096)
        if not chunk:
            return False
        seen += chunk
    return True
