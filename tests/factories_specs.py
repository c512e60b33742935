"""Specs of every kind for property tests: each field by its bound, in the form in which a file gives it back."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import strategies as st

from fluxcloud.codec import Record
from fluxcloud.ledger.apps.bounds import Bound, get_bounds
from fluxcloud.ledger.apps.spec import Component, Group, Health, Port, Restart, Spec, StartAfter

_SHAPES = {
    "app-name": st.from_regex(r"[a-z][a-z0-9]{1,10}(-[a-z0-9]{1,5})?", fullmatch=True),
    "name": st.from_regex(r"[a-z][a-z0-9-]{0,9}", fullmatch=True),
    "variable": st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,9}", fullmatch=True),
    "label": st.from_regex(r"[a-z][a-z0-9_./-]{0,9}", fullmatch=True),
    "printable": st.text(st.characters(min_codepoint=32, exclude_characters="\x7f", codec="utf-8"), max_size=12),
    "word": st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=12),
    "text": st.one_of(
        st.sampled_from(
            [
                "yes",
                "no",
                "tRUE",
                "null",
                "~",
                "1e3",
                "010",
                "0x1f",
                "=",
                "<<",
                "- a",
                "a: b",
                "#",
                "a\nb\n",
                " x",
                "&a",
                "!t",
                "\x85",
                "a\u2028b",
                "\ufeff",
                "\r",
                "a\r\n",
            ]
        ),
        st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=12),
    ),
    "path": st.from_regex(r"(/[A-Za-z0-9_]{1,6}){1,3}", fullmatch=True),
    "url-path": st.from_regex(r"/[A-Za-z0-9_?=&:#]{0,9}", fullmatch=True),
    "place": st.sampled_from(["EU", "DE", "EU-DE", "DE-BY", "NO"]),
}
_IDENTITY = {Group: "name", Component: "name", Port: "name", StartAfter: "component"}


def make_value(bound: Bound) -> st.SearchStrategy[Any]:
    match bound.kind:
        case "int" | "cpu" | "memory" | "seconds":
            return st.integers(bound.low // bound.step, bound.high // bound.step).map(lambda n: n * bound.step)
        case "bool":
            return st.booleans()
        case "choice":
            return st.sampled_from(bound.choices)
        case "text":
            return _SHAPES[bound.shape]
        case "texts" if bound.choices:
            return st.lists(st.sampled_from(bound.choices), min_size=1, unique=True).map(tuple)
        case "texts":
            return st.lists(_SHAPES[bound.shape], max_size=3).map(tuple)
        case "ids":
            return st.lists(st.binary(min_size=20, max_size=20), max_size=2, unique=True).map(tuple)
        case "pairs":
            return st.dictionaries(_SHAPES[bound.shape], _SHAPES[bound.value_shape], max_size=3).map(_sort)
        case "files":
            content = st.one_of(
                st.binary(max_size=20), st.text(max_size=20).map(lambda text: text.encode("utf-8", "ignore"))
            )
            return st.dictionaries(_SHAPES["path"], content, max_size=2).map(_sort)
        case "record":
            assert bound.of is not None
            return make_record(bound.of)
        case _:
            assert bound.of is not None
            name = _IDENTITY[bound.of]
            items = st.lists(
                make_record(bound.of), min_size=bound.low, max_size=2, unique_by=lambda item: getattr(item, name)
            )
            return items.map(tuple)


def make_record(record: type[Record]) -> st.SearchStrategy[Any]:
    fields = {bound.attr: _or_default(bound, make_value(bound)) for bound in get_bounds(record)}
    return st.builds(record, **fields).map(_normalise)


def _or_default(bound: Bound, strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return strategy if bound.default is msgspec.NODEFAULT else st.one_of(st.just(bound.default), strategy)


def _sort(pairs: dict[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted(pairs.items()))


def _normalise(record: Any) -> Any:
    """What has no meaning is not written: the path of a probe that is not http."""
    if isinstance(record, Health) and record.kind != "http":
        return msgspec.structs.replace(record, path="")
    if isinstance(record, Restart):
        low, high = sorted((record.backoff_min_s, record.backoff_max_s))
        return msgspec.structs.replace(record, backoff_min_s=low, backoff_max_s=high)
    return record


SPECS: st.SearchStrategy[Spec] = make_record(Spec)
