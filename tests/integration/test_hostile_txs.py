"""Transactions from liars, over the wire to a real chain node: each is refused with its code and changes nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from factories_chain import CHAIN_ID, FEE, make_wallets
from fluxcloud.chain.errors import EXIT_STORAGE
from fluxcloud.codec import Codec, encode
from fluxcloud.crypto import Sig
from fluxcloud.errors import Rejected, Temporary
from fluxcloud.ledger.accounts.messages import Transfer
from fluxcloud.ledger.accounts.model import ACCOUNTS, SUPPLY, Account
from fluxcloud.ledger.apps.messages import RegisterApp
from fluxcloud.ledger.tx import RoleTx, SignedTx, UserTx, compute_tx_id
from fluxcloud.rpc import RPC_ERROR, SubmitAnswer
from fluxcloud.sdk.client import Chain
from fluxcloud.sdk.transport import HttpTransport, call
from fluxcloud.sdk.wallet import Wallet

from .chain_world import ChainProcess

pytestmark = pytest.mark.timeout(60)

_ANSWER: Codec[SubmitAnswer] = Codec(SubmitAnswer)
FRAME_HEAD = 4  # the answer's length
NEUTRAL = b"\x01" + bytes(31)
"""A point of small order: with R the same and s zero, a careless verifier takes it for any message."""


class Liar:
    """Builds a right transaction of `alice` and gets one thing wrong."""

    def __init__(self, alice: Wallet, bob: Wallet, now_ms: int) -> None:
        self.alice, self.bob = alice, bob
        self.valid_until_ms = now_ms + 60_000

    def body(self, *messages: Any, **wrong: Any) -> UserTx:
        packed = tuple(msgspec.Raw(encode(message)) for message in messages or (Transfer(self.bob.address, 1),))
        body = UserTx(CHAIN_ID, self.alice.address, 0, self.valid_until_ms, FEE, packed)
        return msgspec.structs.replace(body, **wrong)

    def sign(self, body: UserTx | RoleTx, by: Wallet | None = None) -> bytes:
        raw = encode(body)
        return encode(SignedTx(raw, (by or self.alice).sign(compute_tx_id(raw))))

    def lie(self, *messages: Any, **wrong: Any) -> bytes:
        return self.sign(self.body(*messages, **wrong))


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[ChainProcess]:
    process = ChainProcess(tmp_path / "chain", make_wallets(3))
    await process.start()
    yield process
    process.end()


async def read_all(chain: Chain) -> tuple[list[tuple[Any, Account]], Any]:
    return await chain.scan(ACCOUNTS), await chain.read(SUPPLY, "")


async def submit(url: str, raw: bytes) -> tuple[int, str]:
    """(HTTP status, code) of what plain HTTP gets."""
    async with aiohttp.ClientSession() as session, session.post(f"{url}/rpc/submit", data=raw) as response:
        answer = await response.read()
    if response.status == 200:
        return 200, _ANSWER.decode(answer[FRAME_HEAD:]).code
    return response.status, RPC_ERROR.decode(answer).code


def collect_lies(liar: Liar) -> dict[str, tuple[bytes, str]]:
    """Name -> (bytes, the code they get); what is no transaction at all has no id, and is refused by the RPC itself."""
    right = liar.body()
    raw, good = encode(right), liar.sign(right)
    signature = liar.alice.sign(compute_tx_id(raw))
    spread = raw.replace(liar.alice.address + b"\x00", liar.alice.address + b"\xcc\x00")
    assert spread != raw
    flipped = bytearray(good)
    flipped[-1] ^= 1
    role = RoleTx(CHAIN_ID, bytes(20), "report", liar.valid_until_ms - 60_000, right.messages)
    return {
        "foreign signature": (liar.sign(right, by=liar.bob), "tx/12"),
        "bad signature": (bytes(flipped), "tx/12"),
        "signature of another body": (encode(SignedTx(encode(liar.body(nonce=1)), signature)), "tx/12"),
        "small-order key": (encode(SignedTx(raw, Sig(0, NEUTRAL, NEUTRAL + bytes(32)))), "tx/11"),
        "no account": (liar.lie(sender=b"\x00" * 21), "tx/12"),
        "wrong chain": (liar.lie(chain_id="fluxcloud-main"), "tx/7"),
        "nonce gap": (liar.lie(nonce=7), "tx/14"),
        "expired": (liar.lie(valid_until_ms=1), "tx/8"),
        "valid for ever": (liar.lie(valid_until_ms=2**62), "tx/9"),
        "fee too low": (liar.lie(fee=1), "tx/16"),
        "fee below nothing": (liar.lie(fee=-1), "tx/15"),
        "fee over all there is": (liar.lie(fee=2**63 - 1), "tx/17"),
        "not canonical": (encode(SignedTx(spread, liar.alice.sign(compute_tx_id(spread)))), "rpc/1"),
        "more behind it": (good + b"\x00", "rpc/1"),
        "cut short": (good[:-1], "rpc/1"),
        "no message": (liar.lie(messages=()), "tx/5"),
        "too many messages": (liar.lie(*[Transfer(liar.bob.address, 1)] * 17), "tx/5"),
        "unknown message": (liar.lie(messages=(msgspec.Raw(b"\x91\xcd\xff\xff"),)), "tx/4"),
        "message is a nesting bomb": (liar.lie(messages=(msgspec.Raw(b"\x91" * 60_000 + b"\x90"),)), "rpc/1"),
        "as a node": (liar.sign(role), "tx/6"),
    }


async def test_lies__are_refused_at_once_and_change_nothing(node: ChainProcess) -> None:
    alice, bob = make_wallets(2)
    async with node.connect() as chain:
        before = await read_all(chain)
        lies = collect_lies(Liar(alice, bob, (await chain.status()).time_ms))
        got = {name: await submit(node.url, raw) for name, (raw, _) in lies.items()}
        wanted = {name: (400 if code == "rpc/1" else 200, code) for name, (_, code) in lies.items()}
        assert got == wanted
        assert await read_all(chain) == before
        await chain.submit((Transfer(bob.address, 1),), alice)  # the account is as usable as ever
    assert "Traceback" not in node.log


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (b"\x91" * 70_000, (400, "rpc/1")),
        (b"\xdd\xff\xff\xff\xff", (200, "tx/2")),
        (b"\xc6\xff\xff\xff\xff", (200, "tx/2")),
        (bytes(300_000), (413, "rpc/3")),
    ],
    ids=["nesting bomb", "array that claims 4 G entries", "4 GiB of bytes that never come", "oversize"],
)
async def test_bombs__cost_nothing(node: ChainProcess, raw: bytes, told: tuple[int, str]) -> None:
    began = time.monotonic()
    status, code = await submit(node.url, raw)
    assert (status, code) == told or (status, code) in ((200, "tx/1"), (200, "tx/2"), (400, "rpc/1"))
    assert time.monotonic() - began < 5
    async with node.connect() as chain:
        assert (await chain.status()).chain_id == CHAIN_ID


@pytest.mark.parametrize(
    ("amount", "code"),
    [
        (0, "accounts/2"),
        (-1, "accounts/2"),
        (2**63 - 1, "accounts/1"),
        (2**63, "accounts/2"),
        (2**64 - 1, "accounts/2"),
    ],
)
async def test_amounts__over_the_balance_or_all_bounds(node: ChainProcess, amount: int, code: str) -> None:
    """Such a message has its place in a block: the sender pays the fee, and nothing else moves."""
    alice, bob, carol = make_wallets(3)
    async with node.connect() as chain:
        before = dict(await chain.scan(ACCOUNTS))
        with pytest.raises(Rejected) as refused:
            await chain.submit((Transfer(bob.address, amount),), alice)
        assert refused.value.code == code
        after = dict(await chain.scan(ACCOUNTS))
        assert [after[wallet.address] for wallet in (bob, carol)] == [before[w.address] for w in (bob, carol)]
        assert 0 < before[alice.address].balance - after[alice.address].balance < FEE


async def test_replay__is_answered_from_its_block_and_applied_once(node: ChainProcess) -> None:
    alice, bob = make_wallets(2)
    async with node.connect() as chain, HttpTransport(node.url) as transport:
        liar = Liar(alice, bob, (await chain.status()).time_ms)
        raw = liar.lie()
        first = _ANSWER.decode(await call(transport, "submit", raw))
        assert first.code == ""
        replays = await asyncio.gather(*(call(transport, "submit", raw) for _ in range(20)))
        assert {_ANSWER.decode(answer).height for answer in replays} == {first.height}
        other = liar.lie(Transfer(bob.address, 2))  # the same nonce, spent already
        assert await submit(node.url, other) == (200, "tx/13")
        async for update in chain.watch(keys=[(ACCOUNTS, bob.address)]):
            if update.height >= first.height:
                break
        assert update.get(ACCOUNTS)[bob.address].balance == 1_000 * 10**8 + 1


async def get_code(chain: Chain, message: RegisterApp, wallet: Wallet) -> str:
    try:
        async with asyncio.timeout(2):
            await chain.submit((message,), wallet)
    except Rejected as error:
        return error.code
    except (Temporary, TimeoutError):
        return "gone"
    return ""


async def test_ledger_that_may_not_grow__stops_and_says_so(tmp_path: Path) -> None:
    """`storage.max_mib` stands for a disk that is full. What is refused for its content fills blocks all the same."""
    alice = make_wallets(1)[0]
    process = ChainProcess(tmp_path / "chain", [alice], config={"storage": {"max_mib": 1}})
    await process.start()
    large = RegisterApp(spec=bytes(48_000), sealed=b"", images=())
    async with process.connect() as chain:
        codes: list[str] = []
        while "gone" not in codes[-1:] and len(codes) < 40:
            codes.append(await get_code(chain, large, alice))
    assert set(codes) == {"apps/16", "gone"}
    assert await process.wait_exit() == EXIT_STORAGE
    assert "it has reached storage.max_mib = 1" in process.log
    assert "Traceback" not in process.log
