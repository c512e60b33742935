"""Reads of apps: pure functions of the state, or of single records for those who read them over the network."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from functools import lru_cache

from ...ids import Address, AppId
from ..state import State
from .errors import UnknownApp
from .model import APPS, APPS_BY_OWNER, GROUPS, NAMES, PLACEMENTS, REVISIONS, App, AppGroup, Image, Placement, Revision
from .spec import SPEC, Group, Spec


@lru_cache(maxsize=8192)
def read_spec(public: bytes) -> Spec:
    """The spec of a revision's public part, which the ledger has checked when it accepted it."""
    return SPEC.decode_trusted(public)


def get_app(state: State, app_id: AppId) -> App:
    """Raises UnknownApp (apps/1)."""
    app = state.get(APPS, app_id)
    if app is None:
        raise UnknownApp(f"app: no app has the id {app_id[:20].hex()}")
    return app


def get_app_by_name(state: State, name: str) -> App:
    """Raises UnknownApp (apps/1)."""
    record = state.get(NAMES, name)
    if record is None or record.free_tick:
        raise UnknownApp(f"app: no app has the name {name}")
    return get_app(state, AppId(record.app))


def get_apps_of(state: State, owner: Address) -> tuple[App, ...]:
    """An account's apps, deleted ones that can be brought back included."""
    index = state.index(APPS, APPS_BY_OWNER)
    apps = []
    for position in range(bisect_left(index, (owner,)), len(index)):
        entry_owner, app_id = index[position]
        if entry_owner != owner:
            break
        apps.append(get_app(state, app_id))
    return tuple(apps)


def get_revision(state: State, app_id: AppId, number: int) -> Revision:
    revision = state.get(REVISIONS, (app_id, number))
    assert revision is not None, (app_id.hex(), number)
    return revision


def get_spec(state: State, app: App) -> Spec:
    """The accepted spec."""
    return read_spec(get_revision(state, AppId(app.id), app.revision).public)


def get_group(state: State, app_id: AppId, name: str) -> AppGroup:
    group = state.get(GROUPS, (app_id, name))
    assert group is not None, (app_id.hex(), name)
    return group


def find_group_spec(spec: Spec, name: str) -> Group:
    return next(group for group in spec.groups if group.name == name)


def get_group_content(state: State, app_id: AppId, number: int, name: str) -> tuple[object, ...]:
    """All of a revision that a copy of the group is made of. Equal for two revisions: nothing to replace.

    How copies are placed and counted is not in it, for that needs no new container.
    """
    revision = get_revision(state, app_id, number)
    group = find_group_spec(read_spec(revision.public), name)
    images: tuple[Image, ...] = tuple(image for image in revision.images if image.group == name)
    return group.components, group.mode, images, revision.sealed


def get_generations(group: AppGroup) -> tuple[int, ...]:
    """Generations of all the group's copies: placed slots, placed spares, superseded ones."""
    placed = (slot.generation for slot in (*group.slots, *group.spares) if slot.state == "placed")
    return (*placed, *group.superseded)


def get_copies(state: State, app_id: AppId, group: AppGroup) -> Iterator[tuple[int, Placement]]:
    for generation in get_generations(group):
        placement = state.get(PLACEMENTS, (app_id, generation))
        assert placement is not None, (app_id.hex(), generation)
        yield generation, placement
