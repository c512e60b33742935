"""`fluxcloud network …`: the network as a whole."""

from __future__ import annotations

from collections import Counter

import click

from ..ledger.apps.model import APPS
from ..ledger.liveness.model import CASES
from ..ledger.nodes.model import NODES
from .common import verb, with_context
from .output import Output
from .session import open_session

HALTED_AFTER_MS = 5_000


@click.group("network")
def network_command() -> None:
    """The network as a whole."""


@network_command.command("status")
@with_context
@verb
async def network_status(context_name: str | None, output: Output) -> None:
    """Is the ledger moving, who is up, what is in doubt."""
    async with open_session(context_name) as session:
        status = await session.chain.status()
        nodes = [node for _, node in await session.chain.scan(NODES)]
        apps = [app for _, app in await session.chain.scan(APPS) if app.status == "active"]
        doubts = [await session.explain_case(target) for target, _ in await session.chain.scan(CASES)]
    states = dict(sorted(Counter(node.state for node in nodes).items()))
    halted = status.lag_ms > HALTED_AFTER_MS
    body = {
        **{"chain_id": status.chain_id, "engine": status.engine, "height": status.height, "lag_ms": status.lag_ms},
        **{"halted": halted, "nodes": states, "apps": len(apps), "doubts": doubts},
    }
    lines = [
        f"ledger  {status.chain_id}, {status.engine}, block {status.height}, {status.lag_ms} ms old",
        f"nodes   {len(nodes)}: {', '.join(f'{count} {state}' for state, count in states.items())}",
        f"apps    {len(apps)} active",
        *(f"doubt   {doubt}" for doubt in doubts),
    ]
    if halted:
        lines.append("The ledger stands still: running apps go on, nothing is placed or billed meanwhile.")
    output.data("network-status/1", body, "\n".join(lines))
