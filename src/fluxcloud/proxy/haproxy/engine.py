"""The engine `haproxy`: the proxy as a supervised HAProxy. See `base` for the contract and docs/adr/0010.

Every change is planned as values and told to the running process; a configuration is written only when a process
starts, or gives way to one with a larger pool. What a process can't be told, and one that died or hangs, has the same
answer: a new process, which reads how things stand.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Coroutine
from typing import Final

from fluxcloud.crypto import PrivateKey
from fluxcloud.errors import Permanent, Temporary
from fluxcloud.tls import build_identity_cert

from ..base import ProxyConfig
from ..routes import Table
from .admin import Admin, AdminFailed
from .commands import Command, build_health, build_removal, has_room, plan
from .layout import Layout, build_layout, enlarge, forget_retired, is_short, name_backend
from .maps import STATE
from .meter import Meter
from .peers import PeerChecks
from .process import Process, validate_installed
from .runner import Runner
from .stats import HaproxyStats, read_sessions

_log = logging.getLogger(__name__)

_LOOK_S: Final = 0.25
_HUNG_LOOKS: Final = 2
_RESTART_PAUSE_MAX_S: Final = 5.0
_RETIRED_AT_ONCE: Final = 50


class HaproxyProxy:
    """A `Proxy`."""

    def __init__(self, config: ProxyConfig) -> None:
        self._config = config
        self._port = config.listen_port
        self._runner = Runner(config)
        self._meter = Meter()
        self._lock = asyncio.Lock()  # of what changes the layout or the process
        self._layout = Layout(pool=0, slots=0)
        self._table = Table()
        self._checks = PeerChecks(config, self._tell_health)
        self._tasks: set[asyncio.Task[None]] = set()
        self._restarts = self._reloads = 0

    @property
    def port(self) -> int:
        return self._port

    async def start(self, table: Table) -> None:
        """Serve `table`. Raises OSError when the address is not free, ConfigError without a HAProxy that will do."""
        await validate_installed()
        self._port = self._runner.listen()
        self._layout, self._table = build_layout(self._config, table, _make_nobody()), table
        try:
            await self._runner.start(self._layout, {})
        except BaseException:
            await self._runner.stop(0)
            raise
        self._update_checks()
        self._spawn(self._supervise())
        self._spawn(self._tidy())

    async def apply(self, table: Table) -> None:
        async with self._lock:
            if not has_room(self._layout, table):
                await self._reload(enlarge(self._layout, table))
            planned = plan(self._config, self._layout, table)
            self._layout, self._table = planned.layout, table
            self._update_checks()
            try:
                await self._runner.run(planned.commands)
                if planned.needs_reload:
                    await self._reload(enlarge(self._layout, table))
            except AdminFailed as error:
                _log.warning("haproxy can't be told of a change, it reads all anew: %s", error)
                await self._reload(enlarge(self._layout, table))
        if is_short(self._layout):
            self._spawn(self._enlarge())

    async def stop(self, *, drain_s: float = 0.0) -> None:
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        async with self._lock:
            if drain_s > 0 and self._config.role == "ingress":
                with contextlib.suppress(Temporary):
                    await self._runner.run((Command(f"set map {STATE} serving 0"),))
            await self._runner.stop(drain_s)
        await self._checks.close()

    def get_stats(self) -> HaproxyStats:
        total, layout = self._meter.total, self._layout
        return HaproxyStats(
            requests=total.requests,
            failed=total.failed,
            retries=total.retries,
            refused=total.refused,
            active=self._meter.active,
            peers_down=self._checks.get_down(),
            restarts=self._restarts,
            reloads=self._reloads,
            pool=layout.pool,
            pool_free=len(layout.free),
            retired=sum(map(len, layout.retired.values())),
        )

    # -- health

    def _update_checks(self) -> None:
        if self._config.role == "edge":
            self._checks.update(self._layout.peers)

    def _tell_health(self, slot: int, word: str) -> None:
        self._spawn(self._run_quietly((build_health(slot, word),)))

    async def _run_quietly(self, commands: tuple[Command, ...]) -> None:
        """A process that can't be told is replaced by one that is told all."""
        with contextlib.suppress(AdminFailed):
            await self._runner.run(commands)

    # -- processes

    async def _reload(self, layout: Layout) -> None:
        """Go on in a new worker; where even that fails, in a new process."""
        self._layout = layout
        try:
            await self._runner.reload(layout, self._checks.health)
        except (AdminFailed, Permanent) as error:
            _log.warning("haproxy did not reload: %s", error)
            await self._restart()
            return
        self._reloads += 1
        self._meter.carry_on()

    async def _restart(self) -> None:
        """A new process in the place of this one, however long it takes."""
        self._restarts += 1
        self._meter.carry_on()
        self._layout = enlarge(self._layout, self._table)
        pause_s = _LOOK_S
        while True:
            try:
                await self._runner.start(self._layout, self._checks.health)
                return
            except (AdminFailed, Permanent) as error:
                _log.error("haproxy did not start again: %s", error)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _RESTART_PAUSE_MAX_S)

    async def _enlarge(self) -> None:
        async with self._lock:
            if is_short(self._layout):
                await self._reload(enlarge(self._layout, self._table))

    async def _supervise(self) -> None:
        """Read statistics; replace a process that died or hangs."""
        silent = 0
        while True:
            process = self._runner.process
            await asyncio.wait([process.exited], timeout=_LOOK_S)
            problem = "died"
            if not process.exited.done():
                silent = 0 if await self._hears(process) else silent + 1
                if silent < _HUNG_LOOKS:
                    continue
                problem = "hangs"
                await process.kill()  # whoever holds the lock may be waiting for an answer of it
            silent = 0
            async with self._lock:
                if self._runner.process is process:
                    _log.error("haproxy %s: up -> down, starting it again", problem)
                    await self._restart()
                    _log.info("haproxy: down -> up")

    async def _hears(self, process: Process) -> bool:
        """Whether it answers, or has a reason not to."""
        if process.changing:
            return True
        try:
            await self._meter.read(process.desk, self._layout.pool)
        except AdminFailed:
            return process.changing
        return True

    # -- what was removed

    async def _tidy(self) -> None:
        """Take away servers whose last request has ended."""
        while True:
            await asyncio.sleep(_LOOK_S)
            for backend in tuple(self._layout.retired)[:_RETIRED_AT_ONCE]:
                with contextlib.suppress(AdminFailed):
                    await self._remove_idle(self._runner.process.desk, backend)

    async def _remove_idle(self, desk: Admin, backend: int) -> None:
        """Nobody gives work to retired servers, so this needs no lock."""
        sessions = read_sessions(await desk.ask(f"show stat {name_backend(backend)} 4 -1"))
        names = [s.name for s in self._layout.retired.get(backend, ()) if not sessions.get(s.name, 0)]
        removals = [build_removal(backend, name) for name in names]
        await desk.run(maintain for maintain, _ in removals)
        answers = [await desk.ask(delete.line) for _, delete in removals]
        gone = [name for name, answer in zip(names, answers, strict=True) if "deleted" in answer]
        self._layout = forget_retired(self._layout, backend, gone)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _make_nobody() -> str:
    return ssl.DER_cert_to_PEM_cert(build_identity_cert(PrivateKey.generate(), "nobody"))
