"""`fluxcloud logs` and `fluxcloud exec`: talking to the nodes that run an app's copies."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import aiohttp
import click

from ..errors import FluxCloudError, Rejected, Temporary
from ..ids import NodeId
from ..ledger.apps.model import Placement
from ..ledger.nodes.model import NODES
from ..sdk.apps import AppView, find_view
from ..sdk.nodes import NodeClient
from .common import verb, with_context
from .output import NOT_FOUND, UNREACHABLE, USAGE, CliError, Output
from .session import Session, open_session

RETRY_S = 1.0
REFRESH_S = 2.0
COPY_IS_GONE = "node/1"
INPUT, END_OF_INPUT, RESIZE = b"\x00", b"\x01", b"\x02"
OUTPUT, ERROR_OUTPUT = 1, 2


@dataclass(frozen=True, slots=True)
class Copy:
    generation: int
    placement: Placement
    component: str

    def label(self, session: Session) -> str:
        slot = f"{self.placement.group}/{self.placement.slot}" if self.placement.slot >= 0 else self.placement.group
        return f"{slot}/{self.component}@{session.name_node(NodeId(self.placement.node))}"


def list_copies(view: AppView, slot: int | None, component: str | None) -> list[Copy]:
    """The components of the copies that run, filtered. Raises CliError (4) where none is left."""
    groups = {group.name: group for group in view.spec.groups}
    copies = [
        Copy(generation, placement, part.name)
        for generation, placement in sorted(view.placements.items())
        if placement.phase == "running" and (slot is None or slot in (placement.slot, placement.backs))
        for part in groups[placement.group].components
        if component is None or part.name == component
    ]
    if not copies:
        raise _build_no_copy(view)
    return copies


def _build_no_copy(view: AppView) -> CliError:
    names = sorted({part.name for group in view.spec.groups for part in group.components})
    message = f"no running copy of {view.app.name} matches; its components are {', '.join(names)}"
    return CliError(message, exit_code=NOT_FOUND, hints=(f"fluxcloud ps {view.app.name}",))


async def open_node(session: Session, view: AppView, node_id: NodeId) -> NodeClient:
    node = await session.chain.read(NODES, node_id)
    if node is None:
        raise CliError(f"node {session.name_node(node_id)} is not on the ledger any more", exit_code=NOT_FOUND)
    status = await session.chain.status()
    return NodeClient(status.chain_id, node, view.app, session.get_signer(view.app))


async def read_live(session: Session, view: AppView) -> list[dict[str, Any]]:
    """What the nodes themselves say of their copies now; a node that can't be reached says so in its row."""
    rows: list[dict[str, Any]] = []
    for node in sorted({placement.node for placement in view.placements.values()}):
        name = session.name_node(NodeId(node))
        try:
            async with await open_node(session, view, NodeId(node)) as client:
                rows += [{"node": name, **row} for row in await client.list_copies()]
        except FluxCloudError as error:
            rows.append({"node": name, "stage": str(error)})
    return rows


# --- logs -----------------------------------------------------------------------------------------------------------


@click.command("logs")
@click.argument("app")
@click.option("-f", "--follow", is_flag=True, help="Go on with new lines; a copy that is replaced is followed too.")
@click.option("--tail", type=click.IntRange(0, 10_000), default=100, show_default=True, help="Lines of each copy.")
@click.option("--slot", type=click.IntRange(0), help="Only this slot.")
@click.option("--component", help="Only this component.")
@with_context
@verb
async def logs_command(
    app: str,
    follow: bool,
    tail: int,
    slot: int | None,
    component: str | None,
    context_name: str | None,
    output: Output,
) -> None:
    """What copies wrote."""
    async with open_session(context_name) as session:
        reader = _LogReader(session, app, output, tail=tail, slot=slot, component=component)
        await (reader.follow() if follow else reader.show())


class _LogReader:
    """Reads several copies at once; with `follow`, copies that come later join and a broken stream resumes."""

    def __init__(
        self, session: Session, app: str, output: Output, *, tail: int, slot: int | None, component: str | None
    ) -> None:
        self._session = session
        self._app = app
        self._output = output
        self._tail = tail
        self._filter = (slot, component)
        self._streams: dict[tuple[int, str], asyncio.Task[None]] = {}

    async def show(self) -> None:
        view = await self._read()
        copies = list_copies(view, *self._filter)
        unreachable = gone = 0
        for copy in copies:
            try:
                async for line in self._lines(view, copy, "", follow=False):
                    self._print(copy, line)
            except Temporary as error:
                unreachable += 1
                self._output.progress(f"{copy.label(self._session)}: {error}")
            except Rejected as error:
                if error.code != COPY_IS_GONE:
                    raise
                gone += 1  # since the ledger was read, or the ledger will hear of it soon
        if gone == len(copies):
            raise _build_no_copy(view)
        if unreachable and unreachable + gone == len(copies):
            raise CliError("no node that runs a copy could be reached", exit_code=UNREACHABLE)

    async def follow(self) -> None:
        try:
            while True:
                view = await self._read()
                for copy in list_copies(view, *self._filter) if not self._streams else self._list_or_none(view):
                    key = (copy.generation, copy.component)
                    if key not in self._streams:
                        self._streams[key] = asyncio.create_task(self._follow_one(view, copy))
                await asyncio.sleep(REFRESH_S)
        finally:
            for task in self._streams.values():
                task.cancel()
            await asyncio.gather(*self._streams.values(), return_exceptions=True)

    def _list_or_none(self, view: AppView) -> list[Copy]:
        try:
            return list_copies(view, *self._filter)
        except CliError:
            return []

    async def _read(self) -> AppView:
        return await find_view(self._session.chain, self._app)

    async def _follow_one(self, view: AppView, copy: Copy) -> None:
        after = ""
        while True:
            try:
                async for line in self._lines(view, copy, after, follow=True):
                    after = line["cursor"]
                    self._print(copy, line)
                return  # the copy is gone
            except Temporary as error:
                self._output.progress(f"{copy.label(self._session)}: {error}; trying again")
            except FluxCloudError as error:
                self._output.progress(f"{copy.label(self._session)}: {error}")
                return
            await asyncio.sleep(RETRY_S)

    async def _lines(self, view: AppView, copy: Copy, after: str, *, follow: bool) -> AsyncIterator[dict[str, Any]]:
        async with await open_node(self._session, view, NodeId(copy.placement.node)) as client:
            tail = None if after else self._tail
            async for line in client.read_logs(copy.generation, copy.component, after=after, tail=tail, follow=follow):
                yield line

    def _print(self, copy: Copy, line: dict[str, Any]) -> None:
        label = copy.label(self._session)
        body = {"copy": label, "generation": copy.generation, **line}
        self._output.data("log-line/1", body, f"{label}  {line['text']}")
        if not line["text"] and not self._output.as_json:
            click.echo(label)


# --- exec -----------------------------------------------------------------------------------------------------------


class _ExecCommand(click.Command):
    """Takes its own options before or right after APP; from the command's first word on everything is the command's.

    `--` may stand before the command.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        app = self._count_own_options(args)
        if app < len(args) and not args[app].startswith("-"):
            end = app + 1 + self._count_own_options(args[app + 1 :])
            command = args[end + 1 :] if args[end : end + 1] == ["--"] else args[end:]
            args = [*args[:app], *args[app + 1 : end], args[app], *command]
        return super().parse_args(ctx, args)

    def _count_own_options(self, args: list[str]) -> int:
        options = {name: param for param in self.params for name in param.opts if isinstance(param, click.Option)}
        count = 0
        while count < len(args) and (option := options.get(args[count].partition("=")[0])) is not None:
            has_value_apart = not (isinstance(option, click.Option) and option.is_flag) and "=" not in args[count]
            count += 2 if has_value_apart else 1
        return count


@click.command("exec", cls=_ExecCommand, context_settings={"allow_interspersed_args": False})
@click.argument("app")
@click.argument("command", nargs=-1, required=True)
@click.option("--slot", type=click.IntRange(0), default=None, help="Which copy (default: the first that runs).")
@click.option("--component", help="Which component, where a copy has several.")
@click.option("-t", "--tty", is_flag=True, help="Give it a terminal.")
@with_context
@verb
async def exec_command(
    app: str,
    command: tuple[str, ...],
    slot: int | None,
    component: str | None,
    tty: bool,
    context_name: str | None,
    output: Output,
) -> None:
    """Run a command inside a copy; its exit code is this command's."""
    async with open_session(context_name) as session:
        view = await find_view(session.chain, app)
        copies = list_copies(view, slot, component)
        if len({copy.component for copy in copies}) > 1:
            names = sorted({copy.component for copy in copies})
            raise CliError("which component?", exit_code=USAGE, hints=tuple(f"--component {name}" for name in names))
        copy = copies[0]
        async with await open_node(session, view, NodeId(copy.placement.node)) as client:
            socket = await client.open_exec(copy.generation, copy.component, command, tty=tty)
            code = await _attach(socket, tty=tty and sys.stdin.isatty())
    raise SystemExit(code)


async def _attach(socket: aiohttp.ClientWebSocketResponse, *, tty: bool) -> int:
    """Join this terminal and the command until it ends; its exit code."""
    with _raw_terminal() if tty else nullcontext():
        if tty:
            size = os.get_terminal_size()
            await socket.send_bytes(RESIZE + size.lines.to_bytes(2, "big") + size.columns.to_bytes(2, "big"))
        feed = asyncio.create_task(_feed(socket))
        try:
            return await _receive(socket)
        finally:
            feed.cancel()
            await asyncio.gather(feed, return_exceptions=True)
            await socket.close()


async def _receive(socket: aiohttp.ClientWebSocketResponse) -> int:
    async for message in socket:
        if message.type is aiohttp.WSMsgType.BINARY and message.data:
            stream = sys.stdout.buffer if message.data[0] == OUTPUT else sys.stderr.buffer
            stream.write(message.data[1:])
            stream.flush()
        elif message.type is aiohttp.WSMsgType.TEXT:
            end = message.json()
            if "error" in end:
                raise CliError(end["error"])
            return int(end["exit_code"])
    raise CliError("the node went away before the command ended", exit_code=UNREACHABLE)


async def _feed(socket: aiohttp.ClientWebSocketResponse) -> None:
    """Send what is typed (or piped) until its end. Reading stays in the loop, so that it can be cancelled."""
    if sys.stdin is not None and _can_be_polled(sys.stdin.fileno()):
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while chunk := await reader.read(32_768):
            await socket.send_bytes(INPUT + chunk)
    elif sys.stdin is not None:
        for chunk in iter(lambda: os.read(0, 32_768), b""):
            await socket.send_bytes(INPUT + chunk)
    await socket.send_bytes(END_OF_INPUT)


def _can_be_polled(descriptor: int) -> bool:
    """Not a file, nor a device like /dev/null: those are always ready, and the loop can't watch them."""
    mode = os.fstat(descriptor).st_mode
    return os.isatty(descriptor) or stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


class _raw_terminal:
    """The terminal passes every key on while this is open."""

    def __enter__(self) -> None:
        import termios
        import tty

        self._saved = termios.tcgetattr(0)
        tty.setraw(0)

    def __exit__(self, *_: object) -> None:
        import termios

        termios.tcsetattr(0, termios.TCSADRAIN, self._saved)
