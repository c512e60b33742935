"""Resources and life of one service: cpu, memory, restarts, how it stops. All within the bounds of a component."""

from __future__ import annotations

import math
import signal
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Literal, TypeVar

from ...ledger.apps.bounds import get_bounds, render_allowed
from ...ledger.apps.spec import Component, Restart, Stop
from ..words import render_mcpu, render_mib
from .report import Report
from .values import parse_cpus, parse_duration, parse_memory

T = TypeVar("T")
_COMPONENT = {bound.attr: bound for bound in get_bounds(Component)}
_RESTART = {bound.attr: bound for bound in get_bounds(Restart)}
_STOP = {bound.attr: bound for bound in get_bounds(Stop)}
_POLICIES: dict[str, Literal["always", "on-failure", "never"]] = {
    **{"no": "never", "none": "never", "false": "never", "on-failure": "on-failure"},
    **{"always": "always", "any": "always", "unless-stopped": "always"},
}


def dig(data: Any, *keys: str) -> Any:
    """The value below some keys; None where there is none."""
    for key in keys:
        if not isinstance(data, dict):
            return None
        data = data.get(key)
    return data


def take(data: dict[str, Any], keys: str, parse: Callable[[Any], T], path: str, report: Report) -> T | None:
    """The parsed value of a dotted key; None where it is absent, or wrong (which is reported)."""
    value = dig(data, *keys.split("."))
    if value is None:
        return None
    try:
        return parse(value)
    except ValueError as error:
        report.wrong(f"{path}.{keys}", str(error))
        return None


def read_resources(service: dict[str, Any], path: str, report: Report) -> dict[str, int]:
    """`mcpu` and `memory_mib`, where the service limits them (or, without limits, reserves some)."""
    fields: dict[str, int] = {}
    places = (
        ("mcpu", parse_cpus, ("deploy.resources.limits.cpus", "cpus", "deploy.resources.reservations.cpus")),
        (
            "memory_mib",
            parse_memory,
            ("deploy.resources.limits.memory", "mem_limit", "deploy.resources.reservations.memory", "mem_reservation"),
        ),
    )
    for attr, parse, keys in places:
        for key in keys:
            value = take(service, key, parse, path, report)
            if value:  # 0: no limit
                fields[attr] = _fit(attr, value, dig(service, *key.split(".")), f"{path}.{key}", report)
                break
    return fields


def _fit(attr: str, value: int, written: Any, path: str, report: Report) -> int:
    """Raised to the smallest that is allowed; more than the largest is a problem, for the app may need it."""
    bound = _COMPONENT[attr]
    if value > bound.high:
        report.wrong(path, f"{written} is more than a component may have; allowed: {render_allowed(bound)}")
        return bound.high
    value = max(value, bound.low)
    shown = render_mcpu(value) if attr == "mcpu" else render_mib(value)
    exact = Decimal(str(written).strip()) * 1000 if attr == "mcpu" else parse_memory(written)
    if exact != value:
        report.note("changed", path, f"{written} becomes {shown}; allowed: {render_allowed(bound)}")
    return value


def read_restart(service: dict[str, Any], path: str, report: Report) -> Restart:
    """`deploy.restart_policy` before `restart`; always where neither is given."""
    for key in ("deploy.restart_policy.condition", "restart"):
        written = dig(service, *key.split("."))
        if written is None:
            continue
        word, _, attempts = str(written).lower().partition(":")
        if word not in _POLICIES:
            allowed = "none, on-failure, any" if "." in key else "no, always, on-failure, unless-stopped"
            report.wrong(f"{path}.{key}", f"{written!r} is not known; allowed: {allowed}")
            return Restart()
        if attempts:
            report.note("dropped", f"{path}.{key}", "waits grow to five minutes, attempts don't end")
        return Restart(policy=_POLICIES[word], backoff_min_s=_read_delay(service, path, report))
    return Restart(backoff_min_s=_read_delay(service, path, report))


def _read_delay(service: dict[str, Any], path: str, report: Report) -> int:
    key = "deploy.restart_policy.delay"
    delay = take(service, key, parse_duration, path, report)
    bound = _RESTART["backoff_min_s"]
    return bound.low if delay is None else _clamp(delay, bound.low, Restart().backoff_max_s, f"{path}.{key}", report)


def read_stop(service: dict[str, Any], path: str, report: Report) -> Stop:
    grace, default = take(service, "stop_grace_period", parse_duration, path, report), Stop()
    bound = _STOP["grace_s"]
    return Stop(
        signal=take(service, "stop_signal", parse_signal, path, report) or default.signal,
        grace_s=default.grace_s
        if grace is None
        else _clamp(grace, bound.low, bound.high, f"{path}.stop_grace_period", report),
    )


def parse_signal(value: Any) -> str:
    """`SIGTERM`, `term` or `15` -> TERM."""
    text = str(value).upper().removeprefix("SIG")
    if text.isdecimal():
        names = {str(int(known)): known.name.removeprefix("SIG") for known in signal.Signals}
        text = names.get(text, text)
    if text not in _STOP["signal"].choices:
        raise ValueError(f"{value!r} is no signal that ends a component; {render_allowed(_STOP['signal'])}")
    return text


def _clamp(value: float, low: int, high: int, path: str, report: Report) -> int:
    nearest = min(max(math.ceil(value), low), high)
    if nearest != value:
        report.note("changed", path, f"becomes {nearest}s; allowed: {low}s..{high}s")
    return nearest
