"""Admission: an app that no node of the network could ever hold is refused when it is registered, with the reasons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from msgspec.structs import replace

from ...ids import compute_app_id
from ..apps.messages import RegisterApp, UpdateApp
from ..apps.model import Image
from ..apps.queries import read_spec
from ..module import Context
from ..nodes.model import NODES, Capacity, Node
from ..params import Params
from ..state import State
from .errors import NoNodeFits
from .explain import Refusal, render_refusals
from .filters import FILTERS, describe, find_refusal
from .need import compute_need
from .request import Request, start_request

_GONE_STATES = ("retired", "deactivated")


def admit_register_app(state: State, msg: RegisterApp, ctx: Context) -> None:
    """After `process_register_app`. Raises NoNodeFits (scheduler/3)."""
    app_id = compute_app_id(ctx.chain_id, ctx.sender, ctx.nonce, ctx.index)
    require_place(state, app_id, msg.spec, msg.images, ctx.params)


def admit_update_app(state: State, msg: UpdateApp, ctx: Context) -> None:
    """After `process_update_app`. Raises NoNodeFits (scheduler/3)."""
    require_place(state, msg.app, msg.spec, msg.images, ctx.params)


def require_place(state: State, app_id: bytes, spec: bytes, images: tuple[Image, ...], params: Params) -> None:
    """Each group has at least one node that could hold a copy if it were empty and active. Raises NoNodeFits."""
    for group in read_spec(spec).groups:
        request = start_request(app_id, group.name, 0, 0, compute_need(spec, group.name, images), params)
        if any(not find_refusal(node, request) for node in _iterate_idle(state)):
            continue
        refusals = explain_idle(state, request)
        raise NoNodeFits(
            f"groups.{group.name}: no node could hold a copy: {render_refusals(state.count(NODES), refusals)}",
            hint="ask for less, or allow more places",
        )


def explain_idle(state: State, request: Request) -> tuple[Refusal, ...]:
    counts = Counter(find_refusal(node, request) for node in _iterate_idle(state))
    gone = state.count(NODES) - counts.total()
    found = tuple(Refusal(shown, counts[key], describe(words, request)) for key, shown, words in FILTERS if counts[key])
    return (Refusal("state", gone, "retired or deactivated"), *found) if gone else found


def _iterate_idle(state: State) -> Iterator[Node]:
    """The network's nodes as they would be without load and trouble."""
    for _, node in state.items(NODES):
        if node.state not in _GONE_STATES:
            yield replace(node, used=Capacity(), state="active", cordoned=False, ports_used=b"")
