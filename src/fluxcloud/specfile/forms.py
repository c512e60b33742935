"""Forms: how each kind of value stands in `fluxcloud.yaml`: reading it, writing it, and describing it in JSON Schema.

Parsers take plain data and raise ValueError that says what is allowed; renderers give the plain data that reads as the
same value. Bounds are in the schemas; the reader leaves them to `validate_spec`.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..errors import Rejected
from ..ids import NodeId, parse_node, render_node
from ..ledger.apps.bounds import Bound, render_allowed
from ..ledger.apps.text import SHAPES
from .words import parse_mcpu, parse_mib, parse_seconds, render_mib, render_seconds

OMIT: Any = object()
"""What a renderer gives where nothing is to be written."""

Schema = dict[str, Any]
_SCALAR_TYPES = ["string", "number", "boolean"]
_SIZE = r"^[0-9]+(\.[0-9]+)? ?([KMGTkmgt][Ii]?[Bb]?|[Bb])?$"
_DURATION = r"^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?$"
_CPUS = r"^[0-9]+(\.[0-9]+)?m?$"


@dataclass(frozen=True, slots=True)
class Form:
    """`parse` reads plain data or raises ValueError; `render` is its inverse; `schema` describes what is read."""

    parse: Callable[[Any], Any]
    render: Callable[[Any], Any]
    schema: Schema


def make_form(bound: Bound) -> Form:
    """The usual form of a field's kind. Tables (`record`, `records`) and files have none: the reader walks them."""
    match bound.kind:
        case "int":
            return Form(parse_whole, _same, {"type": "integer", "minimum": bound.low, "maximum": bound.high})
        case "cpu":
            limits = {"minimum": bound.low / 1000, "maximum": bound.high / 1000, "pattern": _CPUS}
            return Form(parse_mcpu, _render_cpu, {"type": ["number", "string"], **limits})
        case "memory":
            return Form(parse_mib, render_mib, {"type": ["string", "integer"], "pattern": _SIZE})
        case "seconds":
            return Form(parse_seconds, render_seconds, {"type": ["string", "integer"], "pattern": _DURATION})
        case "bool":
            return Form(parse_flag, _same, {"type": "boolean"})
        case "choice":
            return Form(make_choice(*bound.choices), _same, {"enum": list(bound.choices)})
        case "text":
            return Form(parse_text, _same, _text_schema(bound, bound.shape, bound.high))
        case "texts":
            return Form(parse_texts, list, _list_schema(bound))
        case "ids":
            return Form(parse_node_ids, _render_ids, {**_list_schema(bound), "items": {"type": "string"}})
        case _:
            assert bound.kind == "pairs", bound.kind
            return Form(parse_pairs, dict, _pairs_schema(bound))


def _same(value: Any) -> Any:
    return value


# --- special forms --------------------------------------------------------------------------------------------------


def make_words_form(bound: Bound) -> Form:
    """A list of words, or one text that a shell runs."""
    schema = _list_schema(bound)
    return Form(parse_words, list, {"anyOf": [schema, {"type": "string", "minLength": 1}]})


def make_switch_form() -> Form:
    return Form(parse_switch, _same, {"enum": [True, False, "on", "off"]})


def make_named_form(names: dict[str, Any]) -> Form:
    """Values that have names in the file; the first name of a value is the one that is written."""
    back = {value: name for name, value in reversed(names.items())}
    choose = make_choice(*names)
    return Form(lambda value: names[choose(value)], lambda value: back[value], {"enum": list(names)})


def make_signal_form(bound: Bound) -> Form:
    choose = make_choice(*bound.choices)
    pattern = rf"^([Ss][Ii][Gg])?({'|'.join(bound.choices)}|{'|'.join(bound.choices).lower()})$"
    return Form(
        lambda value: choose(parse_text(value).upper().removeprefix("SIG")),
        _same,
        {"type": "string", "pattern": pattern},
    )


def make_range_form() -> Form:
    """`1s..5m`: two durations."""
    pattern = rf"{_DURATION[:-1]}\.\.{_DURATION[1:]}"
    return Form(parse_range, _render_range, {"type": "string", "pattern": pattern})


FILE_SCHEMA: Schema = {
    "anyOf": [
        {"type": "string", "description": "A file below the app's folder."},
        {
            "type": "object",
            "additionalProperties": False,
            "required": ["content"],
            "properties": {"content": {"type": "string"}},
        },
        {
            "type": "object",
            "additionalProperties": False,
            "required": ["base64"],
            "properties": {"base64": {"type": "string"}},
        },
    ]
}


def parse_inline_file(value: dict[str, Any]) -> bytes:
    """`{content: text}` or `{base64: ...}`."""
    if list(value) == ["content"]:
        return parse_text(value["content"]).encode()
    if list(value) == ["base64"]:
        try:
            return base64.b64decode(parse_text(value["base64"]), validate=True)
        except ValueError as error:
            raise ValueError(f"base64: {error}") from None
    raise ValueError("must be the path of a file, {content: text} or {base64: text}")


def render_inline_file(content: bytes) -> dict[str, str]:
    try:
        return {"content": content.decode("utf-8")}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(content).decode("ascii")}


# --- parsers --------------------------------------------------------------------------------------------------------


def parse_text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} must be text")
    return value


def parse_whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"{value!r} is no whole number")
    return value


def parse_flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{value!r} is neither true nor false")
    return value


def parse_switch(value: Any) -> bool:
    if value in ("on", "off"):
        return bool(value == "on")
    return parse_flag(value)


def make_choice(*allowed: Any) -> Callable[[Any], Any]:
    def parse(value: Any) -> Any:
        if not isinstance(value, str) or value not in allowed:
            raise ValueError(f"{value!r} is not one of {', '.join(map(str, allowed))}")
        return value

    return parse


def parse_texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError("must be a list of texts")
    return tuple(value)


def parse_words(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        return ("/bin/sh", "-c", value)
    return parse_texts(value)


def parse_pairs(value: Any) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, dict):
        raise ValueError("must be a mapping from names to texts")
    return tuple(sorted((name, render_scalar(content)) for name, content in value.items()))


def render_scalar(value: Any) -> str:
    """The text that a bare number or boolean of the file stands for."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str | int | float):
        raise ValueError(f"{value!r} must be text or a number")
    return str(value)


def parse_range(value: Any) -> tuple[int, int]:
    low, dots, high = parse_text(value).partition("..")
    if not dots:
        raise ValueError("write a range, for example 1s..5m")
    return parse_seconds(low), parse_seconds(high)


def parse_node_ids(value: Any) -> tuple[bytes, ...]:
    try:
        return tuple(parse_node(text) for text in parse_texts(value))
    except Rejected as error:
        raise ValueError(error.message) from None


# --- renderers ------------------------------------------------------------------------------------------------------


def _render_cpu(mcpu: int) -> int | float:
    return mcpu // 1000 if mcpu % 1000 == 0 else mcpu / 1000


def _render_ids(ids: tuple[bytes, ...]) -> list[str]:
    return [render_node(NodeId(node)) for node in ids]


def _render_range(limits: tuple[int, int]) -> str:
    return f"{render_seconds(limits[0])}..{render_seconds(limits[1])}"


# --- schemas --------------------------------------------------------------------------------------------------------


def _text_schema(bound: Bound, shape: str, high: int) -> Schema:
    return {"type": "string", "minLength": bound.low, "maxLength": high, "pattern": SHAPES[shape][1]}


def _list_schema(bound: Bound) -> Schema:
    items: Schema = {"enum": list(bound.choices)} if bound.choices else {"type": "string", "maxLength": bound.item_high}
    if not bound.choices:
        items["pattern"] = SHAPES[bound.shape][1]
    schema: Schema = {"type": "array", "minItems": bound.low, "maxItems": bound.high, "items": items}
    return schema | ({"uniqueItems": True} if bound.choices or bound.kind == "ids" else {})


def _pairs_schema(bound: Bound) -> Schema:
    values = {"type": _SCALAR_TYPES, "maxLength": bound.item_high, "pattern": SHAPES[bound.value_shape][1]}
    return {
        "type": "object",
        "minProperties": bound.low,
        "maxProperties": bound.high,
        "propertyNames": {"pattern": SHAPES[bound.shape][1]},
        "additionalProperties": values,
    }


def describe(bound: Bound) -> str:
    """A field's words with what is allowed, for people."""
    if bound.kind in ("bool", "record", "records", "files"):
        return bound.words
    return f"{bound.words} Allowed: {render_allowed(bound)}."
