"""Results: what became of a block's transactions, as it is stored and answered."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from ..codec import Codec, Record
from ..headers import compute_results_hash
from ..ledger.block import BlockResult, Receipt
from ..ledger.transition import REGISTRY, encode_event
from ..rpc import BlockEvents, SubmitAnswer

BLOCK_EVENT_INDEX = -1


class StoredReceipt(Record):
    """A receipt with its events as bytes."""

    tx_id: bytes
    code: str
    message: str
    fee: int
    events: tuple[msgspec.Raw, ...]

    @property
    def is_charged(self) -> bool:
        """Whether the transaction's number is used up: its envelope was accepted, whatever became of its messages."""
        return not self.code.startswith("tx/")


class StoredResults(Record, tag=1):
    time_ms: int
    tick_ms: int
    receipts: tuple[StoredReceipt, ...]
    events: tuple[msgspec.Raw, ...]


RESULTS: Codec[StoredResults] = Codec(StoredResults)


def make_results(result: BlockResult) -> StoredResults:
    return StoredResults(
        time_ms=result.clock.time_ms,
        tick_ms=result.clock.tick_ms,
        receipts=tuple(_make_receipt(receipt) for receipt in result.receipts),
        events=tuple(encode_event(event) for event in result.events),
    )


def _make_receipt(receipt: Receipt) -> StoredReceipt:
    events = tuple(encode_event(event) for event in receipt.events)
    return StoredReceipt(receipt.tx_id, receipt.code, receipt.message, receipt.fee, events)


def compute_last_results_hash(receipts: Iterable[StoredReceipt]) -> bytes:
    """What the next header says of this block's results."""
    return compute_results_hash((REGISTRY.compute_number(receipt.code), b"", 0, 0) for receipt in receipts)


def make_answer(height: int, index: int, receipt: StoredReceipt) -> SubmitAnswer:
    return SubmitAnswer(receipt.tx_id, height, index, receipt.code, receipt.message, receipt.events)


def make_block_events(height: int, results: StoredResults) -> BlockEvents:
    """Of each transaction in order, then of the block itself."""
    of_txs = [(index, event) for index, receipt in enumerate(results.receipts) for event in receipt.events]
    of_block = [(BLOCK_EVENT_INDEX, event) for event in results.events]
    return BlockEvents(height, results.time_ms, results.tick_ms, (*of_txs, *of_block))
