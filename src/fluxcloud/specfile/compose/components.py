"""Components: the drafts of all services together: which is public, whose names are known, which port is whose."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import msgspec

from ...ledger.apps.spec import Component, Health, Port, Restart, StartAfter
from ..stateful import find_known
from .names import collect_hosts
from .order import Wait
from .ports import name_ports
from .report import Report
from .service import Draft

HOSTS_FILE = "/etc/hosts"


def build_components(
    drafts: list[Draft],
    services: Mapping[str, dict[str, Any]],
    names: Mapping[str, str],
    waits: Mapping[str, tuple[Wait, ...]],
    report: Report,
) -> tuple[Component, ...]:
    """The drafts as components of one group, in the file's order."""
    _check_ports(drafts, report)
    _check_volumes(drafts, report)
    public = _find_public(drafts)
    if public is None and all(not draft.overrides.get("ports") for draft in drafts):
        report.note(
            "changed", "services", "no port is public, so nobody visits the app; publish one, not on a loopback"
        )
    hosts = collect_hosts(services, names, report)
    ends = {wait.service for those in waits.values() for wait in those if wait.for_end}
    components = []
    for draft in drafts:
        files = {**({HOSTS_FILE: hosts} if hosts else {}), **draft.mounts.files}
        ports, health = _build_ports(draft, report, is_public=draft is public)
        fields = {
            **draft.fields,
            "files": tuple(sorted(files.items())),
            "ports": ports,
            "health": health,
            "restart": _choose_restart(draft, services[draft.service], report)
            if draft.service in ends
            else draft.fields["restart"],
            "start_after": tuple(StartAfter(names[wait.service], wait.condition) for wait in waits[draft.service]),
        }
        components.append(Component(name=names[draft.service], image=draft.image, **{**fields, **draft.overrides}))
    return tuple(components)


def _build_ports(draft: Draft, report: Report, *, is_public: bool) -> tuple[tuple[Port, ...], Health]:
    """Ports with names, and the probe of one of them; a probed port that is not opened is added, not public."""
    ports = name_ports(draft.openings, is_public=is_public)
    _note_ports(draft, ports, report)
    probe = draft.probe
    if probe.number and not any(port.port == probe.number and port.protocol != "udp" for port in ports):
        protocol: Literal["http", "tcp"] = "http" if probe.kind == "http" else "tcp"
        ports = (*ports, Port(f"p{probe.number}", probe.number, protocol, public=False))
    name = next((port.name for port in ports if port.port == probe.number and port.protocol != "udp"), "")
    health = Health(kind=probe.kind, path=probe.path, port=name, **draft.times)
    return ports, health


def _note_ports(draft: Draft, ports: tuple[Port, ...], report: Report) -> None:
    for opening, port in zip(draft.openings, ports, strict=True):
        where = f"{draft.path}.ports"
        if port.public:
            report.note("kept", where, f"{port.port} is public under the name {port.name}, as {port.protocol}")
        elif opening.is_published:
            report.note("changed", where, f"{port.port} is not public; other services reach it")


def _choose_restart(draft: Draft, body: dict[str, Any], report: Report) -> Restart:
    """What others wait for to end must not be started again once it has."""
    restart: Restart = draft.fields["restart"]
    if restart.policy != "always":
        return restart
    policy: Literal["on-failure", "never"] = "on-failure" if "restart" in body else "never"
    report.note("changed", f"{draft.path}.restart", f"{policy}: others wait for it to end")
    return msgspec.structs.replace(restart, policy=policy)


def _check_ports(drafts: list[Draft], report: Report) -> None:
    """A port belongs to one service: all share one network."""
    owners: defaultdict[tuple[int, bool], list[str]] = defaultdict(list)
    for draft in drafts:
        for number, is_udp in _list_numbers(draft):
            owners[number, is_udp].append(draft.service)
    for (number, is_udp), listening in owners.items():
        both = list(dict.fromkeys(listening))
        if len(both) > 1:
            report.wrong(
                f"services.{both[1]}.ports",
                f"{' and '.join(both)} listen on {number}/{'udp' if is_udp else 'tcp'}, but the services of an app "
                "share one network: let one of them listen on another port (by its command, environment or "
                "configuration), or make it an app of its own",
            )


def _check_volumes(drafts: list[Draft], report: Report) -> None:
    """A volume belongs to one service, too: each component has a disk of its own."""
    owners: dict[str, str] = {}
    for draft in drafts:
        for volume in draft.mounts.volumes:
            owner = owners.setdefault(volume, draft.service)
            if owner != draft.service:
                report.wrong(
                    f"{draft.path}.volumes",
                    f"{volume} is {owner}'s, too, but each service has a disk of its own, so they would not see each "
                    "other's files: make them one service, or pass the data over the network",
                )


def _find_public(drafts: list[Draft]) -> Draft | None:
    """The first with a published http port; where there is none, the first that publishes and is no database."""
    published = [draft for draft in drafts if any(opening.is_published for opening in draft.openings)]
    for draft in published:
        if any(opening.is_published and opening.protocol in ("http", "https", "h2c") for opening in draft.openings):
            return draft
    return next((draft for draft in published if find_known(draft.image) is None), None)


def _list_numbers(draft: Draft) -> Iterator[tuple[int, bool]]:
    if "ports" in draft.overrides:
        yield from ((port.port, port.protocol == "udp") for port in draft.overrides["ports"])
    else:
        yield from ((opening.number, opening.is_udp) for opening in draft.openings)
