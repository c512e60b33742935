"""JSON Schema (2020-12) of `fluxcloud.yaml`, for editors and other tools: made of the reader's own table of keys.

What concerns several fields at once (start order, clashing ports) is in no schema: `fluxcloud spec validate` tells.
"""

from __future__ import annotations

from typing import Any

from ..codec import Record
from ..ledger.apps.spec import Group, Spec
from ..ledger.apps.text import SHAPES
from .forms import FILE_SCHEMA, Schema
from .keys import NAME_OF, SHORT, Key, list_keys

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def build_schema() -> Schema:
    """The schema of the whole file."""
    definitions: dict[str, Schema] = {}
    root = _build_table(Spec, definitions)
    root["properties"] |= _build_table(Group, definitions)["properties"]
    root["required"] = ["name"]
    root["oneOf"] = [
        {"required": ["groups"], "properties": dict.fromkeys(_list_names(Group), False)},
        {"required": ["components"], "not": {"required": ["groups"]}},
    ]
    return {"$schema": DIALECT, "title": "fluxcloud.yaml", **root, "$defs": dict(sorted(definitions.items()))}


def _build_table(record: type[Record], definitions: dict[str, Schema]) -> Schema:
    """An object with the record's keys; the tables below it become definitions."""
    schema: Schema = {"type": "object", "additionalProperties": False, "properties": {}}
    required = [key.name for key in list_keys(record) if key.is_required]
    if required:
        schema["required"] = required
    for key in list_keys(record):
        _put(schema["properties"], key.name, _build_key(key, definitions))
    return schema


def _build_key(key: Key, definitions: dict[str, Schema]) -> Schema:
    schema: Schema = {"description": key.words}
    if key.form is not None:
        schema |= key.form.schema
    elif key.of is None:
        assert key.bound is not None, key
        schema |= _build_map(key, SHAPES[key.bound.shape][1], FILE_SCHEMA)
    elif key.of in NAME_OF:
        schema |= _build_map(key, SHAPES["name"][1], _refer(key.of, definitions))
    else:
        schema |= _refer(key.of, definitions)
    return schema | _build_default(key)


def _build_map(key: Key, names: str, values: Schema) -> Schema:
    assert key.bound is not None, key
    return {
        "type": "object",
        "minProperties": key.bound.low,
        "maxProperties": key.bound.high,
        "propertyNames": {"pattern": names},
        "additionalProperties": values,
    }


def _refer(record: type[Record], definitions: dict[str, Schema]) -> Schema:
    name = record.__name__
    if name not in definitions:
        definitions[name] = {}  # reserved: records could refer to each other
        definitions[name] = _build_table(record, definitions)
        if record in SHORT:
            short = next(key for key in list_keys(record) if key.name == SHORT[record])
            assert short.form is not None, short
            definitions[name] = {"anyOf": [short.form.schema, definitions[name]]}
    return {"$ref": f"#/$defs/{name}"}


def _build_default(key: Key) -> Schema:
    """The default as the file would say it, where it is a plain value."""
    if key.is_required or not key.attrs or key.form is None:
        return {}
    values = key.defaults
    value = key.form.render(values if len(values) > 1 else values[0])
    return {"default": value} if isinstance(value, bool | int | float | str | list | dict) else {}


def _put(properties: dict[str, Any], name: str, schema: Schema) -> None:
    first, _, rest = name.partition(".")
    if not rest:
        properties[first] = schema
        return
    parent = properties.setdefault(first, {"type": "object", "additionalProperties": False, "properties": {}})
    _put(parent["properties"], rest, schema)


def _list_names(record: type[Record]) -> list[str]:
    return list(dict.fromkeys(key.name.split(".")[0] for key in list_keys(record)))
