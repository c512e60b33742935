"""The responder: answers PINGs of registered nodes over UDP, and nothing else.

What costs nothing is checked first: length, version, sender, source address, then the rates (4 a second per sender, 200
in all), and only then the signature. So forged datagrams cost at most 200 signature checks a second, whatever their
number. Half of that is kept for senders that have proven themselves from the very port that they use now: addresses of
monitors are public and easily forged, and else a few forged PINGs a second would use up a monitor's rate and make this
node look dead to it. A repeated PING is answered again: the answer is shorter and goes to the sender's registered
address only. Source: LIVENESS.md 1.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from ...crypto import PrivateKey
from ...ids import NodeId
from .bucket import Bucket
from .contacts import Contact, Contacts
from .wire import Pair, Ping, Pong, is_ping_signed, parse_ping, seal_pong

SENDER_RATE = 4.0
SENDER_BURST = 8.0
PROVEN_RATE = 100.0
UNPROVEN_RATE = 100.0
SENDERS_MAX = 4_096


@dataclass(slots=True)
class ResponderStats:
    """Counters since start. `checks` is what costs: verified signatures."""

    received: int = 0
    malformed: int = 0
    unknown: int = 0
    misplaced: int = 0  # a known sender, from an address that is not its own
    limited: int = 0
    checks: int = 0
    forged: int = 0
    answered: int = 0


@dataclass(frozen=True, slots=True)
class Vitals:
    """What a PONG says of its sender."""

    height: int
    age_ms: int


class _Limits:
    """The rates of one kind of senders: each its own, and one for all together."""

    def __init__(self, total_rate: float) -> None:
        self._total = Bucket(total_rate, total_rate)
        self._senders: dict[NodeId, Bucket] = {}

    def take(self, sender: NodeId, now_s: float) -> bool:
        bucket = self._senders.get(sender)
        if bucket is None:
            if len(self._senders) >= SENDERS_MAX:
                self._senders.clear()  # all start full again; the total rate still holds
            bucket = self._senders[sender] = Bucket(SENDER_RATE, SENDER_BURST)
        return bucket.take(now_s) and self._total.take(now_s)


class Responder(asyncio.DatagramProtocol):
    """Bind it with `loop.create_datagram_endpoint`. `now` in seconds, monotonic."""

    def __init__(
        self,
        chain_id: str,
        node_id: NodeId,
        key: PrivateKey,
        contacts: Contacts,
        get_vitals: Callable[[], Vitals],
        now: Callable[[], float],
    ) -> None:
        self._chain_id = chain_id
        self._node_id = node_id
        self._key = key
        self._contacts = contacts
        self._get_vitals = get_vitals
        self._now = now
        self._proven, self._unproven = _Limits(PROVEN_RATE), _Limits(UNPROVEN_RATE)
        self._ports: dict[NodeId, int] = {}
        self._transport: asyncio.DatagramTransport | None = None
        self.stats = ResponderStats()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def error_received(self, exc: Exception) -> None:
        """An ICMP error about an answer: the asker has gone; there is nothing to do."""

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        self.stats.received += 1
        answer = self._answer(data, addr)
        if answer is not None and self._transport is not None:
            self._transport.sendto(answer, addr)

    def _answer(self, raw: bytes, addr: tuple[str | Any, int]) -> bytes | None:
        ping = parse_ping(raw)
        if ping is None:
            self.stats.malformed += 1
            return None
        contact = self._contacts.get(ping.monitor)
        if contact is None:
            self.stats.unknown += 1
            return None
        host, port = addr
        if contact.host != host:
            self.stats.misplaced += 1
            return None
        return self._answer_contact(raw, ping, contact, port)

    def _answer_contact(self, raw: bytes, ping: Ping, contact: Contact, port: int) -> bytes | None:
        limits = self._proven if self._ports.get(contact.id) == port else self._unproven
        if not limits.take(contact.id, self._now()):
            self.stats.limited += 1
            return None
        self.stats.checks += 1
        pair = Pair(self._chain_id, self._node_id, contact.id)
        if not is_ping_signed(raw, pair, contact.hot):
            self.stats.forged += 1
            return None
        self.stats.answered += 1
        self._note_port(contact.id, port)
        vitals = self._get_vitals()
        return seal_pong(Pong(ping.nonce, ping.minute, vitals.height, vitals.age_ms), pair, self._key)

    def _note_port(self, sender: NodeId, port: int) -> None:
        if len(self._ports) >= SENDERS_MAX and sender not in self._ports:
            self._ports.clear()
        self._ports[sender] = port
