"""Chain: the ledger as other programs see it: proven reads, records that are followed, events, and submitting.

Whatever decides something is read with a proof against a header that trusted validators signed. `scan` and `events`
are not proven: they are for lists that people look at and for hints. Source: LEDGER.md 3, 7; RECORDS.md 1.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from ..codec import Codec, encode
from ..crypto import PrivateKey
from ..errors import ConfigError, Rejected, Temporary
from ..headers import SignedHeader, Validator, compute_validator_address, sort_validators
from ..ids import Address, NodeId, TxId
from ..ledger.accounts.model import ACCOUNTS
from ..ledger.block import PARAMS
from ..ledger.genesis_file import parse_genesis
from ..ledger.genesis_model import Genesis
from ..ledger.module import Event, Lane, Message
from ..ledger.nodes.model import LANES
from ..ledger.params import Params
from ..ledger.state import TableKey
from ..ledger.tx import RoleTx, SignedTx, UserTx, compute_tx_id
from ..ledger.types import EVENT
from ..rpc import (
    SCAN_MAX,
    BlockEvents,
    EventsRequest,
    Item,
    Key,
    ReadAnswer,
    ReadRequest,
    ScanAnswer,
    ScanRequest,
    Status,
    SubmitAnswer,
    WatchFrame,
    WatchRequest,
)
from .light import LightClient, Trust
from .transport import HttpTransport, Transport, call
from .wallet import Wallet, sign_with

logger = logging.getLogger(__name__)

K = TypeVar("K")
V = TypeVar("V")

VALID_MS = 60_000
RESUBMIT_TRIES = 4
WATCH_SILENCE_S = 10.0
PROVABLE_WAIT_S = 10.0
PROVABLE_POLL_S = 0.05
REPROVE_S = 30.0
REPROVE_TABLES_S = 900.0
"""How often a watch begins anew; of whole tables rarely, for that is much to send."""

RETRY_MIN_S = 0.1
RETRY_MAX_S = 2.0

_STATUS: Codec[Status] = Codec(Status)
_SUBMIT: Codec[SubmitAnswer] = Codec(SubmitAnswer, max_bytes=4 << 20)
_READ: Codec[ReadAnswer] = Codec(ReadAnswer, max_bytes=16 << 20)
_SCAN: Codec[ScanAnswer] = Codec(ScanAnswer, max_bytes=16 << 20)
_WATCH: Codec[WatchFrame] = Codec(WatchFrame, max_bytes=16 << 20)
_EVENTS: Codec[BlockEvents] = Codec(BlockEvents, max_bytes=16 << 20)

TableAny = TableKey[Any, Any]


class LyingNode(Rejected):
    """The chain node answered something else than it was asked."""

    CODE = "sdk/3"


@dataclass(frozen=True, slots=True)
class Submitted:
    """A transaction that was applied in a block, with its events."""

    tx_id: TxId
    height: int
    index: int
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class Update:
    """What one header proves of what is watched: all of it in the first update, then what changed.

    `height` is the proven one, the header's less one. `complete` is False while more of the first state is to come.
    """

    height: int
    tick_ms: int
    header_ms: int
    complete: bool
    records: tuple[tuple[TableAny, Any, Any], ...]

    def get(self, table: TableKey[K, V]) -> Mapping[K, V | None]:
        """Changed records of one table; None where one is gone."""
        return {key: record for changed, key, record in self.records if changed.name == table.name}


@dataclass(frozen=True, slots=True)
class BlockOfEvents:
    """Events of one block: (index of the transaction, or -1 for the block's own; event)."""

    height: int
    time_ms: int
    tick_ms: int
    events: tuple[tuple[int, Event], ...]


@dataclass(slots=True)
class _Sender:
    """Nonce (user) or sequence number (role) of one sender, given out one after another."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    next: int | None = None


class Chain:
    """A client of one chain node. Close it; one event loop."""

    def __init__(self, transport: Transport, trust: Trust) -> None:
        self._transport = transport
        self._trust = trust
        self._light = LightClient(trust)
        self._senders: dict[tuple[bytes, str], _Sender] = {}
        self._params: Params | None = None
        self._written_height = 0

    @classmethod
    def connect(cls, url: str, genesis: Genesis, *, source_host: str = "") -> Chain:
        """Over HTTP, trusting the genesis's validators. Nothing is asked before the first call."""
        return cls(HttpTransport(url, source_host), build_trust(genesis))

    @property
    def chain_id(self) -> str:
        return self._trust.chain_id

    async def close(self) -> None:
        if isinstance(self._transport, HttpTransport):
            await self._transport.close()

    # --- reading ----------------------------------------------------------------------------------------------------

    async def status(self) -> Status:
        """What the chain node says of itself; not proven."""
        return _STATUS.decode(await call(self._transport, "status", b""))

    async def read(self, table: TableKey[K, V], key: K) -> V | None:
        """One proven record, None where it is proven absent."""
        record: V | None = (await self.read_many([(table, key)]))[0]
        return record

    async def read_many(self, keys: Sequence[tuple[TableAny, Any]]) -> list[Any]:
        """Proven records of one height, in the order of the keys. Raises LyingNode (sdk/3) and as the checks do."""
        wanted = tuple(Key(table.name, table.encode_key(key)) for table, key in keys)
        answer = await self._read_own_writes(encode(ReadRequest(0, wanted)))
        if tuple(Key(item.table, item.key) for item in answer.items) != wanted:
            raise LyingNode("the answer is about other keys than were asked for")
        self._light.believe(answer.header)
        for item in answer.items:
            self._verify(answer.header, item)
        return [_decode_value(table, item) for (table, _), item in zip(keys, answer.items, strict=True)]

    async def _read_own_writes(self, request: bytes) -> ReadAnswer:
        """An answer that has seen what this client has submitted: a block is provable once the next one is there."""
        until = time.monotonic() + PROVABLE_WAIT_S
        while True:
            answer = _READ.decode(await call(self._transport, "read", request))
            if answer.header.header.height > self._written_height:
                return answer
            if time.monotonic() > until:
                raise Temporary(f"block {self._written_height} is not proven yet: the ledger stands still")
            await asyncio.sleep(PROVABLE_POLL_S)

    async def scan(self, table: TableKey[K, V], prefix: bytes = b"") -> list[tuple[K, V]]:
        """All records of a table whose encoded key begins so, in key order; not proven."""
        rows: list[tuple[K, V]] = []
        after, more = b"", True
        while more:
            request = encode(ScanRequest(table.name, prefix, after, SCAN_MAX))
            answer = _SCAN.decode(await call(self._transport, "scan", request))
            rows += [(table.decode_key(key), table.codec.decode(value)) for key, value in answer.items]
            more = answer.more and bool(answer.items)
            after = answer.items[-1][0] if answer.items else b""
        return rows

    async def events(self, from_height: int, *, follow: bool = True) -> AsyncIterator[BlockOfEvents]:
        """Events block by block from a height on (0: from the next); with `follow` for ever, resumed where it broke."""
        height, pause_s = from_height, RETRY_MIN_S
        while True:
            try:
                request = encode(EventsRequest(height, follow))
                async with aclosing(self._transport.stream("events", request)) as frames:  # type: ignore[type-var]
                    async for frame in frames:
                        block = _EVENTS.decode(frame)
                        height, pause_s = block.height + 1, RETRY_MIN_S
                        yield _decode_block(block)
                if not follow:
                    return
            except Temporary:
                if not follow:
                    raise
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, RETRY_MAX_S)

    async def watch(
        self, keys: Sequence[tuple[TableAny, Any]] = (), tables: Sequence[TableAny] = ()
    ) -> AsyncIterator[Update]:
        """Proven records of these keys and whole tables: everything first, then changes, an update for every block.

        Goes on for ever: where the chain node goes away it begins anew with everything, and so it does now and then,
        so that a node which withholds a change is found out.
        """
        by_name = {table.name: table for table, _ in keys} | {table.name: table for table in tables}
        wanted = tuple(Key(table.name, table.encode_key(key)) for table, key in keys)
        request = encode(WatchRequest(wanted, tuple(table.name for table in tables)))
        pause_s = RETRY_MIN_S
        while True:
            try:
                async for update in self._watch_once(request, by_name, REPROVE_TABLES_S if tables else REPROVE_S):
                    pause_s = RETRY_MIN_S
                    yield update
            except Temporary as error:
                logger.warning("the chain can't be followed: %s", error)
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, RETRY_MAX_S)

    async def _watch_once(
        self, request: bytes, tables: Mapping[str, TableAny], anew_after_s: float
    ) -> AsyncIterator[Update]:
        began = time.monotonic()
        async with aclosing(self._transport.stream("watch", request)) as frames:  # type: ignore[type-var]
            while time.monotonic() - began < anew_after_s:
                try:
                    raw = await asyncio.wait_for(anext(frames), WATCH_SILENCE_S)
                except StopAsyncIteration:
                    raise Temporary("the chain node ended the watch") from None
                except TimeoutError:
                    raise Temporary(f"no block for {WATCH_SILENCE_S:g} s") from None
                frame = _WATCH.decode(raw)
                self._light.believe(frame.header)
                for item in frame.items:
                    self._verify(frame.header, item)
                yield _build_update(frame, tables)

    def _verify(self, header: SignedHeader, item: Item) -> None:
        self._light.verify_item(header, item.table, item.key, item.value, item.proof)

    # --- submitting -------------------------------------------------------------------------------------------------

    async def submit(self, messages: Sequence[Message], wallet: Wallet, *, fee: int | None = None) -> Submitted:
        """Sign and send as the wallet's account; returns once it is in a block.

        Raises Rejected with the ledger's code, Temporary where no block took it in time.
        """
        sender = self._sender(wallet.address, "user")
        async with sender.lock:
            for _ in range(RESUBMIT_TRIES):
                signed, tx_id = await self._build_user_tx(sender, messages, wallet, fee)
                try:
                    answer = await self._send(signed, tx_id)
                except Rejected:
                    sender.next = None
                    raise
                if answer.code not in _NONCE_CODES:
                    break
                sender.next = None  # somebody else signs for this account, too
        self._written_height = max(self._written_height, answer.height)
        return _finish(answer)

    async def _build_user_tx(
        self, sender: _Sender, messages: Sequence[Message], wallet: Wallet, fee: int | None
    ) -> tuple[bytes, TxId]:
        if sender.next is None:
            account = await self.read(ACCOUNTS, wallet.address)
            sender.next = account.nonce if account is not None else 0
        params = await self._get_params()
        raw = tuple(msgspec.Raw(encode(message)) for message in messages)
        valid_until = time.time_ns() // 1_000_000 + VALID_MS
        body = encode(UserTx(self.chain_id, wallet.address, sender.next, valid_until, fee or 0, raw))
        if fee is None:
            cost = sum(message.COST for message in messages)
            fee = (len(body) + _FEE_SPARE_BYTES) * params.fee_per_byte + cost * params.fee_per_cost
            body = encode(UserTx(self.chain_id, wallet.address, sender.next, valid_until, fee, raw))
        tx_id = compute_tx_id(body)
        sender.next += 1
        return encode(SignedTx(body, wallet.sign(tx_id))), tx_id

    async def submit_role(self, node_id: NodeId, key: PrivateKey, lane: Lane, messages: Sequence[Message]) -> Submitted:
        """Send as a node, in a role lane: free, one at a time. Raises as `submit` does."""
        sender = self._sender(node_id, lane)
        async with sender.lock:
            if sender.next is None:
                state = await self.read(LANES, (node_id, lane))
                sender.next = state.last_seq + 1 if state is not None else 1
            sequence = max(sender.next, time.time_ns() // 1_000_000)
            raw = tuple(msgspec.Raw(encode(message)) for message in messages)
            body = encode(RoleTx(self.chain_id, node_id, lane, sequence, raw))
            tx_id = compute_tx_id(body)
            sender.next = sequence + 1
            return _finish(await self._send(encode(SignedTx(body, sign_with(key, tx_id))), tx_id))

    async def _send(self, signed: bytes, tx_id: TxId) -> SubmitAnswer:
        """The same bytes again where the answer was lost: a transaction is known by its id."""
        pause_s = RETRY_MIN_S
        for attempt in range(RESUBMIT_TRIES):
            try:
                answer = _SUBMIT.decode(await call(self._transport, "submit", signed))
            except Temporary as error:
                if attempt == RESUBMIT_TRIES - 1:
                    raise
                await asyncio.sleep(max(pause_s, min(error.retry_after_s, RETRY_MAX_S)))
                pause_s *= 2
                continue
            if answer.tx_id != tx_id:
                raise LyingNode("the answer is about another transaction")
            return answer
        raise AssertionError("unreachable")

    def _sender(self, sender: Address | NodeId, lane: str) -> _Sender:
        return self._senders.setdefault((bytes(sender), lane), _Sender())

    async def _get_params(self) -> Params:
        if self._params is None:
            self._params = await self.read(PARAMS, "")
            assert self._params is not None, "every chain has parameters from its genesis on"
        return self._params


_NONCE_CODES = frozenset({"tx/13", "tx/14"})
_FEE_SPARE_BYTES = 256
"""A signed transaction is longer than its body, and the fee itself has a length."""


def build_trust(genesis: Genesis) -> Trust:
    """The validators of a genesis as light clients know them."""
    validators = [Validator(compute_validator_address(v.pub), v.pub, v.power) for v in genesis.validators]
    return Trust.of(genesis.chain_id, sort_validators(validators))


def _finish(answer: SubmitAnswer) -> Submitted:
    if answer.code:
        raise Rejected(answer.message, code=answer.code)
    events = tuple(EVENT.decode(bytes(raw)) for raw in answer.events)
    return Submitted(TxId(answer.tx_id), answer.height, answer.index, events)


def _decode_value(table: TableAny, item: Item) -> Any:
    return None if item.value is None else table.codec.decode(item.value)


def _decode_block(block: BlockEvents) -> BlockOfEvents:
    events = tuple((index, EVENT.decode(bytes(raw))) for index, raw in block.events)
    return BlockOfEvents(block.height, block.time_ms, block.tick_ms, events)


def _build_update(frame: WatchFrame, tables: Mapping[str, TableAny]) -> Update:
    records = []
    for item in frame.items:
        table = tables.get(item.table)
        if table is None:
            raise LyingNode(f"table {item.table!r} is not watched")
        records.append((table, table.decode_key(item.key), _decode_value(table, item)))
    header = frame.header.header
    return Update(header.height - 1, frame.tick_ms, header.time_ns // 1_000_000, frame.complete, tuple(records))


def load_genesis(path: Path) -> Genesis:
    """The genesis whose validators are trusted. Raises ConfigError naming the file, BadGenesis where it is wrong."""
    try:
        return parse_genesis(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), f"can't be read: {error}") from error
