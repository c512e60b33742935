"""The monitor: probes the nodes this one has a seat for, sits on juries, and tells the ledger what it saw.

One loop: take in duty, keep one probing task per target and per jury, and send what is due, one batch at a time in the
watch lane. A batch that can't be sent is made anew, so it never says what no longer holds.
Source: LIVENESS.md 1, 2; RECORDS.md 1 (role lanes), 3.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from ...errors import FluxCloudError, Temporary
from ...ids import NodeId, render_node
from ...ledger.liveness.messages import JuryVote, Observation, Observe, Vote
from ...ledger.liveness.model import Duty, Jury
from ...ledger.module import Message
from .contacts import Contact, Contacts
from .opinion import Opinion
from .prober import Prober

_log = logging.getLogger(__name__)

PERIOD_S = 1.0
JITTER_S = 0.1
TIMEOUT_S = 0.5
JURY_PROBES = 3
JURY_TIMEOUT_S = 0.3
BATCH_MAX = 256
RETRY_S = 1.0
"""Two blocks: after that a batch that was not taken is sent anew."""

Submit = Callable[[tuple[Message, ...]], Awaitable[None]]
"""Sends messages in the watch lane and returns once they are in a block. Raises FluxCloudError."""


@dataclass(frozen=True, slots=True)
class ChainNow:
    """What the newest proven header says. `may_speak`: this node is active and its clock is right."""

    tick_ms: int
    epoch: int
    may_speak: bool


class Monitor:
    """`now` in seconds, monotonic. Its start, from which misses are counted, is when it is made."""

    def __init__(
        self,
        prober: Prober,
        contacts: Contacts,
        submit: Submit,
        get_chain_now: Callable[[], ChainNow],
        now: Callable[[], float],
    ) -> None:
        self.prober = prober
        self._contacts = contacts
        self._submit = submit
        self._get_chain_now = get_chain_now
        self._now = now
        self._opinions: dict[NodeId, Opinion] = {}
        self._tasks: dict[NodeId | Jury, asyncio.Task[None]] = {}
        self._votes: dict[Jury, Vote] = {}
        self._wake = asyncio.Event()
        self._started_ms = self._now_ms()

    def set_duty(self, duty: Duty) -> None:
        """Begin and end probing so that it is what the ledger asks for."""
        targets = {NodeId(target) for target in duty.targets}
        wanted: set[NodeId | Jury] = {*targets, *duty.juries}
        for gone in self._tasks.keys() - wanted:
            self._tasks.pop(gone).cancel()
        self._opinions = {target: opinion for target, opinion in self._opinions.items() if target in targets}
        self._votes = {jury: vote for jury, vote in self._votes.items() if jury in wanted}
        for target in sorted(targets - self._tasks.keys()):
            self._opinions[target] = Opinion(target, self._started_ms, self._get_chain_now().tick_ms)
            self._tasks[target] = asyncio.create_task(self._run_target(target))
        for jury in duty.juries:
            if jury not in self._tasks:
                self._tasks[jury] = asyncio.create_task(self._judge(jury))

    def note_block(self) -> None:
        """States may have changed: look again whether something has to be said."""
        self._wake.set()

    async def run(self) -> None:
        """Send what is due until cancelled, one batch in flight."""
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                await self._send_due()
        finally:
            for task in self._tasks.values():
                task.cancel()

    async def _run_target(self, target: NodeId) -> None:
        await asyncio.sleep(random.uniform(0, PERIOD_S))  # noqa: S311 - spreads load, guards nothing
        while True:
            began_s = self._now()
            contact = self._contacts.get(target)
            if contact is not None:
                ok = await self.prober.probe(contact, TIMEOUT_S)
                self._note(target, contact, ok)
            pause_s = PERIOD_S + random.uniform(-JITTER_S, JITTER_S)  # noqa: S311
            await asyncio.sleep(max(0.0, began_s + pause_s - self._now()))

    def _note(self, target: NodeId, contact: Contact, ok: bool) -> None:
        opinion = self._opinions.get(target)
        if opinion is None:
            return
        if ok != opinion.is_answering:
            _log.info("%s", "answers" if ok else "does not answer", extra={"fields": {"target": render_node(target)}})
        opinion.note(ok, now_ms=self._now_ms(), tick_ms=self._get_chain_now().tick_ms)
        if opinion.get_due(contact.state, contact.since_tick, self._now_ms()) is not None:
            self._wake.set()

    async def _judge(self, jury: Jury) -> None:
        """Three probes of 300 ms: one answer is enough for `ok`."""
        target = NodeId(jury.target)
        contact = self._contacts.get(target) or await self._contacts.read(target)
        if contact is None:
            return  # without its record this juror can say nothing; the others decide
        ok = False
        for _ in range(JURY_PROBES):
            ok = ok or await self.prober.probe(contact, JURY_TIMEOUT_S)
        _log.info("votes %s", "ok" if ok else "miss", extra={"fields": {"target": render_node(target)}})
        self._votes[jury] = Vote(jury.target, jury.opened_height, jury.round, not ok)
        self._wake.set()

    async def _send_due(self) -> None:
        """Votes first: a jury waits for 3 s only, and one refusal must not take both along."""
        chain = self._get_chain_now()
        votes = dict(sorted(self._votes.items(), key=lambda item: item[0].target)[:BATCH_MAX])
        if not chain.may_speak:
            return
        if votes and await self._try_submit(JuryVote(tuple(votes.values()))):
            for jury in votes:
                self._votes.pop(jury, None)
        due = self._collect_due()
        if due and await self._try_submit(Observe(chain.epoch, tuple(observation for observation, _ in due))):
            self._note_told(due)

    async def _try_submit(self, message: Message) -> bool:
        """Whether the ledger has dealt with it; a refusal counts, for the same again would be refused again."""
        try:
            await self._submit((message,))
        except Temporary as error:
            _log.warning("observations not sent: %s", error)
            await asyncio.sleep(min(error.retry_after_s, RETRY_S))
            self._wake.set()
            return False
        except FluxCloudError as error:
            _log.warning("observations refused: %s", error)
        return True

    def _collect_due(self) -> list[tuple[Observation, int]]:
        due = []
        for target in sorted(self._opinions):
            contact = self._contacts.get(target)
            if contact is not None:
                observation = self._opinions[target].get_due(contact.state, contact.since_tick, self._now_ms())
                due += [(observation, contact.since_tick)] if observation is not None else []
        return due[:BATCH_MAX]

    def _note_told(self, due: list[tuple[Observation, int]]) -> None:
        for observation, since_tick in due:
            opinion = self._opinions.get(NodeId(observation.target))
            if opinion is not None:
                opinion.note_told(observation, since_tick, self._now_ms())

    def _now_ms(self) -> int:
        return int(self._now() * 1000)
