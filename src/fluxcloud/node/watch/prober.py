"""The prober: asks one node whether it is there, over UDP, from this node's own address.

It knows what it has asked and takes no other answer: nonce, address, minute and signature must all fit. An answer whose
sender's last check of engine and disk is over 10 s old counts as none: a hung node must not look alive.
Source: LIVENESS.md 1.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from ...crypto import PrivateKey
from ...ids import NodeId, render_node
from .contacts import Contact
from .wire import Pair, Ping, Pong, is_pong_signed, parse_pong, seal_ping

_log = logging.getLogger(__name__)

HEALTH_AGE_MS_MAX = 10_000


@dataclass(frozen=True, slots=True)
class _Asked:
    contact: Contact
    pair: Pair
    minute: int
    answer: asyncio.Future[Pong]


class Prober(asyncio.DatagramProtocol):
    """One UDP socket for all probes of this node. `unix_s` is the wall clock, for the minute in the datagrams."""

    def __init__(self, chain_id: str, node_id: NodeId, key: PrivateKey, unix_s: Callable[[], float]) -> None:
        self._chain_id = chain_id
        self._node_id = node_id
        self._key = key
        self._unix_s = unix_s
        self._asked: dict[bytes, _Asked] = {}
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def error_received(self, exc: Exception) -> None:
        """The target's port is closed, or its host unreachable: the probe ends as a miss by its timeout."""

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        pong = parse_pong(data)
        asked = self._asked.get(pong.nonce) if pong is not None else None
        if pong is None or asked is None or addr != (asked.contact.host, asked.contact.probe_port):
            return
        if pong.minute == asked.minute and is_pong_signed(data, asked.pair, asked.contact.hot):
            del self._asked[pong.nonce]
            if not asked.answer.done():
                asked.answer.set_result(pong)

    async def probe(self, contact: Contact, timeout_s: float) -> bool:
        """Whether the node answers in time and is well."""
        pong = await self.ask(contact, timeout_s)
        if pong is not None and pong.age_ms > HEALTH_AGE_MS_MAX:
            _log.info("answers, but its engine or disk hangs", extra={"fields": {"target": render_node(contact.id)}})
            return False
        return pong is not None

    async def ask(self, contact: Contact, timeout_s: float) -> Pong | None:
        """Send one PING and wait for its PONG."""
        assert self._transport is not None, "the socket is not open"
        nonce = secrets.token_bytes(6)
        minute = int(self._unix_s()) // 60
        pair = Pair(self._chain_id, contact.id, self._node_id)
        answer: asyncio.Future[Pong] = asyncio.get_running_loop().create_future()
        self._asked[nonce] = _Asked(contact, pair, minute, answer)
        try:
            ping = seal_ping(Ping(self._node_id, nonce, minute), pair, self._key)
            self._transport.sendto(ping, (contact.host, contact.probe_port))
            async with asyncio.timeout(timeout_s):
                return await answer
        except (TimeoutError, OSError):
            return None
        finally:
            self._asked.pop(nonce, None)
