"""`fluxcloud app transfer`, `evict`, `export`, `sessions`: owner, place, spec and signatures."""

from __future__ import annotations

from pathlib import Path

import click

from ..ids import Address, AppId, NodeId, parse_address, render_address
from ..ledger.apps.messages import EvictInstance, RevokeSessions, TransferApp
from ..ledger.apps.model import APPS, Placement
from ..sdk.apps import AppView, find_app, find_view
from ..specfile.render import render_spec
from .common import require_yes, verb, with_context
from .output import CONFLICT, NOT_FOUND, USAGE, CliError, Output
from .session import open_session
from .spec import refuse_overwriting


@click.command("transfer")
@click.argument("app")
@click.argument("to")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@with_context
@verb
async def transfer_command(app: str, to: str, yes: bool, context_name: str | None, output: Output) -> None:
    """Make another account the owner of an app. Sessions given so far become void.

    TO is its address. Only the new owner can give the app back.
    """
    address = parse_address(to)
    async with open_session(context_name) as session:
        found = await find_app(session.chain, app)
        if found.owner == address:
            raise CliError(f"{found.name} belongs to {render_address(address)} already", exit_code=CONFLICT)
        require_yes(f"This gives {found.name} to {render_address(address)} for good.", found.name, yes=yes)
        await session.chain.submit((TransferApp(app=found.id, to=address),), session.wallet)
    body = {"app": found.name, "owner": render_address(address), "was": render_address(Address(found.owner))}
    text = f"{found.name} belongs to {render_address(address)}; its copies run on, its new owner deploys it from now on"
    output.data("app-transfer/1", body, text)


@click.command("evict")
@click.argument("app")
@click.argument("slot", type=click.IntRange(0))
@click.option("--group", help="Which group, where the app has several.")
@with_context
@verb
async def evict_command(app: str, slot: int, group: str | None, context_name: str | None, output: Output) -> None:
    """Move the copy of a slot off its node, which the group does not use again for a day.

    The new copy starts first. At most three times a slot and day.
    """
    async with open_session(context_name) as session:
        view = await find_view(session.chain, app)
        generation, placement = _find_slot(view, slot, group)
        await session.chain.submit((EvictInstance(app=view.id, generation=generation),), session.wallet)
        node = session.name_node(NodeId(placement.node))
    body = {"app": view.app.name, "group": placement.group, "slot": slot, "generation": generation, "node": node}
    text = f"{view.app.name}/{placement.group} slot {slot} leaves {node}; `fluxcloud ps {view.app.name} --watch`"
    output.data("app-evict/1", body, text)


def _find_slot(view: AppView, slot: int, group: str | None) -> tuple[int, Placement]:
    """The copy that holds the slot. Raises CliError (2) for a choice to be made, (4) where there is none."""
    found = [(g, p) for g, p in view.list_active() if p.slot == slot and group in (None, p.group)]
    if len(found) > 1:
        names = sorted(placement.group for _, placement in found)
        raise CliError("which group?", exit_code=USAGE, hints=tuple(f"--group {name}" for name in names))
    if not found:
        where = f"{view.app.name}/{group}" if group else view.app.name
        message = f"no copy holds slot {slot} of {where}"
        raise CliError(message, exit_code=NOT_FOUND, hints=(f"fluxcloud ps {view.app.name}",))
    return found[0]


@click.command("export")
@click.argument("app")
@click.option("-o", "--output", "target", type=click.Path(path_type=Path, dir_okay=False), help="Write to this file.")
@click.option("-y", "--yes", is_flag=True, help="Overwrite the file.")
@with_context
@verb
async def export_command(app: str, target: Path | None, yes: bool, context_name: str | None, output: Output) -> None:
    """The spec that the ledger holds, as a fluxcloud.yaml."""
    refuse_overwriting(target, yes=yes)
    async with open_session(context_name) as session:
        view = await find_view(session.chain, app)
    text = render_spec(view.spec)
    for name in _list_local_images(view):
        output.progress(
            f"{name} was an image on the deployer's machine: put a reference that you can deploy in its place"
        )
    if target is not None:
        target.write_text(text)
    body = {"app": view.app.name, "revision": view.app.revision, "spec": text}
    done = f"{target} is written; `fluxcloud app diff {target}` compares it" if target else text.rstrip()
    output.data("app-export/1", body, done)


def _list_local_images(view: AppView) -> list[str]:
    images = {component.image for group in view.spec.groups for component in group.components}
    return sorted(image for image in images if image.startswith((".", "/")) or image.endswith((".tar", ".tar.gz")))


@click.group("sessions")
def sessions_command() -> None:
    """What you have signed so that nodes let commands in."""


@sessions_command.command("revoke")
@click.argument("app")
@with_context
@verb
async def revoke_command(app: str, context_name: str | None, output: Output) -> None:
    """Make every session and capability given for an app so far void, on all machines."""
    async with open_session(context_name) as session:
        found = await find_app(session.chain, app)
        await session.chain.submit((RevokeSessions(app=found.id),), session.wallet)
        session.sessions.forget(AppId(found.id))
        now = await session.chain.read(APPS, AppId(found.id))
    epoch = now.session_epoch if now is not None else found.session_epoch + 1
    text = (
        f"every session of {found.name} given so far is void: nodes refuse them within 10 s; the next command that "
        "needs one signs another"
    )
    output.data("app-sessions-revoke/1", {"app": found.name, "session_epoch": epoch}, text)
