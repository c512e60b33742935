"""Chain node: the pace of empty blocks, and acknowledged transfers a second through the RPC.

One chain node in a process of its own, as `up` runs it, and this process as its clients: so many accounts, each with
one transfer under way at a time, signed beforehand. It counts once the node has said in which durable block it is.

    python benchmarks/chain.py [ACCOUNTS]
"""

from __future__ import annotations

import asyncio
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import aiohttp
import msgspec
import uvloop

from fluxcloud.chain.home import init_home
from fluxcloud.codec import Codec, encode
from fluxcloud.config import render_toml
from fluxcloud.crypto import PrivateKey
from fluxcloud.ledger.accounts.messages import Transfer
from fluxcloud.ledger.accounts.model import SUPPLY
from fluxcloud.ledger.genesis import Genesis, render_genesis
from fluxcloud.ledger.params import MINIMAL
from fluxcloud.ledger.tx import SignedTx, UserTx, compute_tx_id
from fluxcloud.rpc import SubmitAnswer
from fluxcloud.sdk.client import Chain
from fluxcloud.sdk.transport import HttpTransport, call
from fluxcloud.sdk.wallet import Wallet
from fluxcloud.units import FLUX

CHAIN_ID = "bench-1"
ACCOUNTS = 1_500
EACH = 10
IDLE_BLOCKS = 20
FEE = 100_000
VALID_MS = 600_000

_ANSWER: Codec[SubmitAnswer] = Codec(SubmitAnswer)


@dataclass
class Outcome:
    seconds: list[float] = field(default_factory=list)
    heights: set[int] = field(default_factory=set)
    refused: int = 0


@asynccontextmanager
async def run_node(home: Path, wallets: list[Wallet]) -> AsyncIterator[tuple[str, Genesis]]:
    """A chain node of its own, until the end of the context."""
    validator = init_home(home, MINIMAL.tip_links)
    accounts = tuple(sorted((wallet.address, 1_000 * FLUX) for wallet in wallets))
    genesis = Genesis(CHAIN_ID, time.time_ns() // 10**6, MINIMAL, accounts, (), (), (validator,))
    (home / "genesis.json").write_text(render_genesis(genesis))
    rpc = {"port": 0, "connections_max": 2 * len(wallets)}
    (home / "config.toml").write_text(render_toml({"home": str(home), "rpc": rpc}))
    argv = [sys.executable, "-m", "fluxcloud.cli.daemon", "chain", str(home / "config.toml")]
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(argv, stderr=log)
    try:
        while not (found := re.search(r"url=(\S+)", (home / "log").read_text())):
            assert process.poll() is None, (home / "log").read_text()
            await asyncio.sleep(0.05)
        yield found.group(1), genesis
    finally:
        process.terminate()
        process.wait()


async def measure_idle(url: str, genesis: Genesis) -> None:
    """When the headers of empty blocks arrive at a follower that checks them."""
    arrived: list[float] = []
    async with Chain.connect(url, genesis) as chain, aclosing(chain.watch(keys=[(SUPPLY, "")])) as updates:
        async for _ in updates:
            arrived.append(time.perf_counter())
            if len(arrived) > IDLE_BLOCKS:
                break
    gaps = sorted((later - earlier) * 1_000 for earlier, later in pairwise(arrived[1:]))
    drift_ms = (arrived[-1] - arrived[1]) * 1_000 - len(gaps) * MINIMAL.block_interval_ms
    print(f"idle: a block each {statistics.mean(gaps):.1f} ms (shortest {gaps[0]:.1f}, longest {gaps[-1]:.1f}),")
    print(
        f"      drift over {len(gaps)} blocks {drift_ms:+.1f} ms; {await read_metric(url, 'block_ms')} ms to make one"
    )


def sign_transfers(wallet: Wallet, to: Wallet, until_ms: int) -> list[bytes]:
    message = (msgspec.Raw(encode(Transfer(to.address, 1))),)
    signed = []
    for nonce in range(EACH):
        body = encode(UserTx(CHAIN_ID, wallet.address, nonce, until_ms, FEE, message))
        signed.append(encode(SignedTx(body, wallet.sign(compute_tx_id(body)))))
    return signed


async def measure_load(url: str, wallets: list[Wallet]) -> None:
    until_ms = time.time_ns() // 10**6 + VALID_MS
    batches = [sign_transfers(wallet, wallets[0], until_ms) for wallet in wallets]
    outcome = Outcome()
    async with HttpTransport(url, connections=len(wallets)) as transport:
        began = time.perf_counter()
        await asyncio.gather(*(send_all(transport, batch, outcome) for batch in batches))
        seconds = time.perf_counter() - began
    done = sorted(outcome.seconds)
    size = len(batches[0][0])
    print(f"load: {len(wallets)} accounts, {len(done)} transfers of {size} B acknowledged, {outcome.refused} refused")
    print(f"      {len(done) / seconds:.0f} a second, in {len(outcome.heights)} blocks; answer after", end=" ")
    print(f"{done[len(done) // 2]:.2f} s (median), {done[len(done) * 99 // 100]:.2f} s (99 %)")


async def send_all(transport: HttpTransport, batch: list[bytes], outcome: Outcome) -> None:
    for raw in batch:
        began = time.perf_counter()
        answer = _ANSWER.decode(await call(transport, "submit", raw))
        outcome.seconds.append(time.perf_counter() - began)
        outcome.heights.add(answer.height)
        outcome.refused += bool(answer.code)


async def read_metric(url: str, name: str) -> str:
    async with aiohttp.ClientSession() as session, session.get(f"{url}/metrics") as response:
        found = re.search(rf"^fluxcloud_chain_{name} (\S+)$", await response.text(), re.MULTILINE)
    assert found is not None
    return found.group(1)


async def main(accounts: int) -> None:
    wallets = [Wallet(PrivateKey.from_seed(number.to_bytes(32))) for number in range(1, accounts + 1)]
    with tempfile.TemporaryDirectory() as directory:
        async with run_node(Path(directory) / "chain", wallets) as (url, genesis):
            await measure_idle(url, genesis)
            await measure_load(url, wallets)


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else ACCOUNTS))
