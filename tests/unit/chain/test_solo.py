"""Solo engine: headers that light clients accept, time that never runs back, reveals, and restarts."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from factories_chain import (
    GENESIS_MS,
    PARAMS,
    TIP_LINKS,
    SmallChain,
    make_home,
    make_wallets,
    open_chain,
    sign_transfer,
)
from fluxcloud.chain.errors import StorageError
from fluxcloud.clock import ManualClock
from fluxcloud.errors import ConfigError
from fluxcloud.headers import compute_data_hash, compute_header_hash, verify_adjacent, verify_self
from fluxcloud.ledger.block import Block, get_clock
from fluxcloud.ledger.validators.model import VALIDATORS, Validator


def get_validator(chain: SmallChain) -> Validator:
    ((_, validator),) = chain.app.state.items(VALIDATORS)
    return validator


def test_headers_follow_one_another(tmp_path: Path) -> None:
    wallets = make_wallets(2)
    chain = open_chain(tmp_path, make_home(tmp_path, wallets))
    first = chain.step()
    verify_self(first)
    assert first.header.time_ns == GENESIS_MS * 10**6
    raw = sign_transfer(wallets[0], 0, wallets[1])
    chain.mempool.add(raw, "user", wallets[0].address, 1)
    root = chain.app.head.root
    second = chain.step()
    verify_adjacent(first, second)
    assert second.header.app_hash == root
    assert second.header.last_block_id == first.commit.block_id
    assert second.header.time_ns == first.commit.signatures[0].time_ns == (GENESIS_MS + 1_500) * 10**6
    third = chain.step()
    verify_adjacent(second, third)
    assert third.header.last_results_hash != second.header.last_results_hash
    assert second.header.data_hash != compute_data_hash((raw,)), "the proposer's transaction stands first"
    chain.close()


def test_restart_goes_on_where_it_was(tmp_path: Path) -> None:
    wallets = make_wallets(2)
    genesis = make_home(tmp_path, wallets)
    chain = open_chain(tmp_path, genesis)
    chain.step()
    chain.mempool.add(sign_transfer(wallets[0], 0, wallets[1]), "user", wallets[0].address, 1)
    last, head, clock = chain.step(), chain.app.head, chain.clock
    chain.close()
    chain = open_chain(tmp_path, genesis, clock=clock)
    assert (chain.app.head, chain.app.view) == (head, None)
    following = chain.step()
    verify_adjacent(last, following)
    assert following.header.app_hash == head.root
    assert get_validator(chain).faults == 0
    chain.close()


def test_finalized_but_not_committed_is_as_if_it_never_was(tmp_path: Path) -> None:
    genesis = make_home(tmp_path, make_wallets(1))
    chain = open_chain(tmp_path, genesis)
    chain.step()
    head = chain.app.head
    block = chain.engine._propose(2, get_clock(chain.app.state).time_ms + 1)
    chain.app.finalize_block(Block(2, get_clock(chain.app.state).time_ms + 1, chain.engine._address, block))
    chain.close()
    chain = open_chain(tmp_path, genesis)
    assert chain.app.head == head
    chain.step()
    chain.close()


def test_wall_clock_that_jumps(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    chain = open_chain(tmp_path, make_home(tmp_path, make_wallets(1)))
    chain.step()
    before = chain.step().header.time_ns
    chain.clock.set_wall_ms(GENESIS_MS - 3_600_000)
    times = [chain.step().header.time_ns for _ in range(4)]
    assert times[0] > before
    assert [later - earlier for earlier, later in pairwise(times)] == [10**6] * 3
    assert caplog.text.count("behind the chain's, which creeps") == 1
    chain.clock.set_wall_ms(GENESIS_MS + 3_600_000)
    tick = get_clock(chain.app.state).tick_ms
    chain.step()
    forward = chain.step()
    assert forward.header.time_ns == (GENESIS_MS + 3_600_500) * 10**6
    assert get_clock(chain.app.state).tick_ms <= tick + 5_002
    chain.close()


def test_hash_chain_is_renewed_in_time(tmp_path: Path) -> None:
    params = msgspec.structs.replace(PARAMS, tip_links=TIP_LINKS)
    genesis = make_home(tmp_path, make_wallets(1), params=params, links=TIP_LINKS // 10 + 3)
    chain = open_chain(tmp_path, genesis)
    lows = []
    for _ in range(10):
        chain.step()
        lows.append(get_validator(chain).links_left)
    assert max(lows) >= TIP_LINKS - 10
    assert get_validator(chain).faults == 0
    assert len(list((tmp_path / "tips").glob("*.links"))) == 2
    clock = chain.clock
    chain.close()
    chain = open_chain(tmp_path, genesis, clock=clock)
    chain.step()
    assert get_validator(chain).faults == 0
    chain.close()


def test_key_of_another_home(tmp_path: Path) -> None:
    genesis = make_home(tmp_path / "a", make_wallets(1))
    make_home(tmp_path / "b", make_wallets(1))
    with pytest.raises(ConfigError, match="0 of 1 voting power"):
        open_chain(tmp_path / "b", genesis)


def test_another_genesis(tmp_path: Path) -> None:
    genesis = make_home(tmp_path, make_wallets(1))
    open_chain(tmp_path, genesis).close()
    with pytest.raises(StorageError, match="of another genesis file"):
        open_chain(tmp_path, msgspec.structs.replace(genesis, time_ms=GENESIS_MS + 1))


async def test_schedule_skips_missed_slots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slots stand at multiples of the interval; a block that takes two of them is followed by no burst."""
    clock = ManualClock(wall_ms=GENESIS_MS)
    made: list[int] = []
    block_ms = iter([10, 10, 1_200, 10, 10])

    chain = open_chain(tmp_path, make_home(tmp_path, make_wallets(1)), clock=clock)

    def make_block() -> None:
        made.append(round(clock.monotonic_s() * 1_000))
        duration = next(block_ms, None)
        if duration is None:
            raise asyncio.CancelledError
        clock.advance_ms(duration)

    async def sleep(seconds: float) -> None:
        clock.advance_ms(max(0, round(seconds * 1_000)))

    monkeypatch.setattr(chain.engine, "make_block", make_block)
    monkeypatch.setattr("fluxcloud.chain.solo.asyncio.sleep", sleep)
    with pytest.raises(asyncio.CancelledError):
        await chain.engine.run()
    assert made == [0, 500, 1_000, 2_500, 3_000, 3_500]
    chain.close()


def test_header_hash_is_what_is_signed(tmp_path: Path) -> None:
    chain = open_chain(tmp_path, make_home(tmp_path, make_wallets(1)))
    signed = chain.step()
    assert signed.commit.block_id.hash == compute_header_hash(signed.header)
    chain.close()
