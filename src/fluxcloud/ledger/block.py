"""Blocks: what consensus hands to the ledger, what it answers, and the records of the ledger itself.

`CLOCK` and `PARAMS` belong to no module: each reads them, and only `transition.py` and the
beacon's reveal write the clock. Both are in the state, so both are proven by its root. Source: LEDGER.md 4, 5, 6.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..codec import Record
from ..ids import TxId
from .module import Event, Lane
from .params import Params
from .state import State, TableKey


class LedgerClock(Record, tag=1):
    """After block `height`: `tick_ms` is the ledger's clock, `time_ms` the header's; genesis is height 0, tick 0."""

    tick_ms: int
    time_ms: int
    beacon: bytes
    height: int
    chain_id: str


CLOCK: TableKey[str, LedgerClock] = TableKey("clock", ("text",), LedgerClock)
PARAMS: TableKey[str, Params] = TableKey("params", ("text",), Params)
CORE_TABLES: tuple[TableKey[Any, Any], ...] = (CLOCK, PARAMS)
"""One record each, under the key ``."""


@dataclass(frozen=True, slots=True)
class Block:
    """`proposer` is the validator's address; `txs` are signed transactions in wire form, the proposer's first."""

    height: int
    time_ms: int
    proposer: bytes
    txs: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a transaction. `code` is empty where it was applied; `number` is the code as CometBFT counts.

    `fee` is what was charged: also where the messages were rejected, 0 where the envelope was.
    """

    tx_id: TxId
    code: str
    number: int
    message: str
    lane: Lane
    fee: int
    events: tuple[Event, ...] = ()


@dataclass(frozen=True, slots=True)
class BlockResult:
    """`events` are those of the block's begin and end, in order; those of a transaction are in its receipt."""

    receipts: tuple[Receipt, ...]
    events: tuple[Event, ...]
    clock: LedgerClock


def get_clock(state: State) -> LedgerClock:
    clock = state.get(CLOCK, "")
    assert clock is not None, "the state has no genesis"
    return clock


def get_params(state: State) -> Params:
    params = state.get(PARAMS, "")
    assert params is not None, "the state has no genesis"
    return params
