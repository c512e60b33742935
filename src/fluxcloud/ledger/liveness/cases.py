"""Cases: a quorum of misses makes a node suspect, a jury of others decides what it is (LIVENESS.md 2).

The votes decide at the end of the block that brings enough of them; a round without a verdict gives way to another one
with fresh jurors, and after the last the node is what it was before. Writes CASES, DUTY, WATCHES, DEMERITS, NODES.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

import msgspec

from ...codec import compute_hash
from ...ids import NodeId
from ..module import Context
from ..nodes.model import NODES, Node
from ..nodes.states import DAY_MS, set_node_state
from ..params import Params
from ..state import State
from .draw import draw
from .duty import add_jury, remove_jury
from .electorate import ELECTORATE
from .messages import CaseClosed, CaseOpened, JuryDrawn
from .model import CASES, CASES_DUE, CASES_UNDRAWN, DEMERITS, Case, Demerits, Jury
from .watches import get_watch, set_watch

CASES_PER_BLOCK = 1_000
"""Juries drawn, and cases closed or given a new round, each."""


def open_case(state: State, target: Node, reporters: Sequence[NodeId], last_ok_tick: int, ctx: Context) -> None:
    """Make the node suspect; its jury is drawn in the next block, whose beacon the reporters can't know."""
    node_id = NodeId(target.id)
    seated = tuple(sorted(reporters))
    state.set(CASES, node_id, Case(ctx.height, ctx.tick_ms, seated, last_ok_tick))
    set_node_state(state, node_id, "suspect", f"{len(seated)} monitors have no answer from it", ctx)
    ctx.emit(CaseOpened(node_id, seated))


def draw_juries(state: State, ctx: Context) -> None:
    """Draw the first jury of cases that an earlier block opened."""
    undrawn = state.index(CASES, CASES_UNDRAWN)
    for _, target in undrawn[: min(bisect_left(undrawn, (ctx.height,)), CASES_PER_BLOCK)]:
        case = _get_case(state, target)
        _begin_round(state, target, case, ctx)


def close_due_cases(state: State, ctx: Context) -> None:
    """Close what the votes have decided; begin another round, or give up, where the time is over."""
    due = state.index(CASES, CASES_DUE)
    last = bisect_right(due, (ctx.tick_ms, b"\xff" * 20))
    for _, target in due[: min(last, CASES_PER_BLOCK)]:
        _process_due(state, target, ctx)


def compute_verdict(case: Case, params: Params) -> str:
    """`down`, `refuted`, or empty while neither side has enough: misses need 2m//3+1 of m jurors, oks m-2m//3."""
    m = len(case.jurors)
    if m < max(params.jury_min, 1):
        return ""
    misses, oks = count_votes(case)
    if misses > 2 * m // 3:
        return "down"
    return "refuted" if oks >= m - 2 * m // 3 else ""


def count_votes(case: Case) -> tuple[int, int]:
    """Misses and oks of this round."""
    misses = sum(miss for _, miss in case.votes)
    return misses, len(case.votes) - misses


def _process_due(state: State, target: NodeId, ctx: Context) -> None:
    case = _get_case(state, target)
    node = state.get(NODES, target)
    if node is None or node.state != "suspect":  # its owner took it out meanwhile
        _close(state, target, case, "undecided", ctx)
        return
    verdict = compute_verdict(case, ctx.params)
    if not verdict and case.round < ctx.params.jury_rounds_max:
        _end_duties(state, target, case)
        following = msgspec.structs.replace(case, round=case.round + 1, served=(*case.served, *case.jurors))
        _begin_round(state, target, following, ctx)
        return
    _close(state, target, case, verdict or "undecided", ctx)
    if verdict == "down":
        _set_down(state, node, case, ctx)
    else:
        _set_back(state, node, case, verdict, ctx)


def _begin_round(state: State, target: NodeId, case: Case, ctx: Context) -> None:
    node = state.get(NODES, target)
    jurors = _draw_jury(state, node, case, ctx) if node else ()
    deadline_tick = ctx.tick_ms + ctx.params.jury_deadline_ms
    case = msgspec.structs.replace(case, jurors=jurors, votes=(), deadline_tick=deadline_tick)
    state.set(CASES, target, case)
    for juror in jurors:
        add_jury(state, juror, Jury(target, case.opened_height, case.round))
    ctx.emit(JuryDrawn(target, case.round, jurors))


def _draw_jury(state: State, target: Node, case: Case, ctx: Context) -> tuple[NodeId, ...]:
    """Those who have no part in the case yet; where they are too few, earlier jurors, and reporters last."""
    electorate = state.view(ELECTORATE)
    m = min(ctx.params.jury_size, electorate.count_operators(without=target.owner))
    seed = compute_hash(
        "fluxcloud/jury/1", ctx.beacon, case.opened_height.to_bytes(8, "big"), case.round.to_bytes(8, "big")
    )
    jurors: tuple[NodeId, ...] = ()
    for excluded in (case.reporters + case.served, case.reporters, ()):
        taken = [member for juror in jurors if (member := electorate.get(juror))]
        jurors += draw(electorate, seed, target, m - len(jurors), ctx.params, excluded=excluded, taken=taken)
        if len(jurors) == m:
            break
    return jurors


def _close(state: State, target: NodeId, case: Case, verdict: str, ctx: Context) -> None:
    _end_duties(state, target, case)
    state.delete(CASES, target)
    set_watch(state, target, msgspec.structs.replace(get_watch(state, target), sightings=()))
    ctx.emit(CaseClosed(target, verdict, *count_votes(case)))


def _end_duties(state: State, target: NodeId, case: Case) -> None:
    for juror in case.jurors:
        remove_jury(state, NodeId(juror), Jury(target, case.opened_height, case.round))


def _set_down(state: State, node: Node, case: Case, ctx: Context) -> None:
    target = NodeId(node.id)
    misses, _ = count_votes(case)
    set_node_state(state, target, "down", f"{misses} of {len(case.jurors)} jurors had no answer from it", ctx)
    set_watch(state, target, msgspec.structs.replace(get_watch(state, target), fallen=True, paused=(), due_tick=0))


def _set_back(state: State, node: Node, case: Case, verdict: str, ctx: Context) -> None:
    """The node is what it was. Refuted reporters pause; where nobody could tell, everybody does."""
    target = NodeId(node.id)
    watch = get_watch(state, target)
    if verdict == "refuted":
        reason = "a jury had answers from it"
        until = ctx.tick_ms + ctx.params.refuted_pause_ms
        running = tuple(pause for pause in watch.paused if pause[1] > ctx.tick_ms and pause[0] not in case.reporters)
        paused = (*running, *((reporter, until) for reporter in case.reporters))
        watch = msgspec.structs.replace(watch, paused=paused)
        for reporter in case.reporters:
            _add_demerit(state, NodeId(reporter), ctx)
    else:
        reason = "no jury could tell whether it answers"
        watch = msgspec.structs.replace(watch, not_before_tick=ctx.tick_ms + ctx.params.undecided_pause_ms)
    set_node_state(state, target, node.before, reason, ctx)
    set_watch(state, target, watch)


def _add_demerit(state: State, reporter: NodeId, ctx: Context) -> None:
    if state.view(ELECTORATE).size <= ctx.params.demerits_from_eligible:
        return
    before = state.get(DEMERITS, reporter)
    if before is None or before.day_tick + DAY_MS <= ctx.tick_ms:
        before = Demerits(ctx.tick_ms, 0)
    state.set(DEMERITS, reporter, Demerits(before.day_tick, before.count + 1))


def _get_case(state: State, target: NodeId) -> Case:
    case = state.get(CASES, target)
    assert case is not None, target.hex()
    return case
