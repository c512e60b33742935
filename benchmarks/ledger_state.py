"""The whole state of a large network: 10,000 nodes, 25,000 apps of three copies.

Built through the real transitions (registration, settling, placement, reports), written to LMDB, read back: time to
load, memory, and what an idle block costs. `python benchmarks/ledger_state.py [nodes [apps]]`.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import lmdb

from fleet import fill_nodes, make_app, make_context
from fluxcloud.codec import encode
from fluxcloud.ids import AppId, NodeId
from fluxcloud.ledger.apps.messages import RegisterApp
from fluxcloud.ledger.apps.model import APPS, ASSIGN, PLACEMENTS, ROUTES
from fluxcloud.ledger.apps.transitions import process_register_app
from fluxcloud.ledger.module import Context
from fluxcloud.ledger.nodes.model import NODES
from fluxcloud.ledger.scheduler.messages import CopyReport, NodeReport
from fluxcloud.ledger.scheduler.module import MODULE
from fluxcloud.ledger.scheduler.reports import process_node_report
from fluxcloud.ledger.state import State, TableKey
from fluxcloud.ledger.transition import TABLES

APPS_PER_BLOCK = 50
MAP_BYTES = 4 << 30
IDLE_BLOCKS = 200


def main() -> None:
    if sys.argv[1:2] == ["--load"]:
        measure_loaded(Path(sys.argv[2]))
        return
    nodes = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    apps = int(sys.argv[2]) if len(sys.argv) > 2 else 25_000
    begin = time.perf_counter()
    state = State(TABLES)
    fill_nodes(state, nodes, 100_000)
    for block in range(-(-apps // APPS_PER_BLOCK)):
        register_apps(state, range(block * APPS_PER_BLOCK, min((block + 1) * APPS_PER_BLOCK, apps)), block)
    tables: tuple[TableKey[Any, Any], ...] = (NODES, APPS, PLACEMENTS, ASSIGN, ROUTES)
    counts = ", ".join(f"{state.count(table):,} {table.name}" for table in tables)
    print(f"built in {time.perf_counter() - begin:.1f} s: {counts}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        print(f"dumped {dump(state, Path(folder)) / 1e6:,.0f} MB", flush=True)
        del state
        subprocess.run([sys.executable, __file__, "--load", folder], check=True)  # a process of its own: honest memory


def measure_loaded(folder: Path) -> None:
    before = read_rss_mib()
    begin = time.perf_counter()
    state = load(folder)
    seconds = time.perf_counter() - begin
    print(f"loaded in {seconds:.2f} s; memory {read_rss_mib():,} MiB, of which {before:,} MiB are the program")
    print(f"idle block: {measure_idle_block(state) * 1e3:.3f} ms for the scheduler's end of a block")


def register_apps(state: State, numbers: range, block: int) -> None:
    """One block of registrations, and one in which the agents report."""
    ctx = make_context(tick_ms=1_000 + block * 1_000, height=2 + block * 2)
    for k in numbers:
        ctx.nonce = k
        spec, images = make_app(k, spares=0)
        process_register_app(state, RegisterApp(encode(spec), b"", images), ctx)
    end_block(state, ctx)
    for change in state.take_changes():
        if change.table == PLACEMENTS.name and change.value is not None:
            report(state, *PLACEMENTS.decode_key(change.key), make_context(ctx.tick_ms + 500, ctx.height + 1))
    end_block(state, make_context(ctx.tick_ms + 500, ctx.height + 1))
    state.take_changes()


def report(state: State, app_id: AppId, generation: int, ctx: Context) -> None:
    placement = state.get(PLACEMENTS, (app_id, generation))
    assert placement is not None
    is_standby = placement.role == "standby"
    ctx.node = NodeId(placement.node)
    process_node_report(state, NodeReport((CopyReport(app_id, generation, "ready" if is_standby else "running"),)), ctx)


def end_block(state: State, ctx: Context) -> None:
    for step in MODULE.end_block:
        step(state, ctx)


def dump(state: State, folder: Path) -> int:
    """Every record to LMDB; bytes of keys and values."""
    size = 0
    with lmdb.open(str(folder), map_size=MAP_BYTES, sync=False) as env, env.begin(write=True) as transaction:
        for change in state.dump():
            assert change.value is not None
            key = change.table.encode() + b"\0" + change.key
            transaction.put(key, change.value)
            size += len(key) + len(change.value)
    return size


def load(folder: Path) -> State:
    state = State(TABLES)
    with lmdb.open(str(folder), map_size=MAP_BYTES, readonly=True) as env, env.begin() as transaction:
        for key, value in transaction.cursor():
            table, _, raw_key = bytes(key).partition(b"\0")
            state.load(table.decode(), raw_key, bytes(value))
    return state


def measure_idle_block(state: State) -> float:
    begin = time.process_time()
    for block in range(IDLE_BLOCKS):
        end_block(state, make_context(tick_ms=10**9 + block, height=10**6 + block))
        state.take_changes()
    return (time.process_time() - begin) / IDLE_BLOCKS


def read_rss_mib() -> int:
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) // 1024


if __name__ == "__main__":
    main()
