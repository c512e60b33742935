"""Panels: seats are drawn, pass on when their monitor leaves, and change one by one over five epochs.

Everything here is level-triggered and bounded per block: what a block leaves, the next one finds again.
Reads NODES; writes SEATS, DUTY, EPOCHS, WATCHES (what a lost seat had said), LIVENESS_CLOCK. Source: LIVENESS.md 1.
"""

from __future__ import annotations

from bisect import bisect_right

import msgspec

from ...ids import NodeId
from ..module import Context
from ..nodes.model import NODES, Node
from ..params import Params
from ..state import State
from .draw import draw
from .duty import add_target, clear_juries, get_duty, remove_target
from .electorate import ELECTORATE, Member, make_member
from .model import EPOCHS, LIVENESS_CLOCK, SEATS, SEATS_DUE, SEATS_VACANT, Epoch, LivenessClock, Panel, Seat
from .unsettled import UNSETTLED
from .watches import drop_watch, forget_monitors

GENESIS_EPOCH = 2
"""So that there is a beacon of two epochs back from the start: 0 and 1 have the beacon of genesis."""
EPOCHS_KEPT = 10
REDRAWS_PER_BLOCK = 200
SETTLED_PER_BLOCK = 1_000
"""Panels made, filled or ended, and seats taken from monitors that left, each."""

_VACANT = Seat(monitor=b"", until_epoch=0)
_NO_PANEL = Panel(())


def get_liveness_clock(state: State) -> LivenessClock:
    clock = state.get(LIVENESS_CLOCK, "")
    assert clock is not None, "no panels have been drawn at genesis"
    return clock


def compute_panel_n(state: State, target: Node, params: Params) -> int:
    """How many seats of a panel count: as many as can be filled with distinct operators."""
    return min(params.panel_size, state.view(ELECTORATE).count_operators(without=target.owner))


def compute_quorum(n: int) -> int:
    return n // 2 + 1


def get_monitors(state: State, target: NodeId) -> tuple[NodeId, ...]:
    """The seated ones, in order of their seats."""
    return tuple(NodeId(seat.monitor) for seat in (state.get(SEATS, target) or _NO_PANEL).seats if seat.monitor)


def draw_all_panels(state: State, ctx: Context) -> None:
    """At genesis: begin the first epoch and give every node its panel, from the beacon of genesis."""
    for number in range(GENESIS_EPOCH):
        state.set(EPOCHS, number, Epoch(ctx.beacon, ctx.tick_ms))
    state.set(LIVENESS_CLOCK, "", LivenessClock(GENESIS_EPOCH, ctx.tick_ms))
    for target in tuple(state.view(UNSETTLED).without_panel):
        _fill_panel(state, target, ctx)


def end_epoch(state: State, ctx: Context) -> None:
    """In the block that is an epoch's last: keep its beacon, and begin the next epoch."""
    clock = get_liveness_clock(state)
    if ctx.tick_ms < clock.epoch_start_tick + ctx.params.epoch_ms:
        return
    state.set(EPOCHS, clock.epoch, Epoch(ctx.beacon, clock.epoch_start_tick))
    if clock.epoch >= EPOCHS_KEPT:
        state.delete(EPOCHS, clock.epoch - EPOCHS_KEPT)
    state.set(LIVENESS_CLOCK, "", LivenessClock(clock.epoch + 1, ctx.tick_ms, clock.cursor))


def redraw_due_seats(state: State, ctx: Context) -> None:
    """Draw anew the seats whose term is over: seat j at epoch % 5 == j, so one of each panel, spread over the epoch."""
    due = state.index(SEATS, SEATS_DUE)
    epoch = get_liveness_clock(state).epoch
    last = bisect_right(due, (epoch, b"\xff" * 20))
    # twice the rate that an even spread asks for, so that slow blocks don't leave seats for the next epoch
    share = 2 * state.count(SEATS) * ctx.params.block_interval_ms // ctx.params.epoch_ms + 1
    for _, target in due[: min(last, share, REDRAWS_PER_BLOCK)]:
        _redraw_seat(state, target, epoch, ctx)


def settle_panels(state: State, ctx: Context) -> None:
    """Pass on the seats of monitors that left, end needless panels, fill vacant seats."""
    unsettled = state.view(UNSETTLED)
    budget = SETTLED_PER_BLOCK
    for target in unsettled.with_needless_panel[:budget]:
        _remove_panel(state, target)
    _release_absent(state, budget)
    for target in unsettled.without_panel[:budget]:
        _fill_panel(state, target, ctx)
    _fill_vacancies(state, budget, ctx)


def _release_absent(state: State, budget: int) -> None:
    """Take the seats of nodes that are not active any more; of a node with very many, as many as the budget allows."""
    for monitor in state.view(UNSETTLED).absent_on_duty[:budget]:
        clear_juries(state, monitor)
        for target in get_duty(state, monitor).targets[:budget]:
            _vacate(state, NodeId(target), monitor)
            budget -= 1
        if budget <= 0:
            return


def _fill_vacancies(state: State, budget: int, ctx: Context) -> None:
    """Look at up to `budget` panels with a vacant seat, going on where the last block stopped."""
    vacant = state.index(SEATS, SEATS_VACANT)
    clock = get_liveness_clock(state)
    if len(vacant) <= budget:
        targets, cursor = [entry[0] for entry in vacant], b""
    else:
        start = bisect_right(vacant, (clock.cursor,))
        entries = vacant[start : start + budget]
        targets = [entry[0] for entry in entries + vacant[: budget - len(entries)]]
        cursor = targets[-1]
    for target in targets:
        _fill_panel(state, target, ctx)
    if cursor != clock.cursor:
        state.set(LIVENESS_CLOCK, "", msgspec.structs.replace(clock, cursor=cursor))


def _fill_panel(state: State, target: NodeId, ctx: Context) -> None:
    """Fill as many vacant seats as there are operators for; make the panel if there is none yet."""
    node = state.get(NODES, target)
    if node is None:
        return
    panel = state.get(SEATS, target)
    seats = list((panel or Panel((_VACANT,) * ctx.params.panel_size)).seats)
    monitors = [seat.monitor for seat in seats if seat.monitor]
    missing = compute_panel_n(state, node, ctx.params) - len(monitors)
    if missing <= 0 and panel is not None:
        return
    epoch = get_liveness_clock(state).epoch
    drawn = iter(_draw_monitors(state, node, missing, monitors, epoch, ctx) if missing > 0 else ())
    for j, seat in enumerate(seats):
        if not seat.monitor:
            monitor = next(drawn, b"")
            seats[j] = Seat(monitor, compute_until_epoch(epoch, j, len(seats))) if monitor else seat
    _set_seats(state, target, tuple(seats))


def _redraw_seat(state: State, target: NodeId, epoch: int, ctx: Context) -> None:
    """Draw the first seat whose term is over. Where nobody else can be found its monitor stays."""
    node, panel = state.get(NODES, target), state.get(SEATS, target)
    if node is None or panel is None:  # its panel ends with this block
        return
    seats = list(panel.seats)
    j = next(j for j, seat in enumerate(seats) if seat.monitor and seat.until_epoch <= epoch)
    others = [seat.monitor for i, seat in enumerate(seats) if seat.monitor and i != j]
    drawn = _draw_monitors(state, node, 1, others, epoch, ctx)
    seats[j] = Seat(drawn[0] if drawn else seats[j].monitor, compute_until_epoch(epoch, j, len(seats)))
    _set_seats(state, target, tuple(seats))


def compute_until_epoch(epoch: int, j: int, seats: int) -> int:
    """The next epoch in which seat `j` is drawn anew."""
    return epoch + ((j - epoch) % seats or seats)


def _draw_monitors(
    state: State, target: Node, n: int, seated: list[bytes], epoch: int, ctx: Context
) -> tuple[NodeId, ...]:
    seed = state.get(EPOCHS, epoch - 2)
    assert seed is not None, epoch
    taken = [member for monitor in seated if (member := _get_member(state, NodeId(monitor)))]
    return draw(state.view(ELECTORATE), seed.beacon, target, n, ctx.params, taken=taken)


def _get_member(state: State, node_id: NodeId) -> Member | None:
    member = state.view(ELECTORATE).get(node_id)
    if member is None and (node := state.get(NODES, node_id)):  # it has left, its seat passes on in a later block
        member = make_member(node)
    return member


def _vacate(state: State, target: NodeId, monitor: NodeId) -> None:
    panel = state.get(SEATS, target)
    assert panel is not None, target
    _set_seats(state, target, tuple(_VACANT if seat.monitor == monitor else seat for seat in panel.seats))


def _remove_panel(state: State, target: NodeId) -> None:
    _set_seats(state, target, ())
    state.delete(SEATS, target)
    drop_watch(state, target)


def _set_seats(state: State, target: NodeId, seats: tuple[Seat, ...]) -> None:
    """The one place where seats change: DUTY follows, and a word said from a lost seat is forgotten."""
    before = get_monitors(state, target)
    state.set(SEATS, target, Panel(seats))
    after = get_monitors(state, target)
    lost = tuple(monitor for monitor in before if monitor not in after)
    for monitor in lost:
        remove_target(state, monitor, target)
    for monitor in after:
        if monitor not in before:
            add_target(state, monitor, target)
    if lost:
        forget_monitors(state, target, lost)
