"""Messages of the proposer, first in its block and nowhere else."""

from __future__ import annotations

from typing import ClassVar

from ..module import Event, Lane, Message


class Reveal(Message, tag=0x0901):
    """The next link: valid where SHA-256(x) is the proposer's tip."""

    LANE: ClassVar[Lane] = "proposer"

    x: bytes


class RegisterTip(Message, tag=0x0902):
    """A new hash chain, once less than a tenth of the old one is left."""

    LANE: ClassVar[Lane] = "proposer"

    tip: bytes


class RevealMissed(Event, tag=0x0981):
    validator: bytes
