"""Canonical bytes: one encoding for each value, so that an id or a hash has one meaning.

Records are msgpack arrays that begin with their version or tag. Encoding is msgspec's; what it reads more
generously than it writes (long forms of integers, extra array elements) is refused by encoding again and comparing.
Size is checked before decoding, and decoders are typed, so the types bound the depth.
Source: docs/adr/0002-records-are-msgspec-structs.md.
"""

from __future__ import annotations

import hashlib
from typing import Any, Generic, TypeVar, dataclass_transform

import msgspec

from .errors import Rejected

T = TypeVar("T")

encode = msgspec.msgpack.Encoder().encode
"""Canonical bytes of a record or of plain data. Never give it a dict or a set: their order is not canonical."""


@dataclass_transform(frozen_default=True, field_specifiers=(msgspec.field,))
class Record(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A value of the ledger or the wire. A subclass gives `tag=` its version (records) or message tag."""


class BadEncoding(Rejected):
    """The bytes are not the canonical encoding of what they should hold."""

    CODE = "codec/1"


class TooLarge(Rejected):
    """The bytes are longer than allowed."""

    CODE = "codec/2"


class Codec(Generic[T]):
    """Encodes and strictly decodes one type (a Record, or a union of tagged ones)."""

    def __init__(self, kind: Any, *, max_bytes: int = 1 << 20) -> None:
        self._decoder: msgspec.msgpack.Decoder[T] = msgspec.msgpack.Decoder(kind)
        self._max_bytes = max_bytes

    def decode(self, raw: bytes) -> T:
        """Raises TooLarge (codec/2), BadEncoding (codec/1)."""
        if len(raw) > self._max_bytes:
            raise TooLarge(f"{len(raw)} bytes; at most {self._max_bytes} are allowed")
        try:
            value = self._decoder.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BadEncoding(str(error)) from error
        if encode(value) != raw:
            raise BadEncoding("not canonical: encoding the decoded value again gives other bytes")
        return value

    def decode_trusted(self, raw: bytes) -> T:
        """Decode bytes that this program has written and whose hash is known to be right."""
        return self._decoder.decode(raw)


def compute_hash(tag: str, *parts: bytes) -> bytes:
    """SHA-256 over the ASCII tag and the parts, joined as they are.

    Give it parts of fixed length, or one `encode([...])` of several, so that no two inputs join to the same bytes.
    """
    return hashlib.sha256(b"".join((tag.encode("ascii"), *parts))).digest()
