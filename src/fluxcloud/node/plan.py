"""The plan: from what should run and what runs, the next step of every copy and what to tell the ledger.

Pure: no clock, no I/O; time and memory come in as arguments. A copy moves one step at a time (fetch, prepare, create,
start, stop, remove), so after each step the world is looked at again. Two rules stand above all others: what the last
proven assignment names is kept running, and without a live chain nothing is stopped.
Source: APPS.md 4, 5; RECORDS.md 2 (standby, orphan, leaving).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from ..ledger.apps.model import AssignEntry
from ..ledger.apps.spec import Component
from ..ledger.scheduler.messages import CopyReport
from .copyspec import GRACE_LABEL, GRACE_S_DEFAULT, build_copy_spec
from .model import (
    Action,
    CopyMemory,
    Create,
    Desired,
    DesiredCopy,
    Fetch,
    Memory,
    Observed,
    Plan,
    Prepare,
    Remove,
    Start,
    Stop,
)
from .runtime.base import ComponentState, CopyKey, CopyState

Wanted = Literal["run", "keep", "ready", "stop"]
"""`keep`: leave it as it is; `ready`: image at hand, nothing runs; `stop`: nothing is left of it."""

EXITS_WINDOW_MS = 600_000
DETAIL_MAX = 200


def plan(desired: Desired, observed: Observed, memory: Memory) -> Plan:
    """The next step of every copy, at most one each, and the reports that the ledger does not have yet."""
    actions: list[Action] = []
    reports: list[CopyReport] = []
    wakes: list[int] = []
    claimed = set(desired.unread) | {memory.runs_as.get(key, key) for key in desired.unread}
    for copy in desired.copies:
        runs_as = memory.runs_as.get(copy.key, copy.key)
        claimed.add(runs_as)
        step = _CopyStep(copy, runs_as, desired, observed, memory.get(copy.key))
        action, wake_ms = step.plan_action()
        actions += [action] if action else []
        wakes += [wake_ms] if wake_ms is not None else []
        reports += step.plan_reports()
    for key in sorted(observed.copies.keys() - claimed):
        action = _plan_absent(observed.copies[key], desired, memory)
        actions += [action] if action else []
    if not desired.live:
        actions = [action for action in actions if not isinstance(action, Stop | Remove)]
    return Plan(tuple(actions), tuple(reports), min(wakes, default=None))


def compute_wanted(entry: AssignEntry, tick_ms: int) -> Wanted:
    """What the ledger wants of one entry at this tick."""
    if 0 < entry.stop_tick <= tick_ms or entry.phase == "failed":
        return "stop"
    if entry.role == "standby" and entry.backs < 0:
        # Refuted: it goes on until the ledger calls it ready again, so that requests under way can end.
        return "keep" if entry.phase == "running" else "ready"
    return "run"


def is_serving(copy: DesiredCopy, state: CopyState | None, runs_as: CopyKey, observed: Observed) -> bool:
    """Whether every component runs (or has done its work) and answers its probes."""
    if state is None or state.broken:
        return False
    states = {component.name: component for component in state.components}
    return all(_is_up(component, states.get(component.name), runs_as, observed) for component in copy.group.components)


def compute_restart_due(component: Component, memory: CopyMemory) -> int:
    """When an exited component may start again: at once after the first exit, then the backoff doubles with every one.

    So what died together with its agent is up again as soon as the agent is.
    """
    exits = [at_ms for name, at_ms in memory.exits if name == component.name]
    if not exits:
        return 0
    recent = sum(1 for at_ms in exits if at_ms > exits[-1] - EXITS_WINDOW_MS)
    if recent == 1:
        return exits[-1]
    backoff_s = min(component.restart.backoff_min_s << min(recent - 2, 16), component.restart.backoff_max_s)
    return exits[-1] + backoff_s * 1000


def must_restart(component: Component, state: ComponentState) -> bool:
    """Whether an exited component is started again by its policy."""
    if component.restart.policy == "on-failure":
        return state.exit_code != 0
    return component.restart.policy == "always"


def make_report(copy: DesiredCopy, outcome: str, reason: str = "", detail: str = "") -> CopyReport:
    """A report with its detail cut to what the ledger takes: printable ASCII, at most 200."""
    text = detail.encode("ascii", "replace").decode("ascii")
    printable = "".join(char if char.isprintable() else " " for char in text)[:DETAIL_MAX]
    return CopyReport(copy.entry.app, copy.entry.generation, outcome, reason, printable)  # type: ignore[arg-type]


class _CopyStep:
    """One copy with all that decides its next step."""

    def __init__(
        self, copy: DesiredCopy, runs_as: CopyKey, desired: Desired, observed: Observed, memory: CopyMemory
    ) -> None:
        self.copy = copy
        self.runs_as = runs_as
        self.observed = observed
        self.memory = memory
        self.state = observed.copies.get(runs_as)
        self.wanted = compute_wanted(copy.entry, desired.tick_ms)

    def plan_action(self) -> tuple[Action | None, int | None]:
        """The next step, and when to look again where nothing may be done yet."""
        if self.observed.now_ms < self.memory.retry_at_ms:
            return None, self.memory.retry_at_ms
        if self.wanted == "run":
            return self._plan_run()
        if self.wanted == "keep":
            return None, None
        if self.state is not None:
            return _plan_end(self.copy.key, self.state), None
        return (self._plan_images() if self.wanted == "ready" else None), None

    def plan_reports(self) -> list[CopyReport]:
        """What the ledger should hear of this copy: again and again, until its phase says that it has."""
        phase, failure = self.copy.entry.phase, self.memory.failure
        if self.wanted == "stop":
            return [make_report(self.copy, "stopped")] if self.state is None and phase != "failed" else []
        if self.copy.entry.stop_tick:
            return []  # it has been replaced already: how it does until then decides nothing
        if failure is not None:
            return [make_report(self.copy, "failed", failure.reason, failure.detail)]
        if self.wanted == "run" and phase != "running" and self._is_serving():
            return [make_report(self.copy, "running")]
        if self.wanted == "ready" and phase == "assigned" and self.state is None and self._has_images():
            return [make_report(self.copy, "ready")]
        return []

    def _plan_run(self) -> tuple[Action | None, int | None]:
        if self.memory.failure is not None:
            return None, None
        if self.state is None:
            return self._plan_images() or Create(self.copy.key, build_copy_spec(self.copy)), None
        if self.state.broken:
            return Remove(self.copy.key, self.runs_as), None
        due = {component.name: at_ms for component, at_ms in self._startable()}
        names = tuple(name for name, at_ms in due.items() if at_ms <= self.observed.now_ms)
        if names:
            return Start(self.copy.key, self.runs_as, names), None
        return None, min(due.values(), default=None)

    def _plan_images(self) -> Action | None:
        if self.memory.failure is not None or self._has_images():
            return None
        missing = tuple(image for image in self.copy.images if image.digest not in self.observed.stored)
        if missing:
            return Fetch(self.copy.key, missing)
        return Prepare(self.copy.key, tuple(d for d in self.copy.digests if d not in self.observed.prepared))

    def _startable(self) -> Iterator[tuple[Component, int]]:
        """Components that should run and don't, whose conditions are met, with the time from which they may start."""
        assert self.state is not None
        states = {component.name: component for component in self.state.components}
        for component in self.copy.group.components:
            state = states.get(component.name)
            if state is not None and state.phase == "running":
                continue
            if state is not None and state.phase == "exited" and not must_restart(component, state):
                continue
            if all(self._is_condition_met(c.component, c.condition, states) for c in component.start_after):
                has_exited = state is not None and state.phase == "exited"
                yield component, compute_restart_due(component, self.memory) if has_exited else 0

    def _is_condition_met(self, name: str, condition: str, states: dict[str, ComponentState]) -> bool:
        component = next((c for c in self.copy.group.components if c.name == name), None)
        if component is None:
            return True
        if condition == "healthy":
            return _is_up(component, states.get(name), self.runs_as, self.observed)
        state = states.get(name)
        return state is not None and state.phase != "created"

    def _is_serving(self) -> bool:
        return is_serving(self.copy, self.state, self.runs_as, self.observed)

    def _has_images(self) -> bool:
        return all(digest in self.observed.prepared for digest in self.copy.digests)


def _is_up(component: Component, state: ComponentState | None, runs_as: CopyKey, observed: Observed) -> bool:
    if state is None or state.phase == "created":
        return False
    if state.phase == "exited":
        return state.exit_code == 0 and not must_restart(component, state)
    health = observed.health.get((runs_as, component.name))
    return component.health.kind == "none" or (health is not None and health.verdict == "healthy")


def _plan_absent(state: CopyState, desired: Desired, memory: Memory) -> Action | None:
    """A copy that the proven assignment does not name: stopped at the first proof, removed at a later height's."""
    absent_since = memory.absent_since.get(state.key)
    if absent_since is None:
        return None
    action = _plan_end(state.key, state)
    return action if isinstance(action, Stop) or desired.height > absent_since else None


def _plan_end(key: CopyKey, state: CopyState) -> Action:
    running = tuple(component.name for component in state.components if component.phase == "running")
    if not running:
        return Remove(key, state.key)
    labels = dict(state.labels)
    grace = labels.get(GRACE_LABEL, "")
    return Stop(key, state.key, running, int(grace) if grace.isdecimal() else GRACE_S_DEFAULT)
