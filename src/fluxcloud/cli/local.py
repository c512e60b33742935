"""`fluxcloud down`, `status`, `version`: the local network as a set of processes."""

from __future__ import annotations

import asyncio
import platform
import time
from typing import Any

import click

from .. import __version__
from ..node.runtime.procs import observe_ref
from .common import Seconds, verb
from .context import find_data_dir
from .control import ask_control
from .layout import Layout
from .output import TIMEOUT, CliError, Output, render_age, render_table
from .processes import end_leftovers, wait_ended


@click.command("down")
@click.option("--delete", is_flag=True, help="Delete the network then: its ledger, keys, apps and their data.")
@verb
async def down_command(delete: bool, output: Output) -> None:
    """Stop the network that `up` started, copies included; its state stays and `up` brings it back."""
    layout = Layout(find_data_dir())
    try:
        supervisor = observe_ref((await ask_control(layout.control, "status"))["supervisor_pid"])
        await ask_control(layout.control, "down")
        await asyncio.to_thread(wait_ended, supervisor)
    except CliError:
        ended = end_leftovers(layout)
        if not ended and not (delete and layout.network.exists()):
            raise
        if ended:
            output.progress(f"ended {ended} processes that an earlier `up` had left")
    if delete:
        from .deletion import delete_network

        await delete_network(layout, output)
    told = "stopped and deleted" if delete else "stopped; `fluxcloud up` brings it back"
    output.data("down/1", {"stopped": True, "deleted": delete}, told)


@click.command("status")
@click.option("--wait", "wait_s", type=Seconds(0), default=0.0, help="Wait so many seconds until the network is ready.")
@verb
async def status_command(wait_s: float, output: Output) -> None:
    """What runs here, and as whom commands act."""
    layout = Layout(find_data_dir())
    status = await _wait_ready(layout, wait_s) if wait_s else await ask_control(layout.control, "status")
    output.data("status/1", status, _render(status))


async def _wait_ready(layout: Layout, wait_s: float) -> dict[str, Any]:
    deadline = time.monotonic() + wait_s
    while True:
        try:
            status = await ask_control(layout.control, "status")
            if status["ready"]:
                return status
            problem = status.get("problem") or "still starting"
        except CliError as error:
            problem = str(error)
        if time.monotonic() > deadline:
            hints = (f"read the logs in {layout.root / 'logs'}", "fluxcloud doctor")
            raise CliError(f"not ready after {wait_s:g} s: {problem}", exit_code=TIMEOUT, hints=hints)
        await asyncio.sleep(0.05)


def _render(status: dict[str, Any]) -> str:
    rows = [
        (
            child["name"],
            child["state"],
            child["pid"] or "-",
            child["restarts"],
            render_age(child["up_s"]) if child["pid"] else "-",
        )
        for child in status["processes"]
    ]
    head = f"{'ready' if status['ready'] else 'starting'}, data in {status['data']}, account {status['account']}"
    return head + "\n" + render_table(("PROCESS", "STATE", "PID", "RESTARTS", "UP"), rows)


@click.command("version")
@verb
async def version_command(output: Output) -> None:
    """Versions of this program and what it runs on."""
    python = platform.python_version()
    body = {"version": __version__, "python": python, "system": platform.platform()}
    output.data("version/1", body, f"fluxcloud {__version__}\npython    {python}\nsystem    {platform.platform()}")
