"""Placement: searches a second and placements a second, ledger record included, among 10,000 nodes.

One core, all filters, four score terms; half empty and 95 % full; beside it a plain full scan with the same filters, as
a ratio. `python benchmarks/scheduler.py [nodes]`.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable
from dataclasses import replace

from fleet import SENDER, fill_nodes, make_app, make_context
from fluxcloud.codec import encode
from fluxcloud.ids import compute_app_id
from fluxcloud.ledger.apps.messages import RegisterApp
from fluxcloud.ledger.apps.model import PLACEMENTS, Slot
from fluxcloud.ledger.apps.queries import get_app
from fluxcloud.ledger.apps.transitions import process_register_app
from fluxcloud.ledger.module import Context
from fluxcloud.ledger.nodes.model import NODES
from fluxcloud.ledger.params import MAINNET
from fluxcloud.ledger.scheduler.queue import process_queue
from fluxcloud.ledger.scheduler.request import Request, build_request
from fluxcloud.ledger.scheduler.search import Found, pick, search
from fluxcloud.ledger.scheduler.transitions import process_touched
from fluxcloud.ledger.state import State
from fluxcloud.ledger.transition import TABLES

APPS = 100
SEARCHES_PER_APP = 100
BLOCKS = 5
APPS_PER_BLOCK = 50  # of four copies each: the budget of a block


def main() -> None:
    nodes = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    print(f"{nodes:,} nodes, one core; bars: 10,000 searches/s, 5,000 placements/s")
    for name, full_ppm in (("half empty", 500_000), ("95 % full", 950_000)):
        state = State(TABLES)
        fill_nodes(state, nodes, full_ppm)
        requests = make_requests(state)
        gc.collect()
        gc.freeze()
        rate, share = measure_searches(state, requests)
        plain = measure_plain_scans(state, requests[::500])
        placements, whole = measure_placements(state)
        print(
            f"{name:10}  {rate:8,.0f} searches/s ({share} % found); plain full scan {plain:4,.0f}/s, ratio "
            f"{rate / plain:4,.0f}; {placements:7,.0f} placements/s with records, {whole:7,.0f} with registration"
        )
        gc.unfreeze()


def measure_searches(state: State, requests: list[Request]) -> tuple[float, int]:
    """(searches a second, per cent that found a node)."""
    beacon = make_context().beacon
    found = sum(isinstance(search(state, request, MAINNET, beacon), Found) for request in requests)

    def run() -> None:
        for request in requests:
            search(state, request, MAINNET, beacon)

    return measure(run, len(requests)), found * 100 // len(requests)


def measure_plain_scans(state: State, requests: list[Request]) -> float:
    """The same filters and scores over every node: what drawing saves."""

    def run() -> None:
        for request in requests:
            pick(state, request, (node_id for node_id, _ in state.items(NODES)))

    return measure(run, len(requests))


def measure_placements(state: State) -> tuple[float, float]:
    """Placements a second: settling, searching, records, reservation and changes; and with the registrations."""
    seconds = whole = 0.0
    before = state.count(PLACEMENTS)
    for block in range(BLOCKS):
        messages = [make_message(APPS + block * APPS_PER_BLOCK + k) for k in range(APPS_PER_BLOCK)]
        ctx = make_context(tick_ms=1_000 + block, height=block + 10)
        begin = time.process_time()
        for nonce, message in enumerate(messages):
            ctx.nonce = 1_000_000 + block * APPS_PER_BLOCK + nonce
            process_register_app(state, message, ctx)
        middle = time.process_time()
        end_block(state, ctx)
        state.take_changes()
        seconds += time.process_time() - middle
        whole += time.process_time() - begin
    placed = state.count(PLACEMENTS) - before
    return placed / seconds, placed / whole


def make_requests(state: State) -> list[Request]:
    """Fourth slots of apps that have their copies: many generations of each, so that each draws other nodes."""
    requests = []
    for k in range(APPS):
        ctx = make_context()
        ctx.nonce = k
        process_register_app(state, make_message(k), ctx)
        end_block(state, ctx)
        app = get_app(state, compute_app_id(ctx.chain_id, SENDER, k, 0))
        request = build_request(state, app, "web", 3, Slot("queued"), MAINNET, ctx.tick_ms)
        requests += [replace(request, generation=5 + generation) for generation in range(SEARCHES_PER_APP)]
    state.take_changes()
    return requests


def make_message(k: int) -> RegisterApp:
    spec, images = make_app(k)
    return RegisterApp(encode(spec), b"", images)


def end_block(state: State, ctx: Context) -> None:
    process_touched(state, ctx)
    process_queue(state, ctx)


def measure(run: Callable[[], None], count: int) -> float:
    """Runs a second of this process's CPU time, the best of three."""
    best = 0.0
    for _ in range(3):
        begin = time.process_time()
        run()
        best = max(best, count / (time.process_time() - begin))
    return best


if __name__ == "__main__":
    main()
