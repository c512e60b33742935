"""Apps as a client sees them: found by name or id, with their groups, copies and routes read together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import Rejected
from ..ids import AppId, parse_app
from ..ledger.apps.model import (
    APPS,
    GROUPS,
    NAMES,
    PLACEMENTS,
    REVISIONS,
    ROUTES,
    App,
    AppGroup,
    NameRecord,
    Placement,
    Routes,
)
from ..ledger.apps.spec import SPEC, Spec
from .client import Chain

NAME_CHARS_MAX = 40
"""An id is longer than any name, so that an app may be called `app1`."""


class AppNotFound(Rejected):
    """No app has this name or id."""

    CODE = "sdk/4"


@dataclass(frozen=True, slots=True)
class AppView:
    """One app at one moment. `placements` by generation, every role included; `routes` is None where none were made."""

    app: App
    spec: Spec
    groups: Mapping[str, AppGroup]
    placements: Mapping[int, Placement]
    routes: Routes | None

    @property
    def id(self) -> AppId:
        return AppId(self.app.id)

    def list_active(self) -> list[tuple[int, Placement]]:
        """The copies that hold a slot, in the order of groups and slots."""
        rows = [(gen, placement) for gen, placement in self.placements.items() if placement.role == "active"]
        return sorted(rows, key=lambda row: (row[1].group, row[1].slot))

    @property
    def is_whole(self) -> bool:
        """Every slot has a running copy and every spare is ready."""
        for group in self.groups.values():
            if any(not self._has_phase(slot.generation, "running") for slot in group.slots):
                return False
            if any(not self._has_phase(spare.generation, "ready") for spare in group.spares):
                return False
        return self.app.status == "active"

    @property
    def is_running(self) -> bool:
        """Every slot has a running copy."""
        slots = [slot for group in self.groups.values() for slot in group.slots]
        return bool(slots) and all(self._has_phase(slot.generation, "running") for slot in slots)

    def _has_phase(self, generation: int, phase: str) -> bool:
        placement = self.placements.get(generation)
        return placement is not None and placement.phase == phase


async def find_app(chain: Chain, name_or_id: str) -> App:
    """The app of this name (or `app1…` id), proven. Raises AppNotFound (sdk/4)."""
    if len(name_or_id) > NAME_CHARS_MAX and name_or_id.startswith("app1"):
        app_id = parse_app(name_or_id)
    else:
        record: NameRecord | None = None
        if name_or_id.isascii() and len(name_or_id) <= NAME_CHARS_MAX:
            record = await chain.read(NAMES, name_or_id)
        if record is None:
            shown = name_or_id if len(name_or_id) <= NAME_CHARS_MAX else name_or_id[:NAME_CHARS_MAX] + "…"
            raise AppNotFound(f"no app is named {shown!r}", hint="fluxcloud app list")
        app_id = AppId(record.app)
    app = await chain.read(APPS, app_id)
    if app is None:
        raise AppNotFound(f"no app {name_or_id!r}", hint="fluxcloud app list")
    return app


async def find_view(chain: Chain, name_or_id: str) -> AppView:
    """The app of this name (or id) with all its records. Raises AppNotFound (sdk/4)."""
    return await read_app(chain, AppId((await find_app(chain, name_or_id)).id))


async def read_app(chain: Chain, app_id: AppId) -> AppView:
    """The app's records at the newest height. Raises AppNotFound (sdk/4)."""
    app = await chain.read(APPS, app_id)
    if app is None:
        raise AppNotFound("the app is gone", hint="fluxcloud app list")
    revision = await chain.read(REVISIONS, (app_id, app.revision))
    assert revision is not None, "an app's revision is kept as long as the app"
    groups = await chain.scan(GROUPS, prefix=app_id)
    placements = await chain.scan(PLACEMENTS, prefix=app_id)
    routes = await chain.read(ROUTES, app_id)
    return AppView(
        app=app,
        spec=SPEC.decode(revision.public),
        groups={key[1]: group for key, group in groups},
        placements={key[1]: placement for key, placement in placements},
        routes=routes,
    )
