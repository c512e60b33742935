"""`fluxcloud app plan SOURCE`: where a deploy would put its copies, or why nowhere; nothing is sent."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import click

from ..ids import AppId, NodeId, render_node
from ..images.store import ContentStore
from ..ledger.apps.bounds import render_cores, render_memory
from ..ledger.apps.model import APPS, GROUPS, NAMES, PLACEMENTS, REVISIONS, App
from ..ledger.block import CLOCK, PARAMS
from ..ledger.nodes.model import NODES
from ..ledger.scheduler.explain import Refusal, render_refusals
from ..ledger.scheduler.queries import GroupPlan
from .common import verb, with_context
from .output import CANT_PLACE, CliError, Output, render_table
from .planning import KnownApp, Plan, PlannedSlot, Snapshot, plan_deploy
from .session import Session, open_session
from .source import Wishes, read_source, with_source


@click.command("plan")
@with_source
@with_context
@verb
async def plan_command(source: str, wishes: Wishes, context_name: str | None, output: Output) -> None:
    """Where a deploy of SOURCE would put its copies, or why nowhere. Nothing is sent.

    Exit 9 where a copy has no place.
    """
    with tempfile.TemporaryDirectory(prefix="fluxcloud-plan-") as folder:
        bundle = await read_source(source, wishes, ContentStore(Path(folder)), output)
        async with open_session(context_name) as session:
            snapshot = await _read_snapshot(session, bundle.spec.name)
            plan = plan_deploy(snapshot, bundle, session.wallet.address)
            body = _describe(session, bundle.spec.name, len(snapshot.nodes), plan)
    output.data("app-plan/1", body, _render(body, source))
    if not plan.is_whole:
        raise SystemExit(CANT_PLACE)


async def _read_snapshot(session: Session, name: str) -> Snapshot:
    chain = session.chain
    clock, params, record = await chain.read_many([(CLOCK, ""), (PARAMS, ""), (NAMES, name)])
    if clock is None or params is None:
        raise CliError("the ledger has no clock yet; try again in a moment")
    known = None
    app: App | None = None
    if record is not None and not record.free_tick:
        app = await chain.read(APPS, AppId(record.app))
    if app is not None:
        app_id = AppId(app.id)
        known = KnownApp(
            app,
            tuple(await chain.scan(REVISIONS, app_id)),
            tuple(await chain.scan(GROUPS, app_id)),
            tuple(await chain.scan(PLACEMENTS, app_id)),
        )
    nodes = tuple(await chain.scan(NODES))
    return Snapshot(chain.chain_id, clock, params, nodes, record, known)


def _describe(session: Session, app: str, nodes: int, plan: Plan) -> dict[str, Any]:
    return {
        "app": app,
        "new": not plan.is_update,
        "nodes": nodes,
        "exact": plan.is_exact,
        "fits": plan.is_whole,
        "groups": [_describe_group(group, plan) for group in plan.groups],
        "copies": [_describe_slot(session, slot, nodes) for slot in plan.slots],
    }


def _describe_group(group: GroupPlan, plan: Plan) -> dict[str, Any]:
    need = group.need
    return {
        "group": group.group,
        "copies": group.copies,
        "need": {"mcpu": need.mcpu, "mem_mib": need.mem_mib, "disk_mib": need.disk_mib, "raw_ports": need.raw_ports},
        "fitting": group.fitting,
        "refusals": [_describe_refusal(refusal) for refusal in group.refusals],
        "refusals_if_idle": [_describe_refusal(refusal) for refusal in group.could],
    }


def _describe_refusal(refusal: Refusal) -> dict[str, Any]:
    return {"filter": refusal.filter, "nodes": refusal.count, "detail": refusal.detail}


def _describe_slot(session: Session, slot: PlannedSlot, nodes: int) -> dict[str, Any]:
    status, node = slot.status, slot.node
    row: dict[str, Any] = {
        "group": status.group,
        "slot": None if status.is_spare else status.index,
        "spare": status.index if status.is_spare else None,
    }
    if node is None:
        refusals = [_describe_refusal(refusal) for refusal in status.refusals]
        why = render_refusals(nodes, status.refusals) if status.refusals else status.reason
        return {**row, "node": None, "node_id": None, "where": "", "is_new": False, "why": why, "refusals": refusals}
    location = "-".join(part for part in (node.location.continent, node.location.country) if part)
    return {
        **row,
        "node": session.name_node(NodeId(node.id)),
        "node_id": render_node(NodeId(node.id)),
        "where": f"{location}, AS{node.asn}",
        "is_new": slot.is_new,
        "why": "",
        "refusals": [],
    }


def _render(body: dict[str, Any], source: str) -> str:
    kind = "a new app" if body["new"] else "an update"
    lines = [f"{body['app']}: {kind}; nothing was sent"]
    for group in body["groups"]:
        need = group["need"]
        memory, disk = render_memory(need["mem_mib"]), render_memory(need["disk_mib"])
        asks = f"{render_cores(need['mcpu'])} CPU, {memory}, {disk} disk"
        lines.append(f"{group['group']}: {group['fitting']} of {body['nodes']} nodes would take a copy ({asks}) now")
        lines += [f"  {refusal['nodes']} {refusal['detail']}" for refusal in group["refusals"]]
    rows = [(_name_slot(row), row["node"] or "-", _explain_slot(row)) for row in body["copies"]]
    lines += ["", render_table(("COPY", "NODE", "WHERE"), rows)]
    if not body["exact"]:
        lines.append("One example: the ledger draws from the nodes that fit when it places them.")
    if body["fits"]:
        lines.append(f"next  fluxcloud deploy {source}")
    else:
        lines.append("try   ask for less, fewer replicas, or allow more places; fluxcloud node list")
    return "\n".join(lines)


def _name_slot(row: dict[str, Any]) -> str:
    return f"{row['group']} slot {row['slot']}" if row["spare"] is None else f"{row['group']} spare {row['spare']}"


def _explain_slot(row: dict[str, Any]) -> str:
    if row["node"] is None:
        return str(row["why"])
    return f"{row['where']}" + ("" if row["is_new"] else ", stays")
