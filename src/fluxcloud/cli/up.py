"""`fluxcloud up`: a whole network on this machine, as child processes of this one.

Everything lives in one data directory; a lock keeps two `up` out of it. What an earlier `up` left behind (it was
killed) is ended first: daemons are started anew, copies are the agents' to start.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

import click

from ..errors import FluxCloudError
from . import creation
from . import layout as places
from .common import verb
from .context import find_data_dir
from .control import serve_control
from .deletion import delete_network
from .dockercopies import find_socket
from .layout import Layout, NetworkFile, load_network
from .localnet import LocalNetwork
from .output import CONFLICT, CliError, Output, as_cli_error, render_error
from .ports import find_free, find_owner, is_free
from .processes import end_leftovers

READY_TIMEOUT_S = 60.0
PORT_TRIES = 50


@click.command("up")
@click.option("--nodes", type=click.IntRange(1, places.NODES_MAX), default=5, show_default=True)
@click.option("--engine", type=click.Choice(["auto", "oci", "docker"]), default="auto", show_default=True)
@click.option("--proxy", type=click.Choice(["embedded", "haproxy"]), default="embedded", show_default=True)
@click.option("--consensus", type=click.Choice(["solo"]), default="solo", show_default=True)
@click.option("--port", type=click.IntRange(1, 65_535), default=places.GATEWAY_PORT, show_default=True, help="Gateway.")
@click.option("--gateways", type=click.IntRange(1, places.GATEWAYS_MAX), default=1, show_default=True)
@click.option("--no-demo", is_flag=True, help="Do not deploy the hello app.")
@click.option("--reset", is_flag=True, help="Begin anew: deletes the network that was here, apps included.")
@verb
async def up_command(
    nodes: int,
    gateways: int,
    engine: str,
    proxy: str,
    consensus: str,
    port: int,
    no_demo: bool,
    reset: bool,
    output: Output,
) -> None:
    """Start a network on this machine, or bring it back. Ctrl-C stops everything; the state stays."""
    begun_s = time.monotonic()
    layout = Layout(find_data_dir())
    layout.root.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _locked(layout):
        if end_leftovers(layout):
            output.progress("ended what an earlier `up` had left running")
        if reset:
            await delete_network(layout, output)
        network = _open_or_create(layout, Wanted(nodes, gateways, engine))
        local = LocalNetwork(layout, network, proxy, output)
        await _run(local, port, deploy_hello=not no_demo, begun_s=begun_s)


class _locked:
    """Holds the directory's lock. Raises CliError naming who has it."""

    def __init__(self, layout: Layout) -> None:
        self._path = layout.lock
        self._file: IO[str] | None = None

    def __enter__(self) -> None:
        self._file = self._path.open("a+")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.seek(0)
            holder = self._file.read().strip()
            message = f"a network already runs from {self._path.parent} (pid {holder})"
            hints = ("fluxcloud status", "fluxcloud down", "FLUXCLOUD_DATA=DIR fluxcloud up  (a second network)")
            raise CliError(message, exit_code=CONFLICT, hints=hints) from None
        self._file.truncate(0)
        self._file.write(str(os.getpid()))
        self._file.flush()

    def __exit__(self, *_: object) -> None:
        assert self._file is not None
        self._file.close()


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the command line asks of a network that has to be made; `auto` leaves the engine to us."""

    nodes: int
    gateways: int
    engine: str


def _open_or_create(layout: Layout, wanted: Wanted) -> NetworkFile:
    """The network of this directory, made where there is none. A half-made one is made anew."""
    if layout.network.exists():
        network = load_network(layout)
        if wanted.engine not in ("auto", network.engine):
            message = f"the network here runs copies with {network.engine}, not {wanted.engine}"
            hints = ("fluxcloud up --reset begins anew and loses what ran here", "FLUXCLOUD_DATA=DIR fluxcloud up")
            raise CliError(message, exit_code=CONFLICT, hints=hints)
        return network
    chosen = "oci" if wanted.engine == "auto" else wanted.engine
    if chosen == "docker":
        find_socket()
    plan = creation.Plan(wanted.nodes, wanted.gateways, creation.find_subnet(wanted.nodes), chosen)
    return creation.create_network(layout, plan)


async def _run(local: LocalNetwork, port: int, *, deploy_hello: bool, begun_s: float) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stopping.set)
    local.stopping = stopping
    chain_port = _choose_port("the ledger", places.CHAIN_PORT, local.output)
    gateway_ports: list[int] = []
    for name in local.network.gateways:
        gateway_ports.append(_choose_port(f"gateway {name}", max([port - 1, *gateway_ports]) + 1, local.output))
    server = await serve_control(local.layout.control, local.answer)
    try:
        await local.start(chain_port, gateway_ports)
        ready = asyncio.create_task(local.make_ready(deploy_hello=deploy_hello))
        stopped = asyncio.create_task(stopping.wait())
        await asyncio.wait({ready, stopped}, return_when=asyncio.FIRST_COMPLETED, timeout=READY_TIMEOUT_S)
        await _report(local, ready, stopped, begun_s)
        await stopped
    finally:
        server.close()
        await local.stop()
        with suppress(FileNotFoundError):
            local.layout.control.unlink()


async def _report(local: LocalNetwork, ready: asyncio.Task[None], stopped: asyncio.Task[bool], begun_s: float) -> None:
    """The first screen once everything is ready, or what is in the way; the network goes on either way."""
    if stopped.done():
        ready.cancel()
    elif not ready.done():
        local.problem = f"not ready after {READY_TIMEOUT_S:g} s; the logs are in {local.layout.root / 'logs'}"
        local.output.progress(local.problem)
    elif ready.exception() is not None:
        failure = _as_failure(ready.exception())
        local.problem = ": ".join(part for part in (str(failure), failure.why) if part)
        local.output.progress(f"not everything is ready\n{render_error(failure, color=local.output.color)}")
    else:
        local.output.progress(local.render_screen(time.monotonic() - begun_s))
    if not ready.done():
        ready.add_done_callback(lambda task: task.cancelled() or task.exception())


def _as_failure(error: BaseException | None) -> CliError:
    return as_cli_error(error) if isinstance(error, FluxCloudError) else CliError(f"unexpected: {error!r}")


def _choose_port(what: str, wanted: int, output: Output) -> int:
    if is_free("127.0.0.1", wanted):
        return wanted
    chosen = find_free("127.0.0.1", range(wanted + 1, wanted + PORT_TRIES))
    owner = find_owner(wanted) or "another process"
    if chosen is None:
        raise CliError(f"port {wanted} for {what} is taken by {owner}, and so are the next {PORT_TRIES}")
    output.progress(f"port {wanted} for {what} is taken by {owner}; using {chosen}")
    return chosen
