"""Choosing: which services of a file make up the app. Those of other profiles, and those of 0 copies, are left out."""

from __future__ import annotations

from typing import Any

from ...ledger.apps.bounds import get_bounds
from ...ledger.apps.spec import Group
from .interpolate import Lookup
from .report import Report
from .resources import dig
from .values import parse_texts

COMPONENTS_MAX = next(bound.high for bound in get_bounds(Group) if bound.attr == "components")


def choose_services(
    document: dict[str, Any], wanted: tuple[str, ...], lookup: Lookup, report: Report
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """The services that make up the app, and why others don't."""
    chosen = {*wanted, *(lookup("COMPOSE_PROFILES") or "").split(",")} - {""}
    services: dict[str, dict[str, Any]] = {}
    left_out: dict[str, str] = {}
    given = document.get("services")
    if not isinstance(given, dict) or not given:
        report.wrong("services", "a compose file needs at least one service with an image")
        return {}, {}
    for name, body in given.items():
        path = f"services.{name}"
        if not isinstance(body, dict):
            report.wrong(path, "must be a mapping with image, ports, environment…")
            continue
        profiles = _read_profiles(body, path, report)
        if profiles and "*" not in chosen and chosen.isdisjoint(profiles):
            left_out[name] = f"it belongs to the profile {', '.join(profiles)}; --profile {profiles[0]} takes it in"
            report.note("dropped", path, left_out[name])
        elif _has_no_copies(body, path, report):
            left_out[name] = "it asks for 0 copies"
        else:
            services[name] = body
    if len(services) > COMPONENTS_MAX:
        words = (
            f"{len(services)} services; an app has at most {COMPONENTS_MAX} components: leave some out with profiles"
        )
        report.wrong("services", words)
    elif not services and not report.problems:
        report.wrong("services", "all services are left out; choose one of their profiles with --profile")
    return services, left_out


def _read_profiles(body: dict[str, Any], path: str, report: Report) -> tuple[str, ...]:
    try:
        return parse_texts(body.get("profiles") or [])
    except ValueError as error:
        report.wrong(f"{path}.profiles", str(error))
        return ()


def _has_no_copies(body: dict[str, Any], path: str, report: Report) -> bool:
    for key in ("deploy.replicas", "scale"):
        if str(dig(body, *key.split("."))) == "0":
            report.note("dropped", f"{path}.{key}", "0 copies: the service is left out")
            return True
    return False
