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
    """One accepted spec. `public` is the canonical encoding of a Spec; `sealed` is secret; hash: SHA-256(public)."""

    public: bytes
    sealed: bytes
    images: tuple[Image, ...]
    spec_hash: bytes


class Slot(Record):
    """The i-th copy of a group. `state`: placed under `generation`, queued for a node, or held after failures."""

    state: Literal["placed", "queued", "held"]
    generation: int = 0
    failures: tuple[tuple[bytes, int], ...] = ()  # (node, tick) of host-blamed failures in the window; app's: no node
    reason: str = ""  # why it waits or is held, ASCII


class Eviction(Record):
    """A node this group must not go to again before `until_tick`; `slot` (spare i: -1 - i) lost its copy at `tick`."""

    node: bytes
    slot: int
    tick: int
    until_tick: int


class AppGroup(Record, tag=1):
    """`replicas` is what is wanted; `slots` and `spares` (one per standby) follow when the scheduler settles it.

    `superseded`: generations of its orphans and leaving copies, ascending, so that all copies are found from here.
    """

    replicas: int
    slots: tuple[Slot, ...] = ()
    spares: tuple[Slot, ...] = ()
    evictions: tuple[Eviction, ...] = ()
    superseded: tuple[int, ...] = ()


class Placement(Record, tag=1):
    """One copy on one node. `slot` or `spare` is -1 where it has none; `backs` is the slot a standby stands in for.

    `successor`: generation that takes over from an orphan or leaving copy (0: none yet). Reserved resources are the
    group's; `reserved` keeps them so that release gives back exactly what was taken. `adopts`: generation whose running
    containers on this node become this copy's. `deadline_tick`: by then it runs (or is ready); of a standby that has
    stood in and runs on: then it stops; of a copy with `stop_tick`: then it is gone, reported or not.
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
    adopts: int = 0


class AssignEntry(Record):
    """One thing a node has to run (or hold ready). `backs` >= 0 on a standby: run it now for that slot.

    A standby with `backs` -1 and phase `running` runs on for a while and stops when its phase is `ready` again.
    `stop_tick` > 0: stop and remove it once the tick clock has passed it. `adopts` > 0: what runs here under that
    generation is this copy; take it over without a restart.
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
    adopts: int = 0


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


class Touched(Record, tag=1):
    """A group that the scheduler has to settle in this block. None is left when a block ends: none is ever stored."""


def _placements_by_deadline(key: tuple[AppId, int], placement: Placement) -> tuple[tuple[int, bytes, int], ...]:
    return ((placement.deadline_tick, *key),) if placement.deadline_tick else ()


def _deleted_apps(app_id: AppId, app: App) -> tuple[tuple[int, bytes], ...]:
    return ((app.status_tick, app_id),) if app.status == "deleted" else ()


def _names_to_free(name: str, record: NameRecord) -> tuple[tuple[int, str], ...]:
    return ((record.free_tick, name),) if record.free_tick else ()


APPS_BY_OWNER: IndexKey[AppId, App] = IndexKey("owner", lambda app_id, app: ((app.owner, app_id),))
APPS_DELETED: IndexKey[AppId, App] = IndexKey("deleted", _deleted_apps)
APPS: TableKey[AppId, App] = TableKey("apps", (20,), App, APPS_BY_OWNER, APPS_DELETED)
NAMES_TO_FREE: IndexKey[str, NameRecord] = IndexKey("free", _names_to_free)
NAMES: TableKey[str, NameRecord] = TableKey("names", ("text",), NameRecord, NAMES_TO_FREE)
REVISIONS: TableKey[tuple[AppId, int], Revision] = TableKey("revisions", (20, "u64"), Revision)
GROUPS: TableKey[tuple[AppId, str], AppGroup] = TableKey("groups", (20, "text"), AppGroup)
TOUCHED: TableKey[tuple[AppId, str], Touched] = TableKey("touched", (20, "text"), Touched)
PLACEMENTS_BY_DEADLINE: IndexKey[tuple[AppId, int], Placement] = IndexKey("deadline", _placements_by_deadline)
PLACEMENTS: TableKey[tuple[AppId, int], Placement] = TableKey(
    "placements", (20, "u64"), Placement, PLACEMENTS_BY_DEADLINE
)
ASSIGN: TableKey[NodeId, Assign] = TableKey("assign", (20,), Assign)
ROUTES: TableKey[AppId, Routes] = TableKey("routes", (20,), Routes)
