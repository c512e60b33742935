"""Order: who waits for whom. Conditions become those of `start_after`; circles are shown as they go round."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from .merge import as_named
from .names import list_links
from .report import Report

_CONDITIONS: dict[str, Literal["started", "healthy"]] = {
    "service_started": "started",
    "service_healthy": "healthy",
    "service_completed_successfully": "healthy",  # which a component is that ended with 0 and is not started again
}
COMPLETED = "service_completed_successfully"


@dataclass(frozen=True, slots=True)
class Wait:
    """One service waits for another."""

    service: str
    condition: Literal["started", "healthy"]
    for_end: bool = False


def read_waits(
    services: Mapping[str, dict[str, Any]], left_out: Mapping[str, str], report: Report
) -> dict[str, tuple[Wait, ...]]:
    """Whom each service waits for. `left_out`: services that are not there, and why."""
    waits = {name: _read_one(name, body, services, left_out, report) for name, body in services.items()}
    circle = find_circle({name: [wait.service for wait in those] for name, those in waits.items()})
    if circle:
        report.wrong(
            f"services.{circle[0]}.depends_on", f"goes in a circle: {' -> '.join(circle)}; take one of them out"
        )
    return waits


def _read_one(
    name: str,
    body: dict[str, Any],
    services: Mapping[str, Any],
    left_out: Mapping[str, str],
    report: Report,
) -> tuple[Wait, ...]:
    path = f"services.{name}.depends_on"
    entries = as_named(body.get("depends_on"))
    if entries is not None and not isinstance(entries, dict):
        report.wrong(path, "must be a list of services, or a mapping from services to their condition")
        return ()
    waits: dict[str, Wait] = {}
    try:
        linked = [service for service, _ in list_links(body)]
    except ValueError:
        linked = []  # reported with its other names
    for service in linked:
        if _is_there(service, services, left_out, f"services.{name}.links", report):
            waits[service] = Wait(service, "started")
    for service, entry in (entries or {}).items():
        details = entry if isinstance(entry, dict) else {}
        written = str(details.get("condition", "service_started"))
        is_required = str(details.get("required", "true")).lower() != "false"
        if written not in _CONDITIONS:
            report.wrong(f"{path}.{service}.condition", f"{written!r} is not known; allowed: {', '.join(_CONDITIONS)}")
        elif not is_required and service not in services:
            report.note("dropped", f"{path}.{service}", "is not there and not required")
        elif _is_there(service, services, left_out, path, report):
            waits[service] = Wait(service, _CONDITIONS[written], for_end=written == COMPLETED)
    return tuple(waits.values())


def _is_there(
    service: str, services: Mapping[str, Any], left_out: Mapping[str, str], path: str, report: Report
) -> bool:
    if service in services:
        return True
    if service in left_out:
        report.wrong(path, f"{service} is left out: {left_out[service]}")
    else:
        report.wrong(path, f"there is no service {service!r}; there are: {', '.join(services)}")
    return False


def find_circle(graph: Mapping[str, list[str]]) -> list[str]:
    """A circle as the names along it, first and last the same; empty where there is none."""
    done: set[str] = set()
    for start in graph:
        trail: list[str] = []
        if found := _follow(start, graph, trail, done):
            return found
    return []


def _follow(name: str, graph: Mapping[str, list[str]], trail: list[str], done: set[str]) -> list[str]:
    if name in trail:
        return [*trail[trail.index(name) :], name]
    if name in done:
        return []
    trail.append(name)
    for following in graph.get(name, ()):
        if found := _follow(following, graph, trail, done):
            return found
    trail.pop()
    done.add(name)
    return []
