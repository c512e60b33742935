"""A chain node as its clients meet it: transfers, proofs, followers, restarts, and what strangers may send."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import aiohttp
import pytest

from factories_chain import CHAIN_ID, make_wallets, sign_transfer
from fluxcloud.chain.errors import EXIT_CONFIG, EXIT_STORAGE
from fluxcloud.codec import Codec, encode
from fluxcloud.errors import Rejected, Temporary
from fluxcloud.ledger.accounts.messages import Transfer, Transferred
from fluxcloud.ledger.accounts.model import ACCOUNTS, SUPPLY
from fluxcloud.ledger.tx import SIGNED_TX, compute_tx_id
from fluxcloud.rpc import RPC_ERROR, EventsRequest, SubmitAnswer, TxRequest, WatchRequest
from fluxcloud.sdk.client import Update
from fluxcloud.sdk.sync import SyncChain
from fluxcloud.sdk.transport import HttpTransport, call
from fluxcloud.sdk.wallet import Wallet

from .chain_world import ChainProcess

FLUX_1000 = 1_000 * 10**8
_ANSWER: Codec[SubmitAnswer] = Codec(SubmitAnswer)


@pytest.fixture
def wallets() -> list[Wallet]:
    return make_wallets(4)


@pytest.fixture
async def node(tmp_path: Path, wallets: list[Wallet]) -> AsyncIterator[ChainProcess]:
    process = ChainProcess(tmp_path / "chain", wallets)
    await process.start()
    yield process
    process.end()


async def test_transfer_is_proven_and_told(node: ChainProcess, wallets: list[Wallet]) -> None:
    alice, bob = wallets[:2]
    async with node.connect() as chain:
        done = await chain.submit((Transfer(bob.address, 7), Transfer(bob.address, 5)), alice)
        assert done.events == (Transferred(alice.address, bob.address, 7), Transferred(alice.address, bob.address, 5))
        async for update in chain.watch(keys=[(ACCOUNTS, bob.address)]):
            if update.height >= done.height:
                break
        account = await chain.read(ACCOUNTS, bob.address)
        assert account is not None
        assert account.balance == FLUX_1000 + 12
        assert await chain.read(ACCOUNTS, b"\0" * 21) is None
        assert dict(await chain.scan(ACCOUNTS))[bob.address] == account
        blocks = [block async for block in chain.events(done.height, follow=False)]
        assert [event for index, event in blocks[0].events if index == done.index] == list(done.events)
        status = await chain.status()
        assert (status.chain_id, status.engine, status.first_height) == (CHAIN_ID, "solo", 1)
    assert await node.stop() == 0


async def test_submits_of_one_wallet_from_two_clients(node: ChainProcess, wallets: list[Wallet]) -> None:
    alice, bob = wallets[:2]
    async with node.connect() as one, node.connect() as two:
        clients = (one, two, one, two)
        done = await asyncio.gather(*(client.submit((Transfer(bob.address, 1),), alice) for client in clients))
        assert len({submitted.tx_id for submitted in done}) == 4
    assert node.log.count("warning") == 0


async def test_refused_transactions_keep_the_nonce_in_step(node: ChainProcess, wallets: list[Wallet]) -> None:
    alice, bob = wallets[:2]
    async with node.connect() as chain:
        with pytest.raises(Rejected) as refused:
            await chain.submit((Transfer(bob.address, 1),), alice, fee=1)
        assert refused.value.code == "tx/16"
        with pytest.raises(Rejected) as failed:
            await chain.submit((Transfer(bob.address, FLUX_1000 * 2),), alice)
        assert failed.value.code.startswith("accounts/")
        await chain.submit((Transfer(bob.address, 1),), alice)


async def test_same_bytes_twice_are_applied_once(node: ChainProcess, wallets: list[Wallet]) -> None:
    async with node.connect() as chain, HttpTransport(node.url) as transport:
        until_ms = (await chain.status()).time_ms + 60_000
        raw = sign_transfer(wallets[0], 0, wallets[1], valid_until_ms=until_ms)
        answers = await asyncio.gather(*(call(transport, "submit", raw) for _ in range(3)))
        again = await call(transport, "submit", raw)
        assert len({*answers, again}) == 1
        answer = _ANSWER.decode(again)
        assert answer.code == ""
        asked = encode(TxRequest(compute_tx_id(SIGNED_TX.decode(raw).body)))
        assert await call(transport, "tx", asked) == again


async def test_watch_and_events_go_on_over_a_kill(node: ChainProcess, wallets: list[Wallet]) -> None:
    alice, bob = wallets[:2]
    async with node.connect() as chain:
        first = await chain.submit((Transfer(bob.address, 1),), alice)
        heights: list[int] = []
        seen = asyncio.Event()

        async def follow_events() -> None:
            async for block in chain.events(1):
                heights.append(block.height)
                if block.height > first.height + 4:
                    return

        async def follow_account() -> None:
            async for update in chain.watch(keys=[(ACCOUNTS, bob.address)], tables=(SUPPLY,)):
                account = update.get(ACCOUNTS).get(bob.address)
                if account is not None and account.balance == FLUX_1000 + 2:
                    return
                seen.set()

        followers = asyncio.gather(follow_events(), follow_account())
        await seen.wait()
        await node.kill()
        await node.start()
        await chain.submit((Transfer(bob.address, 1),), alice)
        async with asyncio.timeout(20):
            await followers
        assert heights == list(range(1, first.height + 6))


async def test_submit_waits_out_a_restart(node: ChainProcess, wallets: list[Wallet]) -> None:
    async with node.connect() as chain:
        await chain.submit((Transfer(wallets[1].address, 1),), wallets[0])
        await node.kill()
        waiting = asyncio.create_task(chain.submit((Transfer(wallets[1].address, 1),), wallets[0]))
        await node.start()
        async with asyncio.timeout(15):
            await waiting


async def test_unreachable_is_said(wallets: list[Wallet], node: ChainProcess) -> None:
    await node.stop()
    async with node.connect() as chain:
        with pytest.raises(Temporary, match=rf"the chain node at {node.url} does not answer .* check that it runs"):
            await chain.status()


def test_sync_client(tmp_path: Path, wallets: list[Wallet]) -> None:
    process = ChainProcess(tmp_path / "chain", wallets)
    asyncio.run(process.start())
    with SyncChain(process.url, process.genesis) as chain:
        done = chain.submit((Transfer(wallets[1].address, 3),), wallets[0])
        assert chain.status().height >= done.height
        assert [block.height for block in chain.events(1)][: done.height] == list(range(1, done.height + 1))
        account = chain.read(ACCOUNTS, wallets[2].address)
        assert account is not None
        assert (account.balance, len(chain.scan(ACCOUNTS))) == (FLUX_1000, 5)
    process.end()


@pytest.mark.parametrize(
    ("method", "body", "status", "code"),
    [
        ("submit", b"", 400, "rpc/1"),
        ("submit", os.urandom(2_000), 400, "rpc/1"),
        ("read", b"\xff" * 100, 400, "rpc/1"),
        ("read", b"\x92\x00\x91\x92\xa5nodes\xc4\xff" + bytes(50), 400, "rpc/1"),
        ("watch", encode(WatchRequest((), ("nothing",))), 400, "rpc/6"),
        ("events", encode(EventsRequest(10**9, True)), 400, "rpc/5"),
        ("status", b"x", 400, "rpc/1"),
        ("reads", b"", 404, "rpc/2"),
        ("../livez", b"", 404, "rpc/2"),
        ("submit", bytes(300_000), 413, "rpc/3"),
    ],
)
async def test_garbage_is_refused_with_a_code(
    node: ChainProcess, method: str, body: bytes, status: int, code: str
) -> None:
    async with aiohttp.ClientSession() as session, session.post(f"{node.url}/rpc/{method}", data=body) as response:
        error = RPC_ERROR.decode(await response.read())
        assert (response.status, error.code) == (status, code), error.message
    async with node.connect() as chain:
        assert (await chain.status()).chain_id == CHAIN_ID


async def test_garbage_on_the_wire_and_slow_senders_are_cut_off(tmp_path: Path, wallets: list[Wallet]) -> None:
    process = ChainProcess(tmp_path / "chain", wallets, config={"rpc": {"idle_s": 3, "connections_max": 8}})
    await process.start()
    port = int(process.url.rpartition(":")[2])
    slow = [socket.create_connection(("127.0.0.1", port)) for _ in range(7)]
    for number, connection in enumerate(slow):
        connection.sendall(b"" if number == 0 else b"POST /rpc/submit HTTP/1.1\r\nHost: x\r\nX-Drip: ")
    async with process.connect() as chain:
        assert (await chain.status()).chain_id == CHAIN_ID
        over = socket.create_connection(("127.0.0.1", port))
        assert (await asyncio.to_thread(over.recv, 100)).startswith(b"HTTP/1.1 503 ")
        over.close()
        for connection in slow:
            connection.settimeout(10)
            assert await asyncio.to_thread(connection.recv, 100) == b""
            connection.close()
        garbage = socket.create_connection(("127.0.0.1", port))
        garbage.sendall(os.urandom(100) + b"\r\n\r\n")
        assert (await asyncio.to_thread(garbage.recv, 100)).startswith(b"HTTP/1.0 400 ")
        garbage.close()
        await chain.submit((Transfer(wallets[1].address, 1),), wallets[0])
    assert await process.stop() == 0
    assert "Traceback" not in process.log


async def test_follower_that_does_not_read_costs_nothing(node: ChainProcess, wallets: list[Wallet]) -> None:
    port = int(node.url.rpartition(":")[2])
    body = encode(WatchRequest((), ("accounts", "supply", "clock")))
    idle = socket.create_connection(("127.0.0.1", port))
    idle.sendall(b"POST /rpc/watch HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    async with node.connect() as chain:
        for _ in range(3):
            await chain.submit((Transfer(wallets[1].address, 1),), wallets[0])
    async with aiohttp.ClientSession() as session, session.get(f"{node.url}/metrics") as response:
        assert "fluxcloud_chain_watchers 1\n" in await response.text()
    idle.close()
    assert await node.stop() == 0


async def test_health_pages(node: ChainProcess) -> None:
    async with node.connect() as chain:
        await chain.read(SUPPLY, "")
    async with aiohttp.ClientSession() as session:
        for page, status in (("livez", 200), ("readyz", 200), ("metrics", 200), ("other", 404)):
            async with session.get(f"{node.url}/{page}") as response:
                assert response.status == status


async def test_node_that_hangs_is_found_dead_by_followers(
    node: ChainProcess, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("fluxcloud.sdk.following.SILENCE_S", 1.0)
    async with node.connect() as chain, aclosing(chain.watch(keys=[(SUPPLY, "")])) as updates:
        before = await anext(updates)
        node.signal(signal.SIGSTOP)
        following = asyncio.ensure_future(_follow_beyond(updates, before.height + 3))
        async with asyncio.timeout(20):
            while "has sent no header for 1 s" not in caplog.text:
                await asyncio.sleep(0.05)
            node.signal(signal.SIGCONT)
            await following


async def _follow_beyond(updates: AsyncIterator[Update], height: int) -> None:
    async for update in updates:
        if update.height > height:
            return


async def test_homes_that_are_wrong(tmp_path: Path, wallets: list[Wallet]) -> None:
    process = ChainProcess(tmp_path / "chain", wallets)
    await process.start()
    twin = ChainProcess(tmp_path / "other", wallets)
    twin.home = process.home
    twin._starts = 10
    twin.launch()
    assert await twin.wait_exit() == EXIT_STORAGE
    assert "is in use by another chain node" in twin.log
    await process.stop()

    process.launch(python=("-O",))
    assert await process.wait_exit() == EXIT_CONFIG
    assert "start without -O" in process.log

    genesis = process.home / "genesis.json"
    text = genesis.read_text()
    genesis.write_text(text.replace(CHAIN_ID, "other-1"))
    process.launch()
    assert await process.wait_exit() == EXIT_STORAGE
    assert "of another genesis file" in process.log
    genesis.write_text(text[:-10])
    process.launch()
    assert await process.wait_exit() == EXIT_CONFIG
    assert "genesis.json" in process.log
    genesis.write_text(text)

    data = process.home / "data" / "data.mdb"
    data.write_bytes(data.read_bytes()[:20_000])
    process.launch()
    assert await process.wait_exit() == EXIT_STORAGE
    assert "is damaged" in process.log
    assert "Traceback" not in process.log


async def test_full_disk_stops_the_node_and_loses_nothing(tmp_path: Path, wallets: list[Wallet]) -> None:
    process = ChainProcess(tmp_path / "chain", wallets)
    process.launch(limits=(65_000, 65_000))
    assert await process.wait_exit() == EXIT_STORAGE
    assert str(process.home) in process.log
    assert "Free space there" in process.log
    assert "Traceback" not in process.log
    await process.start()
    async with process.connect() as chain:
        await chain.submit((Transfer(wallets[1].address, 1),), wallets[0])
    process.end()
