"""The small languages of compose values: sizes, durations, numbers, commands, ranges of ports.

Each reader takes plain data and gives an integer or a tuple, or raises ValueError that says what is allowed.
"""

from __future__ import annotations

import math
import re
import shlex
from decimal import Decimal, InvalidOperation
from typing import Any

_SIZE = re.compile(r"^([0-9]+(?:\.[0-9]+)?)\s*([kmgt]?)(?:i?b)?$", re.IGNORECASE)
_FACTORS = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
_DURATION = re.compile(r"(?:([0-9]+(?:\.[0-9]+)?)(us|µs|ms|s|m|h|d|w))")
_UNITS = {"us": 10**-6, "µs": 10**-6, "ms": 10**-3, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def parse_memory(value: Any) -> int:
    """`512m`, `1.5gb`, or bytes -> MiB, rounded up; 0 where no limit is meant (`0`, `-1`)."""
    text = str(value).strip()
    if text == "-1":
        return 0
    match = None if isinstance(value, bool) else _SIZE.match(text)
    if match is None:
        raise ValueError(f"{text!r} is no size; write for example 512m or 2g")
    return math.ceil(Decimal(match[1]) * _FACTORS[match[2].lower()] / 2**20)


def parse_cpus(value: Any) -> int:
    """`0.25` -> 300 millicores: rounded up to tenths; 0 where no limit is meant."""
    try:
        cpus = Decimal(str(value).strip())
    except InvalidOperation:
        raise ValueError(f"{value!r} is no number of CPUs; write for example 0.5") from None
    if isinstance(value, bool) or not cpus.is_finite() or cpus < 0 or cpus > 10_000:
        raise ValueError(f"{value!r} is no number of CPUs; write for example 0.5")
    return math.ceil(cpus * 10) * 100


def parse_duration(value: Any) -> float:
    """`1m30s`, `500ms`, `10s`, or seconds -> seconds."""
    text = str(value).strip()
    if re.fullmatch(r"[0-9]{1,9}", text) and not isinstance(value, bool):
        return float(text)
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text or len(text) > 40:
        raise ValueError(f"{text!r} is no duration; write for example 30s or 1m30s")
    return float(sum(float(number) * _UNITS[unit] for number, unit in parts))


def parse_number(value: Any) -> int:
    text = str(value).strip()
    if isinstance(value, bool) or not re.fullmatch(r"-?[0-9]{1,9}", text):
        raise ValueError(f"{value!r} is no whole number")
    return int(text)


def parse_boolean(value: Any) -> bool:
    words = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
    word = words.get(str(value).strip().lower())
    if word is None:
        raise ValueError(f"{value!r} is neither true nor false")
    return word


def parse_command(value: Any) -> tuple[str, ...]:
    """A list as it is; a text split into words by a shell's rules, without running one."""
    if isinstance(value, str):
        try:
            return tuple(shlex.split(value))
        except ValueError as error:
            raise ValueError(f"{str(error).lower()} in {value!r}") from None
    if not isinstance(value, list) or not all(isinstance(item, str | int | float) for item in value):
        raise ValueError("must be a text or a list of texts")
    return tuple(render_scalar(item) for item in value)


def parse_texts(value: Any) -> tuple[str, ...]:
    """One text or a list of them."""
    items = value if isinstance(value, list) else [value]
    if not all(isinstance(item, str | int | float) and not isinstance(item, bool) for item in items):
        raise ValueError("must be a text or a list of texts")
    return tuple(str(item) for item in items)


def parse_pairs(value: Any) -> tuple[tuple[str, str | None], ...]:
    """A mapping, or a list of `NAME=text`; None where only the name is given."""
    if isinstance(value, list):
        parts = (text.partition("=") for text in parse_texts(value))
        return tuple((name, text if separator else None) for name, separator, text in parts)
    if not isinstance(value, dict):
        raise ValueError("must be a mapping, or a list of NAME=text")
    for name, content in value.items():
        if content is not None and not isinstance(content, str | int | float):
            raise ValueError(f"{name}: must be a text or a number")
    return tuple((name, None if content is None else render_scalar(content)) for name, content in value.items())


def parse_port_range(text: str) -> range:
    """`80` or `3000-3005`."""
    low, dash, high = text.partition("-")
    if not all(re.fullmatch(r"[0-9]{1,5}", part) for part in ((low, high) if dash else (low,))):
        raise ValueError(f"{text!r} is no port; allowed: 1..65535, or a range such as 3000-3005")
    ports = range(int(low), int(high if dash else low) + 1)
    if not ports or ports[0] < 1 or ports[-1] > 65_535:
        raise ValueError(f"{text!r}: allowed: 1..65535, the lower end first")
    return ports


def render_scalar(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
