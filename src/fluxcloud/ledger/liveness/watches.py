"""WATCHES: what seats have said lately; a target of which nothing is to be remembered has no record."""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from ...ids import NodeId
from ..state import State
from .model import WATCHES, Sighting, Watch

_NOTHING = Watch()


def get_watch(state: State, target: NodeId) -> Watch:
    return state.get(WATCHES, target) or _NOTHING


def set_watch(state: State, target: NodeId, watch: Watch) -> None:
    before = get_watch(state, target)
    if watch == _NOTHING:
        state.delete(WATCHES, target)
    elif watch != before:
        state.set(WATCHES, target, watch)


def drop_watch(state: State, target: NodeId) -> None:
    state.delete(WATCHES, target)


def is_paused(watch: Watch, reporter: bytes, tick_ms: int) -> bool:
    """Whether a jury has refuted this reporter's last case so lately that it may not report the target again."""
    return any(paused == reporter and until > tick_ms for paused, until in watch.paused)


def set_sighting(state: State, target: NodeId, sighting: Sighting) -> None:
    """Replace what this monitor has said before."""
    watch = get_watch(state, target)
    others = tuple(s for s in watch.sightings if s.monitor != sighting.monitor)
    set_watch(state, target, msgspec.structs.replace(watch, sightings=(*others, sighting)))


def forget_monitors(state: State, target: NodeId, monitors: Collection[bytes]) -> None:
    watch = get_watch(state, target)
    kept = tuple(s for s in watch.sightings if s.monitor not in monitors)
    set_watch(state, target, msgspec.structs.replace(watch, sightings=kept))
