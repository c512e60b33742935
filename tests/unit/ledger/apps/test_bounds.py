"""Bounds and rules of a spec: each refusal names the field's path and what is allowed."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from factories_apps import COMPONENT, make_images, make_spec
from fluxcloud.errors import Rejected
from fluxcloud.ledger.apps.bounds import BOUNDS, get_bounds, render_allowed, validate_spec
from fluxcloud.ledger.apps.errors import BadImages, Contradiction, NotYet, OutOfBounds
from fluxcloud.ledger.apps.rules import check_images
from fluxcloud.ledger.apps.spec import (
    Component,
    Group,
    Health,
    Place,
    Port,
    Restart,
    Spec,
    StartAfter,
    Stop,
    Update,
)
from fluxcloud.ledger.apps.text import SHAPES

RECORDS = (Spec, Group, Place, Update, Component, Port, Health, Restart, Stop, StartAfter)


def with_component(**fields: Any) -> Spec:
    return make_spec(components=(replace(COMPONENT, **fields),))


def with_port(**fields: Any) -> Spec:
    return with_component(ports=(replace(Port("http", 8080), **fields),))


def test_table__names_every_field_of_every_record_once() -> None:
    fields = [(record, name) for record in RECORDS for name in record.__struct_fields__]
    assert sorted((b.record.__name__, b.attr) for b in BOUNDS) == sorted((r.__name__, n) for r, n in fields)


def test_table__defaults_are_within_bounds() -> None:
    validate_spec(make_spec())
    assert {b.attr: b.default for b in get_bounds(Port)}["protocol"] == "http"
    assert {b.attr: b.default for b in get_bounds(Port)}["name"] is msgspec.NODEFAULT


def test_table__says_what_is_allowed() -> None:
    allowed = {b.key: render_allowed(b) for b in get_bounds(Component)}
    assert allowed["cpu"] == "0.1..15 in steps of 0.1"
    assert allowed["memory"] == "64 MiB..59.0 GiB"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (make_spec("x"), "name: 1 characters; allowed: 2..40"),
        (make_spec("shop--eu"), "name: shop--eu; allowed: a-z"),
        (make_spec("Shop"), "name: Shop; allowed: a-z"),
        (make_spec("shop-"), "name: shop-; allowed: a-z"),
        (make_spec("sh\u00f6p"), "name: sh\\xf6p; allowed: a-z"),
        (make_spec(replicas=0), "groups.web.replicas: 0; allowed: 1..100"),
        (make_spec(replicas=101), "groups.web.replicas: 101; allowed: 1..100"),
        (make_spec(spares=4), "groups.web.spares: 4; allowed: 0..3"),
        (with_component(mcpu=50), "groups.web.components.app.cpu: 0.05; allowed: 0.1..15 in steps of 0.1"),
        (with_component(mcpu=15_100), "groups.web.components.app.cpu: 15.1; allowed: 0.1..15 in steps of 0.1"),
        (with_component(mcpu=550), "groups.web.components.app.cpu: 0.55; allowed: 0.1..15 in steps of 0.1"),
        (with_component(memory_mib=63), "groups.web.components.app.memory: 63 MiB; allowed: 64 MiB..59.0 GiB"),
        (with_component(memory_mib=60_417), "groups.web.components.app.memory: 59.0 GiB; allowed: 64 MiB..59.0 GiB"),
        (with_component(disk_mib=-1), "groups.web.components.app.disk: -1 MiB; allowed: 0 MiB..820.0 GiB"),
        (with_component(name="App"), "groups.web.components.App.name: App; allowed: a-z"),
        (with_component(image=""), "groups.web.components.app.image: 0 characters; allowed: 1..255"),
        (with_component(env=(("1X", ""),)), "groups.web.components.app.env: 1X; allowed: A-Z"),
        (with_component(env=(("A", "1"), ("A", "2"))), "groups.web.components.app.env: a key stands twice"),
        (
            with_component(env=(("A", "x" * 8193),)),
            "groups.web.components.app.env.A: 8193 characters; allowed: at most",
        ),
        (with_component(files=(("etc/x", b""),)), "groups.web.components.app.files: etc/x; allowed: an absolute path"),
        (with_component(files=(("/etc/../x", b""),)), "groups.web.components.app.files: /etc/../x; allowed: an"),
        (with_port(port=0), "groups.web.components.app.ports.http.port: 0; allowed: 1..65535"),
        (with_port(timeout_s=0), "groups.web.components.app.ports.http.timeout: 0s; allowed: 1s..3600s"),
        (with_component(stop=Stop("STOP")), "groups.web.components.app.stop.signal: STOP; allowed: one of TERM, INT"),
        (make_spec(place=Place(allow=("eu",))), "groups.web.place.allow: eu; allowed: a continent, country or region"),
        (make_spec(place=Place(only=(b"1",))), "groups.web.place.nodes.only: an id of 1 bytes; allowed: node ids"),
        (make_spec(components=()), "groups.web.components: 0 entries; allowed: 1..10 entries"),
    ],
)
def test_invalid__field_out_of_bounds(spec: Spec, message: str) -> None:
    with pytest.raises(OutOfBounds) as caught:
        validate_spec(spec)
    assert caught.value.message.startswith(message)
    assert caught.value.code == "apps/5"


TWO = (replace(COMPONENT, name="a"), Component("b", "x", ports=(Port("b", 8080),)))
CIRCLE = (
    Component("a", "x", start_after=(StartAfter("b"),)),
    Component("b", "x", start_after=(StartAfter("a"),)),
    Component("c", "x"),
)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (Spec("shop", (make_spec().groups[0],) * 2), "groups: web stands twice"),
        (make_spec(components=(COMPONENT, COMPONENT)), "groups.web.components: app stands twice"),
        (with_component(ports=(Port("a", 80), Port("b", 80))), "groups.web.components.app.ports: 80/tcp stands twice"),
        (with_component(ports=(Port("a", 80), Port("a", 81))), "groups.web.components.app.ports: a stands twice"),
        (make_spec(components=TWO), "groups.web.components.b.ports.b: port 8080 is already a's"),
        (with_component(health=Health("http", "/", port="x")), "groups.web.components.app.health.port: x is no port"),
        (with_component(health=Health("http")), "groups.web.components.app.health.path: an http probe needs a path"),
        (with_component(ports=()), "groups.web.components.app.health: an http probe needs a port"),
        (with_component(start_after=(StartAfter("db"),)), "groups.web.components.app.start_after: the group has no"),
        (make_spec(components=CIRCLE), "groups.web.components: start_after goes in a circle: a, b"),
        (with_component(files=(("/x", bytes(24 * 1024 + 1)),)), "files: 24577 bytes in all; at most 24576"),
        (with_component(restart=Restart(backoff_min_s=9, backoff_max_s=8)), "groups.web.components.app.restart"),
        (make_spec(place=Place(distinct=("asn",))), "groups.web.place.distinct: operator always"),
    ],
)
def test_invalid__contradiction(spec: Spec, message: str) -> None:
    with pytest.raises(Contradiction) as caught:
        validate_spec(spec)
    assert caught.value.message.startswith(message)


def test_port__twice_is_fine_over_udp_and_tcp() -> None:
    ports = (Port("dns", 53, "udp"), Port("dns-tcp", 53, "tcp"))
    validate_spec(with_component(ports=ports, health=Health("tcp")))


@pytest.mark.parametrize(
    "group",
    [
        {"mode": "primary"},
        {"mode": "peers"},
        {"place": Place(attested=True)},
        {"place": Place(static_ip=True)},
        {"place": Place(distinct=("operator", "provider"))},
    ],
)
def test_invalid__not_yet(group: dict[str, Any]) -> None:
    with pytest.raises(NotYet, match="yet"):
        validate_spec(make_spec(**group))


@pytest.mark.parametrize(
    "change",
    [{"digest": "sha256:AB"}, {"digest": "ab" * 32}, {"size": 0}, {"arches": ()}, {"arches": ("arm",)}, {"group": "x"}],
)
def test_invalid__images(change: dict[str, Any]) -> None:
    spec = make_spec()
    with pytest.raises(BadImages):
        check_images(spec, tuple(replace(image, **change) for image in make_images(spec)))


def test_invalid__images_without_a_common_architecture() -> None:
    spec = make_spec(components=(COMPONENT, Component("db", "x")))
    one, two = make_images(spec)
    check_images(spec, (one, two))
    with pytest.raises(BadImages, match="no architecture in common"):
        check_images(spec, (replace(one, arches=("amd64",)), replace(two, arches=("arm64",))))
    with pytest.raises(BadImages, match="missing: web/db"):
        check_images(spec, (one,))


@pytest.mark.parametrize(
    ("shape", "good", "bad"),
    [
        ("app-name", ("ab", "a1", "a-b", "a" * 40), ("a", "1a", "a-", "a--b", "A1", "a" * 41, "")),
        ("name", ("a", "a-", "a" * 20), ("", "-", "1", "a" * 21, "a_b")),
        ("variable", ("_", "PATH", "a1"), ("", "1", "-B", "A" * 129)),
        ("path", ("/a", "/a/b.c", "/..a"), ("a", "/", "/a/", "/a//b", "/.", "/a/..", "/a b")),
        ("url-path", ("", "/", "/healthz?x=1"), ("healthz", "/a b")),
        ("place", ("EU", "DE-BY", "EU-DE-BY"), ("eu", "E", "EU-", "EUR")),
    ],
)
def test_shape__check_and_regular_expression_agree(shape: str, good: tuple[str, ...], bad: tuple[str, ...]) -> None:
    check, pattern, _ = SHAPES[shape]
    for text in (*good, *bad):
        assert check(text) == (text in good), text
        assert bool(re.search(pattern, text)) == (text in good), text


def test_refusals_are_rejections() -> None:
    assert all(issubclass(kind, Rejected) for kind in (OutOfBounds, Contradiction, NotYet, BadImages))
