"""`fluxcloud port-forward APP [LOCAL:]PORT`: a port of a copy as a port of this machine, through the node's own API.

It listens on 127.0.0.1 only. Each connection is a tunnel to one running copy; a copy that goes away is replaced by
another for the connections after it.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass

import aiohttp
import click

from ..errors import FluxCloudError
from ..ids import NodeId
from ..ledger.apps.spec import Port, Spec
from ..sdk.apps import AppView, find_view
from ..sdk.nodes import NodeClient
from ..sdk.tunnel import join
from .common import verb, with_context
from .copies import Copy, list_copies, open_node
from .output import CONFLICT, NOT_FOUND, CliError, Output
from .session import Session, open_session

HOST = "127.0.0.1"
CONNECTIONS_MAX = 64
COPIES_TRIED = 3


@dataclass(frozen=True, slots=True)
class Ports:
    """`local` 0 is any free one. `remote` is a number, or the name of a port in the spec."""

    local: int
    remote: str


class PortsParam(click.ParamType[Ports]):
    """`8080`, `9000:8080`, `9000:http`, `0:8080`, `http`."""

    name = "[LOCAL:]PORT"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Ports:
        local, colon, remote = str(value).rpartition(":")
        if not remote or (remote.isdecimal() and not 0 < int(remote) < 65_536):
            self.fail(f"{remote or value!r}: PORT is 1..65535, or the name of a port in the spec", param, ctx)
        if not colon:
            return Ports(int(remote) if remote.isdecimal() else 0, remote)
        if not local.isascii() or not local.isdecimal() or int(local) > 65_535:
            self.fail(f"{local!r}: LOCAL is 0..65535, 0 for any free port", param, ctx)
        return Ports(int(local), remote)


@click.command("port-forward")
@click.argument("app")
@click.argument("ports", type=PortsParam(), metavar="[LOCAL:]PORT")
@click.option("--slot", type=click.IntRange(0), help="Only this copy (default: any that runs).")
@click.option("--component", help="Only this component.")
@with_context
@verb
async def port_forward_command(
    app: str, ports: Ports, slot: int | None, component: str | None, context_name: str | None, output: Output
) -> None:
    """Reach a port of a copy, public or not, at 127.0.0.1:LOCAL until Ctrl-C."""
    async with open_session(context_name) as session, AsyncExitStack() as stack:
        forwarder = _Forwarder(session, app, ports.remote, slot, component, output)
        stack.push_async_callback(forwarder.close)
        await forwarder.choose()
        server = await _listen(forwarder, ports.local)
        stack.callback(server.close)
        address = f"{HOST}:{server.sockets[0].getsockname()[1]}"
        body = {"app": app, "address": address, "port": forwarder.port, "copy": forwarder.label}
        output.data("port-forward/1", body, f"{address} -> {forwarder.label} port {forwarder.port}; Ctrl-C ends it")
        await server.serve_forever()


async def _listen(forwarder: _Forwarder, local: int) -> asyncio.Server:
    try:
        return await asyncio.start_server(forwarder.carry, HOST, local)
    except OSError as error:
        hints = (f"fluxcloud port-forward {forwarder.app} 0:{forwarder.port}  takes any free port",)
        raise CliError(f"{HOST}:{local} can't be opened: {error.strerror}", exit_code=CONFLICT, hints=hints) from error


def find_ports(spec: Spec, remote: str, component: str | None) -> dict[tuple[str, str], Port]:
    """(group, component) -> its TCP port of this number or name. Raises CliError (4) naming those there are."""
    every = {
        (group.name, part.name, port.name): port
        for group in spec.groups
        for part in group.components
        for port in part.ports
        if port.protocol != "udp" and component in (None, part.name)
    }
    found = {key[:2]: port for key, port in every.items() if remote in (port.name, str(port.port))}
    if not found:
        hints = tuple(f"{port.port}  ({name})" for (_, _, name), port in every.items())
        where = f"component {component} of {spec.name}" if component else spec.name
        raise CliError(f"{where} has no TCP port {remote}", exit_code=NOT_FOUND, hints=hints)
    return found


@dataclass(frozen=True, slots=True)
class _Target:
    """A copy, and how its node is reached."""

    client: NodeClient
    generation: int


class _Forwarder:
    """Tunnels connections to one copy at a time. `choose` before anything else."""

    def __init__(
        self, session: Session, app: str, remote: str, slot: int | None, component: str | None, output: Output
    ) -> None:
        self.app = app
        self.port = 0
        self.label = ""
        self._session = session
        self._remote = remote
        self._filter = (slot, component)
        self._output = output
        self._target: _Target | None = None
        self._clients = AsyncExitStack()  # earlier ones carry their connections on
        self._lock = asyncio.Lock()
        self._connections = 0

    async def close(self) -> None:
        await self._clients.aclose()

    async def choose(self, avoid: int = -1) -> None:
        """A running copy that has the port; another one than that of generation `avoid`, where there is one.

        Raises AppNotFound, CliError (4).
        """
        view = await find_view(self._session.chain, self.app)
        ports = find_ports(view.spec, self._remote, self._filter[1])
        copies = [c for c in list_copies(view, *self._filter) if (c.placement.group, c.component) in ports]
        if not copies:
            hints = (f"fluxcloud ps {view.app.name}",)
            raise CliError(
                f"no running copy of {view.app.name} has port {self._remote}", exit_code=NOT_FOUND, hints=hints
            )
        copy = next((c for c in copies if c.generation != avoid), copies[0])
        await self._use(view, copy, ports[copy.placement.group, copy.component].port)

    async def _use(self, view: AppView, copy: Copy, port: int) -> None:
        node = await open_node(self._session, view, NodeId(copy.placement.node))
        client = await self._clients.enter_async_context(node)
        self._target, self.port, self.label = _Target(client, copy.generation), port, copy.label(self._session)

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, to its end."""
        if self._connections >= CONNECTIONS_MAX:
            self._output.progress(f"a connection was refused: {CONNECTIONS_MAX} are open")
            writer.transport.abort()
            return
        self._connections += 1
        try:
            socket = await self._open()
            try:
                await join(socket, reader, writer)
            finally:
                await socket.close()
        except FluxCloudError as error:
            self._output.progress(f"a connection failed: {error}")
        finally:
            writer.transport.abort()
            self._connections -= 1

    async def _open(self) -> aiohttp.ClientWebSocketResponse:
        """A tunnel; where the copy or its node is gone, to another copy. Raises what the last one said."""
        for tries_left in reversed(range(COPIES_TRIED)):
            target = self._target
            assert target is not None, "not chosen yet"
            try:
                return await target.client.open_forward(target.generation, self.port)
            except FluxCloudError as error:
                if not tries_left:
                    raise
                self._output.progress(f"{self.label}: {error}")
            async with self._lock:
                if self._target is target:  # no other connection has chosen meanwhile
                    await self.choose(avoid=target.generation)
        raise AssertionError("the last try raises")
