"""`fluxcloud ps`: where copies run and how they are."""

from __future__ import annotations

import asyncio
from typing import Any

import click

from ..ids import AppId, NodeId, render_node
from ..ledger.apps.model import APPS, Placement
from ..sdk.apps import AppView, find_app, read_app
from .common import Screen, verb, with_context
from .output import Output, render_age, render_table
from .session import Session, open_session

WATCH_INTERVAL_S = 0.5
HEADINGS = ("APP", "GROUP", "SLOT", "GEN", "NODE", "ROLE", "PHASE", "SINCE", "NOTE")


def build_rows(view: AppView, session: Session, tick_ms: int) -> list[dict[str, Any]]:
    """One row a copy: active ones by slot, then spares, then what is leaving."""
    order = {"active": 0, "standby": 1, "leaving": 2, "orphan": 3}
    placements = sorted(
        view.placements.items(), key=lambda row: (order[row[1].role], row[1].group, row[1].slot, row[0])
    )
    rows = [_build_row(view, generation, placement, session, tick_ms) for generation, placement in placements]
    return rows + _build_waiting(view)


def _build_row(view: AppView, generation: int, placement: Placement, session: Session, tick_ms: int) -> dict[str, Any]:
    return {
        "app": view.app.name,
        "group": placement.group,
        "slot": placement.slot if placement.slot >= 0 else None,
        "generation": generation,
        "node": session.name_node(NodeId(placement.node)),
        "node_id": render_node(NodeId(placement.node)),
        "role": placement.role,
        "phase": placement.phase,
        "since_s": max(0, tick_ms - placement.since_tick) // 1000,
        "note": _describe(placement),
    }


def _describe(placement: Placement) -> str:
    if placement.backs >= 0:
        return f"stands in for slot {placement.backs}"
    if placement.role == "orphan":
        return "its slot is served elsewhere"
    return placement.reason


def _build_waiting(view: AppView) -> list[dict[str, Any]]:
    rows = []
    for name, group in sorted(view.groups.items()):
        for index, slot in enumerate(group.slots):
            if slot.state != "placed":
                rows.append(
                    {
                        **{"app": view.app.name, "group": name, "slot": index, "generation": None, "node": None},
                        **{"node_id": None, "role": "active", "phase": slot.state, "since_s": None},
                        "note": slot.reason,
                    }
                )
    return rows


def render_rows(rows: list[dict[str, Any]]) -> str:
    if not rows:
        return "no copies; `fluxcloud deploy` makes some"

    def show(value: object) -> object:
        return "-" if value is None else value

    return render_table(
        HEADINGS,
        [
            (
                *(show(row[key]) for key in ("app", "group", "slot", "generation", "node", "role", "phase")),
                "-" if row["since_s"] is None else render_age(row["since_s"]),
                row["note"],
            )
            for row in rows
        ],
    )


async def collect(session: Session, app_name: str | None) -> list[dict[str, Any]]:
    """Rows of one app, or of every app that is not deleted."""
    if app_name:
        app_ids = [AppId((await find_app(session.chain, app_name)).id)]
    else:
        app_ids = [app_id for app_id, app in await session.chain.scan(APPS) if app.status == "active"]
    status = await session.chain.status()
    rows = []
    for app_id in app_ids:
        rows += build_rows(await read_app(session.chain, app_id), session, status.tick_ms)
    return rows


@click.command("ps")
@click.argument("app", required=False)
@click.option("--watch", is_flag=True, help="Go on showing changes until Ctrl-C.")
@with_context
@verb
async def ps_command(app: str | None, watch: bool, context_name: str | None, output: Output) -> None:
    """An app's copies (or everybody's), where they run and how they are."""
    async with open_session(context_name) as session:
        screen, before = Screen(), None
        while True:
            rows = await collect(session, app)
            if output.as_json:
                state: Any = [{key: row[key] for key in row if key != "since_s"} for row in rows]
                if state != before:
                    output.data("ps/1", {"copies": await session.add_pids(rows)}, "")
            else:
                state = render_rows(rows)
                if not watch or state != before:
                    screen.draw(state)
            before = state
            if not watch:
                return
            await asyncio.sleep(WATCH_INTERVAL_S)
