"""Submissions: who waits to hear what became of a transaction.

An answer is given once the block that holds it is durable, or once the mempool has dropped it. Nobody's leaving takes a
transaction back.
"""

from __future__ import annotations

import asyncio

from ..errors import Rejected
from ..ids import TxId
from ..rpc import SubmitAnswer
from .results import StoredResults, make_answer


class Submissions:
    """Owned by the event loop."""

    def __init__(self) -> None:
        self._waiters: dict[TxId, list[asyncio.Future[SubmitAnswer]]] = {}

    async def wait(self, tx_id: TxId, timeout_s: float) -> SubmitAnswer | None:
        """None where nothing became of it in that time."""
        future: asyncio.Future[SubmitAnswer] = asyncio.get_running_loop().create_future()
        self._waiters.setdefault(tx_id, []).append(future)
        try:
            async with asyncio.timeout(timeout_s):
                return await future
        except TimeoutError:
            return None
        finally:
            self._forget(tx_id, future)

    def note_block(self, height: int, results: StoredResults) -> None:
        for index, receipt in enumerate(results.receipts):
            if receipt.tx_id in self._waiters:
                self._answer(TxId(receipt.tx_id), make_answer(height, index, receipt))

    def note_dropped(self, tx_id: TxId, error: Rejected) -> None:
        self._answer(tx_id, make_refusal(tx_id, error))

    def _answer(self, tx_id: TxId, answer: SubmitAnswer) -> None:
        for future in self._waiters.pop(tx_id, ()):
            if not future.done():
                future.set_result(answer)

    def _forget(self, tx_id: TxId, future: asyncio.Future[SubmitAnswer]) -> None:
        waiters = self._waiters.get(tx_id)
        if waiters is not None and future in waiters:
            waiters.remove(future)
            if not waiters:
                del self._waiters[tx_id]


def make_refusal(tx_id: TxId, error: Rejected) -> SubmitAnswer:
    """Height 0: it is in no block and nothing was charged."""
    return SubmitAnswer(tx_id, 0, 0, error.code, error.message)
