"""Reporting: tells the ledger what became of copies, in batches, one in flight, until its records say the same.

What is offered is what the ledger does not have yet, computed anew after every look at the world; so a lost report is
sent again and one that no longer holds is not. Source: RECORDS.md 1 (role lanes), 3.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from ..errors import FluxCloudError, Temporary
from ..ledger.module import Message
from ..ledger.nodes.messages import NodeUp
from ..ledger.scheduler.messages import CopyReport, NodeReport

_log = logging.getLogger(__name__)

BATCH_MAX = 256
RESEND_S = 3.0
"""A report that the ledger took, but whose effect is not seen by then, is sent again."""

RETRY_S = 1.0

Submit = Callable[[tuple[Message, ...]], Awaitable[None]]
"""Sends messages in the report lane and returns once they are in a block. Raises FluxCloudError."""


class Reporter:
    """`now` in seconds, monotonic."""

    def __init__(self, submit: Submit, now: Callable[[], float]) -> None:
        self._submit = submit
        self._now = now
        self._offered: tuple[CopyReport, ...] = ()
        self._is_back = False
        self._sent: dict[CopyReport | type[NodeUp], float] = {}
        self._wake = asyncio.Event()

    def offer(self, reports: tuple[CopyReport, ...], *, is_back: bool) -> None:
        """Take what should be said now. `is_back`: the ledger holds this node for gone, and it is here."""
        self._offered, self._is_back = reports, is_back
        current: set[CopyReport | type[NodeUp]] = {*reports, *((NodeUp,) if is_back else ())}
        self._sent = {item: at_s for item, at_s in self._sent.items() if item in current}
        if self._collect():
            self._wake.set()

    async def run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            items = self._collect()
            if items:
                await self._send(items)

    def _collect(self) -> list[CopyReport | type[NodeUp]]:
        items: list[CopyReport | type[NodeUp]] = [NodeUp] if self._is_back else []
        items += sorted(self._offered, key=lambda report: (report.app, report.generation))[:BATCH_MAX]
        return [item for item in items if self._now() - self._sent.get(item, -RESEND_S) >= RESEND_S]

    async def _send(self, items: list[CopyReport | type[NodeUp]]) -> None:
        copies = tuple(item for item in items if isinstance(item, CopyReport))
        messages: list[Message] = [NodeUp()] if NodeUp in items else []
        messages += [NodeReport(copies)] if copies else []
        try:
            await self._submit(tuple(messages))
        except Temporary as error:
            _log.warning("reports not sent: %s", error)
            await asyncio.sleep(min(error.retry_after_s, RETRY_S))
            self._wake.set()
            return
        except FluxCloudError as error:
            _log.warning("reports refused: %s", error)
        for item in items:
            self._sent[item] = self._now()
        for report in copies:
            _log.info(
                "reported %s %s", report.outcome, report.reason, extra={"fields": {"generation": report.generation}}
            )
