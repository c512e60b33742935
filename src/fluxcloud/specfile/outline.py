"""A `fluxcloud.yaml` for people to begin with: what the spec says, then as comments what else it could say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..codec import Record
from ..ledger.apps.spec import Component, Group, Spec
from .keys import NAME_OF, Key, list_keys
from .render import render_plain, render_yaml

_WIDTH = 23


def render_outline(spec: Spec, *, head: str, sources: Mapping[str, str] | None = None) -> str:
    """The file with a comment above, and below it the keys that it does not use, with their defaults and words.

    Files of `sources` (path in the container -> file of the folder) are named instead of written out.
    """
    data = render_plain(spec)
    components: dict[str, dict[str, Any]] = data["components"]
    for component in components.values():
        files: dict[str, Any] = component.get("files", {})
        files.update({target: source for target, source in (sources or {}).items() if target in files})
    used = {key for component in components.values() for key in component}
    comment = "".join(f"# {line}\n" for line in head.splitlines())
    beside = [*_list_unused(Spec, {"groups", *data}), *_list_unused(Group, set(data))]
    return (
        f"{comment}{render_yaml(data)}\n"
        "# What else may be said, and what holds where it is not. For the app, beside `components`:\n"
        f"{_render_comments(beside)}"
        "# For a component, beside `image`:\n"
        f"{_render_comments(_list_unused(Component, used))}"
    )


def _list_unused(record: type[Record], used: set[str]) -> list[Key]:
    return [key for key in list_keys(record) if key.name not in used]


def _render_comments(keys: list[Key]) -> str:
    return "".join(f"#   {_render_default(key):<{_WIDTH}} {key.words}\n" for key in keys)


def _render_default(key: Key) -> str:
    """`replicas: 3`; a table is shown by the names of its keys."""
    if key.form is None:
        inner = [] if key.of is None or key.of in NAME_OF else [inner.name for inner in list_keys(key.of)]
        return f"{key.name}: {{{', '.join(dict.fromkeys(name.split('.')[0] for name in inner))}}}"
    value = key.form.render(key.defaults[0] if len(key.defaults) == 1 else key.defaults)
    return render_yaml({key.name: value}).strip()
