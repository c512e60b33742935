"""Executing plans: one step at a time per copy, copies side by side.

A step that is under way is left alone while the plan still asks for it; fetching is given up when the plan changes its
mind, every other step ends by itself (each is bounded and idempotent). Outcomes come back as values for `remember`.
"""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..errors import FluxCloudError, Permanent, Rejected, Temporary
from ..ids import parse_app
from ..images.errors import StoreFull
from .images.fetch import Fetcher
from .model import Action, Create, Fetch, Prepare, Reason, Remove, Start, Stop
from .runtime.base import CopyKey, Runtime

_log = logging.getLogger(__name__)

CLOSE_S = 5.0
"""How long closing waits for steps that should not be left half done."""

STAGES: dict[type[Action], str] = {
    Fetch: "pulling",
    Prepare: "unpacking",
    Create: "creating",
    Start: "starting",
    Stop: "stopping",
    Remove: "removing",
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a step ended; `reason` only where it failed. `is_final`: the same again can't work."""

    action: Action
    reason: Reason | None = None
    detail: str = ""
    is_final: bool = False
    retry_after_s: float = 0.0


def compute_outcome(action: Action, error: Exception) -> Outcome:
    """What a failure means: whose fault it is, and whether trying again makes sense."""
    detail = str(error) or type(error).__name__
    retry_after_s = error.retry_after_s if isinstance(error, Temporary) else 0.0
    if is_disk_full(error):
        return Outcome(action, "disk", detail, is_final=True)
    if isinstance(error, Rejected | Permanent):
        return Outcome(action, _find_reason(action, error), detail, is_final=True)
    return Outcome(action, "image_pull" if isinstance(action, Fetch) else "engine", detail, retry_after_s=retry_after_s)


def _find_reason(action: Action, error: Exception) -> Reason:
    """The reason of a failure for good. A bad image is the app's fault; that none can run here is the host's."""
    if isinstance(action, Start):
        return "exit"
    is_bad_image = isinstance(error, Rejected) or isinstance(error.__cause__, Rejected)
    return "image_pull" if isinstance(action, Fetch) or (isinstance(action, Prepare) and is_bad_image) else "engine"


def is_disk_full(error: BaseException) -> bool:
    """Whether a full disk (or content store) is what lies behind an error."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, StoreFull):
            return True
        if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


class Executor:
    """`on_outcome` is called for every step that has ended."""

    def __init__(self, runtime: Runtime, fetcher: Fetcher, on_outcome: Callable[[Outcome], None]) -> None:
        self._runtime = runtime
        self._fetcher = fetcher
        self._on_outcome = on_outcome
        self._running: dict[CopyKey, tuple[Action, asyncio.Task[None]]] = {}
        self.prepared: set[str] = set()

    def apply(self, actions: Sequence[Action]) -> None:
        """Begin the steps of copies that have none under way; give up fetching that is no longer asked for."""
        asked = {action.key: action for action in actions}
        for key, (action, task) in self._running.items():
            if isinstance(action, Fetch) and not isinstance(asked.get(key), Fetch):
                task.cancel()
        for key, action in asked.items():
            if key not in self._running:
                self._running[key] = (action, asyncio.create_task(self._run(action)))

    def get_busy(self) -> frozenset[CopyKey]:
        """Copies with a step under way."""
        return frozenset(self._running)

    def get_stage(self, key: CopyKey) -> str:
        """The step under way, for people; empty where there is none."""
        running = self._running.get(key)
        return STAGES[type(running[0])] if running else ""

    async def close(self) -> None:
        """End what is under way, the short steps by letting them finish; the next agent goes on from there."""
        tasks = [task for _, task in self._running.values()]
        short = [task for action, task in self._running.values() if isinstance(action, Create | Start | Remove)]
        if short:
            await asyncio.wait(short, timeout=CLOSE_S)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, action: Action) -> None:
        outcome = Outcome(action)
        try:
            await self._execute(action)
        except (FluxCloudError, OSError) as error:
            outcome = compute_outcome(action, error)
            _log.warning("%s failed: %s", STAGES[type(action)], error, extra=_fields(action.key))
        except Exception as error:  # a fault of the engine's driver costs this copy a try, not the others their agent
            outcome = compute_outcome(action, error)
            _log.exception("%s failed", STAGES[type(action)], extra=_fields(action.key))
        else:
            _log.info("%s done", STAGES[type(action)], extra=_fields(action.key))
        finally:
            del self._running[action.key]
        self._on_outcome(outcome)

    async def _execute(self, action: Action) -> None:
        runtime = self._runtime
        match action:
            case Fetch():
                await self._fetcher.fetch(parse_app(action.key.app), action.images)
            case Prepare():
                for digest in action.digests:
                    await runtime.prepare(digest)
                    self.prepared.add(digest)
            case Create():
                await runtime.create(action.spec)
            case Start():
                for component in action.components:
                    await runtime.start(action.runs_as, component)
            case Stop():
                stops = (runtime.stop(action.runs_as, name, grace_s=action.grace_s) for name in action.components)
                await asyncio.gather(*stops)
            case Remove():
                await runtime.remove(action.runs_as)


def _fields(key: CopyKey) -> dict[str, object]:
    return {"fields": {"app": key.app, "generation": key.generation}}
