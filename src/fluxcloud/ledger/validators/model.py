"""Validators: who proposes, their power, and the hash chains that feed the beacon (LEDGER.md 5)."""

from __future__ import annotations

from ...codec import Record
from ..state import TableKey


class Validator(Record, tag=1):
    """`tip`: last revealed link of its hash chain; `links_left` until it must register a new one; `faults`: blocks
    proposed without a reveal."""

    pub: bytes
    power: int
    tip: bytes
    links_left: int
    faults: int = 0


VALIDATORS: TableKey[bytes, Validator] = TableKey("validators", (20,), Validator)
"""Key: address, the first 20 bytes of SHA-256(pub)."""
