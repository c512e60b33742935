"""YAML as plain data, safely: bounded in size and depth, no aliases that multiply, no key given twice, no objects.

Every scalar of a mapping key is text. Errors name line and column.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, cast

import yaml

from ..errors import Rejected

BYTES_MAX = 256 * 1024
NODES_MAX = 20_000
DEPTH_MAX = 32
_ODD_TAGS = tuple(f"tag:yaml.org,2002:{name}" for name in ("timestamp", "bool", "int", "value"))


class BadYaml(Rejected):
    """The file is not YAML that can be read safely."""

    CODE = "spec/1"


class _Loader(yaml.SafeLoader):
    """SafeLoader with a bound on depth and YAML 1.2's idea of booleans and numbers."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self.depth += 1
        if self.depth > DEPTH_MAX:
            raise BadYaml(f"nested deeper than {DEPTH_MAX} levels")
        try:
            node: yaml.Node | None = super().compose_node(parent, index)
            if isinstance(node, yaml.MappingNode):
                _check_keys(node)
            return node
        finally:
            self.depth -= 1


def _check_keys(node: yaml.MappingNode) -> None:
    """Keys are texts, each once. Asked before merge keys bring in those of others, which the mapping's own override."""
    seen: set[str] = set()
    for key_node, _ in node.value:
        if not isinstance(key_node, yaml.ScalarNode):
            raise BadYaml(f"{_where(key_node)}: a key must be text")
        if key_node.value in seen:
            raise BadYaml(f"{_where(key_node)}: key {key_node.value!r} is given twice")
        seen.add(key_node.value)


def _construct_mapping(loader: _Loader, node: yaml.MappingNode) -> dict[str, Any]:
    loader.flatten_mapping(node)
    return {str(key.value): loader.construct_object(value, deep=True) for key, value in node.value}


def _where(node: yaml.Node) -> str:
    return f"line {node.start_mark.line + 1}, column {node.start_mark.column + 1}"


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _construct_mapping)
# YAML 1.1 reads `on` as true, `1:30` as 90 and `010` as 8; nobody who writes an app's file means that.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _ODD_TAGS]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|false)$", re.IGNORECASE), list("tTfF"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^[-+]?(?:0|[1-9][0-9]*)$"), list("-+0123456789"))


@dataclass(frozen=True, slots=True)
class Tagged:
    """A value under `!reset` or `!override`: how an overriding compose file changes what it meets."""

    tag: str
    value: Any


class _MergeLoader(_Loader):
    """Knows the tags of files that override others."""


def _construct_tagged(loader: _Loader, node: yaml.Node) -> Tagged:
    """The value as it would be without the tag; a node of its own, for this one is being constructed."""
    kind, resolver = type(node), cast(Any, loader)
    implicit = (node.style is None, False) if isinstance(node, yaml.ScalarNode) else True
    plain = kind(resolver.resolve(kind, node.value, implicit), node.value, node.start_mark, node.end_mark)
    return Tagged(str(node.tag), loader.construct_object(plain, deep=True))


for _tag in ("!reset", "!override"):
    _MergeLoader.add_constructor(_tag, _construct_tagged)


def load_yaml(raw: bytes, *, merge_tags: bool = False) -> Any:
    """Plain data (dict, list, str, int, float, bool, None) of a YAML or JSON text; with `merge_tags` also Tagged.

    Raises BadYaml (spec/1).
    """
    if len(raw) > BYTES_MAX:
        raise BadYaml(f"{len(raw)} bytes; at most {BYTES_MAX} are read")
    try:
        loader = (_MergeLoader if merge_tags else _Loader)(raw.decode("utf-8"))
        try:
            data = loader.get_single_data()
        finally:
            loader.dispose()
        _refuse_bomb(data)
        return data
    except UnicodeDecodeError as error:
        raise BadYaml(f"not UTF-8 at byte {error.start}") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise BadYaml(f"{where}{error.problem or error}") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise BadYaml(str(error).split("\n")[0]) from error


def _refuse_bomb(data: Any) -> None:
    """Count every value as often as aliases repeat it: whoever prints or walks the data meets them all."""
    left, waiting = NODES_MAX, [data]
    while waiting:
        left -= 1
        if left < 0:
            raise BadYaml(f"more than {NODES_MAX} values, aliases counted each time they are used")
        value = waiting.pop()
        if isinstance(value, dict):
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, Tagged):
            waiting.append(value.value)
