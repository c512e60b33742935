"""Liveness: what monitors say of their targets, and how jurors vote.

A batch is applied entry by entry. An entry whose seat or jury has passed on meanwhile is left out, for its sender could
not know; a batch of which nothing is left is refused. Reads NODES; writes WATCHES, CASES and the state of a node that
becomes suspect. Times in ticks. Source: LIVENESS.md 2; tests/vectors/liveness/.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import msgspec

from ...ids import NodeId
from ..module import Context
from ..nodes.model import NODES, Node
from ..state import State
from .cases import compute_verdict, open_case
from .duty import get_duty, has_target
from .errors import BadBatch, NotActive, NotJuror, NotSeated, StaleEpoch
from .messages import JuryVote, Observation, Observe, Vote
from .model import AWAITED_STATES, CASES, SUSPECTABLE_STATES, Jury, Sighting
from .panels import compute_panel_n, compute_quorum, get_liveness_clock, get_monitors
from .returns import plan_return
from .watches import forget_monitors, get_watch, is_paused, set_sighting

BATCH_MAX = 256


def process_observe(state: State, msg: Observe, ctx: Context) -> None:
    """Note what the sender has seen of its targets; a quorum of misses opens a case.

    A miss counts for `params.quorum_window_ms` and is said again while it lasts. `ok` withdraws a miss; of a node that
    is on its way back it counts as seen, until a miss.
    Emits: CaseOpened, NodeStateChanged. Raises, first that applies: BadBatch (liveness/1), StaleEpoch (liveness/2),
        NotActive (liveness/3), NotSeated (liveness/4).
    """
    _validate_batch([observation.target for observation in msg.observations])
    epoch = get_liveness_clock(state).epoch
    if msg.epoch not in (epoch, epoch - 1):
        raise StaleEpoch(f"epoch: {msg.epoch}; allowed are {epoch - 1} and {epoch}")
    _require_active(state, ctx.node)
    seated = [o for o in msg.observations if has_target(state, ctx.node, NodeId(o.target))]
    if not seated:
        raise NotSeated
    for observation in seated:
        _apply_observation(state, observation, ctx)


def process_jury_vote(state: State, msg: JuryVote, ctx: Context) -> None:
    """Count the sender's votes; the end of the block that brings enough of them closes the case.

    Raises, first that applies: BadBatch (liveness/1), NotActive (liveness/3), NotJuror (liveness/5).
    """
    _validate_batch([vote.target for vote in msg.votes])
    _require_active(state, ctx.node)
    if not any([_apply_vote(state, vote, ctx) for vote in msg.votes]):  # a list: each of them is to be applied
        raise NotJuror


def is_observe_assigned(state: State, msg: Observe, node_id: NodeId) -> bool:
    return any(has_target(state, node_id, NodeId(observation.target)) for observation in msg.observations[:BATCH_MAX])


def is_jury_vote_assigned(state: State, msg: JuryVote, node_id: NodeId) -> bool:
    juries = get_duty(state, node_id).juries
    return any(Jury(vote.target, vote.opened_height, vote.round) in juries for vote in msg.votes[:BATCH_MAX])


def _validate_batch(targets: Sequence[bytes]) -> None:
    if not 1 <= len(targets) <= BATCH_MAX:
        raise BadBatch(f"{len(targets)} entries; allowed are 1..{BATCH_MAX}")
    if not all(before < after for before, after in pairwise(targets)):
        raise BadBatch("the entries must be sorted by target, each target once")


def _require_active(state: State, node_id: NodeId) -> None:
    node = state.get(NODES, node_id)
    if node is None or node.state != "active":
        raise NotActive(f"the sender is {node.state if node else 'not registered'}; only an active node's word counts")


def _apply_observation(state: State, observation: Observation, ctx: Context) -> None:
    target = NodeId(observation.target)
    node = state.get(NODES, target)
    if node is None:  # its panel ends with this block
        return
    if observation.miss and node.state in SUSPECTABLE_STATES:
        last_ok_tick = min(max(observation.last_ok_tick, 0), ctx.tick_ms)  # a monitor may reckon a little ahead
        set_sighting(state, target, Sighting(ctx.node, True, ctx.tick_ms, last_ok_tick))
        _open_case_at_quorum(state, node, ctx)
    elif not observation.miss and node.state in AWAITED_STATES:
        sightings = get_watch(state, target).sightings
        if not any(s.monitor == ctx.node and not s.miss for s in sightings):  # else seen since an earlier word
            set_sighting(state, target, Sighting(ctx.node, False, ctx.tick_ms, ctx.tick_ms))
    else:
        forget_monitors(state, target, (ctx.node,))
    if node.state == "pending":
        plan_return(state, target, node, ctx)


def _open_case_at_quorum(state: State, node: Node, ctx: Context) -> None:
    target = NodeId(node.id)
    watch = get_watch(state, target)
    n = compute_panel_n(state, node, ctx.params)
    quorum = compute_quorum(n)
    if n < ctx.params.panel_min or len(watch.sightings) < quorum or ctx.tick_ms < watch.not_before_tick:
        return
    monitors = get_monitors(state, target)
    after_tick = ctx.tick_ms - ctx.params.quorum_window_ms
    misses = [
        s
        for s in watch.sightings
        if s.miss and s.tick > after_tick and s.monitor in monitors and _is_heard(state, s.monitor)
        and not is_paused(watch, s.monitor, ctx.tick_ms)
    ]  # fmt: skip
    if len(misses) >= quorum:
        open_case(state, node, [NodeId(s.monitor) for s in misses], max(s.last_ok_tick for s in misses), ctx)


def _is_heard(state: State, monitor: bytes) -> bool:
    """Whether the monitor is active still: in its own block of trouble its seats have not passed on yet."""
    node = state.get(NODES, NodeId(monitor))
    return node is not None and node.state == "active"


def _apply_vote(state: State, vote: Vote, ctx: Context) -> bool:
    """Whether the vote counts: the sender sits on this jury and has not voted."""
    target = NodeId(vote.target)
    case = state.get(CASES, target)
    if case is None or (case.opened_height, case.round) != (vote.opened_height, vote.round):
        return False
    if ctx.node not in case.jurors or any(juror == ctx.node for juror, _ in case.votes):
        return False
    voted = msgspec.structs.replace(case, votes=(*case.votes, (ctx.node, vote.miss)))
    if compute_verdict(voted, ctx.params):
        voted = msgspec.structs.replace(voted, deadline_tick=min(case.deadline_tick, ctx.tick_ms))
    state.set(CASES, target, voted)
    return True
