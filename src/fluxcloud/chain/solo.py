"""Solo: the engine of one machine. It orders transactions alone, and writes headers and commits as CometBFT does.

A block every interval on a fixed schedule, whether there is anything to say or not: the ledger's clock runs on headers.
A slot that was missed is skipped, never made up for. A header carries the time of the vote for the block before it,
which never runs back; where the wall clock does, the chain's creeps on by a millisecond a block until it is overtaken.
Signed is before durable, published after: a crash in between makes the height again, and nobody has seen the first.
Source: LEDGER.md 4, 5, 7; CometBFT 0.38, data structures.
"""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from ..clock import Clock
from ..codec import encode
from ..crypto import PrivateKey, Sig
from ..errors import ConfigError
from ..headers import (
    ABSENT,
    EMPTY_TREE_HASH,
    FLAG_COMMIT,
    SIGNED_HEADER,
    BlockId,
    Commit,
    CommitSig,
    Header,
    SignedHeader,
    Validator,
    build_vote_sign_bytes,
    compute_consensus_hash,
    compute_data_hash,
    compute_header_hash,
    compute_last_commit_hash,
    compute_part_set_header,
    compute_validator_address,
    compute_validators_hash,
    encode_block,
    sort_validators,
)
from ..ledger.block import Block, get_clock, get_params
from ..ledger.module import Message
from ..ledger.state import State
from ..ledger.tx import ProposerTx, SignedTx
from ..ledger.validators.messages import RegisterTip, Reveal
from ..ledger.validators.model import VALIDATORS
from ..ledger.validators.queries import get_validator
from .app import Application, Finalized
from .mempool import LANES, Mempool
from .results import RESULTS, compute_last_results_hash
from .store import Store
from .tips import ChainBuilder, HashChain, find_chain, write_chain

log = logging.getLogger(__name__)

NO_GAS_LIMIT = -1
STRIDES_PER_BLOCK = 4
"""Of the next hash chain, while one is made: 4,096 hashes, about two milliseconds."""

_NS_PER_MS = 1_000_000
_SECRET_BYTES = 32
_UNSIGNED = Sig(0, b"", b"")

OnBlock = Callable[[Finalized, int], None]
"""A durable block, and how many ms it took."""


@dataclass(frozen=True, slots=True)
class _Last:
    """What the next header says of the block before."""

    block_id: BlockId
    commit: Commit | None
    time_ns: int
    results_hash: bytes


class SoloEngine:
    """Makes blocks; `on_block` hears of each once it is durable."""

    def __init__(
        self,
        app: Application,
        store: Store,
        mempool: Mempool,
        key: PrivateKey,
        tips: Path,
        clock: Clock,
        on_block: OnBlock,
    ) -> None:
        self._app = app
        self._mempool = mempool
        self._key = key
        self._clock = clock
        self._on_block = on_block
        self._address = compute_validator_address(key.public)
        self._validators = _read_validators(app.state, key)
        self._reveals = _Reveals(app.state, self._address, tips)
        self._last = _load_last(app, store)
        self._is_clamped = False

    async def run(self) -> None:
        """Until cancelled. The first block comes at once, so that there is something to prove with."""
        interval_s = self._app.params.block_interval_ms / 1_000
        began_s = self._clock.monotonic_s()
        slot = 0
        while True:
            await asyncio.sleep(began_s + slot * interval_s - self._clock.monotonic_s())
            self.make_block()
            late = (self._clock.monotonic_s() - began_s) / interval_s
            slot = max(slot + 1, math.ceil(late))

    def make_block(self) -> SignedHeader:
        """One height: propose, accept, sign, apply, make durable, tell."""
        began_s = self._clock.monotonic_s()
        height = self._app.head.height + 1
        time_ms = self._last.time_ns // _NS_PER_MS
        txs = self._propose(height, time_ms)
        block = Block(height, time_ms, self._address, txs)
        self._app.process_proposal(block)
        signed = self._sign(self._build_header(block), block)
        done = self._app.finalize_block(block)
        self._app.commit(signed)
        self._reveals.note_committed(self._app.state)
        self._last = _make_last(signed, compute_last_results_hash(done.results.receipts))
        self._on_block(done, int((self._clock.monotonic_s() - began_s) * 1_000))
        return signed

    def _propose(self, height: int, time_ms: int) -> tuple[bytes, ...]:
        waiting = {lane: self._mempool.get_waiting(lane) for lane in LANES}
        return self._app.prepare_proposal(time_ms, self._reveals.build_txs(height, self._app.state), waiting)

    def _build_header(self, block: Block) -> Header:
        last, params, info = self._last, self._app.params, self._app.info()
        validators_hash = compute_validators_hash(self._validators)
        return Header(
            chain_id=info.chain_id,
            height=block.height,
            time_ns=last.time_ns,
            last_block_id=last.block_id,
            last_commit_hash=EMPTY_TREE_HASH if last.commit is None else compute_last_commit_hash(last.commit),
            data_hash=compute_data_hash(block.txs),
            validators_hash=validators_hash,
            next_validators_hash=validators_hash,
            consensus_hash=compute_consensus_hash(params.block_bytes_max, NO_GAS_LIMIT),
            app_hash=info.root,
            last_results_hash=last.results_hash,
            evidence_hash=EMPTY_TREE_HASH,
            proposer_address=self._address,
            app_version=info.app_version,
        )

    def _sign(self, header: Header, block: Block) -> SignedHeader:
        parts = compute_part_set_header(encode_block(header, block.txs, self._last.commit))
        block_id = BlockId(compute_header_hash(header), parts)
        time_ns = self._get_vote_time_ns(header)
        vote = build_vote_sign_bytes(header.chain_id, header.height, 0, block_id, time_ns)
        own = CommitSig(FLAG_COMMIT, self._address, time_ns, self._key.sign(vote))
        votes = tuple(own if validator.pub == self._key.public else ABSENT for validator in self._validators)
        return SignedHeader(header, Commit(header.height, 0, block_id, votes), self._validators)

    def _get_vote_time_ns(self, header: Header) -> int:
        """The wall clock's, but always later than the block's."""
        wall_ns = self._clock.wall_ms() * _NS_PER_MS
        is_clamped = wall_ns <= header.time_ns
        if is_clamped != self._is_clamped:
            behind_ms = (header.time_ns - wall_ns) // _NS_PER_MS
            now = (
                f"wall clock is {behind_ms} ms behind the chain's, which creeps"
                if is_clamped
                else "follows the wall clock"
            )
            log.warning("chain clock: %s", now)
            self._is_clamped = is_clamped
        return max(wall_ns, header.time_ns + _NS_PER_MS)


class _Reveals:
    """The proposer's transaction: a link of the validator's hash chain, and in time the tip of the next chain."""

    def __init__(self, state: State, address: bytes, tips: Path) -> None:
        self._address = address
        self._tips = tips
        self._next: HashChain | None = None
        self._builder: ChainBuilder | None = None
        validator = get_validator(state, address)
        assert validator is not None
        self._chain = find_chain(tips, validator.tip, validator.links_left)

    def build_txs(self, height: int, state: State) -> tuple[bytes, ...]:
        """Nothing where no link is left: the block is valid, the beacon stays, and a fault is counted."""
        validator = get_validator(state, self._address)
        assert validator is not None
        messages: list[Message] = []
        links_left = validator.links_left
        if links_left > 0:
            links_left -= 1
            messages.append(Reveal(self._chain.get_link(links_left)))
        if self._next is not None and self._is_low(links_left, state):
            messages.append(RegisterTip(self._next.tip))
        if not messages:
            return ()
        raw = tuple(msgspec.Raw(encode(message)) for message in messages)
        return (encode(SignedTx(encode(ProposerTx(height, raw)), _UNSIGNED)),)

    def note_committed(self, state: State) -> None:
        """Take up a chain that is registered now; go on making one that is needed soon."""
        validator = get_validator(state, self._address)
        assert validator is not None
        if self._next is not None and validator.tip == self._next.tip:
            log.info("hash chain: %s links left -> %s", 0, validator.links_left)
            self._chain, self._next = self._next, None
        elif self._next is None and self._is_low(validator.links_left, state):
            self._make_next(get_params(state).tip_links)

    def _make_next(self, links: int) -> None:
        if self._builder is None:
            self._builder = ChainBuilder(secrets.token_bytes(_SECRET_BYTES), links)
        made = self._builder.step(STRIDES_PER_BLOCK)
        if made is not None:
            write_chain(self._tips, made)
            self._next, self._builder = made, None

    @staticmethod
    def _is_low(links_left: int, state: State) -> bool:
        return links_left * 10 < get_params(state).tip_links


def _read_validators(state: State, key: PrivateKey) -> tuple[Validator, ...]:
    """The set, of which this key alone must hold over two thirds. Raises ConfigError."""
    entries = [Validator(address, v.pub, v.power) for address, v in state.items(VALIDATORS)]
    own = sum(entry.power for entry in entries if entry.pub == key.public)
    total = sum(entry.power for entry in entries)
    if 3 * own <= 2 * total:
        raise ConfigError(
            "validator.key",
            f"holds {own} of {total} voting power; the solo engine needs over two thirds. "
            "Is this the home that the genesis file was made with?",
        )
    return sort_validators(entries)


def _load_last(app: Application, store: Store) -> _Last:
    height = app.head.height
    if height == 0:
        return _Last(BlockId(), None, get_clock(app.state).time_ms * _NS_PER_MS, EMPTY_TREE_HASH)
    header, results = store.read_header(height), store.read_results(height)
    assert header is not None, "the newest block is always kept"
    assert results is not None, "the newest block is always kept"
    receipts = RESULTS.decode_trusted(results).receipts
    return _make_last(SIGNED_HEADER.decode_trusted(header), compute_last_results_hash(receipts))


def _make_last(signed: SignedHeader, results_hash: bytes) -> _Last:
    commit = signed.commit
    time_ns = max(sig.time_ns for sig in commit.signatures)
    return _Last(commit.block_id, commit, time_ns, results_hash)
