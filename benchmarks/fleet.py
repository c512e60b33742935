"""A fleet for benchmarks: nodes of many operators, ASNs, countries and sizes, as full as asked for. No randomness."""

from __future__ import annotations

import hashlib

from fluxcloud.codec import encode
from fluxcloud.ids import Address, NodeId
from fluxcloud.ledger.apps.model import Image
from fluxcloud.ledger.apps.spec import Component, Group, Health, Place, Port, Spec
from fluxcloud.ledger.module import Context
from fluxcloud.ledger.nodes.model import NODES, Capacity, Endpoint, Location, Node, Tier
from fluxcloud.ledger.params import MAINNET
from fluxcloud.ledger.state import State

SIZES: tuple[tuple[Tier, Capacity], ...] = (
    (1, Capacity(3_800, 7_600, 209_000)),
    (2, Capacity(7_600, 30_400, 418_000)),
    (3, Capacity(15_200, 60_800, 836_000)),
)
COUNTRIES = (
    *(("EU", code) for code in ("DE", "FR", "NL", "PL", "FI", "ES", "IT", "SE", "CZ", "AT", "GB", "RO")),
    *(("NA", code) for code in ("US", "CA", "MX")),
    *(("AS", code) for code in ("SG", "JP", "IN", "KR")),
    *(("OC", code) for code in ("AU", "NZ")),
)
SENDER = Address(bytes(21))
DIGEST = "sha256:" + "ab" * 32


def make_number(*parts: object) -> int:
    """A well-mixed number of the parts: the same in every run."""
    return int.from_bytes(hashlib.blake2b(encode([str(part) for part in parts]), digest_size=8).digest())


def make_node(k: int, full_ppm: int) -> Node:
    """Node `k`; it is full to `full_ppm` within a fifth either way, in each resource on its own."""
    tier, capacity = SIZES[(0, 0, 0, 1, 1, 2)[make_number("tier", k) % 6]]
    continent, country = COUNTRIES[make_number("country", k) % len(COUNTRIES)]
    owner = bytes([0]) + make_number("owner", k % 2_500).to_bytes(8, "big") * 2 + bytes(4)
    return Node(
        id=make_number("node", k).to_bytes(8, "big") * 2 + k.to_bytes(4, "big"),
        owner=owner,
        operator=owner,
        hot=b"hot" + k.to_bytes(29, "big"),
        enc=b"enc" + k.to_bytes(62, "big"),
        cert=bytes(400),
        payout=owner,
        tier=tier,
        collateral=0,
        endpoint=Endpoint(f"{11 + k // 32_768}.{k // 128 % 256}.{k % 128 * 2}.7", 16_127, 16_128, 16_129, 20_000),
        arch="amd64" if make_number("arch", k) % 10 else "arm64",
        capacity=capacity,
        used=Capacity(*(_fill(k, name, getattr(capacity, name), full_ppm) for name in ("mcpu", "mem_mib", "disk_mib"))),
        location=Location(continent, country, f"R{make_number('region', k) % 4}"),
        asn=64_512 + make_number("asn", k) % 400,
        isolation="full",
        state="active",
        since_tick=0,
    )


def fill_nodes(state: State, count: int, full_ppm: int) -> None:
    for k in range(count):
        node = make_node(k, full_ppm)
        state.set(NODES, NodeId(node.id), node)
    state.take_changes()


def make_app(k: int, spares: int = 1) -> tuple[Spec, tuple[Image, ...]]:
    """App `k` of the default size with every kind of condition on its places."""
    conditions = Place(
        allow=("EU", "NA", "AS"),
        deny=("EU-RO", "IN"),
        distinct=("operator", "asn"),
        never=(make_node(k % 997, 0).id,),
    )
    component = Component("app", "registry.example/app:1", ports=(Port("http", 8080),), health=Health("http", "/"))
    group = Group("web", (component,), spares=spares, place=conditions)
    return Spec(f"app-{k}", (group,)), (Image("web", "app", DIGEST, 50_000_000, ("amd64",)),)


def make_context(tick_ms: int = 1_000, height: int = 2) -> Context:
    beacon = hashlib.sha256(str(height).encode()).digest()
    return Context("bench", MAINNET, height, tick_ms, tick_ms, beacon, b"", sender=SENDER)


def _fill(k: int, name: str, capacity: int, full_ppm: int) -> int:
    """Around the wanted share: half of the nodes up to a fifth of what is free or used, whichever is less, off it."""
    swing = min(full_ppm, 1_000_000 - full_ppm) * 4 // 5
    share = full_ppm - swing + make_number("fill", name, k) % (2 * swing + 1)
    return capacity * share // 1_000_000
