"""The responder under garbage, forgery, floods and repetition: what it checks, what it answers."""

from __future__ import annotations

import random
import secrets

from fluxcloud.clock import ManualClock
from fluxcloud.crypto import PrivateKey
from fluxcloud.ids import NodeId
from fluxcloud.ledger.nodes.model import Capacity, Endpoint, Location, Node
from fluxcloud.node.watch.contacts import Contacts, make_contact
from fluxcloud.node.watch.responder import Responder, Vitals
from fluxcloud.node.watch.wire import PING_BYTES, Pair, Ping, is_pong_signed, parse_pong, seal_ping

TARGET_KEY = PrivateKey.from_seed(b"\x01" * 32)
TARGET = NodeId(b"\x0a" * 20)


class Sink:
    """Takes what the responder sends."""

    def __init__(self) -> None:
        self.sent: list[tuple[bytes, tuple[str, int]]] = []

    def sendto(self, data: bytes, addr: tuple[str, int]) -> None:
        self.sent.append((data, addr))


def make_node(index: int, key: PrivateKey) -> Node:
    endpoint = Endpoint(f"127.1.{index}.1", 16127, 16128, 16129, 20000)
    node_id = index.to_bytes(20, "big")
    return Node(
        node_id, b"", b"", key.public, b"", b"", b"", 1, 0, endpoint, "amd64", Capacity(), Capacity(), Location(), 1,
        "full", "active", 7,
    )  # fmt: skip


async def look_up_nobody(node_id: NodeId) -> Node | None:
    return None


class World:
    """A responder that knows `monitors` nodes."""

    def __init__(self, monitors: int = 1) -> None:
        self.clock = ManualClock()
        self.keys = [PrivateKey.from_seed(bytes((index + 2,)) * 32) for index in range(monitors)]
        self.nodes = tuple(make_node(index, key) for index, key in enumerate(self.keys))
        contacts = Contacts(look_up_nobody, self.clock.monotonic_s)
        contacts.set_followed(map(make_contact, self.nodes))
        self.contacts = contacts
        self.responder = Responder("dev", TARGET, TARGET_KEY, contacts, lambda: Vitals(55, 700), self.clock.monotonic_s)
        self.sink = Sink()
        self.responder._transport = self.sink  # type: ignore[assignment]

    def make_ping(self, index: int = 0, *, target: NodeId = TARGET) -> bytes:
        monitor = NodeId(self.nodes[index].id)
        return seal_ping(Ping(monitor, secrets.token_bytes(6), 9), Pair("dev", target, monitor), self.keys[index])

    def deliver(self, raw: bytes, index: int = 0, *, port: int = 40_000) -> None:
        self.responder.datagram_received(raw, (self.nodes[index].endpoint.host, port))


def test_valid_ping__is_answered_with_a_signed_pong() -> None:
    world = World()
    ping = world.make_ping()
    world.deliver(ping)
    ((raw, addr),) = world.sink.sent
    pong = parse_pong(raw)
    assert pong is not None
    assert (pong.height, pong.age_ms, pong.minute, addr) == (55, 700, 9, ("127.1.0.1", 40_000))
    assert is_pong_signed(raw, Pair("dev", TARGET, NodeId(world.nodes[0].id)), TARGET_KEY.public)
    assert len(raw) <= len(ping) + 4


def test_garbage__costs_no_signature_check() -> None:
    world = World()
    choose = random.Random(7)
    for size in range(0, 300):
        world.deliver(choose.randbytes(size))
    for first in range(256):
        world.deliver(bytes((first,)) + b"\x00" * (PING_BYTES - 1 if first != 0x11 else PING_BYTES))
    stats = world.responder.stats
    assert (stats.checks, stats.answered, stats.malformed) == (0, 0, stats.received)


def test_unknown_sender_and_wrong_address__cost_no_signature_check() -> None:
    world = World()
    stranger = PrivateKey.from_seed(b"\x77" * 32)
    for _ in range(5000):
        monitor = NodeId(secrets.token_bytes(20))
        world.deliver(seal_ping(Ping(monitor, b"\x00" * 6, 9), Pair("dev", TARGET, monitor), stranger)[:PING_BYTES])
        if world.responder.stats.unknown >= 200:
            break
    world.responder.datagram_received(world.make_ping(), ("127.9.9.9", 1))
    stats = world.responder.stats
    assert (stats.checks, stats.unknown, stats.misplaced, world.sink.sent) == (0, 200, 1, [])


def test_forged_flood_of_one_sender__costs_its_rate_of_checks() -> None:
    world = World()
    forged = world.make_ping()[:31] + b"\x00" * 64
    for index in range(10_000):
        world.deliver(forged)
        world.clock.advance_ms(index % 5 == 0)
    stats = world.responder.stats
    assert (stats.checks, stats.forged, stats.answered, stats.received) == (15, 15, 0, 10_000)


def test_flood_of_many_senders__is_bounded_in_all() -> None:
    world = World(monitors=100)
    for index in range(100):
        forged = world.make_ping(index)[:31] + b"\x00" * 64
        for _ in range(8):
            world.deliver(forged, index)
    stats = world.responder.stats
    assert (stats.checks, stats.forged, stats.limited) == (100, 100, 700)
    world.clock.advance_ms(500)
    world.deliver(world.make_ping(0), 0)
    assert world.responder.stats.answered == 1


def test_flood_of_proven_senders__is_bounded_in_all() -> None:
    world = World(monitors=100)
    for index in range(100):
        ping = world.make_ping(index)
        for _ in range(8):
            world.deliver(ping, index)
    stats = world.responder.stats
    assert (stats.checks, stats.answered, stats.limited) == (200, 200, 600)


def test_forged_flood_from_monitors_addresses__does_not_silence_them() -> None:
    world = World(monitors=5)
    for index in range(5):
        world.deliver(world.make_ping(index), index)
    forged = [world.make_ping(index)[:31] + b"\x00" * 64 for index in range(5)]
    for _ in range(20):
        for number in range(1_000):
            world.deliver(forged[number % 5], number % 5, port=41_000 + number)
        for index in range(5):
            world.deliver(world.make_ping(index), index)
        world.clock.advance_ms(1_000)
    stats = world.responder.stats
    assert stats.answered == 5 + 20 * 5
    assert stats.forged <= 20 * 100


def test_ping_for_another_node__is_not_answered() -> None:
    world = World()
    world.deliver(world.make_ping(target=NodeId(b"\x0b" * 20)))
    assert (world.responder.stats.forged, world.sink.sent) == (1, [])


def test_repeated_ping__is_answered_again_within_its_rate_only() -> None:
    world = World()
    ping = world.make_ping()
    for _ in range(50):
        world.deliver(ping)
    assert world.responder.stats.answered == 1 + 8


async def test_stranger__is_looked_up_once_and_answered_after() -> None:
    clock, key = ManualClock(), PrivateKey.from_seed(b"\x33" * 32)
    node = make_node(7, key)
    asked: list[NodeId] = []

    async def look_up(node_id: NodeId) -> Node | None:
        asked.append(node_id)
        return node

    contacts = Contacts(look_up, clock.monotonic_s)
    responder = Responder("dev", TARGET, TARGET_KEY, contacts, lambda: Vitals(1, 0), clock.monotonic_s)
    sink = Sink()
    responder._transport = sink  # type: ignore[assignment]
    pair = Pair("dev", TARGET, NodeId(node.id))
    for _ in range(3):
        responder.datagram_received(seal_ping(Ping(pair.monitor, b"abcdef", 9), pair, key), (node.endpoint.host, 5))
    assert asked == []
    await contacts.look_up_wanted()
    responder.datagram_received(seal_ping(Ping(pair.monitor, b"abcdeg", 9), pair, key), (node.endpoint.host, 5))
    await contacts.look_up_wanted()
    assert (asked, len(sink.sent)) == ([node.id], 1)


async def test_look_ups__are_bounded_a_second() -> None:
    clock = ManualClock()
    asked: list[NodeId] = []

    async def look_up(node_id: NodeId) -> Node | None:
        asked.append(node_id)
        return None

    contacts = Contacts(look_up, clock.monotonic_s)
    for index in range(5000):
        contacts.get(NodeId(index.to_bytes(20, "big")))
    await contacts.look_up_wanted()
    assert len(asked) == 10
    clock.advance_ms(500)
    await contacts.look_up_wanted()
    assert len(asked) == 15
