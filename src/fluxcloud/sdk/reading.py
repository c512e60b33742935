"""Reading with proof: what was asked for, as a believed header has it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from ..codec import Codec, encode
from ..errors import Rejected, Temporary
from ..ledger.state import TableKey
from ..rpc import FRAME_BYTES_MAX, KEYS_MAX, Item, Key, ReadAnswer, ReadRequest
from .light import LightClient
from .transport import Transport, call

TableAny = TableKey[Any, Any]

PROVABLE_WAIT_S = 10.0
PROVABLE_POLL_S = 0.05

_READ: Codec[ReadAnswer] = Codec(ReadAnswer, max_bytes=FRAME_BYTES_MAX)


class LyingNode(Rejected):
    """The chain node answered something else than it was asked."""

    CODE = "sdk/3"


def make_key(table: TableAny, key: Any) -> Key:
    return Key(table.name, table.encode_key(key))


async def read_items(
    transport: Transport, light: LightClient, keys: Sequence[Key], *, since_height: int = 0
) -> list[Item]:
    """Proven items in the order of the keys; of one height where there are at most KEYS_MAX.

    `since_height` is waited for: a block is provable once the next one is there.
    Raises LyingNode (sdk/3), Temporary where the ledger stands still, and as LightClient and the transport do.
    """
    items: list[Item] = []
    for at in range(0, len(keys), KEYS_MAX):
        wanted = tuple(keys[at : at + KEYS_MAX])
        answer = await _ask(transport, encode(ReadRequest(0, wanted)), since_height)
        if tuple(Key(item.table, item.key) for item in answer.items) != wanted:
            raise LyingNode("the answer is about other keys than were asked for")
        light.believe(answer.header)
        light.verify_items(answer.header, answer.items)
        items += answer.items
    return items


async def _ask(transport: Transport, request: bytes, since_height: int) -> ReadAnswer:
    until = time.monotonic() + PROVABLE_WAIT_S
    while True:
        answer = _READ.decode(await call(transport, "read", request))
        if answer.header.header.height > since_height:
            return answer
        if time.monotonic() > until:
            raise Temporary(f"block {since_height} can't be proven yet: the ledger stands still")
        await asyncio.sleep(PROVABLE_POLL_S)


def decode_value(table: TableAny, item: Item) -> Any:
    """The record, None where it is proven absent."""
    return None if item.value is None else table.codec.decode(item.value)
