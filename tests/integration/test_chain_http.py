"""The node's HTTP face against clients that are slow on purpose; the server runs in this process."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from factories_chain import NO_LIMITS, SmallChain, make_home, make_wallets, open_chain, run_blocks
from fluxcloud.chain.config import RpcConfig
from fluxcloud.chain.http import RpcServer
from fluxcloud.chain.store import Store
from fluxcloud.codec import encode
from fluxcloud.errors import Rejected
from fluxcloud.rpc import HeaderRequest, WatchRequest
from fluxcloud.sdk.transport import HttpTransport, call


@pytest.fixture
async def chain(tmp_path: Path) -> AsyncIterator[SmallChain]:
    opened = open_chain(tmp_path, make_home(tmp_path, make_wallets(300)))
    opened.step()
    yield opened
    opened.close()


@pytest.fixture
async def port(chain: SmallChain) -> AsyncIterator[int]:
    server = RpcServer(RpcConfig(port=0), chain.service)
    port = await server.start()
    assert server._server is not None
    server._server.sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8_192)  # its connections have it too
    yield port
    await server.stop()


async def test_body_that_drips_is_refused(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fluxcloud.chain.http.BODY_TIMEOUT_S", 0.2)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST /rpc/submit HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc")
    answer = await reader.readuntil(b"\r\n")
    assert answer == b"HTTP/1.1 408 Request Timeout\r\n"
    writer.close()


async def test_follower_that_reads_nothing_is_cut_off(
    port: int, chain: SmallChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fluxcloud.chain.http.WRITE_TIMEOUT_S", 0.2)
    follower = socket.socket()
    follower.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    follower.connect(("127.0.0.1", port))
    body = encode(WatchRequest((), ("accounts", "clock", "supply", "validators")))
    follower.sendall(b"POST /rpc/watch HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    async with asyncio.timeout(30), run_blocks(chain):
        while not chain.hub.watchers:
            await asyncio.sleep(0.01)
        while chain.hub.watchers:
            await asyncio.sleep(0.01)
    follower.close()


async def test_failure_of_ours_is_answered_and_logged(
    port: int, chain: SmallChain, caplog: pytest.LogCaptureFixture
) -> None:
    chain.store.close()
    async with HttpTransport(f"http://127.0.0.1:{port}") as transport:
        with pytest.raises(Rejected, match="its log says how") as error:
            await call(transport, "header", encode(HeaderRequest(1)))
    assert error.value.code == "rpc/10"
    assert "request failed" in caplog.text
    chain.store = Store(chain.store.home, NO_LIMITS)
