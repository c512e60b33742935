"""Bech32m (BIP-350): how addresses and ids are shown, with a checksum that finds any four wrong characters.

Whole bytes only; segwit's witness version has no place here.
"""

from __future__ import annotations

_ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_VALUE_OF = {char: value for value, char in enumerate(_ALPHABET)}
_GENERATORS = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_CONSTANT = 0x2BC830A3
_CHECKSUM_CHARS = 6
_MAX_CHARS = 90


def encode_bech32m(prefix: str, payload: bytes) -> str:
    """`prefix` in lower case, then `1`, the payload five bits a character, and the checksum."""
    groups = _to_groups(payload)
    checksum = _compute_polymod([*_expand(prefix), *groups, *[0] * _CHECKSUM_CHARS]) ^ _CONSTANT
    groups += [checksum >> 5 * (5 - i) & 31 for i in range(_CHECKSUM_CHARS)]
    return f"{prefix}1{''.join(_ALPHABET[group] for group in groups)}"


def decode_bech32m(text: str) -> tuple[str, bytes]:
    """Prefix and payload. Raises ValueError, saying what is wrong."""
    prefix, groups = split_bech32m(text)
    return prefix, _to_bytes(groups)


def split_bech32m(text: str) -> tuple[str, list[int]]:
    """Prefix and five-bit groups without the checksum. Raises ValueError."""
    if len(text) > _MAX_CHARS or not all(33 <= ord(char) <= 126 for char in text):
        raise ValueError(f"it is longer than {_MAX_CHARS} characters or holds one that is not printable ASCII")
    if text != text.lower() and text != text.upper():
        raise ValueError("it mixes upper and lower case")
    prefix, separator, data = text.lower().rpartition("1")
    if not separator or not prefix or len(data) < _CHECKSUM_CHARS:
        raise ValueError("it has no prefix, or is too short for a checksum")
    if any(char not in _VALUE_OF for char in data):
        raise ValueError("it holds a character that bech32m has not")
    groups = [_VALUE_OF[char] for char in data]
    if _compute_polymod([*_expand(prefix), *groups]) != _CONSTANT:
        raise ValueError("its checksum is wrong (a mistyped character?)")
    return prefix, groups[:-_CHECKSUM_CHARS]


def _expand(prefix: str) -> list[int]:
    return [*(ord(char) >> 5 for char in prefix), 0, *(ord(char) & 31 for char in prefix)]


def _compute_polymod(groups: list[int]) -> int:
    checksum = 1
    for group in groups:
        top = checksum >> 25
        checksum = (checksum & 0x1FFFFFF) << 5 ^ group
        for bit, generator in enumerate(_GENERATORS):
            if top >> bit & 1:
                checksum ^= generator
    return checksum


def _to_groups(payload: bytes) -> list[int]:
    count = (len(payload) * 8 + 4) // 5
    number = int.from_bytes(payload) << (count * 5 - len(payload) * 8)
    return [number >> 5 * (count - 1 - i) & 31 for i in range(count)]


def _to_bytes(groups: list[int]) -> bytes:
    number = 0
    for group in groups:
        number = number << 5 | group
    size, spare_bits = divmod(len(groups) * 5, 8)
    # One text for each payload: no spare character, and the spare bits are zero.
    if spare_bits > 4 or number & ((1 << spare_bits) - 1):
        raise ValueError("its last character is not one that encoding writes")
    return (number >> spare_bits).to_bytes(size)
