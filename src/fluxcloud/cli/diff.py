"""`fluxcloud app diff SOURCE`: what a deploy would change of an app, and what restarts by it; nothing is sent."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import click

from ..errors import Rejected
from ..images.store import ContentStore
from ..ledger.apps.model import REVISIONS
from ..sdk.apps import AppNotFound, AppView, find_view
from ..sdk.bundle import Bundle
from .common import verb, with_context
from .output import Output
from .session import Session, open_session
from .source import Wishes, read_source, with_source
from .specdiff import SpecDiff, diff_specs


@click.command("diff")
@with_source
@with_context
@verb
async def diff_command(source: str, wishes: Wishes, context_name: str | None, output: Output) -> None:
    """What a deploy of SOURCE would change, field by field, and what restarts by it. Nothing is sent."""
    with tempfile.TemporaryDirectory(prefix="fluxcloud-diff-") as folder:
        bundle = await read_source(source, wishes, ContentStore(Path(folder)), output)
        async with open_session(context_name) as session:
            view = await _find_live(session, bundle.spec.name)
            diff = await _diff(session, view, bundle) if view is not None else None
    name = bundle.spec.name
    if view is None or diff is None:
        text = f"{name}: not on the ledger, so all of it is new\nnext  fluxcloud app plan {source}"
        output.data("app-diff/1", {"app": name, "new": True, "changed": True, "changes": [], "groups": []}, text)
        return
    body = {"app": name, "new": False, "revision": view.app.revision, **_describe(diff)}
    output.data("app-diff/1", body, _render(name, view.app.revision, diff, source))


async def _find_live(session: Session, name: str) -> AppView | None:
    try:
        view = await find_view(session.chain, name)
    except AppNotFound:
        return None
    return view if view.app.status == "active" else None


async def _diff(session: Session, view: AppView, bundle: Bundle) -> SpecDiff:
    revision = await session.chain.read(REVISIONS, (view.id, view.app.revision))
    if revision is None:
        raise Rejected(f"{view.app.name}: its revision changed while it was read", hint="try again")
    replicas = {name: group.replicas for name, group in view.groups.items()}
    return diff_specs(view.spec, bundle.spec, revision.images, bundle.images, replicas)


def _describe(diff: SpecDiff) -> dict[str, Any]:
    return {
        "changed": not diff.is_empty,
        "changes": [{"path": change.path, "before": change.before, "after": change.after} for change in diff.changes],
        "groups": [
            {"group": e.group, "effect": e.effect, "replicas": list(e.replicas), "text": e.text} for e in diff.effects
        ],
    }


def _render(name: str, revision: int, diff: SpecDiff, source: str) -> str:
    if diff.is_empty:
        return f"{name}: the same as revision {revision}; a deploy changes nothing"
    lines = [f"{name}: against revision {revision}", *(f"  {change}" for change in diff.changes)]
    lines += [f"{effect.group}: {effect.text}" for effect in diff.effects]
    return "\n".join((*lines, f"next  fluxcloud deploy {source}"))
