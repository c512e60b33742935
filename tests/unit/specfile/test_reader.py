"""Reading fluxcloud.yaml: what it becomes, and that every problem is named with its path."""

from __future__ import annotations

from pathlib import Path

import pytest

from fluxcloud.ledger.apps.spec import Component, Group, Health, Place, Port, Spec
from fluxcloud.specfile.reader import InvalidSpec, read_spec
from fluxcloud.specfile.yaml_data import load_yaml

SMALLEST = b"""
name: shop
components:
  app: {image: ./shop.tar, ports: {http: 8080}}
"""


def read(text: bytes, folder: Path | None = None) -> Spec:
    return read_spec(load_yaml(text), folder=folder)


def problems(text: bytes) -> list[str]:
    with pytest.raises(InvalidSpec) as caught:
        read(text)
    return [str(problem) for problem in caught.value.problems]


def test_smallest_file__one_group_with_defaults() -> None:
    component = Component(name="app", image="./shop.tar", ports=(Port("http", 8080),))
    assert read(SMALLEST) == Spec(name="shop", groups=(Group(name="main", components=(component,)),))


def test_full_file__every_key_is_read() -> None:
    spec = read(
        b"""
spec: fluxcloud/1
name: shop
description: Web shop
labels: {team: a}
groups:
  web:
    replicas: 5
    spares: 2
    place: {allow: [EU], deny: [EU-FR], tier: nimbus, distinct: [operator, country]}
    components:
      app:
        image: ./shop.tar
        cpu: 1.5
        memory: 1GiB
        disk: 3GiB
        env: {LOG: info, N: 3, DEBUG: true}
        command: [serve, --port, "8080"]
        ports: {http: {port: 8080, sticky: on, timeout: 1m}}
        health: {http: /healthz, every: 2s, timeout: 1s, fail: 4, start: 90s}
        stop: {signal: SIGINT, grace: 5s}
        start_after: {cache: healthy}
      cache: {image: ./cache.tar, command: "cache --small"}
"""
    )
    group = spec.groups[0]
    app, cache = group.components
    assert (group.replicas, group.spares) == (5, 2)
    assert group.place == Place(allow=("EU",), deny=("EU-FR",), tier=2, distinct=("operator", "country"))
    assert (app.mcpu, app.memory_mib, app.disk_mib) == (1500, 1024, 3072)
    assert app.env == (("DEBUG", "true"), ("LOG", "info"), ("N", "3"))
    assert app.ports == (Port("http", 8080, sticky=True, timeout_s=60),)
    assert app.health == Health(kind="http", path="/healthz", every_s=2, timeout_s=1, fail=4, start_s=90)
    assert (app.stop.signal, app.stop.grace_s) == ("INT", 5)
    assert app.start_after[0].component == "cache"
    assert cache.command == ("/bin/sh", "-c", "cache --small")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"name: a\ncomponents: {app: {imag: x}}", "components.app.imag: unknown key; did you mean 'image'?"),
        (b"name: a\nvolumes: {}\ncomponents: {app: {image: x}}", "volumes: volumes come in a later version"),
        (b"name: a\ncomponents: {app: {image: x, cpu: fast}}", "components.app.cpu: 'fast' is no number of CPUs"),
        (b"name: a\ncomponents: {app: {image: x, memory: 1.5MB5}}", "components.app.memory: '1.5MB5' is no size"),
        (b"name: a\ncomponents: {app: {image: x, ports: {http: {}}}}", "components.app.ports.http.port: which port"),
        (b"name: a\nreplicas: many\ncomponents: {app: {image: x}}", "replicas: 'many' is no whole number"),
        (b"name: a\ngroups: {w: {components: {}}}", "groups.w.components: must be a mapping"),
        (b"spec: fluxcloud/9\nname: a\ncomponents: {app: {image: x}}", "spec: 'fluxcloud/9' is not known"),
        (b"components: {app: {image: x}}", "name: the app needs a name"),
        (b"name: a", "components: the app needs at least one component"),
        (b"[]", "must be a mapping with"),
    ],
)
def test_problem_is_named(text: bytes, expected: str) -> None:
    assert any(problem.startswith(expected) for problem in problems(text)), problems(text)


def test_all_problems_are_reported_at_once() -> None:
    assert len(problems(b"name: a\ncomponents: {app: {image: x, cpu: z, memory: z, colour: red}}")) == 3


def test_files_are_read_from_the_folder_only(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "secret").write_text("no")
    (tmp_path / "app" / "app.yml").write_text("yes")
    text = b"name: a\ncomponents: {app: {image: x, files: {/etc/app.yml: ./app.yml}}}"
    assert read(text, tmp_path / "app").groups[0].components[0].files == (("/etc/app.yml", b"yes"),)
    outside = b"name: a\ncomponents: {app: {image: x, files: {/etc/app.yml: ../secret}}}"
    with pytest.raises(InvalidSpec, match="outside the app's folder"):
        read(outside, tmp_path / "app")
