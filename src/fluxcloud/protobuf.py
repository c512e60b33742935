"""The little of protobuf's encoding that CometBFT's hashes and signatures are taken over.

A field is its key, then its value; zero and empty are left out, as proto3 does, except where CometBFT's generated code
always writes a nested message (`message_field`).
"""

from __future__ import annotations

import struct

_VARINT, _FIXED64, _LENGTH = 0, 1, 2
_U64 = 2**64 - 1


def varint(value: int) -> bytes:
    """Seven bits a byte, lowest first; a negative number as its 64-bit two's complement, in ten bytes."""
    value &= _U64
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def int_field(number: int, value: int) -> bytes:
    return varint(number << 3 | _VARINT) + varint(value) if value else b""


def sfixed64_field(number: int, value: int) -> bytes:
    return varint(number << 3 | _FIXED64) + struct.pack("<q", value) if value else b""


def bytes_field(number: int, value: bytes) -> bytes:
    return message_field(number, value) if value else b""


def message_field(number: int, value: bytes) -> bytes:
    """A nested message (or an element of a repeated field): written also when it is empty."""
    return varint(number << 3 | _LENGTH) + delimited(value)


def delimited(value: bytes) -> bytes:
    """Length, then the bytes."""
    return varint(len(value)) + value
