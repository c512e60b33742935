"""The client against the node's own service, without sockets: what it proves, follows, submits, and what it refuses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path

import msgspec
import pytest

from factories_chain import FLUX_EACH, SmallChain, make_home, make_wallets, open_chain, run_blocks
from fluxcloud.codec import Codec, encode
from fluxcloud.errors import Rejected, Temporary
from fluxcloud.ledger.accounts.messages import Transfer
from fluxcloud.ledger.accounts.model import ACCOUNTS, SUPPLY, Account
from fluxcloud.ledger.block import CLOCK
from fluxcloud.rpc import Item, ReadAnswer, SubmitAnswer, WatchFrame
from fluxcloud.sdk import following, submitting
from fluxcloud.sdk.client import Chain, Update, build_trust
from fluxcloud.sdk.transport import NodeBusy, Unreachable
from fluxcloud.sdk.wallet import Wallet
from fluxcloud.tree import BadProof

_READ: Codec[ReadAnswer] = Codec(ReadAnswer)
_WATCH: Codec[WatchFrame] = Codec(WatchFrame)
_SUBMIT: Codec[SubmitAnswer] = Codec(SubmitAnswer)

Change = Callable[[str, bytes], bytes]


class Wire:
    """The service as a transport; `change` is what a dishonest relay makes of each frame, `broken` breaks it."""

    def __init__(self, chain: SmallChain) -> None:
        self.chain = chain
        self.change: Change = lambda method, frame: frame
        self.failures: list[Exception] = []
        self.calls: list[str] = []
        self.cut = asyncio.Event()

    async def stream(self, method: str, body: bytes) -> AsyncGenerator[bytes, None]:
        self.calls.append(method)
        if self.failures:
            raise self.failures.pop(0)
        async with aclosing(self.chain.service.stream(method, body)) as frames:
            async for frame in frames:
                if self.cut.is_set():
                    self.cut.clear()
                    raise Unreachable("cut")
                yield self.change(method, frame)


@pytest.fixture
def wallets() -> list[Wallet]:
    return make_wallets(3)


@pytest.fixture
async def wire(tmp_path: Path, wallets: list[Wallet]) -> AsyncIterator[Wire]:
    chain = open_chain(tmp_path, make_home(tmp_path, wallets))
    chain.step()
    yield Wire(chain)
    chain.close()


@pytest.fixture
def client(wire: Wire) -> Chain:
    return Chain(wire, build_trust(wire.chain.genesis))


async def test_read__present_and_absent(client: Chain, wallets: list[Wallet]) -> None:
    records = await client.read_many([(ACCOUNTS, wallets[0].address), (ACCOUNTS, b"\0" * 21), (SUPPLY, "")])
    assert records[0] == Account(balance=FLUX_EACH)
    assert records[1] is None
    assert records[2].minted == 3 * FLUX_EACH
    assert [address for address, _ in await client.scan(ACCOUNTS)] == sorted(w.address for w in wallets)
    assert await client.scan(ACCOUNTS, prefix=wallets[1].address[:9]) == [(wallets[1].address, Account(FLUX_EACH))]


def _with_items(change: Callable[[Item], Item]) -> Change:
    def apply(method: str, frame: bytes) -> bytes:
        answer = _READ.decode(frame)
        return encode(msgspec.structs.replace(answer, items=tuple(change(item) for item in answer.items)))

    return apply


@pytest.mark.parametrize("value", [None, encode(Account(balance=1))])
async def test_invalid_read__forged_value(
    wire: Wire, client: Chain, wallets: list[Wallet], value: bytes | None
) -> None:
    wire.change = _with_items(lambda item: msgspec.structs.replace(item, value=value))
    with pytest.raises(BadProof):
        await client.read(ACCOUNTS, wallets[0].address)


async def test_invalid_read__another_key(wire: Wire, client: Chain, wallets: list[Wallet]) -> None:
    wire.change = _with_items(lambda item: msgspec.structs.replace(item, key=b"x"))
    with pytest.raises(Rejected) as error:
        await client.read(ACCOUNTS, wallets[0].address)
    assert error.value.code == "sdk/3"


async def test_watch__first_all_then_changes(wire: Wire, client: Chain, wallets: list[Wallet]) -> None:
    alice, bob, _ = wallets
    keys = [(ACCOUNTS, bob.address), (ACCOUNTS, b"\0" * 21)]
    async with aclosing(client.watch(keys=keys, tables=(SUPPLY,))) as updates:
        first = await anext(updates)
        assert first.complete
        assert first.get(ACCOUNTS) == {bob.address: Account(FLUX_EACH), b"\0" * 21: None}
        assert set(first.get(SUPPLY)) == {""}
        async with run_blocks(wire.chain):
            done = await client.submit((Transfer(bob.address, 5),), alice)
        wire.chain.step()
        seen = [await anext(updates)]
        while ACCOUNTS.name not in {table.name for table, _, _ in seen[-1].records}:
            wire.chain.step()
            seen.append(await anext(updates))
        assert seen[-1].get(ACCOUNTS) == {bob.address: Account(FLUX_EACH + 5)}
        assert seen[-1].height >= done.height


async def test_watch__tick_is_proven(wire: Wire, client: Chain) -> None:
    def lie(method: str, frame: bytes) -> bytes:
        return encode(msgspec.structs.replace(_WATCH.decode(frame), tick_ms=10**15)) if method == "watch" else frame

    wire.change = lie
    async with aclosing(client.watch(keys=[(SUPPLY, "")])) as updates:
        update = await anext(updates)
        clock = await client.read(CLOCK, "")
        assert clock is not None
        assert update.tick_ms == clock.tick_ms
        assert update.get(CLOCK) == {}


async def test_watch__slow_reader_gets_the_newest(wire: Wire, client: Chain, wallets: list[Wallet]) -> None:
    async with aclosing(client.watch(keys=[(ACCOUNTS, wallets[0].address)])) as updates:
        first = await anext(updates)
        for _ in range(50):
            wire.chain.step()
        assert (await anext(updates)).height == first.height + 50


async def test_watch__large_tables_in_several_frames(
    wire: Wire, client: Chain, wallets: list[Wallet], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fluxcloud.chain.service.FRAME_ITEMS", 2)
    async with aclosing(client.watch(tables=(ACCOUNTS,))) as updates:
        got: dict[bytes, Account | None] = {}
        completes = []
        while not completes or not completes[-1]:
            update = await anext(updates)
            completes.append(update.complete)
            got |= update.get(ACCOUNTS)
        assert completes == [False, True]
        assert set(got) == {wallet.address for wallet in wallets}


async def test_watch__begins_anew_where_it_breaks(wire: Wire, client: Chain, wallets: list[Wallet]) -> None:
    async with aclosing(client.watch(keys=[(ACCOUNTS, wallets[0].address)])) as updates:
        await anext(updates)
        wire.cut.set()
        wire.chain.step()
        again = await anext(updates)
        assert again.complete
        assert set(again.get(ACCOUNTS)) == {wallets[0].address}
        assert wire.calls.count("watch") == 2


async def test_watch__withheld_change_is_found_by_beginning_anew(
    wire: Wire, client: Chain, wallets: list[Wallet], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relay that leaves changes out of the frames can't leave them out of the first answer of the next watch."""
    monkeypatch.setattr(following, "REPROVE_S", 0.0)
    alice, bob, _ = wallets

    def withhold(method: str, frame: bytes) -> bytes:
        if method != "watch" or wire.calls.count("watch") != 1:
            return frame
        decoded = _WATCH.decode(frame)
        items = tuple(item for item in decoded.items if item.table != "accounts" or wire.calls.count("submit") == 0)
        return encode(msgspec.structs.replace(decoded, items=items))

    wire.change = withhold
    async with aclosing(client.watch(keys=[(ACCOUNTS, bob.address)])) as updates:
        await anext(updates)
        async with run_blocks(wire.chain):
            await client.submit((Transfer(bob.address, 5),), alice)
        for _ in range(3):
            wire.chain.step()
        assert (await _find(updates, bob)).balance == FLUX_EACH + 5


async def _find(updates: AsyncGenerator[Update, None], wallet: Wallet) -> Account:
    async for update in updates:
        account = update.get(ACCOUNTS).get(wallet.address)
        if account is not None and account.balance != FLUX_EACH:
            return account
    raise AssertionError


async def test_invalid_watch__record_that_was_not_asked_for(wire: Wire, client: Chain, wallets: list[Wallet]) -> None:
    other = await _read_item(wire, client, wallets[0])

    def add(method: str, frame: bytes) -> bytes:
        decoded = _WATCH.decode(frame)
        return encode(msgspec.structs.replace(decoded, items=(*decoded.items, other)))

    wire.change = add
    with pytest.raises(Rejected) as error:
        await anext(client.watch(keys=[(SUPPLY, "")]))
    assert error.value.code == "sdk/3"


async def _read_item(wire: Wire, client: Chain, wallet: Wallet) -> Item:
    items: list[Item] = []

    def note(method: str, frame: bytes) -> bytes:
        items.extend(_READ.decode(frame).items)
        return frame

    wire.change = note
    await client.read(ACCOUNTS, wallet.address)
    return items[0]


async def test_events__resumed_without_gap_or_repeat(wire: Wire, client: Chain) -> None:
    heights = []
    async with aclosing(client.events(1)) as blocks:
        for _ in range(4):
            heights.append((await anext(blocks)).height)
            wire.chain.step()
            if len(heights) == 2:
                wire.cut.set()
    assert heights == [1, 2, 3, 4]
    assert [block.height async for block in client.events(3, follow=False)] == [3, 4, 5]
    with pytest.raises(Rejected) as error:
        await anext(client.events(99))
    assert error.value.code == "rpc/5"


async def test_submit__same_bytes_after_a_lost_answer(wire: Wire, client: Chain, wallets: list[Wallet]) -> None:
    alice, bob, _ = wallets
    lost = []

    def lose(method: str, frame: bytes) -> bytes:
        if method == "submit" and not lost:
            lost.append(frame)
            raise Unreachable("cut")
        return frame

    wire.change = lose
    async with run_blocks(wire.chain):
        done = await client.submit((Transfer(bob.address, 5),), alice)
    assert _SUBMIT.decode(lost[0]).height == done.height
    account = wire.chain.app.state.get(ACCOUNTS, alice.address)
    assert account is not None
    assert account.nonce == 1


async def test_submit__two_clients_of_one_account(wire: Wire, wallets: list[Wallet]) -> None:
    alice, bob, _ = wallets
    one, two = (Chain(wire, build_trust(wire.chain.genesis)) for _ in range(2))
    async with run_blocks(wire.chain):
        for client in (one, two, one, two, two, one):
            await client.submit((Transfer(bob.address, 1),), alice)
    account = wire.chain.app.state.get(ACCOUNTS, bob.address)
    assert account is not None
    assert account.balance == FLUX_EACH + 6


async def test_submit__after_a_sleep_of_this_machine(wire: Wire, client: Chain, wallets: list[Wallet]) -> None:
    """The chain's time has gone on much further than this machine's monotonic clock knows."""
    async with run_blocks(wire.chain):
        await client.submit((Transfer(wallets[1].address, 1),), wallets[0])
        wire.chain.clock.advance_ms(3_600_000)
        wire.chain.step()
        wire.chain.step()
        await client.submit((Transfer(wallets[1].address, 1),), wallets[0])


async def test_submit__busy_node_is_waited_for(wire: Wire, client: Chain, wallets: list[Wallet]) -> None:
    async with run_blocks(wire.chain):
        await client.submit((Transfer(wallets[1].address, 1),), wallets[0])
        wire.failures = [NodeBusy("full", code="mempool/1", retry_after_s=0.0)]
        await client.submit((Transfer(wallets[1].address, 1),), wallets[0])


async def test_submit__unreachable_node_is_given_up(
    wire: Wire, client: Chain, wallets: list[Wallet], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submitting, "UNREACHABLE_S", 0.1)
    async with run_blocks(wire.chain):
        await client.submit((Transfer(wallets[1].address, 1),), wallets[0])
        await client.read(ACCOUNTS, wallets[0].address)
        wire.change = _refuse_submits
        with pytest.raises(Temporary, match=r"gone. Transaction [0-9a-f]{64} may still be applied within 120 s"):
            await client.submit((Transfer(wallets[1].address, 1),), wallets[0])
        wire.change = lambda method, frame: frame
        await client.submit((Transfer(wallets[1].address, 1),), wallets[0])


def _refuse_submits(method: str, frame: bytes) -> bytes:
    if method == "submit":
        raise Unreachable("gone")
    return frame


async def test_invalid_submit__answer_about_another_transaction(
    wire: Wire, client: Chain, wallets: list[Wallet]
) -> None:
    def lie(method: str, frame: bytes) -> bytes:
        if method != "submit":
            return frame
        return encode(msgspec.structs.replace(_SUBMIT.decode(frame), tx_id=b"x" * 32))

    wire.change = lie
    async with run_blocks(wire.chain):
        with pytest.raises(Rejected) as error:
            await client.submit((Transfer(wallets[1].address, 1),), wallets[0])
    assert error.value.code == "sdk/3"


async def test_submit__fee_is_the_least(wire: Wire, client: Chain, wallets: list[Wallet]) -> None:
    async with run_blocks(wire.chain):
        await client.submit((Transfer(wallets[1].address, 1),), wallets[0])
    account = wire.chain.app.state.get(ACCOUNTS, wallets[0].address)
    assert account is not None
    fee = FLUX_EACH - 1 - account.balance
    with pytest.raises(Rejected, match="costs at least") as error:
        await client.submit((Transfer(wallets[1].address, 1),), wallets[0], fee=fee - 80)
    assert error.value.code == "tx/16"
