"""Ports to forward: how they are written, and which of an app's they mean."""

from __future__ import annotations

import click
import pytest
from msgspec.structs import replace

from factories_apps import COMPONENT, make_spec
from fluxcloud.cli.output import CliError
from fluxcloud.cli.portforward import Ports, PortsParam, find_ports
from fluxcloud.ledger.apps.spec import Port

PORTS = (Port("http", 8080), Port("admin", 9000, "tcp", public=False), Port("dns", 53, "udp"))
SPEC = make_spec(
    components=(replace(COMPONENT, ports=PORTS), replace(COMPONENT, name="db", ports=(Port("sql", 5432),)))
)


@pytest.mark.parametrize(
    ("text", "ports"),
    [
        ("8080", Ports(8080, "8080")),
        ("9000:8080", Ports(9000, "8080")),
        ("0:8080", Ports(0, "8080")),
        ("9000:http", Ports(9000, "http")),
        ("http", Ports(0, "http")),
    ],
)
def test_ports__are_read(text: str, ports: Ports) -> None:
    assert PortsParam().convert(text, None, None) == ports


@pytest.mark.parametrize("text", ["", ":", "8080:", "0", "x:8080", "70000", "70000:80", "1:70000", "-1:80", "1:2:3"])
def test_wrong_ports__are_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(click.BadParameter, match=r"PORT|LOCAL"):
        PortsParam().convert(text, None, None)


@pytest.mark.parametrize(
    ("remote", "component", "number"),
    [("8080", None, 8080), ("admin", None, 9000), ("sql", None, 5432), ("5432", "db", 5432)],
)
def test_port_of_the_spec__by_number_or_name(remote: str, component: str | None, number: int) -> None:
    ((_, port),) = find_ports(SPEC, remote, component).items()
    assert port.port == number


@pytest.mark.parametrize(("remote", "component"), [("53", None), ("81", None), ("8080", "db"), ("nope", None)])
def test_port_that_is_not_there__names_those_that_are(remote: str, component: str | None) -> None:
    with pytest.raises(CliError) as refused:
        find_ports(SPEC, remote, component)
    assert refused.value.exit_code == 4
    assert any("5432" in hint for hint in refused.value.hints)
