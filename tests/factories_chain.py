"""A small chain for tests: a home, a genesis with funded wallets, and its parts under a clock set by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from fluxcloud.chain.app import Application, Finalized
from fluxcloud.chain.config import MempoolConfig
from fluxcloud.chain.home import DATA_DIRECTORY, TIPS_DIRECTORY, init_home, open_home
from fluxcloud.chain.hub import Hub
from fluxcloud.chain.mempool import Mempool
from fluxcloud.chain.service import Service
from fluxcloud.chain.solo import SoloEngine
from fluxcloud.chain.store import MIB, Limits, Store
from fluxcloud.chain.submissions import Submissions
from fluxcloud.clock import ManualClock
from fluxcloud.codec import encode
from fluxcloud.crypto import PrivateKey
from fluxcloud.headers import SignedHeader
from fluxcloud.ids import TxId
from fluxcloud.ledger.accounts.messages import Transfer
from fluxcloud.ledger.genesis import Genesis, render_genesis
from fluxcloud.ledger.module import Message
from fluxcloud.ledger.params import MINIMAL, Params
from fluxcloud.ledger.tx import SignedTx, UserTx, compute_tx_id
from fluxcloud.sdk.wallet import Wallet
from fluxcloud.units import FLUX

CHAIN_ID = "test-1"
GENESIS_MS = 1_700_000_000_000
TIP_LINKS = 4_096
FLUX_EACH = 1_000 * FLUX
FEE = 100_000
NO_LIMITS = Limits(keep_blocks=10**9, keep_bytes=10**12)
PARAMS: Params = msgspec.structs.replace(MINIMAL, tip_links=TIP_LINKS)


def make_wallets(count: int) -> list[Wallet]:
    return [Wallet(PrivateKey.from_seed(number.to_bytes(32))) for number in range(1, count + 1)]


def make_home(
    home: Path, wallets: list[Wallet], *, time_ms: int = GENESIS_MS, params: Params = PARAMS, links: int = TIP_LINKS
) -> Genesis:
    """A validator's home with its genesis file, each wallet with 1,000 FLUX."""
    validator = init_home(home, links)
    accounts = tuple(sorted((wallet.address, FLUX_EACH) for wallet in wallets))
    genesis = Genesis(CHAIN_ID, time_ms, params, accounts, (), (), (validator,))
    (home / "genesis.json").write_text(render_genesis(genesis))
    return genesis


def sign_user_tx(
    wallet: Wallet,
    nonce: int,
    messages: tuple[Message, ...],
    *,
    fee: int = FEE,
    valid_until_ms: int = GENESIS_MS + 60_000,
) -> bytes:
    raw = tuple(msgspec.Raw(encode(message)) for message in messages)
    body = encode(UserTx(CHAIN_ID, wallet.address, nonce, valid_until_ms, fee, raw))
    return encode(SignedTx(body, wallet.sign(compute_tx_id(body))))


def sign_transfer(sender: Wallet, nonce: int, to: Wallet, amount: int = 1, **options: int) -> bytes:
    return sign_user_tx(sender, nonce, (Transfer(to.address, amount),), **options)


@dataclass
class SmallChain:
    """All parts of a chain node but its sockets; `step` makes a block."""

    genesis: Genesis
    store: Store
    app: Application
    mempool: Mempool
    hub: Hub
    service: Service
    engine: SoloEngine
    clock: ManualClock

    def step(self, advance_ms: int = 500) -> SignedHeader:
        self.clock.advance_ms(advance_ms)
        return self.engine.make_block()

    def close(self) -> None:
        self.store.close()


def open_chain(
    home: Path,
    genesis: Genesis,
    *,
    clock: ManualClock | None = None,
    limits: Limits = NO_LIMITS,
    mempool_config: MempoolConfig | None = None,
    on_block: Callable[[Finalized, int], None] | None = None,
) -> SmallChain:
    (home / DATA_DIRECTORY).mkdir(exist_ok=True)
    clock = clock or ManualClock(wall_ms=GENESIS_MS + 1_000)
    store = Store(home, limits, map_bytes=8 * MIB)
    app = Application(store, genesis)
    submissions = Submissions()
    mempool = Mempool(mempool_config or MempoolConfig(), app.check_tx, submissions.note_dropped)
    hub = Hub(app.head.height)
    service = Service(app, store, mempool, submissions, hub, clock, engine="solo", submit_wait_s=0.2)

    def note_block(done: Finalized, block_ms: int) -> None:
        submissions.note_block(done.block.height, done.results)
        mempool.update([TxId(r.tx_id) for r in done.results.receipts], done.block.height, done.results.time_ms)
        assert app.view is not None
        hub.publish(done.block.height, app.view, txs=len(done.results.receipts), block_ms=block_ms)
        if on_block is not None:
            on_block(done, block_ms)

    engine = SoloEngine(app, store, mempool, open_home(home), home / TIPS_DIRECTORY, clock, note_block)
    return SmallChain(genesis, store, app, mempool, hub, service, engine, clock)


@asynccontextmanager
async def run_blocks(chain: SmallChain) -> AsyncIterator[None]:
    """Blocks come one after another, as quickly as the loop turns; chain time goes on by 2 ms with each."""

    async def run() -> None:
        while True:
            chain.step(advance_ms=2)
            await asyncio.sleep(0.001)

    task = asyncio.create_task(run())
    try:
        yield
    finally:
        task.cancel()
