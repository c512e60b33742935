"""The chain node's RPC: what is asked and answered, shared by the server (`chain`) and the client (`sdk`).

HTTP/1.1, `POST /rpc/<method>`, bodies in canonical msgpack. An answer is one frame or a stream of frames, each with its
length as 4 bytes, big endian. Whatever the status is not 200 with, is one `RpcError`. State read at height H is proven
by the header of H+1 (LEDGER.md 4), so the newest provable height is one behind the newest block.

| method | asks | answers |
|---|---|---|
| submit | SignedTx bytes | SubmitAnswer, once the transaction is in a block or was refused |
| status | empty | Status |
| header | HeaderRequest | SignedHeader |
| read | ReadRequest | ReadAnswer |
| scan | ScanRequest | ScanAnswer: not proven, for lists that people look at |
| watch | WatchRequest | stream of WatchFrame: first all that is asked for, then what changed, a frame for every block |
| events | EventsRequest | stream of BlockEvents: from a height on, resumable |
| tx | TxRequest | SubmitAnswer of a transaction in a kept block |
"""

from __future__ import annotations

import msgspec

from .codec import Codec, Record
from .headers import SignedHeader
from .tree import Proof

FRAME_BYTES_MAX = 16 * 1024 * 1024
KEYS_MAX = 1_000
SCAN_MAX = 1_000


class RpcError(Record):
    """`code` is `module/number`; `retry_after_ms` > 0 where trying again is right."""

    code: str
    message: str
    retry_after_ms: int = 0


class SubmitAnswer(Record):
    """`code` is empty where the transaction was applied. `height` 0: refused before any block, nothing is charged."""

    tx_id: bytes
    height: int
    index: int
    code: str
    message: str
    events: tuple[msgspec.Raw, ...] = ()


class Status(Record):
    """`height` is the newest block's, `tick_ms` the ledger's clock after it. `lag_ms`: wall clock less header time."""

    chain_id: str
    engine: str
    version: str
    height: int
    time_ms: int
    tick_ms: int
    lag_ms: int
    root: bytes
    first_height: int  # oldest kept block
    pending: int  # transactions waiting


class HeaderRequest(Record):
    height: int  # 0: the newest


class Key(Record):
    table: str
    key: bytes


class Item(Record):
    """A proven value; `value` is None where the key is proven absent."""

    table: str
    key: bytes
    value: bytes | None
    proof: Proof


class ReadRequest(Record):
    """`height` 0: the newest provable one. At most KEYS_MAX keys."""

    height: int
    keys: tuple[Key, ...]


class ReadAnswer(Record):
    """`header` is that of the height after the one read."""

    header: SignedHeader
    items: tuple[Item, ...]


class ScanRequest(Record):
    """Records of a table in key order, beginning after `after`, whose key begins with `prefix`; at most SCAN_MAX."""

    table: str
    prefix: bytes = b""
    after: bytes = b""
    limit: int = SCAN_MAX


class ScanAnswer(Record):
    height: int
    items: tuple[tuple[bytes, bytes], ...]
    more: bool


class WatchRequest(Record):
    keys: tuple[Key, ...] = ()
    tables: tuple[str, ...] = ()


class WatchFrame(Record):
    """Items as of the height before `header`. `complete`: this frame ends what is known as of this header."""

    header: SignedHeader
    tick_ms: int
    items: tuple[Item, ...]
    complete: bool


class EventsRequest(Record):
    """From this height on (0: from the next block); `follow` False ends at the newest block."""

    height: int
    follow: bool


class BlockEvents(Record):
    """All events of a block: of each transaction in order, then of the end of the block (index -1)."""

    height: int
    time_ms: int
    tick_ms: int
    events: tuple[tuple[int, msgspec.Raw], ...]


class TxRequest(Record):
    tx_id: bytes


RPC_ERROR: Codec[RpcError] = Codec(RpcError)
