"""What the scheduler refuses."""

from __future__ import annotations

from ...errors import Rejected


class BadReport(Rejected):
    """A report names at most 256 copies, sorted, each once, with reasons that are known."""

    CODE = "scheduler/1"


class NoNodeFits(Rejected):
    """No node of the network could hold a copy of this group, even if it were empty."""

    CODE = "scheduler/3"


ERRORS: tuple[type[Rejected], ...] = (BadReport, NoNodeFits)
