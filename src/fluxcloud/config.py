"""Configuration files: TOML into one frozen value, each wrong key named.

Every daemon declares its configuration as nested `Section` structs and reads it once, in its main.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, TypeVar, dataclass_transform

import msgspec

from .errors import ConfigError

T = TypeVar("T")


@dataclass_transform(frozen_default=True)
class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table of the file: unknown keys are refused."""


def load_config(path: Path, kind: type[T]) -> T:
    """Raises ConfigError naming the file, or the key in it."""
    try:
        return parse_config(tomllib.loads(path.read_text(encoding="utf-8")), kind)
    except OSError as error:
        raise ConfigError(str(path), f"can't be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), f"is not TOML: {error}") from error


def parse_config(values: dict[str, Any], kind: type[T]) -> T:
    """Raises ConfigError naming the key and what is allowed."""
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        problem, _, place = str(error).partition(" - at `$")
        named = re.search(r"field `([a-z_]+)`", problem)
        key = ".".join(filter(None, (place.strip("`."), named.group(1) if named else "")))
        raise ConfigError(key or "configuration", problem) from error


def render_toml(values: dict[str, Any]) -> str:
    """Text, numbers, booleans, lists of text, and one level of tables, as TOML."""
    plain = {key: value for key, value in values.items() if not isinstance(value, dict)}
    tables = {key: value for key, value in values.items() if isinstance(value, dict)}
    lines = [f"{key} = {_render(value)}\n" for key, value in plain.items()]
    for name, table in tables.items():
        lines += [f"\n[{name}]\n", *(f"{key} = {_render(value)}\n" for key, value in table.items())]
    return "".join(lines)


def _render(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_render(item) for item in value) + "]"
    escaped = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
