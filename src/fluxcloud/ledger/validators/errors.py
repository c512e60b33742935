"""What a proposer's messages are refused for."""

from __future__ import annotations

from ...errors import Rejected


class UnknownValidator(Rejected):
    """The block's proposer is no validator."""

    CODE = "validators/1"


class ChainUsedUp(Rejected):
    """The validator's hash chain has no link left."""

    CODE = "validators/2"


class WrongReveal(Rejected):
    """SHA-256 of the revealed link is not the proposer's tip."""

    CODE = "validators/3"


class BadTip(Rejected):
    """A tip is 32 bytes."""

    CODE = "validators/4"


class TipTooEarly(Rejected):
    """A new chain is registered once less than a tenth of the old one is left."""

    CODE = "validators/5"
