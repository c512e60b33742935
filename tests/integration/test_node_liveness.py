"""Probing over real UDP sockets: answers, silence, forgery, sickness; and a monitor's word to the ledger."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest

from fluxcloud.crypto import PrivateKey
from fluxcloud.errors import Temporary
from fluxcloud.ids import NodeId
from fluxcloud.ledger.liveness.messages import JuryVote, Observation, Observe, Vote
from fluxcloud.ledger.liveness.model import Duty, Jury
from fluxcloud.ledger.module import Message
from fluxcloud.ledger.nodes.model import Capacity, Endpoint, Location, Node
from fluxcloud.node.watch.contacts import Contact, Contacts, make_contact
from fluxcloud.node.watch.monitor import ChainNow, Monitor
from fluxcloud.node.watch.prober import Prober
from fluxcloud.node.watch.responder import Responder, Vitals

MONITOR, TARGET = NodeId(b"\x01" * 20), NodeId(b"\x02" * 20)
MONITOR_KEY, TARGET_KEY = PrivateKey.from_seed(b"\x01" * 32), PrivateKey.from_seed(b"\x02" * 32)


def make_node(node_id: NodeId, key: PrivateKey, port: int) -> Node:
    return Node(
        node_id, b"", b"", key.public, b"", b"", b"", 1, 0, Endpoint("127.0.0.1", 1, 2, port, 3), "amd64", Capacity(),
        Capacity(), Location(), 1, "full", "active", 7,
    )  # fmt: skip


@dataclass
class Pair:
    """A prober and the responder it asks; `vitals` is what the responder says of itself."""

    prober: Prober
    responder: Responder
    contact: Contact
    node: Node
    vitals: Vitals


@asynccontextmanager
async def open_pair(*, responder_key: PrivateKey = TARGET_KEY, chain_id: str = "dev") -> AsyncIterator[Pair]:
    loop = asyncio.get_running_loop()

    async def look_up(node_id: NodeId) -> Node | None:
        return None

    contacts = Contacts(look_up, time.monotonic)
    contacts.set_followed((make_contact(make_node(MONITOR, MONITOR_KEY, 1)),))
    pair: Pair
    responder = Responder("dev", TARGET, responder_key, contacts, lambda: pair.vitals, time.monotonic)
    prober = Prober(chain_id, MONITOR, MONITOR_KEY, time.time)
    ends = [
        (await loop.create_datagram_endpoint(lambda end=end: end, local_addr=("127.0.0.1", 0)))[0]  # type: ignore[misc]
        for end in (responder, prober)
    ]
    node = make_node(TARGET, TARGET_KEY, ends[0].get_extra_info("sockname")[1])
    pair = Pair(prober, responder, make_contact(node), node, Vitals(77, 1500))
    try:
        yield pair
    finally:
        for end in ends:
            end.close()


async def test_ask__gets_the_pong() -> None:
    async with open_pair() as pair:
        pong = await pair.prober.ask(pair.contact, 2)
        assert pong is not None
        assert (pong.height, pong.age_ms) == (77, 1500)


async def test_sick_target__answers_and_counts_as_a_miss() -> None:
    async with open_pair() as pair:
        pair.vitals = Vitals(77, 10_000)
        assert await pair.prober.probe(pair.contact, 2)
        pair.vitals = Vitals(77, 10_100)
        assert not await pair.prober.probe(pair.contact, 2)


async def test_answer_signed_by_another__is_none() -> None:
    async with open_pair(responder_key=MONITOR_KEY) as pair:
        assert await pair.prober.ask(pair.contact, 0.2) is None
        assert pair.responder.stats.answered == 1


async def test_other_network_and_wrong_port__are_silence() -> None:
    async with open_pair(chain_id="other") as pair:
        assert await pair.prober.ask(pair.contact, 0.2) is None
        assert pair.responder.stats.forged == 1
    assert not pair.prober._asked


@dataclass
class Ledger:
    """Takes what the monitor says."""

    said: asyncio.Queue[Message]
    failures: int = 0

    async def submit(self, messages: tuple[Message, ...]) -> None:
        if self.failures:
            self.failures -= 1
            raise Temporary("away", retry_after_s=0.01)
        for message in messages:
            self.said.put_nowait(message)


@asynccontextmanager
async def run_monitor(pair: Pair, ledger: Ledger, *, may_speak: bool = True) -> AsyncIterator[Monitor]:
    async def look_up(node_id: NodeId) -> Node | None:
        return pair.node

    contacts = Contacts(look_up, time.monotonic)
    contacts.set_followed((make_contact(pair.node),))
    now = ChainNow(tick_ms=900, epoch=4, may_speak=may_speak)
    monitor = Monitor(pair.prober, contacts, ledger.submit, lambda: now, time.monotonic)
    task = asyncio.create_task(monitor.run())
    try:
        yield monitor
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def take(ledger: Ledger, timeout_s: float) -> Any:
    return await asyncio.wait_for(ledger.said.get(), timeout_s)


async def test_target_that_falls_silent__is_said_to_miss_within_four_seconds_and_withdrawn() -> None:
    ledger = Ledger(asyncio.Queue(), failures=1)
    async with open_pair() as pair, run_monitor(pair, ledger) as monitor:
        monitor.set_duty(Duty((TARGET,)))
        async with asyncio.timeout(5):
            while pair.responder.stats.answered < 1:
                await asyncio.sleep(0.01)
        pair.vitals = replace(pair.vitals, age_ms=60_000)
        began_s = time.monotonic()
        assert await take(ledger, 8) == Observe(4, (Observation(TARGET, True, 900),))
        assert time.monotonic() - began_s < 5
        pair.vitals = replace(pair.vitals, age_ms=0)
        assert await take(ledger, 5) == Observe(4, (Observation(TARGET, False, 900),))


@pytest.mark.parametrize("is_alive", [True, False])
async def test_juror__votes_once_on_what_it_saw(is_alive: bool) -> None:
    ledger, jury = Ledger(asyncio.Queue()), Jury(TARGET, 12, 1)
    async with open_pair() as pair, run_monitor(pair, ledger) as monitor:
        pair.vitals = Vitals(1, 0 if is_alive else 20_000)
        monitor.set_duty(Duty((), (jury,)))
        assert await take(ledger, 3) == JuryVote((Vote(TARGET, 12, 1, not is_alive),))
        monitor.set_duty(Duty((), (jury,)))
        monitor.note_block()
        await asyncio.sleep(0)
        assert ledger.said.empty()


async def test_wrong_clock__says_nothing() -> None:
    ledger = Ledger(asyncio.Queue())
    async with open_pair() as pair, run_monitor(pair, ledger, may_speak=False) as monitor:
        monitor.set_duty(Duty((), (Jury(TARGET, 12, 1),)))
        async with asyncio.timeout(5):
            while pair.responder.stats.answered < 1:
                await asyncio.sleep(0.01)
        monitor.note_block()
        await asyncio.sleep(0.05)
        assert ledger.said.empty()
