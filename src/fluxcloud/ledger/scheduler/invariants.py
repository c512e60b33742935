"""Invariants of placement: proportional to the state, for tests and readers of a whole state."""

from __future__ import annotations

from collections import Counter

from ...ids import AppId, NodeId
from ..apps.model import APPS, ASSIGN, GROUPS, PLACEMENTS, ROUTES, App
from ..apps.queries import get_copies, get_generations, get_group, get_spec
from ..nodes.model import NODES, Capacity
from ..params import Params
from ..state import State
from .copies import get_copy, make_entry
from .model import QUEUE
from .routes import build_copies, build_ports


def check_reservations(state: State, params: Params) -> None:
    """What nodes have in use is what placements have reserved, ports included."""
    reserved: Counter[tuple[bytes, int]] = Counter()
    ports: Counter[bytes] = Counter()
    for _, placement in state.items(PLACEMENTS):
        for dimension, amount in enumerate(placement.reserved):
            reserved[placement.node, dimension] += amount
        ports[placement.node] += len(placement.ports)
    for node_id, node in state.items(NODES):
        assert node.used == Capacity(*(reserved[node_id, dimension] for dimension in range(3))), node_id.hex()
        assert sum(byte.bit_count() for byte in node.ports_used) == ports[node_id], node_id.hex()


def check_assignments(state: State, params: Params) -> None:
    """ASSIGN holds exactly the placements of each node."""
    listed = 0
    for node_id, assign in state.items(ASSIGN):
        assert assign.entries, node_id.hex()
        keys = [(entry.app, entry.generation) for entry in assign.entries]
        assert keys == sorted(set(keys)), node_id.hex()
        for entry in assign.entries:
            placement = state.get(PLACEMENTS, (AppId(entry.app), entry.generation))
            assert placement is not None and placement.node == node_id, node_id.hex()  # noqa: PT018
            assert entry == make_entry(state, AppId(entry.app), entry.generation, placement), node_id.hex()
        listed += len(keys)
    assert listed == state.count(PLACEMENTS)


def check_groups(state: State, params: Params) -> None:
    """Every placement belongs to its group; no two current copies share an operator, nor any two a node."""
    listed = 0
    for (app_id, name), group in state.items(GROUPS):
        generations = get_generations(group)
        listed += len(generations)
        owners, nodes = [], []
        for _, placement in get_copies(state, app_id, group):
            assert placement.group == name
            node = state.get(NODES, NodeId(placement.node))
            assert node is not None
            nodes.append(placement.node)
            if placement.role in ("active", "standby"):
                owners.append(node.owner)
        assert len(owners) == len(set(owners)), (app_id.hex(), name, "an operator holds two copies")
        assert len(nodes) == len(set(nodes)), (app_id.hex(), name, "a node holds two copies")
        for index, slot in enumerate(group.slots):
            if slot.state == "placed":
                placement = get_copy(state, app_id, slot.generation)
                assert (placement.slot, placement.spare, placement.role) == (index, -1, "active")
        for index, slot in enumerate(group.spares):
            if slot.state == "placed":
                placement = get_copy(state, app_id, slot.generation)
                assert (placement.slot, placement.spare, placement.role) == (-1, index, "standby")
    assert listed == state.count(PLACEMENTS)


def check_routes(state: State, params: Params) -> None:
    """ROUTES says what placements and nodes' states say; of a slot one copy is routed, and a standby for a suspect."""
    assert state.count(ROUTES) == state.count(APPS)
    for app_id, app in state.items(APPS):
        routes = state.get(ROUTES, app_id)
        assert routes is not None
        spec = get_spec(state, app)
        assert (routes.name, routes.status, routes.ports) == (app.name, app.status, build_ports(spec))
        assert routes.copies == build_copies(state, app_id, spec), app.name
        _check_one_per_slot(state, app)


def check_queue(state: State, params: Params) -> None:
    """QUEUE holds exactly the queued slots and spares of living apps."""
    expected = 0
    for (app_id, name), group in state.items(GROUPS):
        app = state.get(APPS, app_id)
        assert app is not None
        for is_spare, slots in ((0, group.slots), (1, group.spares)):
            for index, slot in enumerate(slots):
                is_queued = slot.state == "queued" and app.status == "active"
                assert (state.get(QUEUE, (app_id, is_spare, index, name)) is not None) == is_queued
                expected += is_queued
    assert expected == state.count(QUEUE)


def _check_one_per_slot(state: State, app: App) -> None:
    routes = state.get(ROUTES, AppId(app.id))
    assert routes is not None
    seen: Counter[tuple[str, int]] = Counter()
    for copy in routes.copies:
        placement = state.get(PLACEMENTS, (AppId(app.id), copy.generation))
        assert placement is not None
        if copy.state != "leaving" and placement.backs < 0:
            seen[copy.group, placement.slot] += 1
    for group in get_spec(state, app).groups:
        slots = len(get_group(state, AppId(app.id), group.name).slots)
        assert all(seen[group.name, slot] <= 1 for slot in range(slots)), app.name
