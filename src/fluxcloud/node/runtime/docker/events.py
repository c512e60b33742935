"""The engine's events: hints that something has changed. What is lost is made up for by looking again."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable

import msgspec

from ....errors import FluxCloudError
from .answers import Event
from .api import DockerApi
from .specs import NODE

_log = logging.getLogger(__name__)

_ACTIONS = ["start", "die", "oom", "destroy", "pause", "unpause"]
_RETRY_S = (0.1, 0.2, 0.5, 1.0, 2.0)


class EventFeed:
    """`on_event` gets a container's id and what happened; ("", "") where events may have been lost."""

    def __init__(self, api: DockerApi, node: str, on_event: Callable[[str, str], None]) -> None:
        self._api = api
        self._filters = {"type": ["container"], "label": [f"{NODE}={node}"], "event": _ACTIONS}
        self._on_event = on_event
        self._next: asyncio.Future[None] | None = None
        self._since_ns = 0
        self._failures = 0
        self.is_live = False

    async def run(self) -> None:
        """Until cancelled, whatever becomes of the engine."""
        while True:
            try:
                await self._follow()
            except (FluxCloudError, OSError, ValueError, msgspec.DecodeError) as error:
                if not self._failures:
                    _log.warning("events of the engine: followed -> lost: %s", error)
            self.is_live = False
            self._notify("", "")
            await asyncio.sleep(_RETRY_S[min(self._failures, len(_RETRY_S) - 1)])
            self._failures += 1

    async def wait(self, timeout_s: float) -> None:
        """Until the next event, or the timeout."""
        if self._next is None or self._next.done():
            self._next = asyncio.get_running_loop().create_future()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await asyncio.shield(self._next)

    async def _follow(self) -> None:
        async with self._api.events(self._filters, self._since_ns) as response:
            if self._failures:
                _log.info("events of the engine: lost -> followed")
            self.is_live, self._failures = True, 0
            self._notify("", "")
            async for line in response.content:
                event = msgspec.json.decode(line, type=Event)
                self._since_ns = max(self._since_ns, event.time_ns + 1)
                self._notify(event.actor.id, event.action)

    def _notify(self, container: str, action: str) -> None:
        if self._next is not None and not self._next.done():
            self._next.set_result(None)
        self._on_event(container, action)
