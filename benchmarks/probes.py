"""Liveness probes on one core: what a PING costs its target, answered, forged, in a flood, or as garbage.

    python benchmarks/probes.py

Prints one line a figure: `figure <name> value <number> <unit> ratio <number> (<to what>)`. CPU time is that of this
process. The round trip goes over loopback, with both ends in this process and the responder's rates lifted.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable

from fluxcloud.clock import ManualClock
from fluxcloud.crypto import PrivateKey
from fluxcloud.ids import NodeId
from fluxcloud.ledger.nodes.model import Capacity, Endpoint, Location, Node
from fluxcloud.node.watch.contacts import Contacts, make_contact
from fluxcloud.node.watch.prober import Prober
from fluxcloud.node.watch.responder import Responder, Vitals
from fluxcloud.node.watch.wire import PING_BYTES, PONG_BYTES, Pair, Ping, seal_ping

HOST = "127.0.0.1"
TARGET = NodeId(b"\xff" * 20)
TARGET_KEY = PrivateKey.from_seed(b"\xff" * 32)
MONITORS = 50
COUNT = 5_000
ROUND_TRIPS = 3_000
IN_FLIGHT = 20


def make_node(node_id: NodeId, key: PrivateKey, port: int) -> Node:
    return Node(
        node_id, b"", b"", key.public, b"", b"", b"", 1, 0, Endpoint(HOST, 1, 2, port, 3), "amd64", Capacity(),
        Capacity(), Location(), 1, "full", "active", 7,
    )  # fmt: skip


async def look_up_nobody(node_id: NodeId) -> Node | None:
    return None


class World:
    """A responder that knows MONITORS nodes, on a clock that tests move by hand."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.keys = [PrivateKey.generate() for _ in range(MONITORS)]
        self.ids = [NodeId(index.to_bytes(20, "big")) for index in range(MONITORS)]
        contacts = Contacts(look_up_nobody, self.clock.monotonic_s)
        nodes = (make_node(node_id, key, 1) for node_id, key in zip(self.ids, self.keys, strict=True))
        contacts.set_followed(map(make_contact, nodes))
        now = self.clock.monotonic_s
        self.responder = Responder("bench", TARGET, TARGET_KEY, contacts, lambda: Vitals(9, 0), now)

    def make_ping(self, index: int) -> bytes:
        pair = Pair("bench", TARGET, self.ids[index])
        return seal_ping(Ping(pair.monitor, secrets.token_bytes(6), 9), pair, self.keys[index])


def measure(deliver: Callable[[int], None], count: int) -> float:
    """CPU seconds of one call."""
    began = time.process_time()
    for index in range(count):
        deliver(index)
    return (time.process_time() - began) / count


def measure_paced(world: World, pings: list[bytes]) -> float:
    """As many a second as the rates let through: each datagram is checked."""

    def deliver(index: int) -> None:
        if index % MONITORS == 0:
            world.clock.advance_ms(1000)
        world.responder.datagram_received(pings[index % len(pings)], (HOST, 4000))

    return measure(deliver, COUNT)


def measure_flood(world: World, ping: bytes) -> float:
    """All in one moment: the rates stop all but a few."""
    return measure(lambda _: world.responder.datagram_received(ping, (HOST, 4000)), COUNT * 10)


async def measure_round_trips() -> tuple[float, float]:
    """(round trips a second, CPU seconds of one, both ends)."""
    loop, clock, key = asyncio.get_running_loop(), ManualClock(), PrivateKey.generate()
    monitor = NodeId(b"\x01" * 20)
    contacts = Contacts(look_up_nobody, clock.monotonic_s)
    contacts.set_followed((make_contact(make_node(monitor, key, 1)),))

    def now() -> float:
        clock.advance_ms(1000)  # every probe finds full buckets
        return clock.monotonic_s()

    responder = Responder("bench", TARGET, TARGET_KEY, contacts, lambda: Vitals(9, 0), now)
    prober = Prober("bench", monitor, key, time.time)
    target_end, _ = await loop.create_datagram_endpoint(lambda: responder, local_addr=(HOST, 0))
    monitor_end, _ = await loop.create_datagram_endpoint(lambda: prober, local_addr=(HOST, 0))
    contact = make_contact(make_node(TARGET, TARGET_KEY, target_end.get_extra_info("sockname")[1]))

    async def probe_on() -> None:
        for _ in range(ROUND_TRIPS // IN_FLIGHT):
            assert await prober.probe(contact, 5.0)

    began, began_cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(probe_on() for _ in range(IN_FLIGHT)))
    spent, spent_cpu = time.perf_counter() - began, time.process_time() - began_cpu
    target_end.close()
    monitor_end.close()
    return ROUND_TRIPS / spent, spent_cpu / ROUND_TRIPS


def show(name: str, value: float, unit: str, ratio: float, to: str) -> None:
    print(f"figure {name} value {value:.1f} {unit} ratio {ratio:.3f} ({to})")


def main() -> None:
    world = World()
    valid = measure_paced(world, [world.make_ping(index) for index in range(MONITORS)])
    assert world.responder.stats.answered == COUNT
    forged = measure_paced(world, [world.make_ping(index)[:31] + b"\x01" * 64 for index in range(MONITORS)])
    assert world.responder.stats.forged == COUNT
    flood = measure_flood(world, world.make_ping(0))
    garbage = measure(lambda _: world.responder.datagram_received(b"\x11" * 60, (HOST, 4000)), COUNT * 10)
    rate, both = asyncio.run(measure_round_trips())
    show("probe_answer_cpu", valid * 1e6, "us", 200 * valid, "a core, at the most answered a second: 200")
    show("probe_forged_cpu", forged * 1e6, "us", forged / valid, "an answered one")
    show("probe_flood_cpu", flood * 1e6, "us", flood / valid, "an answered one")
    show("probe_garbage_cpu", garbage * 1e6, "us", garbage / valid, "an answered one")
    show("probe_round_trips", rate, "1/s", rate / 200, "the most that one node answers: 200/s")
    show("probe_round_trip_cpu", both * 1e6, "us", both, "a core, for one probe a second, both ends")
    show("probe_bytes", PING_BYTES, "bytes", PONG_BYTES / PING_BYTES, "its answer over it: nothing is amplified")


if __name__ == "__main__":
    main()
