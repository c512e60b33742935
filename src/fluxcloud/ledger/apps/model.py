"""Apps: names, revisions, groups and their slots, and where copies are placed.

Placements, assignments and routes stand here because every module above reads them; only `scheduler` writes them.
"""

from __future__ import annotations

from typing import Literal

from ...codec import Record
from ...ids import AppId, NodeId
from ..state import IndexKey, TableKey

AppStatus = Literal["active", "deleted"]
Role = Literal["active", "standby", "leaving", "orphan"]
Phase = Literal["assigned", "ready", "running", "failed", "stopped"]
CopyRouteState = Literal["ready", "last", "leaving"]


class Lease(Record):
    """Room for the lease: until payments exist it runs without end and costs nothing."""

    renew: bool = True
    until_tick: int = 0


class App(Record, tag=1):
    """`revision` is the accepted one; `gen_counter` the last generation given; `status_tick` when `status` began."""

    id: bytes
    name: str
    owner: bytes
    revision: int
    status: AppStatus
    status_tick: int
    gen_counter: int = 0
    session_epoch: int = 0
    lease: Lease = Lease()


class Image(Record):
    """What a component runs: the manifest's digest (`sha256:…`), bytes to fetch, and the architectures it is for."""

    group: str
    component: str
    digest: str
    size: int
    arches: tuple[str, ...]


class Revision(Record, tag=1):
    """One accepted spec. `public` is the canonical encoding of a Spec; `sealed` is for secrets; hash: SHA-256(public)."""

    public: bytes
    sealed: bytes
    images: tuple[Image, ...]
    spec_hash: bytes


class Slot(Record):
    """The i-th copy of a group. `state`: placed under `generation`, queued for a node, or held after failures."""

    state: Literal["placed", "queued", "held"]
    generation: int = 0
    failures: tuple[tuple[bytes, int], ...] = ()  # (node, tick) of host-blamed failures in the window
    reason: str = ""  # why it waits or is held, ASCII


class Eviction(Record):
    """A node this group must not go to again before `until_tick`; `slot` lost its copy at `tick`."""

    node: bytes
    slot: int
    tick: int
    until_tick: int


class AppGroup(Record, tag=1):
    """`spares` holds one slot per standby. `orphans` and `leaving` copies are in PLACEMENTS and ASSIGN only."""

    replicas: int
    slots: tuple[Slot, ...]
    spares: tuple[Slot, ...]
    evictions: tuple[Eviction, ...] = ()


class Placement(Record, tag=1):
    """One copy on one node. `slot` or `spare` is -1 where it has none; `backs` is the slot a standby stands in for.

    `successor`: generation that takes over from an orphan or leaving copy (0: none yet). Reserved resources are the
    group's; `reserved` keeps them so that release gives back exactly what was taken.
    """

    group: str
    slot: int
    spare: int
    node: bytes
    role: Role
    phase: Phase
    revision: int
    reserved: tuple[int, int, int]  # mcpu, MiB memory, MiB disk
    backs: int = -1
    reason: str = ""
    deadline_tick: int = 0
    stop_tick: int = 0
    successor: int = 0
    since_tick: int = 0
    ports: tuple[int, ...] = ()


class AssignEntry(Record):
    """One thing a node has to run (or hold ready). `backs` >= 0 on a standby: run it now for that slot.

    `stop_tick` > 0: stop and remove it once the tick clock has passed it.
    """

    app: bytes
    generation: int
    revision: int
    spec_hash: bytes
    group: str
    slot: int
    role: Role
    phase: Phase
    backs: int
    stop_tick: int


class Assign(Record, tag=1):
    """All that a node has to run, sorted by (app, generation), orphans and leaving copies included."""

    entries: tuple[AssignEntry, ...] = ()


class RoutePort(Record):
    """A public port of a group. The app's first one is also reached under the app's bare name."""

    group: str
    name: str
    port: int
    protocol: str
    sticky: bool
    timeout_s: int


class RouteCopy(Record):
    group: str
    generation: int
    node: bytes
    state: CopyRouteState


class Routes(Record, tag=1):
    """All that a gateway needs to know of an app."""

    name: str
    status: AppStatus
    ports: tuple[RoutePort, ...]
    copies: tuple[RouteCopy, ...]
    hosts: tuple[str, ...] = ()  # custom domains


class NameRecord(Record, tag=1):
    """`free_tick` is 0 while the app lives; after that the name is kept for its owner, then nobody's until then."""

    app: bytes
    owner: bytes
    kept_tick: int = 0
    free_tick: int = 0


def _placements_by_node(key: tuple[AppId, int], placement: Placement) -> tuple[tuple[bytes, bytes, int], ...]:
    return ((placement.node, *key),)


def _placements_by_timer(key: tuple[AppId, int], placement: Placement) -> tuple[tuple[int, bytes, int], ...]:
    tick = placement.stop_tick or placement.deadline_tick
    return ((tick, *key),) if tick else ()


APPS_BY_OWNER: IndexKey[AppId, App] = IndexKey("owner", lambda app_id, app: ((app.owner, app_id),))
APPS: TableKey[AppId, App] = TableKey("apps", (20,), App, APPS_BY_OWNER)
NAMES: TableKey[str, NameRecord] = TableKey("names", ("text",), NameRecord)
REVISIONS: TableKey[tuple[AppId, int], Revision] = TableKey("revisions", (20, "u64"), Revision)
GROUPS: TableKey[tuple[AppId, str], AppGroup] = TableKey("groups", (20, "text"), AppGroup)
PLACEMENTS_BY_NODE: IndexKey[tuple[AppId, int], Placement] = IndexKey("node", _placements_by_node)
PLACEMENTS_BY_TIMER: IndexKey[tuple[AppId, int], Placement] = IndexKey("timer", _placements_by_timer)
PLACEMENTS: TableKey[tuple[AppId, int], Placement] = TableKey(
    "placements", (20, "u64"), Placement, PLACEMENTS_BY_NODE, PLACEMENTS_BY_TIMER
)
ASSIGN: TableKey[NodeId, Assign] = TableKey("assign", (20,), Assign)
ROUTES: TableKey[AppId, Routes] = TableKey("routes", (20,), Routes)
