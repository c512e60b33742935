"""What people are shown of this node and its copies, as plain values for JSON. Pure.

The stages finer than the ledger's phases: `pulling, unpacking, creating, starting, health 1/2, running, ready, …`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

from ..ids import AppId
from .model import Desired, DesiredCopy, Memory, Observed
from .plan import compute_wanted, is_serving
from .runtime.base import CopyKey, CopyState, Isolation


def show_copies(
    app: AppId, desired: Desired, observed: Observed, memory: Memory, get_step: Callable[[CopyKey], str]
) -> list[dict[str, Any]]:
    """Every copy of the app that is assigned to this node."""
    shown = []
    for copy in desired.copies:
        if copy.entry.app == app:
            runs_as = memory.runs_as.get(copy.key, copy.key)
            stage = compute_stage(copy, runs_as, desired, observed, memory, get_step(copy.key))
            shown.append(_show_copy(copy, stage, observed.copies.get(runs_as), runs_as, observed))
    return shown


def compute_stage(
    copy: DesiredCopy, runs_as: CopyKey, desired: Desired, observed: Observed, memory: Memory, step: str
) -> str:
    """One word or two on where a copy is."""
    if step:
        return step
    failure = memory.get(copy.key).failure
    if failure is not None:
        return f"failed ({failure.reason})"
    state = observed.copies.get(runs_as)
    wanted = compute_wanted(copy.entry, desired.tick_ms)
    if wanted in ("ready", "stop"):
        return "ready" if wanted == "ready" and state is None else "stopping"
    if is_serving(copy, state, runs_as, observed):
        return "running"
    return _compute_health_stage(copy, state, runs_as, observed)


def _compute_health_stage(copy: DesiredCopy, state: CopyState | None, runs_as: CopyKey, observed: Observed) -> str:
    if state is None:
        return "waiting"
    running = [part.name for part in state.components if part.phase == "running"]
    if len(running) < len(copy.group.components):
        return "restarting" if any(part.phase == "exited" for part in state.components) else "starting"
    healths = [observed.health.get((runs_as, name)) for name in running]
    healthy = sum(1 for health in healths if health is not None and health.verdict == "healthy")
    is_unhealthy = any(health is not None and health.verdict == "unhealthy" for health in healths)
    return f"{'unhealthy' if is_unhealthy else 'health'} {healthy}/{len(running)}"


def _show_copy(
    copy: DesiredCopy, stage: str, state: CopyState | None, runs_as: CopyKey, observed: Observed
) -> dict[str, Any]:
    entry = copy.entry
    return {
        "app": copy.key.app,
        "name": copy.app_name,
        "group": entry.group,
        "slot": entry.slot,
        "generation": entry.generation,
        "runs_as": runs_as.generation,
        "revision": entry.revision,
        "role": entry.role,
        "phase": entry.phase,
        "stage": stage,
        "ports": list(_show_ports(copy)),
        "components": list(_show_components(state, runs_as, observed)),
    }


def _show_ports(copy: DesiredCopy) -> Iterator[dict[str, Any]]:
    for part in copy.group.components:
        for port in part.ports:
            yield {"component": part.name, "name": port.name, "port": port.port, "protocol": port.protocol}


def _show_components(state: CopyState | None, runs_as: CopyKey, observed: Observed) -> Iterator[dict[str, Any]]:
    for part in state.components if state is not None else ():
        health = observed.health.get((runs_as, part.name))
        yield {
            **asdict(part),
            "health": health.verdict if health is not None else "",
            "answer": health.answer if health is not None else "",
        }


def show_isolation(isolation: Isolation) -> dict[str, Any]:
    return asdict(isolation)
