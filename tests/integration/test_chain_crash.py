"""A chain node that is killed at any point of a write loses nothing it has acknowledged, and stays on one history.

Each round kills the process at a named point under load and starts it again. In the end every acknowledged transfer is
in the block it was said to be in, and a replay of the kept blocks from genesis, by the ledger alone, gives every root
that a header names.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest

from factories_chain import NO_LIMITS, make_wallets
from fluxcloud.chain.errors import EXIT_BUG
from fluxcloud.chain.results import RESULTS
from fluxcloud.chain.store import Store
from fluxcloud.errors import FluxCloudError
from fluxcloud.headers import SIGNED_HEADER, verify_adjacent, verify_self
from fluxcloud.ledger.accounts.messages import Transfer
from fluxcloud.ledger.block import Block, get_params
from fluxcloud.ledger.genesis import Genesis, build_state
from fluxcloud.ledger.signatures import SignatureCache
from fluxcloud.ledger.transition import apply_block, check_invariants
from fluxcloud.sdk.client import Chain, Submitted
from fluxcloud.sdk.wallet import Wallet
from fluxcloud.tree import Tree, compute_tree_key

from .chain_world import ChainProcess

POINTS = ("before_begin", "after_begin", "between_writes", "before_commit", "after_commit", "before_answers")
_TXS = msgspec.msgpack.Decoder(tuple[bytes, ...])


@dataclass
class Load:
    """Wallets that send one transfer after another, whatever becomes of the node, and note what was acknowledged."""

    chain: Chain
    wallets: list[Wallet]
    acknowledged: list[Submitted] = field(default_factory=list)

    async def run(self, wallet: Wallet) -> None:
        to = self.wallets[0].address
        while True:
            try:
                self.acknowledged.append(await self.chain.submit((Transfer(to, 1),), wallet))
            except FluxCloudError:
                await asyncio.sleep(0.05)

    async def wait_for(self, count: int) -> None:
        """Until so many more were acknowledged."""
        wanted = len(self.acknowledged) + count
        async with asyncio.timeout(30):
            while len(self.acknowledged) < wanted:
                await asyncio.sleep(0.02)


def replay(home: Path, genesis: Genesis) -> dict[bytes, tuple[int, int]]:
    """Apply all kept blocks anew and compare with what headers and store say. Places of applied transactions by id."""
    store = Store(home, NO_LIMITS)
    head = store.head
    assert head is not None
    state = build_state(genesis)
    changes = state.take_changes()
    tree = Tree.EMPTY.update((compute_tree_key(table, key), value) for table, key, value in changes)
    places: dict[bytes, tuple[int, int]] = {}
    previous = None
    for height in range(1, head.height + 1):
        raw_header, raw_body, raw_results = (
            store.read_header(height),
            store.read_body(height),
            store.read_results(height),
        )
        assert raw_header is not None
        assert raw_body is not None
        assert raw_results is not None
        signed = SIGNED_HEADER.decode(raw_header)
        assert signed.header.app_hash == tree.root, height
        verify_self(signed) if previous is None else verify_adjacent(previous, signed)
        time_ms = signed.header.time_ns // 1_000_000
        block = Block(height, time_ms, signed.header.proposer_address, _TXS.decode(raw_body))
        result = apply_block(state, get_params(state), block, SignatureCache())
        changes = state.take_changes()
        tree = tree.update((compute_tree_key(table, key), value) for table, key, value in changes)
        stored = RESULTS.decode(raw_results)
        assert [receipt.code for receipt in result.receipts] == [receipt.code for receipt in stored.receipts]
        for index, receipt in enumerate(result.receipts):
            if not receipt.code:
                assert receipt.tx_id not in places, "applied twice"
                places[receipt.tx_id] = (height, index)
        previous = signed
    check_invariants(state, get_params(state))
    assert tree.root == head.root
    store.close()
    return places


@pytest.mark.slow
async def test_killed_at_every_point_under_load(tmp_path: Path) -> None:
    wallets = make_wallets(8)
    node = ChainProcess(tmp_path / "chain", wallets)
    await node.start()
    async with node.connect() as chain:
        load = Load(chain, wallets)
        senders = [asyncio.create_task(load.run(wallet)) for wallet in wallets]
        await load.wait_for(8)
        for number, point in enumerate(POINTS * 2):
            await node.kill() if number == 0 else None
            await node.start(crash=f"{point}:{2 + number % 3}")
            assert await node.wait_exit() == -9, node.log
        await node.start()
        await load.wait_for(8)
        for sender in senders:
            sender.cancel()
        await asyncio.gather(*senders, return_exceptions=True)
    assert await node.stop() == 0
    places = replay(node.home, node.genesis)
    assert len(load.acknowledged) >= 16
    assert [places.get(done.tx_id) for done in load.acknowledged] == [
        (done.height, done.index) for done in load.acknowledged
    ]


@pytest.mark.parametrize("point", ["between_writes", "before_answers"])
async def test_bug_ends_the_process_and_loses_nothing(tmp_path: Path, point: str) -> None:
    wallets = make_wallets(2)
    node = ChainProcess(tmp_path / "chain", wallets)
    await node.start(crash=f"{point}:3:bug")
    assert await node.wait_exit() == EXIT_BUG
    assert "stopped by a bug" in node.log
    assert "what should not happen" in node.log
    await node.start()
    async with node.connect() as chain:
        await chain.submit((Transfer(wallets[1].address, 1),), wallets[0])
    assert await node.stop() == 0
    assert len(replay(node.home, node.genesis)) >= 1
