"""Writing a `Spec` as `fluxcloud.yaml`: only what differs from the defaults, in the table's order.

What is written reads as the same spec again, but for what has no meaning: the order of env, labels and files, and the
path of a probe that is not http.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from ..codec import Record
from ..ledger.apps.spec import Group, Spec
from .forms import OMIT, render_inline_file
from .keys import DEFAULT_GROUP, FORMAT, NAME_OF, SHORT, Key, list_keys

_LINE = 100
_BREAKS = re.compile("[\r\x85\u2028\u2029\ufeff]")  # YAML ends a line at most of them, so they have to be escaped


class _Dumper(yaml.SafeDumper):
    """Blocks for tables, `|` for texts of several lines, quotes for all that would not read as text."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:
        return True


class _Short(dict[str, Any]):
    """A mapping that stands on one line."""


def _represent_text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    style = None
    if _BREAKS.search(text):
        style = '"'
    elif "\n" in text and not re.search(r"[^\x20-\x7e\n]|[ ]\n|^\s", text):
        style = "|"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _represent_short(dumper: _Dumper, mapping: _Short) -> yaml.MappingNode:
    return dumper.represent_mapping("tag:yaml.org,2002:map", mapping, flow_style=True)


def _represent_list(dumper: _Dumper, items: list[Any]) -> yaml.SequenceNode:
    return dumper.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=True)


_Dumper.add_representer(str, _represent_text)
_Dumper.add_representer(_Short, _represent_short)
_Dumper.add_representer(list, _represent_list)
# Our reader takes `tRUE` for a boolean, which YAML 1.1 does not: such texts need quotes, too.
_Dumper.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|false)$", re.IGNORECASE), list("tTfF"))


def render_spec(spec: Spec) -> str:
    """The text of a `fluxcloud.yaml` that reads as this spec."""
    return render_yaml(render_plain(spec))


def render_yaml(data: dict[str, Any]) -> str:
    """Plain data as YAML in the style of our files."""
    text: str = yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_LINE)
    return text


def render_plain(spec: Spec) -> dict[str, Any]:
    """The spec as plain data; an app of one group of the default name is written without `groups`."""
    data = _render_record(spec)
    if len(spec.groups) == 1 and spec.groups[0].name == DEFAULT_GROUP:
        del data["groups"]
        data |= _render_record(spec.groups[0])
    return {"spec": FORMAT, **data}


def _render_record(record: Record) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for key in list_keys(type(record)):
        values = tuple(getattr(record, attr) for attr in key.attrs)
        if not key.attrs or values == key.defaults:
            continue
        value = _render_value(key, values)
        if value is not OMIT:
            _put(data, key.name, value)
    return data


def _render_value(key: Key, values: tuple[Any, ...]) -> Any:
    if key.form is not None:
        return key.form.render(values if len(values) > 1 else values[0])
    value: Any = values[0]
    if key.of is None:
        return {path: render_inline_file(content) for path, content in value}
    if key.of in NAME_OF:
        return {getattr(item, NAME_OF[key.of]): _render_item(item) for item in value}
    return _render_item(value)


def _render_item(record: Record) -> Any:
    """A table, or the bare value that may stand for it."""
    kind, data = type(record), _render_record(record)
    short = SHORT.get(kind)
    if short and set(data) <= {short}:
        return data.get(short, getattr(record, short))
    return data if kind is Group or _is_deep(data) else _Short(data)


def _is_deep(data: dict[str, Any]) -> bool:
    return any(isinstance(value, dict) for value in data.values()) or len(data) > 6 or "image" in data


def _put(data: dict[str, Any], name: str, value: Any) -> None:
    first, _, rest = name.partition(".")
    if rest:
        _put(data.setdefault(first, {}), rest, value)
    else:
        data[first] = value
