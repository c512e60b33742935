"""The JSON Schema of fluxcloud.yaml: every key of the reader, and the same opinion of files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from factories_specs import SPECS
from fluxcloud.codec import Record
from fluxcloud.ledger.apps.bounds import BOUNDS
from fluxcloud.ledger.apps.spec import Group, Spec
from fluxcloud.specfile.keys import NAME_OF, list_keys
from fluxcloud.specfile.render import render_plain
from fluxcloud.specfile.schema import build_schema
from fluxcloud.specfile.yaml_data import load_yaml
from schemacheck import is_valid

ROOT = Path(__file__).parents[3]
SCHEMA = build_schema()
EXAMPLES = [*ROOT.glob("examples/*/fluxcloud.yaml"), *ROOT.glob("tests/vectors/compose/*/expected.yaml")]


def list_records(record: type[Record] = Spec) -> Iterator[type[Record]]:
    yield record
    for key in list_keys(record):
        if key.of is not None:
            yield from list_records(key.of)


def find_properties(record: type[Record]) -> dict[str, Any]:
    if record is Spec:
        return dict(SCHEMA["properties"])
    definition = SCHEMA["$defs"][record.__name__]
    table = definition["anyOf"][1] if "anyOf" in definition else definition
    return dict(table["properties"])


@pytest.mark.parametrize("record", sorted(set(list_records()), key=lambda record: record.__name__))
def test_every_key_of_the_reader_is_in_the_schema(record: type[Record]) -> None:
    properties = find_properties(record)
    for key in list_keys(record):
        first, _, rest = key.name.partition(".")
        found = properties[first]["properties"][rest] if rest else properties[first]
        assert found["description"] == key.words
    names = {key.name.partition(".")[0] for key in list_keys(record)}
    group_names = {key.name for key in list_keys(Group)} if record is Spec else set()
    assert set(properties) == names | group_names


def test_every_bound_has_its_key() -> None:
    filled = {(key.record, attr) for record in set(list_records()) for key in list_keys(record) for attr in key.attrs}
    named = {(record, attr) for record, attr in NAME_OF.items()}
    assert {(bound.record, bound.attr) for bound in BOUNDS} == filled | named


def test_schema_is_plain_json() -> None:
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.parent.name)
def test_examples_fit(file: Path) -> None:
    text = file.read_bytes()
    assert not text or is_valid(load_yaml(text), SCHEMA, SCHEMA)


@settings(max_examples=40, deadline=None)
@given(spec=SPECS)
def test_whatever_is_written_fits(spec: Spec) -> None:
    assert is_valid(render_plain(spec), SCHEMA, SCHEMA)


@pytest.mark.parametrize(
    "text",
    [
        b"name: shop",
        b"components: {app: {image: x}}",
        b"name: S\ncomponents: {app: {image: x}}",
        b"name: shop\ngroups: {}",
        b"name: shop\nreplicas: 2\ngroups: {web: {components: {app: {image: x}}}}",
        b"name: shop\nreplicas: 0\ncomponents: {app: {image: x}}",
        b"name: shop\ncomponents: {app: {}}",
        b"name: shop\ncomponents: {App: {image: x}}",
        b"name: shop\ncomponents: {app: {imag: x}}",
        b"name: shop\ncomponents: {app: {image: x, cpu: 99}}",
        b"name: shop\ncomponents: {app: {image: x, memory: lots}}",
        b"name: shop\ncomponents: {app: {image: x, ports: {http: {protocol: http}}}}",
        b"name: shop\ncomponents: {app: {image: x, ports: {http: 70000}}}",
        b"name: shop\ncomponents: {app: {image: x, env: {1B: c}}}",
        b"name: shop\ncomponents: {app: {image: x, files: {relative: ./x}}}",
        b"name: shop\ncomponents: {app: {image: x, stop: {signal: STOP}}}",
        b"name: shop\nplace: {nodes: {perhaps: []}}\ncomponents: {app: {image: x}}",
        b"spec: fluxcloud/2\nname: shop\ncomponents: {app: {image: x}}",
        b"[]",
    ],
)
def test_what_does_not_fit(text: bytes) -> None:
    assert not is_valid(load_yaml(text), SCHEMA, SCHEMA)


@pytest.mark.parametrize(
    "text",
    [
        b"image: x, health: none",
        b"image: x, health: false",
        b"image: x, health: {http: /, every: 5s}",
        b"image: x, stop: {signal: SIGTERM}",
        b"image: x, command: serve",
        b"image: x, memory: 1.5 GiB, cpu: 500m",
        b"image: x, restart: {backoff: 2s..1m30s}",
        b"image: x, start_after: {other: healthy}",
        b"image: x, ports: {http: {port: 80, sticky: on, tls: edge}}",
        b"image: x, files: {/a: ./a, /b: {content: x}, /c: {base64: eA==}}",
    ],
)
def test_what_fits(text: bytes) -> None:
    assert is_valid(load_yaml(b"name: shop\ncomponents: {app: {" + text + b"}}"), SCHEMA, SCHEMA)
