"""Checking a compose file by the table of keys: unknown keys, keys that are refused, keys that mean nothing here."""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

from .keys import RULES, Rule
from .report import Report

EXTENSION = "x-fluxcloud"
_SAID_ONCE = "services.*.build."  # whoever reads `build` says that nothing of it is done


def _collect_children() -> Mapping[str, tuple[str, ...]]:
    """What may stand below each path: names, `*` or `[]`."""
    children: defaultdict[str, dict[str, None]] = defaultdict(dict)
    for path in RULES:
        parts = path.replace("[]", ".[]").split(".")
        for length in range(len(parts)):
            children[_join(parts[:length])][parts[length]] = None
    return {path: tuple(names) for path, names in children.items()}


def _join(parts: list[str]) -> str:
    return ".".join(parts).replace(".[]", "[]")


_CHILDREN = _collect_children()


def check_keys(data: dict[str, Any], report: Report) -> None:
    """Walk the data beside the table. Problems for unknown and refused keys, notes for what is left out."""
    _check_mapping(data, "", "", report)


def _check_mapping(data: dict[str, Any], pattern: str, path: str, report: Report) -> None:
    allowed = _CHILDREN[pattern]
    for key, value in data.items():
        here = f"{path}.{key}" if path else key
        if "*" in allowed:
            _check_value(value, f"{pattern}.*", here, report)
            continue
        if key.startswith("x-"):
            continue
        if key not in allowed:
            report.wrong(here, _explain_unknown(key, allowed))
            continue
        rule_path = f"{pattern}.{key}" if pattern else key
        rule = RULES[rule_path]
        if rule.kind == "supported":
            _check_value(value, rule_path, here, report)
        else:
            _apply(rule, value, here, report)


def _check_value(value: Any, pattern: str, path: str, report: Report) -> None:
    """Go down where the table does; a short form (a text for a mapping) is a leaf."""
    allowed = _CHILDREN.get(pattern, ())
    if isinstance(value, dict) and allowed and allowed != ("[]",):
        _check_mapping(value, pattern, path, report)
    elif isinstance(value, list) and "[]" in allowed:
        for number, item in enumerate(value):
            if isinstance(item, dict):
                _check_mapping(item, f"{pattern}[]", f"{path}[{number}]", report)


def _apply(rule: Rule, value: Any, path: str, report: Report) -> None:
    if value is None:
        return
    if rule.kind == "ignored":
        if rule.path.startswith(_SAID_ONCE):
            return
        report.note("dropped" if rule.loses else "ignored", path, f"instead: {rule.words}")
    elif not _is_harmless(rule, value):
        report.wrong(path, f"is not possible: {rule.words}")


def _is_harmless(rule: Rule, value: Any) -> bool:
    items = value if isinstance(value, list) else [value]
    return all(
        not isinstance(item, dict) and any(fnmatchcase(_fold(item), _fold(pattern)) for pattern in rule.harmless)
        for item in items
    )


def _fold(value: object) -> str:
    return str(value).strip().lower().removeprefix("cap_")


def _explain_unknown(key: str, allowed: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(key, allowed, 1)
    if near:
        return f"unknown key; did you mean {near[0]!r}?"
    return f"unknown key; allowed: {', '.join(allowed)} and x-…"
