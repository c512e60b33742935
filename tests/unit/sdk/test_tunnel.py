"""Tunnels: how ends, breaks, silence and slowness of one side show on the other."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import pytest

from fluxcloud.sdk.tunnel import join

CLOSED = aiohttp.WSMessage(aiohttp.WSMsgType.CLOSED, None, None)


@dataclass
class OtherSide:
    """A WebSocket whose other side says what a test puts in, and reads only while it is open to that."""

    says: asyncio.Queue[aiohttp.WSMessage] = field(default_factory=asyncio.Queue)
    is_reading: asyncio.Event = field(default_factory=asyncio.Event)
    got: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.is_reading.set()

    async def send_bytes(self, data: bytes) -> None:
        await self.is_reading.wait()
        self.got.append(data)

    async def receive(self) -> aiohttp.WSMessage:
        return await self.says.get()

    def say(self, data: bytes) -> None:
        self.says.put_nowait(aiohttp.WSMessage(aiohttp.WSMsgType.BINARY, data, None))


@dataclass
class Joined:
    """`here` is the end that a program would hold."""

    other: OtherSide
    here: socket.socket
    done: asyncio.Task[bool]

    async def read(self, count: int = 65_536) -> bytes:
        return await asyncio.get_running_loop().sock_recv(self.here, count)


@asynccontextmanager
async def joined(idle_s: float = 60.0) -> AsyncIterator[Joined]:
    here, there = socket.socketpair()
    here.setblocking(False)
    reader, writer = await asyncio.open_connection(sock=there)
    other = OtherSide()
    done = asyncio.create_task(join(other, reader, writer, idle_s=idle_s))
    try:
        yield Joined(other, here, done)
    finally:
        here.close()
        done.cancel()
        await asyncio.gather(done, return_exceptions=True)


async def test_both_ends_said__is_whole_and_closed_not_reset() -> None:
    async with joined() as tunnel:
        tunnel.here.sendall(b"question")
        tunnel.here.shutdown(socket.SHUT_WR)
        tunnel.other.say(b"answer")
        tunnel.other.say(b"")
        assert await tunnel.done
        assert (await tunnel.read(), await tunnel.read()) == (b"answer", b"")
        assert b"".join(tunnel.other.got) == b"question"
        assert tunnel.other.got[-1] == b""


async def test_one_end_said__the_other_direction_goes_on() -> None:
    async with joined() as tunnel:
        tunnel.other.say(b"")
        assert await tunnel.read() == b""
        tunnel.here.sendall(b"still here")
        tunnel.here.shutdown(socket.SHUT_WR)
        assert await tunnel.done
        assert b"".join(tunnel.other.got) == b"still here"


async def test_other_side_closes_without_an_end__is_broken() -> None:
    async with joined() as tunnel:
        tunnel.other.say(b"half an ans")
        tunnel.other.says.put_nowait(CLOSED)
        assert not await tunnel.done


async def test_text_message__is_no_part_of_a_stream() -> None:
    async with joined() as tunnel:
        tunnel.other.says.put_nowait(aiohttp.WSMessage(aiohttp.WSMsgType.TEXT, "hello", None))
        assert not await tunnel.done


async def test_program_breaks_off__is_broken() -> None:
    async with joined() as tunnel:
        tunnel.here.close()
        tunnel.other.say(b"x" * 1_000_000)
        tunnel.other.say(b"x" * 1_000_000)
        assert not await tunnel.done


async def test_silence__ends_it_after_the_limit() -> None:
    async with joined(idle_s=0.05) as tunnel:
        assert not await tunnel.done


async def test_other_side_does_not_read__the_program_has_to_wait_and_little_is_held() -> None:
    loop = asyncio.get_running_loop()
    async with joined() as tunnel:
        tunnel.other.is_reading.clear()
        content = bytes(8 << 20)
        sending = asyncio.create_task(loop.sock_sendall(tunnel.here, content))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(sending), 0.3)
        tunnel.other.is_reading.set()
        await sending
        tunnel.here.shutdown(socket.SHUT_WR)
        tunnel.other.say(b"")
        assert await tunnel.done
        assert sum(map(len, tunnel.other.got)) == len(content)


async def test_program_does_not_read__the_other_side_is_not_asked_for_more() -> None:
    async with joined() as tunnel:
        for _ in range(256):
            tunnel.other.say(bytes(32_768))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(tunnel.done), 0.3)
        assert tunnel.other.says.qsize() > 200
