"""Supervisor: the daemons of `fluxcloud up` as child processes, each in a session of its own, each killable alone.

A child that ends is started again after a pause that grows from 0.2 s to 5 s and shrinks once it ran for 30 s, unless
it is *held*: a fault was injected into it on purpose, or everything is stopping.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

logger = logging.getLogger(__name__)

BACKOFF_MIN_S = 0.2
BACKOFF_MAX_S = 5.0
STEADY_AFTER_S = 30.0
STOP_GRACE_S = 5.0


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """One daemon as values. Its output is appended to `log`."""

    name: str
    argv: tuple[str, ...]
    log: Path
    env: Mapping[str, str]


@dataclass(slots=True)
class Child:
    spec: ChildSpec
    process: asyncio.subprocess.Process | None = None
    held: bool = False
    restarts: int = 0
    started_s: float = 0.0
    last_exit: int | None = None
    backoff_s: float = BACKOFF_MIN_S
    task: asyncio.Task[None] | None = None
    wake: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process is not None and self.process.returncode is None else None


class Supervisor:
    """Owns the children. Single event loop; every method is called from it."""

    def __init__(self) -> None:
        self.children: dict[str, Child] = {}
        self._closing = False

    async def start(self, spec: ChildSpec) -> Child:
        """Start a child and keep it running."""
        child = Child(spec)
        self.children[spec.name] = child
        await self._spawn(child)
        child.task = asyncio.create_task(self._keep(child), name=f"keep {spec.name}")
        return child

    def hold(self, name: str) -> Child:
        """From now on the child is left as it is, ended or not."""
        child = self.children[name]
        child.held = True
        return child

    async def release(self, name: str) -> Child:
        """End the hold: a child that has ended starts at once."""
        child = self.children[name]
        child.held = False
        child.backoff_s = BACKOFF_MIN_S
        child.wake.set()
        return child

    async def stop(self, *names: str) -> None:
        """SIGTERM these children, SIGKILL those that are left after the grace. They stay held."""
        children = [self.hold(name) for name in names if name in self.children]
        for child in children:
            self._signal(child, signal.SIGCONT)
            self._signal(child, signal.SIGTERM)
        await asyncio.gather(*(self._wait_or_kill(child) for child in children))

    async def close(self) -> None:
        """Stop watching. Children that still run are left to themselves."""
        self._closing = True
        tasks = [child.task for child in self.children.values() if child.task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _spawn(self, child: Child) -> None:
        child.spec.log.parent.mkdir(parents=True, exist_ok=True)
        with child.spec.log.open("ab") as log:
            child.process = await asyncio.create_subprocess_exec(
                *child.spec.argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=dict(child.spec.env),
                start_new_session=True,
            )
        child.started_s = asyncio.get_running_loop().time()
        logger.info("%s started, pid %d", child.spec.name, child.process.pid)

    async def _keep(self, child: Child) -> None:
        loop = asyncio.get_running_loop()
        while not self._closing:
            assert child.process is not None
            child.last_exit = await child.process.wait()
            logger.info("%s ended with %s", child.spec.name, child.last_exit)
            if child.held:
                child.wake.clear()
                await child.wake.wait()
            else:
                if loop.time() - child.started_s > STEADY_AFTER_S:
                    child.backoff_s = BACKOFF_MIN_S
                await asyncio.sleep(child.backoff_s)
                child.backoff_s = min(child.backoff_s * 2, BACKOFF_MAX_S)
                if child.held:
                    continue
            child.restarts += 1
            await self._spawn(child)

    async def _wait_or_kill(self, child: Child) -> None:
        if child.process is None:
            return
        try:
            async with asyncio.timeout(STOP_GRACE_S):
                await child.process.wait()
        except TimeoutError:
            self._signal(child, signal.SIGKILL)
            await child.process.wait()

    @staticmethod
    def _signal(child: Child, number: signal.Signals) -> None:
        if child.pid is not None:
            with suppress(ProcessLookupError):
                child.process.send_signal(number)  # type: ignore[union-attr]
