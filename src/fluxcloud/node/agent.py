"""The agent of a node: observe, plan, execute, report, for ever.

Level-triggered: whatever wakes it (a header, a container, a probe, a timer) it looks at everything again, so that a
lost event costs one period. It starts from the last proven assignment it has kept, takes over what runs, and leaves all
copies running when it ends. Source: APPS.md 5.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from functools import partial
from typing import Any

import uvloop

from ..errors import ConfigError, FluxCloudError
from ..ids import AppId
from ..log import setup_logging
from ..proxy.routes import Table
from ..status import serve_status
from ..tls import server_context
from .api.server import ApiServer
from .config import NodeConfig
from .ingress import build_table
from .model import Desired, Memory, Observed, Plan
from .parts import Parts, open_parts
from .plan import plan
from .remember import note_done, note_error, remember
from .runtime.base import CopyKey
from .services import build_api_context
from .show import show_copies
from .specs import make_key
from .status import find_missing, render_node_metrics

_log = logging.getLogger(__name__)

PERIOD_S = 5.0
LEARN_RETRY_S = 1.0
LOOK_UP_PERIOD_S = 0.1
COLLECT_PERIOD_S = 600.0
EXIT_FAULT = 70


class Agent:
    """What one node runs, kept as the ledger wants it."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._memory = Memory(runs_as=parts.view.get_runs_as())
        self._desired = Desired()
        self._observed = Observed()
        self._plan = Plan()
        self._table: Table | None = None
        self._must_learn = asyncio.Event()
        parts.contacts.set_followed(parts.view.list_peers())

    async def run(self) -> None:
        """Until cancelled. A bug of ours ends it; the copies run on."""
        parts = self._parts
        async with asyncio.TaskGroup() as tasks:
            for loop in (
                self._run_loop(),
                self._run_learning(),
                self._run_hints(),
                self._run_look_ups(),
                self._run_collecting(),
                parts.feed.run(self._note_header),
                parts.monitor.run(),
                parts.reporter.run(),
                parts.health_age.run(),
            ):
                tasks.create_task(loop)

    # -- what the API shows

    def list_copies(self, app: AppId) -> list[dict[str, Any]]:
        return show_copies(app, self._desired, self._observed, self._memory, self._parts.executor.get_stage)

    def find_copy(self, key: CopyKey) -> CopyKey:
        """The key under which the engine knows the copy."""
        return self._memory.runs_as.get(key, key)

    def count_copies(self) -> int:
        return len(self._parts.view.assign.entries)

    def get_push_bytes_max(self, app: AppId) -> int | None:
        """What the app's images may take here: the disk of its spec, or their size by the ledger where that is more."""
        copies = [copy for copy in self._desired.copies if copy.entry.app == app]
        if not copies:
            return None
        disk = sum(part.disk_mib for copy in copies for part in copy.group.components) << 20
        return max(disk, sum(image.size for copy in copies for image in copy.images))

    # -- the loop

    async def _run_loop(self) -> None:
        while True:
            await self._step()
            await self._parts.inbox.wait(self._compute_pause_s())

    async def _step(self) -> None:
        """Observe, plan, execute, report: once."""
        parts = self._parts
        self._take_outcomes()
        desired = self._desired = self._build_desired()
        try:
            busy, prepared = parts.executor.get_busy(), parts.executor.prepared
            observed = await parts.observer.observe(desired, self._memory.runs_as, prepared, busy)
        except (FluxCloudError, OSError) as error:
            _log.warning("the engine can't be looked at: %s", error)
            return
        self._observed = observed
        self._memory = remember(self._memory, desired, observed)
        self._plan = plan(desired, observed, self._memory)
        parts.executor.apply(self._plan.actions)
        parts.reporter.offer(self._plan.reports, is_back=parts.view.is_back)
        await self._apply_ingress()
        parts.view.keep(self._memory.runs_as)

    def _compute_pause_s(self) -> float:
        if self._plan.wake_at_ms is None:
            return PERIOD_S
        left_s = self._plan.wake_at_ms / 1000 - self._parts.clock.monotonic_s()
        return min(PERIOD_S, max(0.01, left_s))

    def _take_outcomes(self) -> None:
        now_ms = int(self._parts.clock.monotonic_s() * 1000)
        for outcome in self._parts.inbox.take_outcomes():
            if outcome.reason is None:
                self._memory = note_done(self._memory, outcome.action.key)
                continue
            self._memory = note_error(
                self._memory,
                outcome.action,
                outcome.reason,
                outcome.detail,
                now_ms=now_ms,
                retry_ms=int(outcome.retry_after_s * 1000),
                is_final=outcome.is_final,
            )

    def _build_desired(self) -> Desired:
        view = self._parts.view
        found = [(entry, self._parts.specs.get(entry)) for entry in view.assign.entries]
        missing = [entry for entry, copy in found if copy is None]
        if missing:
            self._must_learn.set()
        # What an unread entry may take over is as little to be touched as its own copy.
        taken_over = {make_key(entry, entry.adopts) for entry in missing if entry.adopts}
        unread = frozenset({make_key(entry) for entry in missing} | taken_over)
        copies = tuple(copy for _, copy in found if copy is not None)
        return Desired(view.height, view.tick_ms, view.is_live, copies, unread)

    async def _apply_ingress(self) -> None:
        parts = self._parts
        gateways, get_endpoint = parts.view.gateways, parts.runtime.get_endpoint
        table = build_table(self._desired, self._observed, self._memory.runs_as, gateways, get_endpoint)
        if table != self._table:
            await parts.ingress.apply(table)
            self._table = table

    # -- what wakes it

    def _note_header(self) -> None:
        """A header came: watch whom it names, and look again at copies where anything may be due by it."""
        parts = self._parts
        head = parts.feed.head
        if head is not None:
            parts.skew.note(head.header_ms, parts.clock.wall_ms())
        parts.view.follow_peers()
        parts.contacts.set_followed(parts.view.list_peers())
        parts.monitor.set_duty(parts.view.duty)
        parts.monitor.note_block()
        if self._may_be_due():
            parts.inbox.wake()

    def _may_be_due(self) -> bool:
        view = self._parts.view
        is_timed = any(entry.stop_tick for entry in view.assign.entries) or bool(self._memory.absent_since)
        is_waiting = bool(self._plan.reports) or view.is_back or not self._desired.live
        return is_timed or is_waiting or view.has_unkept

    async def _run_learning(self) -> None:
        """Read the specs that are missing."""
        while True:
            await self._must_learn.wait()
            self._must_learn.clear()
            if await self._parts.specs.learn(self._parts.view.assign.entries):
                self._parts.inbox.wake()
            else:
                await asyncio.sleep(LEARN_RETRY_S)

    async def _run_hints(self) -> None:
        """Wake when the engine says that something has changed."""
        while True:
            try:
                await self._parts.runtime.wait_change(PERIOD_S)
            except (FluxCloudError, OSError) as error:
                _log.warning("no hints from the engine: %s", error)
                await asyncio.sleep(1.0)
            self._parts.inbox.wake()

    async def _run_look_ups(self) -> None:
        """Read the records of strangers that have sent a PING."""
        while True:
            await asyncio.sleep(LOOK_UP_PERIOD_S)
            await self._parts.contacts.look_up_wanted()

    async def _run_collecting(self) -> None:
        """Delete blobs and specs that nothing needs any more."""
        parts = self._parts
        while True:
            await asyncio.sleep(COLLECT_PERIOD_S)
            if not self._desired.live or self._desired.unread:
                continue
            digests = [digest for copy in self._desired.copies for digest in copy.digests]
            if await asyncio.to_thread(parts.collector.collect, digests, parts.clock.monotonic_s()):
                parts.fetcher.forget_complete()
            parts.specs.forget(tuple(copy.entry for copy in self._desired.copies))


def run(config: NodeConfig) -> int:
    """The daemon: until SIGTERM or SIGINT (0), or a bug of ours (70). Copies run on either way. Raises ConfigError."""
    setup_logging(config.log_level, json=config.log_json)
    return uvloop.run(_run(config))


async def _run(config: NodeConfig) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with open_parts(config) as parts:
        return await serve(parts, stop)


async def serve(parts: Parts, stop: asyncio.Event) -> int:
    """Run the agent and its API until `stop`. Returns the daemon's exit code. Raises ConfigError."""
    config, agent = parts.config, Agent(parts)
    api = ApiServer(build_api_context(parts, agent), server_context(parts.identity.key, parts.identity.cert, None))
    try:
        await api.start(config.host, config.api_port)
    except OSError as error:
        raise ConfigError("api_port", f"{config.host}:{config.api_port} can't be opened: {error}") from error
    status = serve_status(
        config.status_host, config.status_port, partial(find_missing, parts), partial(render_node_metrics, parts)
    )
    try:
        async with status:
            return await _run_until(stop, agent)
    finally:
        await api.close()


async def _run_until(stop: asyncio.Event, agent: Agent) -> int:
    running = asyncio.create_task(agent.run())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait((running, stopping), return_when=asyncio.FIRST_COMPLETED)
    for task in (running, stopping):
        task.cancel()
    (outcome, _) = await asyncio.gather(running, stopping, return_exceptions=True)
    if stop.is_set():
        _log.info("stopped; copies run on")
        return 0
    _log.critical("the agent has a fault and ends; copies run on", exc_info=outcome if outcome is not None else True)
    return EXIT_FAULT
