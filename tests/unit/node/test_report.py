"""Reports: batches, resends, and what is not sent."""

from __future__ import annotations

import asyncio

from fluxcloud.clock import ManualClock
from fluxcloud.errors import FluxCloudError, Rejected, Temporary
from fluxcloud.ledger.module import Message
from fluxcloud.ledger.nodes.messages import NodeUp
from fluxcloud.ledger.scheduler.messages import CopyReport, NodeReport
from fluxcloud.node.report import Reporter

RUNNING = CopyReport(b"\x02" * 20, 1, "running")
READY = CopyReport(b"\x01" * 20, 9, "ready")


class Lane:
    """Takes messages, or fails as told."""

    def __init__(self) -> None:
        self.taken: asyncio.Queue[tuple[Message, ...]] = asyncio.Queue()
        self.failures: list[FluxCloudError] = []

    async def submit(self, messages: tuple[Message, ...]) -> None:
        if self.failures:
            raise self.failures.pop()
        self.taken.put_nowait(messages)

    async def take(self) -> tuple[Message, ...]:
        return await asyncio.wait_for(self.taken.get(), 5)


def start() -> tuple[Lane, Reporter, ManualClock, asyncio.Task[None]]:
    lane, clock = Lane(), ManualClock()
    reporter = Reporter(lane.submit, clock.monotonic_s)
    return lane, reporter, clock, asyncio.create_task(reporter.run())


async def test_batch__is_sorted_and_sent_once() -> None:
    lane, reporter, clock, task = start()
    reporter.offer((RUNNING, READY), is_back=False)
    assert await lane.take() == (NodeReport((READY, RUNNING)),)
    reporter.offer((RUNNING, READY), is_back=False)
    reporter.offer((RUNNING, READY), is_back=True)
    assert await lane.take() == (NodeUp(),)
    clock.advance_ms(3000)
    reporter.offer((RUNNING,), is_back=False)
    assert await lane.take() == (NodeReport((RUNNING,)),)
    task.cancel()


async def test_report_that_could_not_be_sent__is_sent_again() -> None:
    lane, reporter, _, task = start()
    lane.failures.append(Temporary("away", retry_after_s=0.01))
    reporter.offer((RUNNING,), is_back=False)
    assert await lane.take() == (NodeReport((RUNNING,)),)
    task.cancel()


async def test_refused_report__waits_like_a_taken_one() -> None:
    lane, reporter, _, task = start()
    lane.failures.append(Rejected("no"))
    reporter.offer((RUNNING,), is_back=False)
    reporter.offer((RUNNING, READY), is_back=False)
    await asyncio.sleep(0)
    while lane.failures:
        await asyncio.sleep(0)
    reporter.offer((RUNNING, CopyReport(b"\x03" * 20, 1, "ready")), is_back=False)
    (report,) = await lane.take()
    assert isinstance(report, NodeReport)
    assert RUNNING not in report.copies
    task.cancel()


async def test_report_that_no_longer_holds__is_not_sent() -> None:
    lane, reporter, _, task = start()
    reporter.offer((RUNNING,), is_back=False)
    reporter.offer((), is_back=False)
    reporter.offer((READY,), is_back=False)
    assert await lane.take() == (NodeReport((READY,)),)
    task.cancel()
