"""Names: of services as components, of a project as an app, and all those by which services reach each other."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .merge import as_named
from .report import Report
from .values import parse_pairs, parse_texts

COMPONENT_MAX = 20
APP_MAX = 40
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?")


def make_slug(text: str, length: int) -> str:
    """`My_App` -> `my-app`; empty where nothing of it can stay."""
    slug = re.sub(r"-+", "-", re.sub(r"[^a-z0-9]", "-", text.lower()))
    return re.sub(r"^[^a-z]+", "", slug)[:length].strip("-")


def name_components(services: Mapping[str, Any], report: Report) -> dict[str, str]:
    """Service -> component, each name once; said where it is another."""
    names: dict[str, str] = {}
    for service in services:
        slug = make_slug(service, COMPONENT_MAX) or "service"
        name, number = slug, 2
        while name in names.values() or (name != service and name in services):
            suffix = f"-{number}"
            name, number = slug[: COMPONENT_MAX - len(suffix)].rstrip("-") + suffix, number + 1
        names[service] = name
        if name != service:
            report.note(
                "changed", f"services.{service}", f"is the component {name}; other services reach it by both names"
            )
    return names


def collect_hosts(services: Mapping[str, dict[str, Any]], names: Mapping[str, str], report: Report) -> bytes:
    """`/etc/hosts` of every copy where services are called by other names than their components'; else empty.

    All components share one network, so each name is the loopback.
    """
    known = ("localhost", *names.values())
    aliases: dict[str, None] = {}
    others: dict[str, str] = {}
    for service, body in services.items():
        path = f"services.{service}"
        for alias in (service, *_list_aliases(body, path, report)):
            if not _HOST.fullmatch(alias):
                report.wrong(path, f"{alias[:60]!r} is no name of a host; allowed: A-Z, a-z, 0-9, '-', '_', '.'")
            elif alias not in known:
                aliases[alias] = None
        others |= _read_extra_hosts(body, path, report)
    if not aliases and not others:
        return b""
    lines = [f"127.0.0.1 {' '.join((*known, *aliases))}", "::1 localhost ip6-localhost ip6-loopback"]
    return "".join(
        f"{line}\n" for line in (*lines, *(f"{address} {name}" for name, address in others.items()))
    ).encode()


def list_links(body: dict[str, Any]) -> list[tuple[str, str]]:
    """(service, alias) of `links`. Raises ValueError."""
    pairs = (text.partition(":") for text in parse_texts(body.get("links") or []))
    return [(service, alias) for service, _, alias in pairs]


def _list_aliases(body: dict[str, Any], path: str, report: Report) -> list[str]:
    """Further names of this service, and those that it gives to others."""
    aliases = [str(body[key]) for key in ("hostname", "container_name") if body.get(key)]
    networks = as_named(body.get("networks"))
    for name, network in networks.items() if isinstance(networks, dict) else ():
        try:
            aliases += parse_texts((network or {}).get("aliases") or [])
        except (ValueError, AttributeError):
            report.wrong(f"{path}.networks.{name}", "must be a mapping; aliases a list of names")
    try:
        aliases += [alias for _, alias in list_links(body) if alias]
    except ValueError as error:
        report.wrong(f"{path}.links", str(error))
    return aliases


def _read_extra_hosts(body: dict[str, Any], path: str, report: Report) -> dict[str, str]:
    entries = body.get("extra_hosts")
    if entries is None:
        return {}
    try:
        if isinstance(entries, list):
            parts = (re.split(r"[=:]", text, maxsplit=1) for text in parse_texts(entries))
            pairs = [(part[0], part[1] if len(part) > 1 else "") for part in parts]
        else:
            pairs = [(name, address or "") for name, address in parse_pairs(entries)]
    except ValueError as error:
        report.wrong(f"{path}.extra_hosts", str(error))
        return {}
    hosts = {}
    for name, address in pairs:
        if address == "host-gateway":
            report.note("dropped", f"{path}.extra_hosts", f"{name}: a copy can't reach services of its node")
        elif not _HOST.fullmatch(name) or not re.fullmatch(r"\[?[0-9A-Fa-f:.]{2,45}\]?", address):
            report.wrong(f"{path}.extra_hosts", f"{name[:60]}: must be a name and an address, such as api:192.0.2.1")
        else:
            hosts[name] = address.strip("[]")
    return hosts
