"""Liveness at 10,000 nodes: draws a second, the cost of a block in peace, and with 35 % of the nodes reported at once.

    python benchmarks/liveness.py

Prints one line a figure: `figure <name> value <number> <unit> ratio <number> (<to what>)`. The draw is compared with
one that weighs all nodes each time, in the same run.
"""

from __future__ import annotations

import hashlib
import random
import statistics
import time
from bisect import bisect_right
from collections.abc import Callable
from contextlib import suppress
from itertools import accumulate

from fluxcloud.ids import NodeId
from fluxcloud.ledger.liveness.draw import draw
from fluxcloud.ledger.liveness.duty import get_duty
from fluxcloud.ledger.liveness.electorate import ELECTORATE
from fluxcloud.ledger.liveness.errors import NotSeated
from fluxcloud.ledger.liveness.messages import Observation, Observe
from fluxcloud.ledger.liveness.module import MODULE
from fluxcloud.ledger.liveness.panels import draw_all_panels, get_liveness_clock
from fluxcloud.ledger.liveness.steps import begin_liveness, end_liveness
from fluxcloud.ledger.liveness.transitions import process_observe
from fluxcloud.ledger.module import Context
from fluxcloud.ledger.nodes.model import LANES, NODES, Capacity, Endpoint, Location, Node, Tier
from fluxcloud.ledger.params import MAINNET
from fluxcloud.ledger.state import State

NODES_COUNT = 10_000
OPERATORS = 4_000
DEAD_SHARE = 0.35
DRAWS = 5_000
PLAIN_DRAWS = 20
EPOCH_BLOCKS = MAINNET.epoch_ms // MAINNET.block_interval_ms
STORM_BLOCKS = 20


def make_nodes(choose: random.Random) -> list[Node]:
    return [make_node(k, choose) for k in range(NODES_COUNT)]


def make_node(k: int, choose: random.Random) -> Node:
    owner = hashlib.sha256(b"owner/%d" % choose.randrange(OPERATORS)).digest()[:21]
    tiers: tuple[Tier, ...] = (1, 2, 3)
    tier = choose.choices(tiers, (6, 3, 1))[0]
    return Node(
        id=hashlib.sha256(b"node/%d" % k).digest()[:20],
        owner=owner,
        operator=owner,
        hot=hashlib.sha256(b"hot/%d" % k).digest(),
        enc=hashlib.sha256(b"enc/%d" % k).digest(),
        cert=b"",
        payout=owner,
        tier=tier,
        collateral=MAINNET.collateral[tier - 1],
        endpoint=Endpoint(f"{1 + k % 200}.{k // 200}.{choose.randrange(250)}.1", 1, 2, 3, 20_000),
        arch="amd64",
        capacity=Capacity(1, 1, 1),
        used=Capacity(),
        location=Location(),
        asn=choose.randrange(300),
        isolation="full",
        state="active",
        since_tick=0,
    )


def make_context(height: int, node: bytes = b"") -> Context:
    beacon = hashlib.sha256(b"beacon/%d" % height).digest()
    tick_ms = height * MAINNET.block_interval_ms
    return Context("bench", MAINNET, height, tick_ms, tick_ms, beacon, b"", node=NodeId(node))


def draw_plainly(nodes: list[Node], seed: bytes, target: Node, n: int) -> list[bytes]:
    """Weigh all nodes for each draw, as one would without an index. No cap, no ASNs: less work than the real one."""
    ends = list(accumulate(node.collateral for node in nodes if node.state == "active"))
    chosen: list[Node] = []
    for i in range(512):
        offset = int.from_bytes(hashlib.sha256(seed + target.id + i.to_bytes(2, "big")).digest()) % ends[-1]
        node = nodes[bisect_right(ends, offset)]
        if node.owner != target.owner and all(node.owner != other.owner for other in chosen):
            chosen.append(node)
        if len(chosen) == n:
            break
    return [node.id for node in chosen]


def measure_rate(run: Callable[[int], object], times: int) -> float:
    began = time.perf_counter()
    for i in range(times):
        run(i)
    return times / (time.perf_counter() - began)


def measure_draws(state: State, nodes: list[Node]) -> None:
    electorate = state.view(ELECTORATE)
    seeds = [hashlib.sha256(b"seed/%d" % i).digest() for i in range(DRAWS)]
    rate = measure_rate(lambda i: draw(electorate, seeds[i], nodes[i], 5, MAINNET), DRAWS)
    plain = measure_rate(lambda i: draw_plainly(nodes, seeds[i], nodes[i], 5), PLAIN_DRAWS)
    print(f"figure panel_draws value {rate:.0f} /s ratio {rate / plain:.1f} (a walk over all nodes a draw)")


def measure_blocks(state: State, first: int, blocks: int, messages: dict[NodeId, Observe]) -> list[float]:
    """Milliseconds of each block; the first one carries the messages."""
    times = []
    for height in range(first, first + blocks):
        block = make_context(height)
        began = time.perf_counter()
        begin_liveness(state, block)
        for sender, message in messages.items() if height == first else ():
            with suppress(NotSeated):  # its only seat has been drawn anew at the begin of this block
                process_observe(state, message, make_context(height, sender))
        end_liveness(state, block)
        times.append((time.perf_counter() - began) * 1_000)
        state.take_changes()
    return times


def make_reports(state: State, dead: set[bytes]) -> dict[NodeId, Observe]:
    """What the living monitors say in the one block in which all have missed three probes: the worst case."""
    epoch = get_liveness_clock(state).epoch
    reports = {}
    for node_id, _ in state.items(NODES):
        targets = [target for target in get_duty(state, node_id).targets if target in dead]
        if node_id not in dead and targets:
            reports[node_id] = Observe(epoch, tuple(Observation(target, True, 0) for target in targets[:256]))
    return reports


def print_blocks(name: str, times: list[float]) -> None:
    share = max(times) / MAINNET.block_interval_ms
    print(f"figure {name}_block_mean value {statistics.mean(times):.3f} ms ratio - (-)")
    print(f"figure {name}_block_worst value {max(times):.1f} ms ratio {share:.3f} (the time between blocks)")


def main() -> None:
    choose = random.Random(1)
    nodes = make_nodes(choose)
    state = State((NODES, LANES, *MODULE.tables))
    for node in nodes:
        state.set(NODES, NodeId(node.id), node)
    began = time.perf_counter()
    draw_all_panels(state, make_context(0))
    print(f"figure genesis_panels value {(time.perf_counter() - began) * 1_000:.0f} ms ratio - (-)")
    state.take_changes()
    measure_draws(state, nodes)
    measure_blocks(state, 1, EPOCH_BLOCKS, {})  # the first epoch draws nothing anew
    print_blocks("peace", measure_blocks(state, EPOCH_BLOCKS + 1, EPOCH_BLOCKS, {}))
    dead = {node.id for node in nodes if choose.random() < DEAD_SHARE}
    reports = make_reports(state, dead)
    print_blocks("storm", measure_blocks(state, 2 * EPOCH_BLOCKS + 1, STORM_BLOCKS, reports))


if __name__ == "__main__":
    main()
