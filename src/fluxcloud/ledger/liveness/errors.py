"""What liveness refuses."""

from __future__ import annotations

from ...errors import Rejected


class BadBatch(Rejected):
    """A batch has 1..256 entries, sorted by target, each target once."""

    CODE = "liveness/1"


class StaleEpoch(Rejected):
    """`epoch` must be the current one or the one before."""

    CODE = "liveness/2"


class NotActive(Rejected):
    """Only an active node's word counts: this one is suspect, down, draining or not admitted yet."""

    CODE = "liveness/3"


class NotSeated(Rejected):
    """The sender holds no seat for any of the targets."""

    CODE = "liveness/4"


class NotJuror(Rejected):
    """The sender sits on none of these juries in this round, or has voted there."""

    CODE = "liveness/5"
