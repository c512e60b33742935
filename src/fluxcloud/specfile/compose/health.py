"""Health: a compose healthcheck as a probe. Commands are not run; what they ask over the network is asked instead."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, Literal

from ...ledger.apps.bounds import get_bounds
from ...ledger.apps.spec import Health
from .report import Report
from .values import parse_boolean, parse_duration, parse_number

_LOCAL = r"(?:localhost|127\.0\.0\.1|0\.0\.0\.0|\[::1\]|\$\{?HOSTNAME\}?)"
_URL = re.compile(rf"(https?)://{_LOCAL}(?::([0-9]{{1,5}}))?(/[!-~]*)?")
_BARE = re.compile(rf"(?<![\w./]){_LOCAL}:([0-9]{{1,5}})(/[!-~]*)?")
_CLIENT = re.compile(r"\b(curl|wget|http|httpie|fetch|urlopen|requests\.get)\b")
_SOCKET = re.compile(rf"{_LOCAL}[ :/]+([0-9]{{1,5}})\b")
_TIMES = {"interval": "every_s", "timeout": "timeout_s", "start_period": "start_s"}
_BOUNDS = {bound.attr: bound for bound in get_bounds(Health)}


@dataclass(frozen=True, slots=True)
class Probe:
    """What a healthcheck comes to. `number` is the port it asks, 0 where that is not known."""

    kind: Literal["http", "tcp", "none"] = "tcp"
    path: str = ""
    number: int = 0


def read_probe(check: dict[str, Any], first_port: int, path: str, report: Report) -> Probe:
    """What to ask instead of running the test. `first_port` is connected to where the test names none; 0 for none."""
    try:
        if parse_boolean(check.get("disable", False)):
            return Probe("none")
    except ValueError as error:
        report.wrong(f"{path}.disable", str(error))
    test = check.get("test")
    if test is None:
        return Probe()
    words = test if isinstance(test, list) else ["CMD-SHELL", test]
    if not words or not all(isinstance(word, str) for word in words) or words[0] not in ("NONE", "CMD", "CMD-SHELL"):
        report.wrong(f"{path}.test", "must be a text, or a list that begins with NONE, CMD or CMD-SHELL")
        return Probe()
    if words[0] == "NONE":
        return Probe("none")
    probe = derive_probe(" ".join(words[1:]))
    if probe.kind == "http":
        report.note(
            "changed", f"{path}.test", f"the path {probe.path} of port {probe.number} is asked over http instead"
        )
    else:
        number = probe.number or first_port
        instead = f"port {number} is connected to" if number else "it is healthy while it runs, for it has no port,"
        report.note("changed", f"{path}.test", f"commands are not run: {instead} instead")
    return probe


def derive_probe(command: str) -> Probe:
    """`curl -f http://localhost:8080/ok || exit 1` -> http, /ok, 8080; anything else tcp."""
    if _CLIENT.search(command):
        url = _URL.search(command)
        if url and url[1] == "http":
            return Probe("http", _clean(url[3]), int(url[2] or 80))
        if url:
            return Probe(number=int(url[2] or 443))
        bare = _BARE.search(command)
        if bare:
            return Probe("http", _clean(bare[2]), int(bare[1]))
    socket = _SOCKET.search(command)
    return Probe(number=int(socket[1]) if socket and 1 <= int(socket[1]) <= 65_535 else 0)


def _clean(path: str | None) -> str:
    """The path without the quote, bracket or separator that ended it in the command."""
    return re.split(r"""["'`;|)>]""", path or "/")[0] or "/"


def read_times(check: dict[str, Any], path: str, report: Report) -> dict[str, int]:
    """The fields of Health that say when and how often, within their bounds."""
    fields: dict[str, int] = {}
    for key, attr in _TIMES.items():
        if check.get(key) is None:
            continue
        try:
            fields[attr] = fit(attr, parse_duration(check[key]), f"{path}.{key}", report)
        except ValueError as error:
            report.wrong(f"{path}.{key}", str(error))
    if check.get("retries") is not None:
        try:
            fields["fail"] = fit("fail", parse_number(check["retries"]), f"{path}.retries", report)
        except ValueError as error:
            report.wrong(f"{path}.retries", str(error))
    return fields


def fit(attr: str, value: float, path: str, report: Report) -> int:
    """The nearest whole number that is allowed; said where it is another."""
    bound = _BOUNDS[attr]
    nearest = min(max(math.ceil(value), bound.low), bound.high)
    if nearest != value:
        report.note(
            "changed", path, f"{nearest}{'s' if bound.kind == 'seconds' else ''}: allowed are {bound.low}..{bound.high}"
        )
    return nearest
