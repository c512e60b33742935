"""Ports: what a service publishes and exposes, as ports of its component.

Compose knows tcp and udp only; whether a tcp port speaks http follows from `app_protocol`, else from its number:
everything is http but the numbers that belong to something else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from ...ledger.apps.spec import Port, Protocol
from .report import Report
from .values import parse_port_range

_HTTPS = frozenset((443, 4443, 8443, 9443))
_H2C = frozenset((50_051,))
_NOT_HTTP = frozenset(
    (
        *(21, 22, 23, 25, 53, 110, 123, 143, 161, 389, 465, 514, 587, 636, 853, 993, 995, 1080, 1194, 1433, 1521, 1723),
        *(
            1883,
            1935,
            2181,
            2379,
            2380,
            3128,
            3306,
            3389,
            3478,
            5349,
            4222,
            5222,
            5432,
            5433,
            5671,
            5672,
            5900,
            6379,
            6380,
            6432,
        ),
        *(6667, 7000, 7687, 8883, 9042, 9092, 9093, 9094, 10_000, 11_211, 19_132, 22_000, 25_565, 25_575, 26_379),
        *(27_015, 27_017, 27_018, 27_019, 28_015, 51_820),
    )
)
_APP_PROTOCOLS: dict[str, Protocol] = {
    **{"http": "http", "http1": "http", "ws": "http", "websocket": "http", "https": "https", "wss": "https"},
    **{"http2": "h2c", "h2c": "h2c", "grpc": "h2c", "tcp": "tcp", "udp": "udp"},
}
_LOOPBACK = re.compile(r"^(127\.|\[?::1\]?$|localhost$)")
_NAME = re.compile(r"[a-z][a-z0-9-]{0,19}")


@dataclass(frozen=True, slots=True)
class Opening:
    """One port of a service before it is decided which service is public."""

    number: int
    is_udp: bool = False
    is_published: bool = False
    app_protocol: str = ""
    name: str = ""

    @property
    def protocol(self) -> Protocol:
        if self.is_udp:
            return "udp"
        if self.app_protocol:
            return _APP_PROTOCOLS.get(self.app_protocol, "tcp")
        if self.number in _NOT_HTTP:
            return "tcp"
        return "https" if self.number in _HTTPS else "h2c" if self.number in _H2C else "http"


def read_openings(service: dict[str, Any], path: str, report: Report) -> tuple[Opening, ...]:
    """Everything that the service opens, each number and layer once, published ones first."""
    found: dict[tuple[int, bool], Opening] = {}
    for key, is_published in (("ports", True), ("expose", False)):
        entries = service.get(key)
        if entries is None:
            continue
        if not isinstance(entries, list):
            report.wrong(f"{path}.{key}", "must be a list of ports")
            continue
        for number, entry in enumerate(entries):
            here = f"{path}.{key}[{number}]"
            try:
                for opening in _read_entry(entry, here, report, is_published=is_published):
                    found.setdefault((opening.number, opening.is_udp), opening)
            except ValueError as error:
                report.wrong(here, str(error))
    return tuple(found.values())


def _read_entry(entry: Any, path: str, report: Report, *, is_published: bool) -> list[Opening]:
    if isinstance(entry, dict):
        return [_read_long(entry, path, report)]
    if isinstance(entry, bool) or not isinstance(entry, str | int):
        raise ValueError("must be a port, such as 80 or '8080:80'")
    text, _, layer = str(entry).partition("/")
    if layer.lower() not in ("", "tcp", "udp"):
        raise ValueError(f"{layer!r} is not possible; allowed after the port: /tcp, /udp")
    host, target = _split_short(text)
    numbers = parse_port_range(target)
    if len(numbers) > 16:
        raise ValueError(f"{len(numbers)} ports; a component has at most 16, name the ones that are used")
    if is_published and _LOOPBACK.match(host):
        report.note("changed", path, f"published on {host} only: not public")
        is_published = False
    return [Opening(number, layer.lower() == "udp", is_published) for number in numbers]


def _split_short(text: str) -> tuple[str, str]:
    """`[[host:]published:]target` -> host address and target; what is published only has to be a port."""
    match = re.fullmatch(r"(?:(?:(\[[^\]]+\]|[^:]*):)?([0-9-]*):)?([0-9-]+)", text)
    if match is None:
        raise ValueError(f"{text!r} is not understood; allowed: target, published:target, address:published:target")
    host, published, target = match.groups()
    if (
        published
        and len(parse_port_range(target)) > 1
        and len(parse_port_range(published)) != len(parse_port_range(target))
    ):
        raise ValueError(f"{text!r}: both ranges must have the same length")
    return host or "", target


def _read_long(entry: dict[str, Any], path: str, report: Report) -> Opening:
    if "target" not in entry:
        raise ValueError("target: which port in the container?")
    numbers = parse_port_range(str(entry["target"]))
    layer = str(entry.get("protocol", "tcp")).lower()
    if layer not in ("tcp", "udp") or len(numbers) > 1:
        raise ValueError("allowed: one target port, and protocol tcp or udp")
    host = str(entry.get("host_ip", ""))
    is_published = "published" in entry or "host_ip" not in entry
    if _LOOPBACK.match(host):
        report.note("changed", path, f"published on {host} only: not public")
        is_published = False
    name = str(entry.get("name", "")).lower()
    return Opening(numbers[0], layer == "udp", is_published, str(entry.get("app_protocol", "")).lower(), name)


def name_ports(openings: tuple[Opening, ...], *, is_public: bool) -> tuple[Port, ...]:
    """Ports with names: a given one, `http` for the first that speaks it, else `p<number>`."""
    used: set[str] = set()
    ports = []
    for opening in openings:
        wanted = (opening.name, "http" if opening.protocol == "http" else "", f"p{opening.number}")
        names = (name for name in wanted if _NAME.fullmatch(name) and name not in used)
        name = next(names, f"p{opening.number}{'u' if opening.is_udp else 't'}")
        used.add(name)
        ports.append(Port(name, opening.number, opening.protocol, public=is_public and opening.is_published))
    return tuple(ports)


def hide_tls_twins(openings: tuple[Opening, ...], path: str, report: Report) -> tuple[Opening, ...]:
    """Beside a published http port an https one is for visitors who come directly; gateways end TLS themselves."""
    if not any(opening.is_published and opening.protocol == "http" for opening in openings):
        return openings
    kept = []
    for opening in openings:
        if opening.is_published and opening.protocol == "https" and not opening.app_protocol:
            report.note("changed", path, f"{opening.number} is not public: gateways end TLS and ask the http port")
            opening = replace(opening, is_published=False)
        kept.append(opening)
    return tuple(kept)
