"""What liveness does at the begin and at the end of a block."""

from __future__ import annotations

from ..module import Context
from ..state import State
from .cases import close_due_cases, draw_juries
from .panels import end_epoch, redraw_due_seats, settle_panels
from .returns import process_due_returns


def begin_liveness(state: State, ctx: Context) -> None:
    """Draw anew the seats whose term is over, as many as are due in this block."""
    redraw_due_seats(state, ctx)


def end_liveness(state: State, ctx: Context) -> None:
    """Verdicts, returns, juries, seats that pass on, and the end of an epoch; in that order.

    Juries come before this block's changes of seats and after its reveal; seats after everything that changes nodes.
    """
    close_due_cases(state, ctx)
    process_due_returns(state, ctx)
    draw_juries(state, ctx)
    settle_panels(state, ctx)
    end_epoch(state, ctx)
