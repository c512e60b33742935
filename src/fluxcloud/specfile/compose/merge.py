"""Merging one part of a compose file over another: for override files, `extends` and several files of an `include`.

Mappings merge, single values are replaced, lists are appended without repeating; where an entry has two forms (list or
mapping, text or mapping) both become the longer one first. Mounts with the same target replace each other. Tags stay
until everything is merged: what is extended is merged after what overrides.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..yaml_data import Tagged

_REPLACED = ("command", "entrypoint", "test")
_PAIRS = ("environment", "labels", "args", "sysctls", "annotations", "extra_hosts", "additional_contexts")
_NAMED = ("depends_on", "networks")
_KEYED: dict[str, Callable[[Any], Any]] = {
    "volumes": lambda item: get_mount_target(item),
    "configs": lambda item: item.get("target", item.get("source")) if isinstance(item, dict) else item,
    "secrets": lambda item: item.get("target", item.get("source")) if isinstance(item, dict) else item,
}


def merge(base: Any, over: Any, key: str = "") -> Any:
    """`base` as `over` changes it. `key` is the name under which both stand."""
    if isinstance(over, Tagged):
        return strip_tags(over)
    base = strip_tags(base) if isinstance(base, Tagged) else base
    if base is None or over is None:
        return base if over is None else over
    if key in _PAIRS:
        base, over = as_mapping(base), as_mapping(over)
    elif key in _NAMED:
        base, over = as_named(base), as_named(over)
    elif key in ("build", "extends") and isinstance(base, dict) != isinstance(over, dict):
        field = "context" if key == "build" else "service"
        base, over = ({field: part} if isinstance(part, str) else part for part in (base, over))
    if isinstance(base, dict) and isinstance(over, dict):
        return _merge_mappings(base, over)
    if isinstance(base, list) and isinstance(over, list) and key not in _REPLACED:
        return _merge_lists(base, over, key)
    return over


def _merge_mappings(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for name, value in over.items():
        if isinstance(value, Tagged) and value.tag == "!reset":
            result.pop(name, None)
        else:
            result[name] = merge(base[name], value, name) if name in base else value
    return result


def _merge_lists(base: list[Any], over: list[Any], key: str) -> list[Any]:
    identify = _KEYED.get(key)
    if identify is not None:
        replaced = [identify(item) for item in over]
        return [item for item in base if identify(item) not in replaced] + over
    return base + [item for item in over if item not in base]


def strip_tags(data: Any) -> Any:
    """Data that overrides nothing: what `!reset` marks is gone, what `!override` marks is itself."""
    if isinstance(data, Tagged):
        return None if data.tag == "!reset" else strip_tags(data.value)
    if isinstance(data, dict):
        return {
            key: strip_tags(value)
            for key, value in data.items()
            if not (isinstance(value, Tagged) and value.tag == "!reset")
        }
    if isinstance(data, list):
        return [strip_tags(item) for item in data]
    return data


def as_mapping(value: Any) -> Any:
    """`[A=1, B]` -> `{A: "1", B: None}`; what is no list stays."""
    if not isinstance(value, list):
        return value
    pairs = (str(item).partition("=") for item in value)
    return {name: text if separator else None for name, separator, text in pairs}


def as_named(value: Any) -> Any:
    """`[a, b]` -> `{a: None, b: None}`; what is no list stays."""
    return {str(item): None for item in value} if isinstance(value, list) else value


def get_mount_target(item: Any) -> Any:
    """The path in the container of a short or long mount."""
    if isinstance(item, dict):
        return item.get("target")
    parts = str(item).split(":")
    return parts[1] if len(parts) > 1 else parts[0]
