"""Labels of services: an app has a few public ones; those that configure other programs mean nothing here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ...ledger.apps.bounds import get_bounds
from ...ledger.apps.spec import Spec
from ...ledger.apps.text import is_label, is_printable
from ..stateful import LABEL
from .merge import as_mapping
from .report import Report
from .values import render_scalar

_BOUND = next(bound for bound in get_bounds(Spec) if bound.attr == "labels")
_PROXIES = ("traefik.", "caddy", "nginx", "com.github.jwilder", "com.github.nginx-proxy", "com.github.jrcs", "swag")
_TOOLS = ("com.centurylinklabs.watchtower", "com.docker.", "org.label-schema", "homepage.", "io.portainer", "glance.")
_TRAEFIK_PORT = re.compile(r"^traefik\.http\.services\.[^.]+\.loadbalancer\.server\.port$")


def find_traefik_port(service: dict[str, Any]) -> int | None:
    """The port to which traefik's labels send visitors."""
    labels = as_mapping(service.get("labels"))
    for name, value in labels.items() if isinstance(labels, dict) else ():
        if _TRAEFIK_PORT.match(name) and re.fullmatch(r"[0-9]{1,5}", str(value)) and 0 < int(value) <= 65_535:
            return int(value)
    return None


def collect_labels(services: Mapping[str, dict[str, Any]], own: dict[str, str], report: Report) -> dict[str, str]:
    """The app's labels: its own, then those of the services in their order, as many as are allowed."""
    labels = dict(own)
    for name, service in services.items():
        path = f"services.{name}.labels"
        given = as_mapping(service.get("labels"))
        if given is None:
            continue
        if not isinstance(given, dict):
            report.wrong(path, "must be a mapping, or a list of NAME=text")
            continue
        foreign = [key for key in given if key.startswith((*_PROXIES, *_TOOLS))]
        if foreign:
            words = (
                "gateways route by the app's name"
                if any(k.startswith(_PROXIES) for k in foreign)
                else "tools of a host"
            )
            report.note("dropped", path, f"{_shorten(foreign)}: {words}")
        for key, value in given.items():
            if key not in foreign:
                _add(labels, key, render_scalar(value) if value is not None else "", path, report)
    return labels


def _add(labels: dict[str, str], key: str, value: str, path: str, report: Report) -> None:
    fits = is_label(key) and is_printable(value) and len(value) <= _BOUND.item_high and key != LABEL
    if not fits or (key in labels and labels[key] != value):
        report.note(
            "dropped", path, f"{key[:64]}: {'another service has it, too' if fits else 'not allowed as a label'}"
        )
    elif len(labels) >= _BOUND.high and key not in labels:
        report.note("dropped", path, f"{key}: an app has at most {_BOUND.high} labels")
    else:
        labels[key] = value


def _shorten(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
