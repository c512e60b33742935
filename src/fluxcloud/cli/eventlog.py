"""An app's events in the ledger's words: which block, what happened, to which copy."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec

from ..ids import AppId, NodeId
from ..ledger.module import Event
from .output import render_table
from .session import Session

BATCH_ROWS = 500


async def collect_app_events(
    session: Session, app_id: AppId, from_height: int, *, follow: bool
) -> AsyncIterator[list[dict[str, Any]]]:
    """Batches of rows: all up to now as one (or several long ones), then with `follow` one a block that has any."""
    status = await session.chain.status()
    newest = status.height
    start = max(from_height, status.first_height, 1)
    rows: list[dict[str, Any]] = []
    async for block in session.chain.events(start, follow=follow):
        for _, event in block.events:
            if getattr(event, "app", None) == app_id:
                rows.append(_build_row(session, block.height, block.time_ms, event))
        if rows and (len(rows) >= BATCH_ROWS or block.height >= newest):
            yield rows
            rows = []
    if rows:
        yield rows


def _build_row(session: Session, height: int, time_ms: int, event: Event) -> dict[str, Any]:
    fields = {name: _plain(session, name, value) for name, value in msgspec.structs.asdict(event).items()}
    fields.pop("app", None)
    return {"height": height, "time_ms": time_ms, "event": type(event).__name__, **fields}


def _plain(session: Session, name: str, value: Any) -> Any:
    if isinstance(value, bytes):
        return session.name_node(NodeId(value)) if name == "node" else value.hex()
    if isinstance(value, tuple):
        return [_plain(session, "", item) for item in value]
    if isinstance(value, msgspec.Struct):
        return {key: _plain(session, key, item) for key, item in msgspec.structs.asdict(value).items()}
    return value


def render_events(rows: list[dict[str, Any]]) -> str:
    def details(row: dict[str, Any]) -> str:
        shown = {key: value for key, value in row.items() if key not in ("height", "time_ms", "event")}
        return " ".join(f"{key}={value}" for key, value in shown.items() if value not in ("", -1, []))

    return render_table(("BLOCK", "EVENT", "DETAILS"), [(row["height"], row["event"], details(row)) for row in rows])
