"""The group that the services become: how many copies, how it is updated, and what `x-fluxcloud` at the top says."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ...ledger.apps.bounds import get_bounds
from ...ledger.apps.spec import Group, Spec, Update
from ..reader import read_fields
from .check import EXTENSION
from .report import Report
from .resources import dig, take
from .values import parse_duration, parse_number, parse_texts

APP_KEYS = ("name", "description", "labels")
GROUP_KEYS = ("mode", "replicas", "spares", "place", "update")
OWN_KEYS = ("stateful", "public_env")
_UPDATE = {bound.attr: bound for bound in get_bounds(Update)}
_REPLICAS = next(bound for bound in get_bounds(Group) if bound.attr == "replicas")
_CHOICES = ("one-copy", "separate-data")


@dataclass(frozen=True, slots=True)
class Wishes:
    """`x-fluxcloud` at the top of the file."""

    app: dict[str, Any] = field(default_factory=dict)
    group: dict[str, Any] = field(default_factory=dict)
    stateful: Literal["one-copy", "separate-data"] | None = None
    public_env: frozenset[str] = frozenset()


def read_wishes(data: Any, folder: Path, report: Report) -> Wishes:
    """Keys of an app and its group as in fluxcloud.yaml, and answers to what the tools would ask."""
    if data is None:
        return Wishes()
    known = (*APP_KEYS, *GROUP_KEYS, *OWN_KEYS)
    if not isinstance(data, dict) or not set(data) <= set(known):
        wrong = next((f".{key}" for key in data if key not in known), "") if isinstance(data, dict) else ""
        report.wrong(f"{EXTENSION}{wrong}", f"allowed: {', '.join(known)}; keys of a component stand in its service")
        return Wishes()
    parts = []
    for record, keys in ((Spec, APP_KEYS), (Group, GROUP_KEYS)):
        own = {key: value for key, value in data.items() if key in keys}
        values, problems = read_fields(record, own, EXTENSION, keys=keys, folder=folder)
        for problem in problems:
            report.wrong(problem.path, problem.message)
        parts.append(values)
    stateful = data.get("stateful")
    if stateful not in (None, *_CHOICES):
        report.wrong(f"{EXTENSION}.stateful", f"{stateful!r} is not known; allowed: {', '.join(_CHOICES)}")
        stateful = None
    public = take(data, "public_env", parse_texts, EXTENSION, report) or ()
    return Wishes(parts[0], parts[1], stateful, frozenset(public))


def read_replicas(services: Mapping[str, dict[str, Any]], report: Report) -> int | None:
    """The largest number that a service asks for: all of them run together in every copy."""
    wanted: dict[str, int] = {}
    for name, body in services.items():
        path = f"services.{name}"
        mode = dig(body, "deploy", "mode")
        if mode == "global":
            report.note("changed", f"{path}.deploy.mode", "copies are counted: `x-fluxcloud: {replicas: …}`")
        elif mode not in (None, "replicated"):
            report.wrong(f"{path}.deploy.mode", f"{mode!r} is not possible; allowed: replicated; jobs come later")
        for key in ("deploy.replicas", "scale"):
            number = take(body, key, parse_number, path, report)
            if number is not None and not 1 <= number <= _REPLICAS.high:
                report.wrong(f"{path}.{key}", f"{number}; allowed: 1..{_REPLICAS.high}, 0 leaves the service out")
            elif number is not None:
                wanted[name] = number
                break
    if not wanted:
        return None
    most = max(wanted.values())
    for name in services:
        if len(services) > 1 and wanted.get(name) != most:
            text = f"runs {most} times, for the services of an app are placed together"
            report.note("changed", f"services.{name}", text)
    return most


def read_update(services: Mapping[str, dict[str, Any]], report: Report) -> Update | None:
    """The first service's `deploy.update_config`; others are said to be left out."""
    having = [name for name, body in services.items() if isinstance(dig(body, "deploy", "update_config"), dict)]
    if not having:
        return None
    for name in having[1:]:
        report.note("ignored", f"services.{name}.deploy.update_config", f"instead: that of {having[0]}")
    path = f"services.{having[0]}.deploy.update_config"
    config, default = services[having[0]]["deploy"]["update_config"], Update()
    parallel = take(config, "parallelism", parse_number, path, report)
    monitor = take(config, "monitor", parse_duration, path, report)
    order, failure = config.get("order", "stop-first"), config.get("failure_action", "pause")
    if order not in _UPDATE["order"].choices:
        report.wrong(f"{path}.order", f"{order!r} is not known; allowed: start-first, stop-first")
        order = default.order
    if failure not in ("pause", "rollback", "continue"):
        report.wrong(f"{path}.failure_action", f"{failure!r} is not known; allowed: pause, rollback, continue")
    if failure == "continue":
        report.note("changed", f"{path}.failure_action", "rollback: an update never goes on over failures")
    return Update(
        order=order,
        parallel=default.parallel if parallel is None else _fit_parallel(parallel, f"{path}.parallelism", report),
        healthy_for_s=default.healthy_for_s
        if monitor is None
        else min(math.ceil(monitor), _UPDATE["healthy_for_s"].high),
        on_failure="pause" if failure == "pause" else "rollback",
    )


def _fit_parallel(value: int, path: str, report: Report) -> int:
    """0 is all at once in compose."""
    high = _UPDATE["parallel"].high
    fitting = min(value, high) if value > 0 else high
    if fitting != value:
        report.note("changed", path, f"becomes {fitting}; allowed: 1..{high}")
    return fitting
