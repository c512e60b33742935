"""`fluxcloud open APP`: an app's address, in a browser where this machine has one."""

from __future__ import annotations

import os
import shutil
import subprocess

import click

from ..sdk.apps import AppView, find_view
from .common import verb, with_context
from .output import CONFLICT, CliError, Output
from .session import open_session

BROWSABLE = ("http", "https")


@click.command("open")
@click.argument("app")
@click.option("--print", "only_print", is_flag=True, help="Print the address, open nothing.")
@with_context
@verb
async def open_command(app: str, only_print: bool, context_name: str | None, output: Output) -> None:
    """Open an app in a browser, or print its address where there is none."""
    async with open_session(context_name) as session:
        view = await find_view(session.chain, app)
        _require_page(view)
        url = session.url(view.app.name)
    is_opened = not only_print and _open_browser(url)
    output.data("open/1", {"app": view.app.name, "url": url, "opened": is_opened}, url)


def _require_page(view: AppView) -> None:
    name = view.app.name
    if view.app.status != "active":
        raise CliError(f"{name} is deleted", exit_code=CONFLICT, hints=(f"fluxcloud app undelete {name}",))
    ports = [port for group in view.spec.groups for component in group.components for port in component.ports]
    if not any(port.public and port.protocol in BROWSABLE for port in ports):
        numbers = [str(port.port) for port in ports if port.protocol != "udp"]
        hints = tuple(f"fluxcloud port-forward {name} {number}" for number in numbers[:3])
        raise CliError(f"{name} has no public HTTP port", exit_code=CONFLICT, hints=hints)


def _open_browser(url: str) -> bool:
    """Hand the address to the desktop and do not wait for it."""
    program = shutil.which("xdg-open")
    if program is None or not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return False
    nothing = subprocess.DEVNULL
    subprocess.Popen([program, url], stdin=nothing, stdout=nothing, stderr=nothing, start_new_session=True)
    return True
