"""`fluxcloud app …` and `fluxcloud scale`: what is deployed, why it is where it is, and changing it."""

from __future__ import annotations

import importlib
from typing import Any

import click

from ..ids import Address, AppId, NodeId, render_address, render_app
from ..ledger.apps.messages import DeleteApp, ScaleGroup, UndeleteApp
from ..ledger.apps.model import APPS
from ..sdk.apps import AppView, find_app, find_view, read_app
from .common import require_yes, verb, with_context
from .eventlog import collect_app_events, render_events
from .explain import explain_app, explain_waiting, render_explanation
from .output import USAGE, CliError, Output, render_table
from .ps import build_rows, render_rows
from .session import Session, open_session

_ELSEWHERE = {
    "plan": "plan",
    "diff": "diff",
    "transfer": "appadmin",
    "evict": "appadmin",
    "export": "appadmin",
    "sessions": "appadmin",
}
"""Verbs of `app` in modules of their own, which are loaded when they are called."""


class _AppGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted((*super().list_commands(ctx), *_ELSEWHERE))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _ELSEWHERE:
            return super().get_command(ctx, cmd_name)
        module = importlib.import_module(f"fluxcloud.cli.{_ELSEWHERE[cmd_name]}")
        command: click.Command = getattr(module, f"{cmd_name}_command")
        return command


@click.group("app", cls=_AppGroup)
def app_command() -> None:
    """List, show, plan, change, delete apps."""


@app_command.command("list")
@click.option("--all", "show_all", is_flag=True, help="Apps of every owner, and deleted ones.")
@with_context
@verb
async def list_apps(show_all: bool, context_name: str | None, output: Output) -> None:
    """Your apps."""
    async with open_session(context_name) as session:
        rows = []
        for app_id, app in await session.chain.scan(APPS):
            if not show_all and (app.owner != session.wallet.address or app.status != "active"):
                continue
            view = await read_app(session.chain, app_id)
            rows.append(_summarise(view, session))
    cells = [(row["name"], row["status"], f"{row['running']}/{row['replicas']}", row["url"]) for row in rows]
    text = render_table(("APP", "STATUS", "RUNNING", "URL"), cells) if rows else "no apps; `fluxcloud deploy` makes one"
    output.data("app-list/1", {"apps": rows}, text)


def _summarise(view: AppView, session: Session) -> dict[str, Any]:
    running = sum(placement.phase == "running" for _, placement in view.list_active())
    return {
        "name": view.app.name,
        "id": render_app(view.id),
        "owner": render_address(Address(view.app.owner)),
        "status": view.app.status,
        "revision": view.app.revision,
        "replicas": sum(group.replicas for group in view.groups.values()),
        "running": running,
        "url": session.url(view.app.name),
    }


@app_command.command("show")
@click.argument("app")
@with_context
@verb
async def show_app(app: str, context_name: str | None, output: Output) -> None:
    """One app: where it serves from, its address, its copies."""
    async with open_session(context_name) as session:
        view = await find_view(session.chain, app)
        status = await session.chain.status()
        rows = build_rows(view, session, status.tick_ms)
        nodes = [NodeId(placement.node) for _, placement in view.list_active() if placement.phase == "running"]
        places = await session.describe_places(nodes)
    summary = _summarise(view, session)
    head = f"{view.app.name}  {view.app.status}, revision {view.app.revision}, {summary['url']}\n{places}"
    output.data("app/1", {**summary, "serving": places, "copies": rows}, f"{head}\n\n{render_rows(rows)}")


@app_command.command("explain")
@click.argument("app")
@with_context
@verb
async def explain_command(app: str, context_name: str | None, output: Output) -> None:
    """Why each copy is where it is, or why it is nowhere."""
    async with open_session(context_name) as session:
        explanation = await explain_app(session, app)
    output.data("app-explain/1", explanation, render_explanation(explanation))


@app_command.command("events")
@click.argument("app")
@click.option("--since", "from_height", type=click.IntRange(0), default=0, help="From this block on.")
@click.option("-f", "--follow", is_flag=True, help="Go on with new ones until Ctrl-C.")
@with_context
@verb
async def events_command(app: str, from_height: int, follow: bool, context_name: str | None, output: Output) -> None:
    """What happened to an app, oldest first."""
    async with open_session(context_name) as session:
        found = await find_app(session.chain, app)
        async for rows in collect_app_events(session, AppId(found.id), from_height, follow=follow):
            output.data("app-events/1", {"events": rows}, render_events(rows))


@app_command.command("delete")
@click.argument("app")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@with_context
@verb
async def delete_app(app: str, yes: bool, context_name: str | None, output: Output) -> None:
    """Stop an app's copies. It can be undone for 72 h."""
    async with open_session(context_name) as session:
        found = await find_app(session.chain, app)
        require_yes(f"This stops every copy of {found.name}.", found.name, yes=yes)
        await session.chain.submit((DeleteApp(app=found.id),), session.wallet)
    app_id = render_app(AppId(found.id))
    text = f"{found.name} is deleted; `fluxcloud app undelete {app_id}` brings it back within 72 h"
    output.data("app-delete/1", {"name": found.name, "id": app_id}, text)


@app_command.command("undelete")
@click.argument("app")
@with_context
@verb
async def undelete_app(app: str, context_name: str | None, output: Output) -> None:
    """Bring a deleted app back."""
    async with open_session(context_name) as session:
        found = await find_app(session.chain, app)
        await session.chain.submit((UndeleteApp(app=found.id),), session.wallet)
    output.data("app-undelete/1", {"name": found.name}, f"{found.name} is back; `fluxcloud ps {found.name}`")


@click.command("scale")
@click.argument("app")
@click.argument("replicas", type=click.IntRange(1, 100))
@click.option("--group", help="Which group, where the app has several.")
@with_context
@verb
async def scale_command(app: str, replicas: int, group: str | None, context_name: str | None, output: Output) -> None:
    """Change how many copies run."""
    async with open_session(context_name) as session:
        view = await find_view(session.chain, app)
        chosen = _choose_group(view, group)
        message = ScaleGroup(app=view.id, group=chosen, replicas=replicas)
        done = await session.chain.submit((message,), session.wallet)
        waiting = await explain_waiting(session, view.app.name, done.height)
    for line in waiting:
        output.progress(f"no node for {line}")
    if replicas < 3:
        output.progress(f"{replicas} of {chosen}: not redundant, a node's death is felt")
    body = {"app": view.app.name, "group": chosen, "replicas": replicas, "waiting": waiting}
    output.data("scale/1", body, f"{view.app.name}/{chosen} goes to {replicas}; `fluxcloud ps {view.app.name} --watch`")


def _choose_group(view: AppView, wanted: str | None) -> str:
    names = sorted(view.groups)
    if wanted is not None and wanted in view.groups:
        return wanted
    if wanted is None and len(names) == 1:
        return names[0]
    problem = f"no group {wanted!r}" if wanted else "which group?"
    raise CliError(problem, exit_code=USAGE, hints=tuple(f"--group {name}" for name in names))
