"""`.env` files and `env_file`s: `NAME=value` lines as compose reads them.

`export` may stand before a name; `#` begins a comment where a word could begin; single quotes keep everything, double
quotes know the usual escapes; quoted values may go over several lines. A name without `=` takes its value from outside.
"""

from __future__ import annotations

import re
from pathlib import Path

from ..reader import read_file_inside
from .interpolate import Expander, Lookup

BYTES_MAX = 64 * 1024
LINES_MAX = 2_000
TOTAL_MAX = 1024 * 1024
_KEY = re.compile(r"(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_.-]*)[ \t]*(?:([=:])[ \t]*|(?=\r?\n|$)|(?=#))")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "$": "$$", "'": "'"}


def read_env_file(folder: Path, source: str, lookup: Lookup, *, raw: bool = False) -> dict[str, str]:
    """The variables of a file below the folder. Raises ValueError that names the file and the line."""
    content = read_file_inside(folder, source, bytes_max=BYTES_MAX)
    try:
        return parse_env(content.decode("utf-8-sig"), lookup, raw=raw)
    except UnicodeDecodeError as error:
        raise ValueError(f"{source}: not UTF-8 at byte {error.start}") from None
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from None


def parse_env(text: str, lookup: Lookup, *, raw: bool = False) -> dict[str, str]:
    """Variables may use earlier ones of the text; those from outside come first. Raises ValueError naming the line."""
    if text.count("\n") > LINES_MAX:
        raise ValueError(f"more than {LINES_MAX} lines")
    found: dict[str, str] = {}

    def look(name: str) -> str | None:
        outside = lookup(name)
        return found.get(name) if outside is None else outside

    position, room = 0, TOTAL_MAX
    while (position := _skip_blank(text, position)) < len(text):
        line = text.count("\n", 0, position) + 1
        try:
            name, value, position = _read_line(text, position, None if raw else Expander(look))
        except ValueError as error:
            raise ValueError(f"line {line}: {error}") from None
        if value is None:
            value = lookup(name)
        if value is not None:
            found[name] = value
            room -= len(value)
        if room < 0:
            raise ValueError(f"line {line}: more than {TOTAL_MAX} characters once variables are replaced")
    return found


def _skip_blank(text: str, position: int) -> int:
    """Where the next line begins that is neither empty nor a comment."""
    while position < len(text):
        if text[position] in " \t\r\n":
            position += 1
        elif text[position] == "#":
            position = _end_of_line(text, position)
        else:
            break
    return position


def _read_line(text: str, position: int, expander: Expander | None) -> tuple[str, str | None, int]:
    """Name, value and where to go on."""
    key = _KEY.match(text, position)
    if key is None:
        raise ValueError("expected NAME=value")
    if not key[2]:
        return key[1], None, _end_of_line(text, key.end())
    start = key.end()
    end = _end_of_line(text, start)
    if expander is None:
        return key[1], text[start:end].rstrip("\r"), end
    quote = text[start : start + 1]
    if quote == "'":
        close = text.find("'", start + 1)
        if close < 0:
            raise ValueError("a single quote is not closed")
        return key[1], text[start + 1 : close], _end_of_line(text, close)
    if quote == '"':
        value, close = _read_quoted(text, start + 1)
        return key[1], expander.expand(value), _end_of_line(text, close)
    value = re.split(r"(?:^|[ \t])#", text[start:end], maxsplit=1)[0]
    return key[1], expander.expand(value.strip()), end


def _read_quoted(text: str, position: int) -> tuple[str, int]:
    """The text up to the closing double quote, escapes replaced; a kept dollar sign is doubled for the expander."""
    parts: list[str] = []
    while position < len(text):
        char = text[position]
        if char == '"':
            return "".join(parts), position
        if char == "\\" and position + 1 < len(text):
            escaped = text[position + 1]
            parts.append(_ESCAPES.get(escaped, char + escaped))
            position += 2
            continue
        parts.append(char)
        position += 1
    raise ValueError("a double quote is not closed")


def _end_of_line(text: str, position: int) -> int:
    end = text.find("\n", position)
    return len(text) if end < 0 else end
