"""Interpolation: `$NAME`, `${NAME}`, `${NAME:-default}`, `${NAME:?message}`, `${NAME:+instead}`, `$$`, as in compose.

With `:` an empty value counts as none. What stands for a value may itself hold variables. Sizes are bounded: a small
file must not grow into a large one.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..yaml_data import Tagged
from .report import Report

TEXT_MAX = 64 * 1024
TOTAL_MAX = 1024 * 1024
DEPTH_MAX = 16
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OPERATOR = re.compile(r":?[-?+]")

Lookup = Callable[[str], str | None]


@dataclass(frozen=True, slots=True)
class Expander:
    """Replaces variables. `unset` is told each name that has no value and no default."""

    lookup: Lookup
    unset: Callable[[str], None] = lambda _name: None

    def expand(self, text: str, depth: int = 0) -> str:
        """Raises ValueError: what is wrong, or the message of a variable that must be set."""
        if "$" not in text:
            return text
        if depth > DEPTH_MAX:
            raise ValueError(f"variables are nested deeper than {DEPTH_MAX} levels")
        parts: list[str] = []
        size = position = 0
        while position < len(text):
            dollar = text.find("$", position)
            end = len(text) if dollar < 0 else dollar
            part, position = text[position:end], end
            if dollar >= 0:
                value, position = self._read(text, dollar, depth)
                part += value
            size += len(part)
            if size > TEXT_MAX:
                raise ValueError(f"longer than {TEXT_MAX} characters once its variables are replaced")
            parts.append(part)
        return "".join(parts)

    def _read(self, text: str, dollar: int, depth: int) -> tuple[str, int]:
        """The value of what begins at this dollar sign, and where the text goes on."""
        if text.startswith("$$", dollar):
            return "$", dollar + 2
        if text.startswith("${", dollar):
            end = _find_end(text, dollar + 2)
            return self._evaluate(text[dollar + 2 : end], depth), end + 1
        name = _NAME.match(text, dollar + 1)
        if name is None:
            raise ValueError(f"a '$' that begins no variable in {_shorten(text)}; write $$ for a dollar sign")
        return self._get(name[0]), name.end()

    def _evaluate(self, inner: str, depth: int) -> str:
        """`NAME`, or `NAME`, an operator and a text."""
        name = _NAME.match(inner)
        if name is None:
            raise ValueError(f"no variable in ${{{_shorten(inner)}}}; write $$ for a dollar sign")
        if name.end() == len(inner):
            return self._get(name[0])
        operator = _OPERATOR.match(inner, name.end())
        if operator is None:
            raise ValueError(f"${{{_shorten(inner)}}} is not understood; allowed after a name: :- - :? ? :+ +")
        value, rest = self.lookup(name[0]), inner[operator.end() :]
        is_given = bool(value) if ":" in operator[0] else value is not None
        if operator[0].endswith("+"):
            return self.expand(rest, depth + 1) if is_given else ""
        if is_given:
            return value or ""
        if operator[0].endswith("?"):
            raise ValueError(f"{name[0]} must be set: {self.expand(rest, depth + 1) or 'it has no value'}")
        return self.expand(rest, depth + 1)

    def _get(self, name: str) -> str:
        value = self.lookup(name)
        if value is None:
            self.unset(name)
        return value or ""


def _find_end(text: str, start: int) -> int:
    """Where the brace closes that was opened before `start`."""
    depth, position = 1, start
    while position < len(text):
        if text.startswith("$$", position):
            position += 2
            continue
        if text.startswith("${", position):
            depth += 1
            position += 2
            continue
        if text[position] == "}":
            depth -= 1
            if depth == 0:
                return position
        position += 1
    raise ValueError(f"a brace is not closed in {_shorten(text)}")


def interpolate(data: Any, lookup: Lookup, report: Report) -> Any:
    """Plain data with the variables of all its texts replaced; keys stay as they are. Problems go to the report."""
    room = TOTAL_MAX

    def unset(name: str) -> None:
        report.note("changed", "environment", f"{name} is not set: an empty text stands for it")

    expander = Expander(lookup, unset)

    def walk(value: Any, path: str) -> Any:
        nonlocal room
        if isinstance(value, str):
            try:
                text = expander.expand(value)
            except ValueError as error:
                report.wrong(path, str(error))
                return value
            room -= len(text)
            if room < 0:
                report.wrong("", f"more than {TOTAL_MAX} characters once variables are replaced")
                return ""
            return text
        if isinstance(value, dict):
            return {key: walk(item, f"{path}.{key}" if path else key) for key, item in value.items()}
        if isinstance(value, list):
            return [walk(item, f"{path}[{number}]") for number, item in enumerate(value)]
        if isinstance(value, Tagged):
            return Tagged(value.tag, walk(value.value, path))
        return value

    return walk(data, "")


def _shorten(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "...")
