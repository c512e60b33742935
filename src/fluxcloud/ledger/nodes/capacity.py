"""Capacity of nodes: what placements reserve and give back. Invariant: 0 <= used <= capacity in each dimension."""

from __future__ import annotations

import msgspec

from ...ids import NodeId
from ..state import State
from .model import NODES, Capacity, Node

PORTS_PER_NODE = 1_000
"""Public raw ports of a node, from its `port_base` on."""

_MILLION = 1_000_000


def compute_admissible(claimed: Capacity, reserve_ppm: int) -> Capacity:
    """What placements may use of what a node has: the rest is the system's own."""
    kept = _MILLION - reserve_ppm
    return Capacity(
        claimed.mcpu * kept // _MILLION, claimed.mem_mib * kept // _MILLION, claimed.disk_mib * kept // _MILLION
    )


def reserve(state: State, node_id: NodeId, need: Capacity, ports: tuple[int, ...] = ()) -> Node:
    """Take capacity and public ports that a search has found free. Returns the node as it is now."""
    node = _get(state, node_id)
    used = Capacity(node.used.mcpu + need.mcpu, node.used.mem_mib + need.mem_mib, node.used.disk_mib + need.disk_mib)
    assert fits(used, node.capacity), (node_id.hex(), used, node.capacity)
    taken = node.ports_used
    for port in ports:
        assert not is_port_used(node, port), (node_id.hex(), port)
        taken = _flip(taken, port - node.endpoint.port_base)
    return _put(state, node_id, node, used, taken)


def release(state: State, node_id: NodeId, given: Capacity, ports: tuple[int, ...] = ()) -> Node:
    """Give back exactly what `reserve` took. Returns the node as it is now."""
    node = _get(state, node_id)
    used = Capacity(node.used.mcpu - given.mcpu, node.used.mem_mib - given.mem_mib, node.used.disk_mib - given.disk_mib)
    assert min(used.mcpu, used.mem_mib, used.disk_mib) >= 0, (node_id.hex(), used)
    taken = node.ports_used
    for port in ports:
        assert is_port_used(node, port), (node_id.hex(), port)
        taken = _flip(taken, port - node.endpoint.port_base)
    return _put(state, node_id, node, used, taken)


def fits(need: Capacity, room: Capacity) -> bool:
    return need.mcpu <= room.mcpu and need.mem_mib <= room.mem_mib and need.disk_mib <= room.disk_mib


def is_port_used(node: Node, port: int) -> bool:
    byte, bit = divmod(port - node.endpoint.port_base, 8)
    return byte < len(node.ports_used) and bool(node.ports_used[byte] >> bit & 1)


def find_free_ports(node: Node, count: int) -> tuple[int, ...]:
    """The lowest free public ports; fewer than `count` where the range is used up."""
    base = node.endpoint.port_base
    found: list[int] = []
    for port in range(base, base + PORTS_PER_NODE):
        if len(found) == count:
            break
        if not is_port_used(node, port):
            found.append(port)
    return tuple(found)


def _flip(ports_used: bytes, offset: int) -> bytes:
    """The bitmap with one bit changed, without zero bytes at its end, so that it has one form."""
    assert 0 <= offset < PORTS_PER_NODE, offset
    byte, bit = divmod(offset, 8)
    bits = bytearray(ports_used.ljust(byte + 1, b"\x00"))
    bits[byte] ^= 1 << bit
    return bytes(bits).rstrip(b"\x00")


def _get(state: State, node_id: NodeId) -> Node:
    node = state.get(NODES, node_id)
    assert node is not None, node_id.hex()
    return node


def _put(state: State, node_id: NodeId, node: Node, used: Capacity, ports_used: bytes) -> Node:
    changed: Node = msgspec.structs.replace(node, used=used, ports_used=ports_used)
    state.set(NODES, node_id, changed)
    return changed
