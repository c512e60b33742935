"""Observing: what the engine runs, what probes say of it, which images are at hand."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import NamedTuple

from ..ledger.apps.spec import Component
from .images.fetch import Fetcher
from .model import ComponentHealth, Desired, DesiredCopy, Observed
from .probes.diagnose import diagnose
from .probes.health import HealthProber, Target, choose_port, compute_effective_health
from .remember import compute_runs_as
from .runtime.base import CopyKey, CopyState, Runtime

_log = logging.getLogger(__name__)


class _Start(NamedTuple):
    """One life of a component: a restart is another one, and is probed anew."""

    copy: CopyKey
    component: str
    started_ms: int | None
    restarts: int


class HealthBook:
    """Keeps one prober per running component. `on_change` wakes the agent. `now` in seconds, monotonic."""

    def __init__(
        self, runtime: Runtime, on_change: Callable[[], None], now: Callable[[], float], *, reaches_loopback: bool
    ) -> None:
        self._runtime = runtime
        self._on_change = on_change
        self._now = now
        self._tasks: dict[_Start, asyncio.Task[None]] = {}
        self._found: dict[_Start, ComponentHealth] = {}
        self._reaches_loopback = reaches_loopback

    def sync(self, wanted: dict[CopyKey, tuple[CopyState, DesiredCopy]]) -> None:
        """Begin probing what runs now, end probing what does not."""
        starts = {start: part for state, copy in wanted.values() for start, part in _list_running(state, copy)}
        for gone in self._found.keys() - starts.keys():
            task = self._tasks.pop(gone, None)
            if task is not None:
                task.cancel()
            del self._found[gone]
        for start, component in starts.items():
            if start not in self._found:
                self._begin(start, component)

    def get_all(self) -> dict[tuple[CopyKey, str], ComponentHealth]:
        return {(start.copy, start.component): health for start, health in self._found.items()}

    async def close(self) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _begin(self, start: _Start, component: Component) -> None:
        health = compute_effective_health(component)
        port = choose_port(component)
        if health.kind == "none" or port is None:
            self._found[start] = ComponentHealth("healthy", "runs")
            return
        self._found[start] = ComponentHealth("starting", "not asked yet")
        kind = "tcp" if port.protocol == "https" else health.kind
        endpoint = self._runtime.get_endpoint(start.copy, port.port)
        target = Target(kind, health.path, port.port, endpoint, health.timeout_s)
        prober = HealthProber(
            health, target, lambda found: self._note(start, found), self._explain_for(start), self._now
        )
        task = self._tasks[start] = asyncio.create_task(prober.run())
        task.add_done_callback(_log_fault)

    def _note(self, start: _Start, health: ComponentHealth) -> None:
        if start in self._found:
            self._found[start] = health
            self._on_change()

    def _explain_for(self, start: _Start) -> Callable[[str, int], asyncio.Future[str]]:
        return lambda problem, port: asyncio.ensure_future(self._explain(start, problem, port))

    async def _explain(self, start: _Start, problem: str, port: int) -> str:
        try:
            listening = await self._runtime.list_listening(start.copy)
        except Exception as error:  # a diagnosis is a courtesy: without it the problem itself is the answer
            _log.debug("no diagnosis: %s", error)
            return problem
        return diagnose(problem, port, listening, reaches_loopback=self._reaches_loopback)


def _log_fault(task: asyncio.Task[None]) -> None:
    """A prober runs until it is cancelled: whatever else ends it is a fault of ours, and must be seen."""
    if not task.cancelled() and task.exception() is not None:
        _log.critical("a health prober has a fault; its component stays as it was", exc_info=task.exception())


def _list_running(state: CopyState, copy: DesiredCopy) -> list[tuple[_Start, Component]]:
    parts = {component.name: component for component in copy.group.components}
    return [
        (_Start(state.key, found.name, found.started_ms, found.restarts), parts[found.name])
        for found in state.components
        if found.phase == "running" and found.name in parts
    ]


class Observer:
    """Looks at the world as a whole."""

    def __init__(self, runtime: Runtime, fetcher: Fetcher, health: HealthBook, now: Callable[[], float]) -> None:
        self._runtime = runtime
        self._fetcher = fetcher
        self._health = health
        self._now = now

    async def close(self) -> None:
        await self._health.close()

    async def observe(
        self,
        desired: Desired,
        runs_as: Mapping[CopyKey, CopyKey],
        prepared: set[str],
        busy: frozenset[CopyKey],
    ) -> Observed:
        copies = {state.key: state for state in await self._runtime.observe()}
        runs_as = compute_runs_as(runs_as, desired, copies)
        wanted = {runs_as.get(copy.key, copy.key): copy for copy in desired.copies}
        self._health.sync({key: (copies[key], copy) for key, copy in wanted.items() if key in copies})
        digests = {digest for copy in desired.copies for digest in copy.digests}
        return Observed(
            now_ms=int(self._now() * 1000),
            copies=copies,
            health=self._health.get_all(),
            stored=frozenset(digest for digest in digests if digest in prepared or self._is_stored(digest)),
            prepared=frozenset(prepared),
            busy=busy,
        )

    def _is_stored(self, digest: str) -> bool:
        return self._fetcher.is_complete(digest)
