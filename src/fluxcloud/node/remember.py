"""What the agent remembers from one look at the world to the next. Pure: memory in, memory out.

An exit is counted once per start. More than five exits of a component in ten minutes, a component that never answered
in its start time, or a step that keeps failing, make a copy *failed*: only the ledger takes that back, by another
assignment.
Source: RECORDS.md 3 (`Failed` only after 5 restarts in 10 min), APPS.md 3 (blame).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..ledger.apps.spec import Component
from .copyspec import SPEC_LABEL
from .model import Action, CopyMemory, Desired, DesiredCopy, Failure, Memory, Observed, Reason, Remove, Stop
from .plan import EXITS_WINDOW_MS, compute_wanted, must_restart
from .runtime.base import ComponentState, CopyKey, CopyState

RESTARTS_MAX = 5
ATTEMPTS_MAX = 5
BACKOFF_MS_MAX = 60_000


def remember(memory: Memory, desired: Desired, observed: Observed) -> Memory:
    """Memory after this look: new exits, verdicts on copies, absences, and nothing of what is gone."""
    copies = {copy.key: copy for copy in desired.copies}
    runs_as = compute_runs_as(memory.runs_as, desired, observed.copies)
    kept: dict[CopyKey, CopyMemory] = {}
    for key, copy in copies.items():
        source = runs_as.get(key, key)
        kept[key] = _remember_copy(memory.get(key), copy, observed.copies.get(source), source, desired, observed)
    for key in desired.unread | (observed.copies.keys() - copies.keys()):
        kept[key] = memory.get(key)
    named = copies.keys() | set(runs_as.values()) | desired.unread
    absent = _remember_absent(memory.absent_since, named, desired, observed)
    return Memory(kept, absent, runs_as)


def compute_runs_as(
    before: Mapping[CopyKey, CopyKey], desired: Desired, found: Mapping[CopyKey, CopyState]
) -> Mapping[CopyKey, CopyKey]:
    """Which copies run as an earlier generation: a returning node's slot is its own again, without a restart."""
    after = {key: source for key, source in before.items() if key in desired.unread}
    for copy in desired.copies:
        if copy.key in before:
            source = before[copy.key]
        else:
            old = CopyKey(copy.key.app, copy.adopts)
            source = before.get(old, old)
        state = found.get(source)
        if source != copy.key and copy.key not in found and _is_same_spec(state, copy):
            after[copy.key] = source
    return after


def note_done(memory: Memory, key: CopyKey) -> Memory:
    """A step has worked: its failures are forgotten."""
    return _put(memory, key, replace(memory.get(key), attempts=0, retry_at_ms=0))


def note_error(
    memory: Memory, action: Action, reason: Reason, detail: str, *, now_ms: int, retry_ms: int, is_final: bool
) -> Memory:
    """A step has failed. Fetching, preparing, creating and starting give up; stopping and removing never do."""
    copy = memory.get(action.key)
    attempts = copy.attempts + 1
    backoff_ms = min(max(retry_ms, 500 << min(attempts, 8)), BACKOFF_MS_MAX)
    copy = replace(copy, attempts=attempts, retry_at_ms=now_ms + backoff_ms)
    if not isinstance(action, Stop | Remove) and (is_final or attempts > ATTEMPTS_MAX):
        copy = replace(copy, failure=Failure(reason, detail))
    return _put(memory, action.key, copy)


def _put(memory: Memory, key: CopyKey, copy: CopyMemory) -> Memory:
    return replace(memory, copies={**memory.copies, key: copy})


def _is_same_spec(state: CopyState | None, copy: DesiredCopy) -> bool:
    return state is not None and dict(state.labels).get(SPEC_LABEL) == copy.entry.spec_hash.hex()


def _remember_absent(
    before: Mapping[CopyKey, int], named: set[CopyKey] | frozenset[CopyKey], desired: Desired, observed: Observed
) -> Mapping[CopyKey, int]:
    if not desired.live:
        return {key: height for key, height in before.items() if key in observed.copies and key not in named}
    return {key: before.get(key, desired.height) for key in observed.copies if key not in named}


def _remember_copy(
    memory: CopyMemory,
    copy: DesiredCopy,
    state: CopyState | None,
    source: CopyKey,
    desired: Desired,
    observed: Observed,
) -> CopyMemory:
    if compute_wanted(copy.entry, desired.tick_ms) != "run":
        return replace(memory, exits=(), noted=())
    if state is None or state.broken or copy.key in observed.busy:
        return memory
    components = {component.name: component for component in copy.group.components}
    for component_state in state.components:
        if component_state.name in components and component_state.phase == "exited":
            memory = _note_exit(memory, components[component_state.name], component_state, observed.now_ms)
    if memory.failure is None and copy.entry.phase != "running":
        memory = replace(memory, failure=_judge_health(copy, source, observed))
    return memory


def _note_exit(memory: CopyMemory, component: Component, state: ComponentState, now_ms: int) -> CopyMemory:
    noted = dict(memory.noted)
    if noted.get(component.name) == state.restarts:
        return memory
    noted[component.name] = state.restarts
    recent = tuple(item for item in memory.exits if item[1] > now_ms - EXITS_WINDOW_MS)
    memory = replace(memory, exits=(*recent, (component.name, now_ms)), noted=tuple(sorted(noted.items())))
    return replace(memory, failure=memory.failure or _judge_exit(memory, component, state))


def _judge_exit(memory: CopyMemory, component: Component, state: ComponentState) -> Failure | None:
    count = sum(1 for name, _ in memory.exits if name == component.name)
    is_final = component.restart.policy == "never" and state.exit_code != 0
    if not is_final and (count <= RESTARTS_MAX or not must_restart(component, state)):
        return None
    reason: Reason = "engine" if state.reason == "engine" else "oom" if state.reason == "oom" else "exit"
    how = "was killed for using more memory than its limit" if reason == "oom" else f"exited with {state.exit_code}"
    return Failure(
        reason, f"{component.name} {how}, {count} times in 10 min" if count > 1 else f"{component.name} {how}"
    )


def _judge_health(copy: DesiredCopy, source: CopyKey, observed: Observed) -> Failure | None:
    for component in copy.group.components:
        health = observed.health.get((source, component.name))
        if health is not None and health.late:
            return Failure("health", f"{component.name}: {health.answer}")
    return None
