"""From the engine's containers back to copies and their components. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

import msgspec

from ..base import ComponentState, CopyKey, CopyState, ExitReason
from .answers import Container, State, Summary, parse_time_ns
from .specs import ADDRESS, COMPONENT, COMPONENTS, LABELS, parse_key

_KILLED = 137
CountStarts = Callable[[CopyKey, str], int]


@dataclass(slots=True)
class Found:
    """The containers of one copy. No holder: somebody else has removed it."""

    holder: Summary | None = None
    components: dict[str, Summary] = field(default_factory=dict)

    @property
    def is_made(self) -> bool:
        """The holder is started last: one that never was belongs to a copy whose making was interrupted."""
        return self.holder is not None and self.holder.state != "created"

    @property
    def is_held(self) -> bool:
        return self.holder is not None and self.holder.state in ("running", "paused")

    @property
    def address(self) -> str:
        return get_labels(self.holder).get(ADDRESS, "") if self.holder else ""

    def list_all(self) -> list[Summary]:
        """Components first: the holder's end is the network's end."""
        return [*self.components.values(), *([self.holder] if self.holder else [])]


def get_labels(container: Summary | None) -> Mapping[str, str]:
    return (container.labels if container else None) or {}


def group_copies(containers: Iterable[Summary]) -> dict[CopyKey, Found]:
    found: dict[CopyKey, Found] = {}
    for container in containers:
        labels = get_labels(container)
        key = parse_key(labels)
        if key is None or container.state == "removing":
            continue
        copy = found.setdefault(key, Found())
        if COMPONENT in labels:
            copy.components[labels[COMPONENT]] = container
        else:
            copy.holder = container
    return found


def build_copy_state(
    key: CopyKey,
    found: Found,
    inspected: Mapping[str, Container],
    count_starts: CountStarts,
    starting: Collection[str] = (),
) -> CopyState:
    """`inspected` by container id, without those of components in `starting`: such a one is neither ended nor there.

    A copy whose parts are not all there is broken.
    """
    labels = get_labels(found.holder)
    try:
        names = msgspec.json.decode(labels.get(COMPONENTS, ""), type=list[str])
        own = msgspec.json.decode(labels.get(LABELS, ""), type=tuple[tuple[str, str], ...])
    except msgspec.DecodeError:
        return CopyState(key, (), broken="its holder is gone, or is not as it was made")
    states, missing = [], []
    for name in names:
        part = found.components.get(name)
        starts = count_starts(key, name)
        if part is not None and name in starting:
            states.append(ComponentState(name, "created", restarts=max(starts - 1, 0)))
        elif part is not None and part.id in inspected:
            states.append(build_component_state(name, inspected[part.id].state, starts, is_held=found.is_held))
        else:
            missing.append(name)
    if missing:
        return CopyState(key, (), own, broken=f"the container of {', '.join(missing)} is gone")
    return CopyState(key, tuple(states), own)


def build_component_state(name: str, state: State, starts: int, *, is_held: bool) -> ComponentState:
    """Without its holder a component has no network any more: it counts as ended by the engine's fault."""
    started_ns = parse_time_ns(state.started_at)
    if not started_ns:
        return ComponentState(name, "created")
    started_ms, restarts = started_ns // 1_000_000, max(starts - 1, 0)
    if state.running and is_held:
        return ComponentState(name, "running", state.pid or None, started_ms, restarts=restarts)
    if state.running:
        return ComponentState(name, "exited", None, started_ms, _KILLED, "engine", restarts)
    return ComponentState(name, "exited", None, started_ms, state.exit_code, get_reason(state), restarts)


def get_reason(state: State) -> ExitReason:
    if state.oom_killed and state.exit_code == _KILLED:
        return "oom"
    return "engine" if state.error else "exit"
