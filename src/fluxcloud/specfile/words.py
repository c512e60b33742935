"""How people write quantities: `0.5` CPUs, `512MiB`, `30s`. Each reader returns an integer or says what is allowed."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation

_BYTES = re.compile(r"^([0-9]+(?:\.[0-9]+)?)\s*([KMGT]i?B?|B)?$", re.IGNORECASE)
_FACTORS = {"": 1, "B": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_DURATION = re.compile(r"^(?:([0-9]+)d)?(?:([0-9]+)h)?(?:([0-9]+)m)?(?:([0-9]+)s)?$")


def parse_mcpu(value: object) -> int:
    """`0.5`, `"0.5"` or `500m` -> 500 millicores. Raises ValueError."""
    text = str(value).strip()
    try:
        mcpu = Decimal(text[:-1]) if text.endswith("m") else Decimal(text) * 1000
    except InvalidOperation:
        raise ValueError(f"{text!r} is no number of CPUs; write for example 0.5") from None
    if not mcpu.is_finite() or mcpu != mcpu.to_integral_value():
        raise ValueError(f"{text!r} is finer than a thousandth of a CPU")
    return int(mcpu)


def parse_mib(value: object) -> int:
    """`512MiB`, `512M`, `2GiB`, `2g` -> MiB (binary units throughout); a bare number is bytes. Raises ValueError."""
    text = str(value).strip()
    match = _BYTES.match(text)
    if isinstance(value, bool) or not match:
        raise ValueError(f"{text!r} is no size; write for example 512MiB or 2GiB")
    size = Decimal(match[1]) * _FACTORS[(match[2] or "").upper()[:1]]
    mib, rest = divmod(size, 2**20)
    if rest:
        raise ValueError(f"{text!r} is no whole number of MiB")
    return int(mib)


def parse_seconds(value: object) -> int:
    """`30s`, `5m`, `1h30m`, `30d`, or a bare number of seconds. Raises ValueError."""
    text = str(value).strip()
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    match = _DURATION.match(text)
    if not text or not match:
        raise ValueError(f"{text!r} is no duration; write for example 30s, 5m or 1h30m")
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def render_mcpu(mcpu: int) -> str:
    return f"{Decimal(mcpu) / 1000:f}"


def render_mib(mib: int) -> str:
    return f"{mib // 1024}GiB" if mib >= 1024 and mib % 1024 == 0 else f"{mib}MiB"


def render_seconds(seconds: int) -> str:
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds and seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
