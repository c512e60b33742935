"""Need: what one copy of a group asks of a node, worked out once from a revision's spec and images."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from ...units import TickMs
from ..apps.model import Image
from ..apps.queries import find_group_spec, read_spec
from ..apps.rules import get_arches
from ..apps.spec import Group
from ..nodes.model import STANDARD_UNIT, Capacity, compute_room
from ..params import Params

PLACE_RULES = ("asn", "country", "region")
RAW_PROTOCOLS = ("tcp", "udp")


@dataclass(frozen=True, slots=True)
class Need:
    """CPU in millicores, memory and disk in MiB, as `Capacity`. Rooms are in thousandths of a standard copy.

    A node with `sure_room` has room for the copy, one with less than `least_room` has not; between them shapes decide.
    """

    mcpu: int
    mem_mib: int
    disk_mib: int
    raw_ports: int
    sure_room: int
    least_room: int
    arches: tuple[str, ...]
    tier: int
    allow: frozenset[str]
    deny: frozenset[str]
    only: tuple[bytes, ...]
    never: frozenset[bytes]
    prefer: tuple[bytes, ...]
    is_asn_distinct: bool
    is_country_distinct: bool
    is_region_distinct: bool
    has_places: bool  # any condition on places

    @property
    def capacity(self) -> Capacity:
        return Capacity(self.mcpu, self.mem_mib, self.disk_mib)


@lru_cache(maxsize=8192)
def compute_need(public: bytes, group_name: str, images: tuple[Image, ...]) -> Need:
    """`public` and `images` are those of the revision."""
    group = find_group_spec(read_spec(public), group_name)
    mcpu = sum(component.mcpu for component in group.components)
    mem_mib = sum(component.memory_mib for component in group.components)
    disk_mib = sum(component.disk_mib for component in group.components)
    place = group.place
    return Need(
        mcpu=mcpu,
        mem_mib=mem_mib,
        disk_mib=disk_mib,
        raw_ports=_count_raw_ports(group),
        sure_room=_compute_sure_room(mcpu, mem_mib, disk_mib),
        least_room=compute_room(mcpu, mem_mib, disk_mib),
        arches=get_arches(group_name, images),
        tier=place.tier,
        allow=frozenset(place.allow),
        deny=frozenset(place.deny),
        only=tuple(sorted(place.only)),
        never=frozenset(place.never),
        prefer=tuple(sorted(place.prefer)),
        is_asn_distinct="asn" in place.distinct,
        is_country_distinct="country" in place.distinct,
        is_region_distinct="region" in place.distinct,
        has_places=bool(place.allow or place.deny) or any(rule in place.distinct for rule in PLACE_RULES),
    )


def compute_deadline(group_name: str, images: tuple[Image, ...], tick_ms: int, params: Params) -> TickMs:
    """By when a copy that is assigned now has to run: `assign_deadline_ms` and the time to fetch its images."""
    size = sum(image.size for image in images if image.group == group_name)
    return TickMs(tick_ms + params.assign_deadline_ms + size // params.fetch_bytes_per_ms)


def _compute_sure_room(mcpu: int, mem_mib: int, disk_mib: int) -> int:
    """Rounded up, for the dimension that asks for most: whoever has this room has enough of each."""
    return max(
        -(-mcpu * 1_000 // STANDARD_UNIT.mcpu),
        -(-mem_mib * 1_000 // STANDARD_UNIT.mem_mib),
        -(-disk_mib * 1_000 // STANDARD_UNIT.disk_mib),
    )


def _count_raw_ports(group: Group) -> int:
    """Public ports that gateways reach without HTTP: each takes one of the node's."""
    ports = (port for component in group.components for port in component.ports)
    return sum(port.public and port.protocol in RAW_PROTOCOLS for port in ports)
