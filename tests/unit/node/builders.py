"""Small copies, worlds and assignments for tests of the agent."""

from __future__ import annotations

from typing import Any

from fluxcloud.ids import AppId, render_app
from fluxcloud.ledger.apps.model import AssignEntry
from fluxcloud.ledger.apps.spec import Component, Group, Port
from fluxcloud.node.copyspec import GRACE_LABEL, SPEC_LABEL
from fluxcloud.node.model import ComponentHealth, Desired, DesiredCopy, ImageNeed, Observed
from fluxcloud.node.runtime.base import ComponentState, CopyKey, CopyState

APP = AppId(b"\x01" * 20)
APP_TEXT = render_app(APP)
SPEC_HASH = b"\x07" * 32
DIGEST = "sha256:" + "ab" * 32


def make_key(generation: int = 1) -> CopyKey:
    return CopyKey(APP_TEXT, generation)


def make_entry(generation: int = 1, **fields: Any) -> AssignEntry:
    values: dict[str, Any] = {
        "app": APP,
        "generation": generation,
        "revision": 1,
        "spec_hash": SPEC_HASH,
        "group": "web",
        "slot": 0,
        "role": "active",
        "phase": "assigned",
        "backs": -1,
        "stop_tick": 0,
    }
    return AssignEntry(**{**values, **fields})


def make_component(name: str = "app", **fields: Any) -> Component:
    return Component(**{"name": name, "image": "img", "ports": (Port("http", 8080),), **fields})


def make_copy(entry: AssignEntry | None = None, *components: Component) -> DesiredCopy:
    entry = entry or make_entry()
    parts = components or (make_component(),)
    return DesiredCopy(
        key=CopyKey(APP_TEXT, entry.generation),
        entry=entry,
        app_name="shop",
        group=Group("web", parts),
        images=tuple(ImageNeed(part.name, DIGEST, 1000) for part in parts),
        adopts=entry.adopts,
    )


def make_desired(*copies: DesiredCopy, **fields: Any) -> Desired:
    return Desired(**{"height": 10, "tick_ms": 1000, "live": True, "copies": copies, **fields})


def make_state(
    generation: int = 1, phase: str = "running", *, names: tuple[str, ...] = ("app",), **fields: Any
) -> CopyState:
    parts = tuple(ComponentState(name, phase, **fields) for name in names)  # type: ignore[arg-type]
    return CopyState(make_key(generation), parts, ((GRACE_LABEL, "7"), (SPEC_LABEL, SPEC_HASH.hex())))


def make_observed(*states: CopyState, verdict: str = "healthy", **fields: Any) -> Observed:
    health = {
        (state.key, part.name): ComponentHealth(verdict)  # type: ignore[arg-type]
        for state in states
        for part in state.components
        if part.phase == "running"
    }
    images = frozenset((DIGEST,))
    values: dict[str, Any] = {"now_ms": 1_000_000, "health": health, "stored": images, "prepared": images}
    return Observed(**{**values, "copies": {state.key: state for state in states}, **fields})
