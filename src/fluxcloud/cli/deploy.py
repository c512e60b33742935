"""`fluxcloud deploy SOURCE`: read what was given, show each slot's stage, end with an answer through the gateway."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

import click

from ..errors import FluxCloudError
from ..ids import NodeId
from ..images.store import ContentStore
from ..sdk.bundle import Bundle
from ..sdk.deploy import Deployment, Step
from .common import Seconds, verb, with_context
from .output import TIMEOUT, CliError, Output
from .session import Session, open_session
from .source import Wishes, read_source, with_source
from .visit import count_answers

ANSWER_TIMEOUT_S = 10.0
RECENT_BLOCKS = 2_000
"""How far back to look for why a slot waits."""


@click.command("deploy")
@with_source
@click.option("--timeout", "timeout_s", type=Seconds(1), default=180.0, show_default=True)
@click.option("--detach", is_flag=True, help="Return once the ledger has it; images are then not sent.")
@with_context
@verb
async def deploy_command(
    source: str, wishes: Wishes, timeout_s: float, detach: bool, context_name: str | None, output: Output
) -> None:
    """Run an app.

    SOURCE is a folder (fluxcloud.yaml, compose.yaml, index.html), an image archive (docker save, OCI layout), or the
    name of an image: of the Docker daemon here (docker:NAME), or of a registry.
    """
    with tempfile.TemporaryDirectory(prefix="fluxcloud-deploy-") as folder:
        bundle = await read_source(source, wishes, ContentStore(Path(folder)), output)
        async with open_session(context_name) as session:
            await deploy_bundle(session, bundle, output, timeout_s=timeout_s, detach=detach)


async def deploy_bundle(
    session: Session, bundle: Bundle, output: Output, *, timeout_s: float, detach: bool = False
) -> None:
    """Register, push, wait; print the result. Raises CliError (5) when time is over: the work goes on."""
    status = await session.chain.status()
    deployment = Deployment(session.chain, session.wallet, bundle, status.chain_id, get_signer=session.get_signer)
    for group in bundle.spec.groups:
        if group.replicas < 3:
            output.progress(f"{group.name}: {group.replicas} of it is not redundant; a node's death will be felt")
    began = time.monotonic()
    served_s = None
    try:
        async with asyncio.timeout(timeout_s):
            async for step in deployment.run():
                output.progress(_render_step(session, step, time.monotonic() - began))
                if step.kind == "accepted" and detach:
                    break
                if step.kind == "running":
                    served_s = await _wait_answers(session, bundle, began, output)
    except TimeoutError:
        hints = (f"fluxcloud ps {bundle.spec.name} --watch", "deploy the same again to go on sending its image")
        message = f"not running after {timeout_s:g} s; the work goes on"
        why = await _explain_stuck(session, deployment)
        raise CliError(message, exit_code=TIMEOUT, why=why, hints=hints) from None
    url = session.url(bundle.spec.name) if _has_http(bundle) else ""
    body = {"app": bundle.spec.name, "url": url, "served_s": served_s, "took_s": round(time.monotonic() - began, 2)}
    output.data("deploy/1", body, url or f"{bundle.spec.name} runs")


def _render_step(session: Session, step: Step, at_s: float) -> str:
    where = ""
    if step.kind == "copy":
        slot = f"slot {step.slot}" if step.slot >= 0 else "spare"
        where = f"{step.group} {slot} on {session.name_node(NodeId(step.node))}: "
    return f"{at_s:6.1f} s  {where}{step.text}"


def _has_http(bundle: Bundle) -> bool:
    ports = [port for group in bundle.spec.groups for component in group.components for port in component.ports]
    return any(port.public and port.protocol == "http" for port in ports)


async def _wait_answers(session: Session, bundle: Bundle, began: float, output: Output) -> float | None:
    """Ask the gateway until as many nodes have answered 200 as copies run (three at most)."""
    if not _has_http(bundle):
        return None
    wanted = min(3, bundle.spec.groups[0].replicas)
    nodes: set[str] = set()
    status = 0
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            while len(nodes) < wanted:
                status = await count_answers(session, bundle.spec.name, nodes)
                await asyncio.sleep(0.02)
    except TimeoutError:
        output.progress(
            f"        the gateway answers {status or 'nothing'} for /: {len(nodes)} of {wanted} nodes gave 200"
        )
        return None
    took = round(time.monotonic() - began, 2)
    output.progress(f"{took:6.1f} s  200 from {len(nodes)} nodes of different operators")
    return took


async def _explain_stuck(session: Session, deployment: Deployment) -> str:
    """What the nodes' own probes say of the copies that do not run."""
    if deployment.view is None:
        return ""
    from .copies import read_live
    from .explain import explain_waiting

    try:
        live = await read_live(session, deployment.view)
    except FluxCloudError as error:
        return str(error)
    parts = [f"{row['node']}: {row['stage']}" for row in live if row["stage"] not in ("", "running")]
    recent = (await session.chain.status()).height - RECENT_BLOCKS
    return "; ".join((*parts, *await explain_waiting(session, deployment.view.app.name, recent)))
