"""What the API is handed: this node's state as shown, and who may ask for what, read with proof and kept for a moment.

Without a chain the last answers hold for 15 minutes: as long as a capability lives. Source: APPS.md 5.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Generic, Protocol, TypeVar

from .. import __version__
from ..capability import CAP_MS_MAX, AppAuthority
from ..errors import Temporary
from ..ids import Address, AppId, NodeId
from ..ledger.apps.model import APPS, ASSIGN
from ..ledger.nodes.model import NODES
from .api.context import ApiContext
from .parts import Parts
from .runtime.base import CopyKey
from .show import show_isolation

K = TypeVar("K")
V = TypeVar("V")

FRESH_S = 5.0
RENEW_S = 0.5
KEPT_S = CAP_MS_MAX / 1000
ANSWERS_MAX = 1_024


class Shown(Protocol):
    """What the agent shows of its copies."""

    def list_copies(self, app: AppId) -> list[dict[str, Any]]: ...
    def find_copy(self, key: CopyKey) -> CopyKey: ...
    def count_copies(self) -> int: ...
    def get_push_bytes_max(self, app: AppId) -> int | None: ...


class Answers(Generic[K, V]):
    """Reads of one kind, each kept for FRESH_S, and for KEPT_S where the chain can't be asked. `now` in seconds."""

    def __init__(self, read: Callable[[K], Awaitable[V]], now: Callable[[], float]) -> None:
        self._read = read
        self._now = now
        self._kept: dict[K, tuple[float, V]] = {}
        self._renewed_s: dict[K, float] = {}

    async def get(self, key: K) -> V:
        """Raises what reading raises, where nothing is kept."""
        kept = self._kept.get(key)
        if kept is not None and self._now() - kept[0] < FRESH_S:
            return kept[1]
        try:
            value = await self._read(key)
        except Temporary:
            if kept is None or self._now() - kept[0] >= KEPT_S:
                raise
            return kept[1]
        if len(self._kept) >= ANSWERS_MAX:
            self._kept.clear()
        if value is not None:  # what does not exist yet may exist with the next header
            self._kept[key] = (self._now(), value)
        return value

    async def renew(self, key: K) -> V:
        """As `get`, but not from what is kept; at most once each RENEW_S, else strangers could make us ask for ever."""
        if self._now() - self._renewed_s.get(key, -RENEW_S) >= RENEW_S:
            if len(self._renewed_s) >= ANSWERS_MAX:
                self._renewed_s.clear()
            self._renewed_s[key] = self._now()
            kept = self._kept.get(key)
            if kept is not None:
                self._kept[key] = (kept[0] - FRESH_S, kept[1])
        return await self.get(key)


def build_api_context(parts: Parts, shown: Shown) -> ApiContext:
    """Everything that the API's handlers need of this node."""
    chain, now = parts.chain, parts.clock.monotonic_s

    async def read_authority(app_id: AppId) -> AppAuthority | None:
        app = await chain.read(APPS, app_id)
        return AppAuthority(Address(app.owner), app.session_epoch) if app is not None else None

    async def read_hot_key(node_id: NodeId) -> bytes | None:
        node = await chain.read(NODES, node_id)
        return node.hot if node is not None else None

    async def read_assigned(node_id: NodeId) -> frozenset[bytes]:
        assign = await chain.read(ASSIGN, node_id)
        return frozenset(entry.app for entry in assign.entries) if assign is not None else frozenset()

    authorities = Answers(read_authority, now)
    assigned = Answers(read_assigned, now)

    async def is_holder(node_id: NodeId, app_id: AppId) -> bool:
        return app_id in await assigned.get(node_id)

    return ApiContext(
        chain_id=chain.chain_id,
        node_id=parts.identity.id,
        runtime=parts.runtime,
        store=parts.store,
        get_status=lambda: show_status(parts, shown),
        list_copies=shown.list_copies,
        find_copy=shown.find_copy,
        read_authority=authorities.get,
        renew_authority=authorities.renew,
        get_hot_key=Answers(read_hot_key, now).get,
        is_holder=is_holder,
        get_push_bytes_max=shown.get_push_bytes_max,
        note_arrival=parts.fetcher.note_arrival,
        now_s=now,
        unix_ms=parts.clock.wall_ms,
    )


def show_status(parts: Parts, shown: Shown) -> dict[str, Any]:
    """What anybody may know of this node."""
    own, probes = parts.view.own, parts.responder.stats
    return {
        "id": parts.config.id,
        "version": __version__,
        "height": parts.view.height,
        "follows_chain": parts.view.is_live,
        "state": own.state if own is not None else "",
        "clock_skew_ms": parts.skew.skew_ms,
        "health_age_ms": parts.health_age.age_ms,
        "problem": parts.health_age.problem,
        "isolation": show_isolation(parts.isolation),
        "copies": shown.count_copies(),
        "probes": {"received": probes.received, "answered": probes.answered, "checks": probes.checks},
    }
