"""Chain: the ledger as other programs see it: proven reads, records that are followed, events, and submitting.

Whatever decides something is read with a proof against a header that trusted validators signed. `scan`, `events` and
`status` are not proven: they are for lists that people look at and for hints. Source: LEDGER.md 3, 7; RECORDS.md 1.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from ..codec import Codec, encode
from ..crypto import PrivateKey
from ..errors import ConfigError, Temporary
from ..ids import NodeId
from ..ledger.block import PARAMS
from ..ledger.genesis_file import parse_genesis
from ..ledger.genesis_model import Genesis
from ..ledger.module import Event, Lane, Message
from ..ledger.state import TableKey
from ..ledger.types import EVENT
from ..rpc import FRAME_BYTES_MAX, SCAN_MAX, BlockEvents, EventsRequest, ScanAnswer, ScanRequest, Status
from .following import RETRY_MAX_S, RETRY_MIN_S, Follower, Update
from .light import LightClient, Trust, build_trust
from .reading import LyingNode, TableAny, decode_value, make_key, read_items
from .submitting import Submitted, Submitter
from .transport import HttpTransport, Transport, call
from .wallet import Wallet

__all__ = ["BlockOfEvents", "Chain", "LyingNode", "Submitted", "Update", "build_trust", "load_genesis"]

K = TypeVar("K")
V = TypeVar("V")

_STATUS: Codec[Status] = Codec(Status)
_SCAN: Codec[ScanAnswer] = Codec(ScanAnswer, max_bytes=FRAME_BYTES_MAX)
_EVENTS: Codec[BlockEvents] = Codec(BlockEvents, max_bytes=FRAME_BYTES_MAX)


@dataclass(frozen=True, slots=True)
class BlockOfEvents:
    """Events of one block: (index of the transaction, or -1 for the block's own; event)."""

    height: int
    time_ms: int
    tick_ms: int
    events: tuple[tuple[int, Event], ...]


class Chain:
    """A client of one chain node, for one event loop. Close it, or use it as an async context manager."""

    def __init__(self, transport: Transport, trust: Trust) -> None:
        self._transport = transport
        self._trust = trust
        self._light = LightClient(trust)
        self._submitter = Submitter(trust.chain_id, transport, self._light)
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

    async def __aenter__(self) -> Chain:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def status(self) -> Status:
        """What the chain node says of itself; not proven."""
        return _STATUS.decode(await call(self._transport, "status", b""))

    async def read(self, table: TableKey[K, V], key: K) -> V | None:
        """One proven record, None where it is proven absent."""
        record: V | None = (await self.read_many([(table, key)]))[0]
        return record

    async def read_many(self, keys: Sequence[tuple[TableAny, Any]]) -> list[Any]:
        """Proven records of one height, in the order of the keys, that have seen what this client submitted.

        Raises LyingNode (sdk/3) and as the checks do.
        """
        wanted = [make_key(table, key) for table, key in keys]
        items = await read_items(self._transport, self._light, wanted, since_height=self._written_height)
        return [decode_value(table, item) for (table, _), item in zip(keys, items, strict=True)]

    async def scan(self, table: TableKey[K, V], prefix: bytes = b"") -> list[tuple[K, V]]:
        """All records of a table whose encoded key begins so, in key order; not proven."""
        rows: list[tuple[K, V]] = []
        after, more = b"", True
        while more:
            request = encode(ScanRequest(table.name, prefix, after, SCAN_MAX))
            answer = _SCAN.decode(await call(self._transport, "scan", request))
            if any(not key.startswith(prefix) or key <= after for key, _ in answer.items if after or prefix):
                raise LyingNode(f"table {table.name}: keys that were not asked for")
            rows += [(table.decode_key(key), table.codec.decode(value)) for key, value in answer.items]
            more = answer.more and bool(answer.items)
            after = answer.items[-1][0] if answer.items else b""
        return rows

    async def events(self, from_height: int, *, follow: bool = True) -> AsyncGenerator[BlockOfEvents, None]:
        """Events block by block from a height on (0: from the next); with `follow` for ever, resumed where it broke.

        Raises Rejected (rpc/5) where the node does not keep that height.
        """
        height, pause_s = from_height, RETRY_MIN_S
        while True:
            try:
                request = encode(EventsRequest(height, follow))
                async with aclosing(self._transport.stream("events", request)) as frames:
                    async for frame in frames:
                        block = _EVENTS.decode(frame)
                        if height and block.height != height:
                            raise LyingNode(f"events of block {block.height} instead of {height}")
                        height, pause_s = block.height + 1, RETRY_MIN_S
                        yield _decode_block(block)
                if not follow:
                    return
            except Temporary:
                if not follow:
                    raise
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, RETRY_MAX_S)

    def watch(
        self, keys: Sequence[tuple[TableAny, Any]] = (), tables: Sequence[TableAny] = ()
    ) -> AsyncGenerator[Update, None]:
        """Proven records of these keys and whole tables: everything first, then changes, an update for every block.

        Goes on for ever. Where the chain node goes away it begins anew with everything, and so it does now and then.
        How long ago the last update came tells how stale it is.
        """
        return Follower(self._transport, self._light, keys, tables).run()

    async def submit(self, messages: Sequence[Message], wallet: Wallet, *, fee: int | None = None) -> Submitted:
        """Sign and send as the wallet's account; returns once it is in a block. `fee`: the least one if None.

        Raises Rejected with the ledger's code, Temporary where no block took it in time.
        """
        submitted = await self._submitter.submit(messages, wallet, fee)
        self._written_height = max(self._written_height, submitted.height)
        return submitted

    async def wait_written(self) -> None:
        """Until whoever asks next can read what this client has written: the header after it has been signed."""
        if self._written_height:
            await self.read(PARAMS, "")

    async def submit_role(self, node_id: NodeId, key: PrivateKey, lane: Lane, messages: Sequence[Message]) -> Submitted:
        """Send as a node, in a role lane: free, one at a time. Raises as `submit` does."""
        return await self._submitter.submit_role(node_id, key, lane, messages)


def _decode_block(block: BlockEvents) -> BlockOfEvents:
    events = tuple((index, EVENT.decode(bytes(raw))) for index, raw in block.events)
    return BlockOfEvents(block.height, block.time_ms, block.tick_ms, events)


def load_genesis(path: Path) -> Genesis:
    """The genesis whose validators are trusted. Raises ConfigError naming the file, BadGenesis where it is wrong."""
    try:
        return parse_genesis(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), f"can't be read: {error}") from error
