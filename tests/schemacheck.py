"""As much of JSON Schema as our schema uses, to check examples with. A keyword that it does not know fails."""

from __future__ import annotations

import re
from typing import Any

_TYPES: dict[str, Any] = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int}
_WORDS = frozenset(("title", "description", "default", "$schema", "$defs"))


def is_valid(value: Any, schema: Any, root: dict[str, Any]) -> bool:
    if isinstance(schema, bool):
        return schema
    return all(_check(keyword, rule, value, schema, root) for keyword, rule in schema.items() if keyword not in _WORDS)


def _check(keyword: str, rule: Any, value: Any, schema: dict[str, Any], root: dict[str, Any]) -> bool:
    match keyword:
        case "$ref":
            return is_valid(value, root["$defs"][rule.removeprefix("#/$defs/")], root)
        case "type":
            return any(_has_type(value, name) for name in ([rule] if isinstance(rule, str) else rule))
        case "enum":
            return any(value == item and type(value) is type(item) for item in rule)
        case "const":
            return bool(value == rule)
        case "anyOf":
            return any(is_valid(value, one, root) for one in rule)
        case "oneOf":
            return sum(is_valid(value, one, root) for one in rule) == 1
        case "not":
            return not is_valid(value, rule, root)
    if isinstance(value, dict):
        return _check_object(keyword, rule, value, schema, root)
    if isinstance(value, list):
        return _check_array(keyword, rule, value, root)
    if isinstance(value, str):
        return _check_text(keyword, rule, value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return (
            bool({"minimum": value >= rule, "maximum": value <= rule}[keyword])
            if keyword in ("minimum", "maximum")
            else True
        )
    return True


def _has_type(value: Any, name: str) -> bool:
    if name == "number":
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, _TYPES[name]) and (name == "boolean" or not isinstance(value, bool))


def _check_object(keyword: str, rule: Any, value: dict[str, Any], schema: dict[str, Any], root: dict[str, Any]) -> bool:
    match keyword:
        case "properties":
            return all(is_valid(value[key], inner, root) for key, inner in rule.items() if key in value)
        case "additionalProperties":
            return all(
                is_valid(item, rule, root) for key, item in value.items() if key not in schema.get("properties", {})
            )
        case "propertyNames":
            return all(is_valid(key, rule, root) for key in value)
        case "required":
            return all(key in value for key in rule)
        case "minProperties":
            return len(value) >= int(rule)
        case "maxProperties":
            return len(value) <= int(rule)
    return _is_of_other_type(keyword)


def _check_array(keyword: str, rule: Any, value: list[Any], root: dict[str, Any]) -> bool:
    match keyword:
        case "items":
            return all(is_valid(item, rule, root) for item in value)
        case "minItems":
            return len(value) >= int(rule)
        case "maxItems":
            return len(value) <= int(rule)
        case "uniqueItems":
            return len(set(map(repr, value))) == len(value)
    return _is_of_other_type(keyword)


def _check_text(keyword: str, rule: Any, value: str) -> bool:
    match keyword:
        case "pattern":
            return re.search(rule, value) is not None
        case "minLength":
            return len(value) >= int(rule)
        case "maxLength":
            return len(value) <= int(rule)
    return _is_of_other_type(keyword)


def _is_of_other_type(keyword: str) -> bool:
    assert keyword in (
        *("properties", "additionalProperties", "propertyNames", "required", "minProperties", "maxProperties", "items"),
        *("minItems", "maxItems", "uniqueItems", "pattern", "minLength", "maxLength", "minimum", "maximum"),
    ), keyword
    return True
