"""The RPC's methods without sockets: limits, codes, paging, what is kept, and submitting again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from factories_chain import CHAIN_ID, SmallChain, make_home, make_wallets, open_chain, run_blocks, sign_transfer
from fluxcloud.chain.errors import StorageDamaged
from fluxcloud.chain.store import Limits
from fluxcloud.codec import Codec, Record, encode
from fluxcloud.errors import Rejected
from fluxcloud.headers import SIGNED_HEADER
from fluxcloud.ledger.tx import SIGNED_TX, SignedTx, compute_tx_id
from fluxcloud.rpc import (
    KEYS_MAX,
    SCAN_MAX,
    BlockEvents,
    EventsRequest,
    HeaderRequest,
    Key,
    ReadAnswer,
    ReadRequest,
    ScanAnswer,
    ScanRequest,
    Status,
    SubmitAnswer,
    TxRequest,
    WatchRequest,
)
from fluxcloud.sdk.transport import call
from fluxcloud.sdk.wallet import Wallet

_SUBMIT: Codec[SubmitAnswer] = Codec(SubmitAnswer)
_SCAN: Codec[ScanAnswer] = Codec(ScanAnswer)
_READ: Codec[ReadAnswer] = Codec(ReadAnswer)
_STATUS: Codec[Status] = Codec(Status)
_EVENTS: Codec[BlockEvents] = Codec(BlockEvents)


@pytest.fixture
def wallets() -> list[Wallet]:
    return make_wallets(5)


@pytest.fixture
async def chain(tmp_path: Path, wallets: list[Wallet]) -> AsyncIterator[SmallChain]:
    opened = open_chain(tmp_path, make_home(tmp_path, wallets), limits=Limits(keep_blocks=20, keep_bytes=10**9))
    opened.step()
    yield opened
    opened.close()


async def ask(chain: SmallChain, method: str, request: Record | bytes = b"") -> bytes:
    return await call(chain.service, method, request if isinstance(request, bytes) else encode(request))


async def refuse(chain: SmallChain, method: str, request: Record | bytes) -> str:
    """The code with which a request is refused."""
    with pytest.raises(Rejected) as error:
        await ask(chain, method, request)
    return error.value.code


async def submit(chain: SmallChain, raw: bytes) -> SubmitAnswer:
    async with run_blocks(chain):
        return _SUBMIT.decode(await ask(chain, "submit", raw))


async def test_status(chain: SmallChain) -> None:
    status = _STATUS.decode(await ask(chain, "status"))
    assert (status.chain_id, status.height, status.pending) == (CHAIN_ID, 1, 0)
    assert status.root == chain.app.head.root


async def test_submit__refused_is_answered_at_once(chain: SmallChain, wallets: list[Wallet]) -> None:
    answer = _SUBMIT.decode(await ask(chain, "submit", sign_transfer(wallets[0], 3, wallets[1])))
    assert (answer.height, answer.code) == (0, "tx/14")
    signed = SIGNED_TX.decode(sign_transfer(wallets[0], 0, wallets[1]))
    other = encode(SignedTx(signed.body, wallets[1].sign(compute_tx_id(signed.body))))
    assert _SUBMIT.decode(await ask(chain, "submit", other)).code == "tx/12"


async def test_submit__failed_messages_are_charged_and_final(chain: SmallChain, wallets: list[Wallet]) -> None:
    raw = sign_transfer(wallets[0], 0, wallets[1], 10**15)
    answer = await submit(chain, raw)
    assert answer.height > 0
    assert answer.code.startswith("accounts/")
    assert _SUBMIT.decode(await ask(chain, "submit", raw)) == answer


async def test_submit__not_charged_may_be_submitted_again(chain: SmallChain, wallets: list[Wallet]) -> None:
    """A block took it too early (its nonce left a gap): nothing was charged, so it is good once the gap is closed."""
    raw = sign_transfer(wallets[0], 1, wallets[1])
    waiting = chain.app.prepare_proposal
    chain.app.prepare_proposal = lambda time_ms, proposer, _: (*proposer, raw)  # type: ignore[method-assign]
    chain.step()
    chain.app.prepare_proposal = waiting  # type: ignore[method-assign]
    tx_id = compute_tx_id(SIGNED_TX.decode(raw).body)
    assert _SUBMIT.decode(await ask(chain, "tx", TxRequest(tx_id))).code == "tx/14"
    assert (await submit(chain, sign_transfer(wallets[0], 0, wallets[1]))).code == ""
    assert (await submit(chain, raw)).code == ""


async def test_submit__no_block_in_time(chain: SmallChain, wallets: list[Wallet]) -> None:
    raw = sign_transfer(wallets[0], 0, wallets[1])
    assert await refuse(chain, "submit", raw) == "rpc/9"
    assert chain.mempool.count("user") == 1
    assert (await submit(chain, raw)).code == ""


async def test_submit__who_leaves_takes_nothing_back(chain: SmallChain, wallets: list[Wallet]) -> None:
    raw = sign_transfer(wallets[0], 0, wallets[1])
    leaving = asyncio.create_task(ask(chain, "submit", raw))
    while not chain.mempool.count("user"):
        await asyncio.sleep(0)
    leaving.cancel()
    chain.step()
    assert _SUBMIT.decode(await ask(chain, "submit", raw)).code == ""


async def test_read__one_height_and_limits(chain: SmallChain) -> None:
    chain.step()
    answer = _READ.decode(await ask(chain, "read", ReadRequest(1, (Key("clock", b""),))))
    assert (answer.header.header.height, len(answer.items)) == (2, 1)
    assert await refuse(chain, "read", ReadRequest(2, ())) == "rpc/5"
    assert await refuse(chain, "read", ReadRequest(0, (Key("nothing", b""),))) == "rpc/6"
    assert await refuse(chain, "read", ReadRequest(0, (Key("clock", bytes(257)),))) == "rpc/1"
    assert await refuse(chain, "read", ReadRequest(0, (Key("clock", b""),) * (KEYS_MAX + 1))) == "rpc/1"


async def test_scan__pages(chain: SmallChain, wallets: list[Wallet]) -> None:
    keys, after = [], b""
    while True:
        page = _SCAN.decode(await ask(chain, "scan", ScanRequest("accounts", after=after, limit=2)))
        keys += [key for key, _ in page.items]
        if not page.more:
            break
        after = keys[-1]
    assert keys == sorted(wallet.address for wallet in wallets) == sorted(set(keys))
    assert await refuse(chain, "scan", ScanRequest("accounts", limit=SCAN_MAX + 1)) == "rpc/1"
    assert await refuse(chain, "scan", ScanRequest("accounts", limit=0)) == "rpc/1"
    assert await refuse(chain, "scan", ScanRequest("accounts", prefix=bytes(300))) == "rpc/1"


async def test_kept_blocks(chain: SmallChain) -> None:
    for _ in range(30):
        chain.step()
    head = chain.app.head
    assert (head.height, head.first_height) == (31, 12)
    assert SIGNED_HEADER.decode(await ask(chain, "header", HeaderRequest(0))).header.height == 31
    assert SIGNED_HEADER.decode(await ask(chain, "header", HeaderRequest(12))).header.height == 12
    assert await refuse(chain, "header", HeaderRequest(11)) == "rpc/5"
    assert await refuse(chain, "events", EventsRequest(11, False)) == "rpc/5"
    assert await refuse(chain, "events", EventsRequest(33, True)) == "rpc/5"
    assert await refuse(chain, "tx", TxRequest(b"x" * 32)) == "rpc/7"
    async with aclosing(chain.service.stream("events", encode(EventsRequest(30, False)))) as frames:
        assert [_EVENTS.decode(frame).height async for frame in frames] == [30, 31]


async def test_watchers_are_forgotten_when_they_leave(chain: SmallChain) -> None:
    async with aclosing(chain.service.stream("watch", encode(WatchRequest((), ("accounts",))))) as frames:
        await anext(frames)
        assert len(chain.hub.watchers) == 1
    assert len(chain.hub.watchers) == 0


async def test_nothing_is_proven_before_the_first_block(
    tmp_path: Path, wallets: list[Wallet], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fluxcloud.chain.service.FIRST_VIEW_WAIT_S", 0.01)
    chain = open_chain(tmp_path / "fresh", make_home(tmp_path / "fresh", wallets))
    assert chain.service.find_missing() == "no block since the start"
    assert await refuse(chain, "read", ReadRequest(0, (Key("clock", b""),))) == "rpc/8"
    chain.step()
    assert chain.service.find_missing() == ""
    chain.clock.advance_ms(60_000)
    assert chain.service.find_missing().startswith("the newest block is ")
    chain.close()


async def test_records_that_lead_to_another_root_are_found(chain: SmallChain, tmp_path: Path) -> None:
    genesis = chain.genesis
    with chain.store._env.begin(write=True) as txn:
        cursor = txn.cursor(chain.store._dbs[b"state"])
        assert cursor.set_range(b"supply\0")
        txn.put(cursor.key(), cursor.value()[:-1] + b"\7", db=chain.store._dbs[b"state"])
    chain.store.close()
    with pytest.raises(StorageDamaged, match="lead to another root than that of height 1"):
        open_chain(tmp_path, genesis)
    chain.store = open_chain(tmp_path / "other", make_home(tmp_path / "other", make_wallets(1))).store
