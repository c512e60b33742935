"""`fluxcloud node …`: list nodes, drain them; break and heal the local ones."""

from __future__ import annotations

from typing import Any

import click

from ..errors import Rejected
from ..ids import NodeId, parse_node, render_node
from ..ledger.nodes.messages import NodeDrain, NodeResume
from ..ledger.nodes.model import NODES, TIERS, Node
from ..ledger.params import MINIMAL
from ..sdk.wallet import Wallet
from ..specfile.words import parse_seconds
from .common import verb, with_context
from .context import find_data_dir
from .control import ask_control
from .layout import Layout
from .output import NOT_FOUND, CliError, Output, render_table
from .session import Session, open_session

HEADINGS = ("NODE", "STATE", "TIER", "WHERE", "CPU", "MEMORY", "COPIES", "ADDRESS", "NOTE")
DRAIN_DEFAULT = "1h"
DRAIN_MAX_S = MINIMAL.drain_ms_max // 1000


@click.group("node")
def node_command() -> None:
    """List nodes; drain them; break local ones on purpose."""


@node_command.command("list")
@with_context
@verb
async def list_nodes(context_name: str | None, output: Output) -> None:
    """Every node with its state, what it offers and what is reserved."""
    async with open_session(context_name) as session:
        nodes = [node for _, node in await session.chain.scan(NODES)]
        copies = await session.count_copies()
    rows = [_describe(session, node, copies.get(node.id, 0)) for node in nodes]
    rows.sort(key=lambda row: (len(row["node"]), row["node"]))
    output.data("node-list/1", {"nodes": rows}, render_table(HEADINGS, [_cells(row) for row in rows]))


def _describe(session: Session, node: Node, copies: int) -> dict[str, Any]:
    return {
        "node": session.name_node(NodeId(node.id)),
        "id": render_node(NodeId(node.id)),
        "state": node.state,
        "tier": TIERS[node.tier],
        "location": "-".join(part for part in (node.location.continent, node.location.country) if part),
        "capacity": {"mcpu": node.capacity.mcpu, "mem_mib": node.capacity.mem_mib, "disk_mib": node.capacity.disk_mib},
        "used": {"mcpu": node.used.mcpu, "mem_mib": node.used.mem_mib, "disk_mib": node.used.disk_mib},
        "copies": copies,
        "address": f"{node.endpoint.host}:{node.endpoint.api_port}",
        "isolation": node.isolation,
        "note": "cordoned" if node.cordoned else node.reason,
    }


def _cells(row: dict[str, Any]) -> tuple[object, ...]:
    used, capacity = row["used"], row["capacity"]
    return (
        *(row[key] for key in ("node", "state", "tier", "location")),
        f"{used['mcpu'] / 1000:g}/{capacity['mcpu'] / 1000:g}",
        f"{used['mem_mib'] / 1024:.1f}/{capacity['mem_mib'] / 1024:g} GiB",
        row["copies"],
        row["address"],
        row["note"],
    )


def _add_fault(kind: str, help_text: str, said: str) -> None:
    @node_command.command(kind, help=help_text)
    @click.argument("name")
    @verb
    async def break_node(name: str, output: Output) -> None:
        done = await ask_control(Layout(find_data_dir()).control, "fault", kind=kind, node=name)
        output.data("node-fault/1", done, f"{name} {said}; `fluxcloud ps --watch` shows what follows")

    del break_node


_add_fault("kill", "SIGKILL a local node: agent and copies at once.", "killed with all its copies")
_add_fault("stop", "SIGSTOP a local node: it hangs, nothing answers.", "hangs with all its copies")
_add_fault("cut", "Cut a local node off: its packets are dropped both ways (root).", "is cut off from everybody")


@node_command.command("start")
@click.argument("name")
@verb
async def start_node(name: str, output: Output) -> None:
    """Heal a local node: start it again, let it go on, or reconnect it."""
    done = await ask_control(Layout(find_data_dir()).control, "start", node=name)
    output.data("node-start/1", done, f"{name} is healed; it serves again once its panel has seen it")


@node_command.command("drain")
@click.argument("name")
@click.option(
    "--for", "duration", default=DRAIN_DEFAULT, show_default=True, help="At most 4h; then it is active again."
)
@with_context
@verb
async def drain_node(name: str, duration: str, context_name: str | None, output: Output) -> None:
    """Move everything off a node, start-first, before it is powered off."""
    try:
        seconds = parse_seconds(duration)
    except ValueError as error:
        raise CliError(f"--for: {error}", exit_code=2, hints=(f"--for {DRAIN_DEFAULT}",)) from None
    if not 0 < seconds <= DRAIN_MAX_S:
        raise CliError(f"--for: {duration} is not within 1s..4h", exit_code=2, hints=("--for 4h",))
    async with open_session(context_name) as session:
        node_id = await _find_node(session, name)
        status = await session.chain.status()
        message = NodeDrain(node=node_id, until_tick=status.tick_ms + seconds * 1000)
        await session.chain.submit((message,), _operator_wallet(session, name))
    text = f"{name} drains for {duration}; safe to power off once `fluxcloud node list` says drained"
    output.data("node-drain/1", {"node": name, "seconds": seconds}, text)


@node_command.command("resume")
@click.argument("name")
@with_context
@verb
async def resume_node(name: str, context_name: str | None, output: Output) -> None:
    """End a drain, or lift a cordon."""
    async with open_session(context_name) as session:
        node_id = await _find_node(session, name)
        await session.chain.submit((NodeResume(node=node_id),), _operator_wallet(session, name))
    output.data("node-resume/1", {"node": name}, f"{name} takes copies again")


async def _find_node(session: Session, name: str) -> NodeId:
    """By local name or id. Raises CliError (4)."""
    known = session.node_ids.get(name)
    try:
        return parse_node(known or name)
    except Rejected:
        message = f"no node {name!r}"
        raise CliError(message, exit_code=NOT_FOUND, hints=("fluxcloud node list",)) from None


def _operator_wallet(session: Session, name: str) -> Wallet:
    """A local network keeps its operators' keys; elsewhere the context's account has to be the operator."""
    if session.context.data and name in session.node_ids:
        number = list(session.node_ids).index(name) + 1
        return Wallet.load(session.layout.key(f"operator-{number}"))
    return session.wallet
