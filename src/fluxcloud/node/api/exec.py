"""A command in a running component, over a WebSocket.

    GET /v1/exec/<app>/<generation>/<component>?arg=sh&arg=-c&arg=…[&tty=1]      exec

Binary messages begin with a byte. To the node: 0 input, 1 end of input, 2 the terminal's size (rows and columns, 2
bytes each, big endian). From the node: 1 output, 2 error output. Then one text message, `{"exit_code": n}` or
`{"error": …}`.
"""

from __future__ import annotations

import asyncio
import logging

import msgspec
from aiohttp import WSMsgType, web

from ...errors import FluxCloudError
from ..runtime.base import ExecStream
from .answers import BadRequest, TooMany
from .context import ApiContext
from .copies import find_component

_log = logging.getLogger(__name__)

SESSIONS_MAX = 16
ARGS_MAX = 64
ARG_CHARS_MAX = 4096
MESSAGE_BYTES_MAX = 64 * 1024
HEARTBEAT_S = 20.0

INPUT, END_OF_INPUT, RESIZE = 0, 1, 2
OUTPUT, ERROR_OUTPUT = b"\x01", b"\x02"


class Exec:
    """Handler of exec sessions."""

    def __init__(self, context: ApiContext) -> None:
        self._context = context
        self._sessions = 0

    def list_routes(self) -> list[web.RouteDef]:
        return [web.get("/v1/exec/{app}/{generation}/{component}", self.get_exec)]

    async def get_exec(self, request: web.Request) -> web.WebSocketResponse:
        key, component = await find_component(self._context, request, "exec")
        argv = tuple(request.query.getall("arg", []))
        if not 1 <= len(argv) <= ARGS_MAX or any(len(arg) > ARG_CHARS_MAX for arg in argv):
            raise BadRequest(f"arg: allowed are 1 to {ARGS_MAX} of at most {ARG_CHARS_MAX} characters")
        if self._sessions >= SESSIONS_MAX:
            raise TooMany(f"{SESSIONS_MAX} commands are running already")
        self._sessions += 1
        try:
            is_tty = request.query.get("tty") in ("1", "true")
            stream = await self._context.runtime.exec(key, component, argv, tty=is_tty)
            return await _serve(request, stream)
        finally:
            self._sessions -= 1


async def _serve(request: web.Request, stream: ExecStream) -> web.WebSocketResponse:
    socket = web.WebSocketResponse(heartbeat=HEARTBEAT_S, max_msg_size=MESSAGE_BYTES_MAX, compress=False)
    try:
        await socket.prepare(request)
        feed = asyncio.create_task(_feed_input(socket, stream))
        try:
            await _send_output(socket, stream)
        finally:
            feed.cancel()
            await asyncio.gather(feed, return_exceptions=True)
    finally:
        if stream.exit_code is None:
            await stream.kill()
    await socket.close()
    return socket


async def _send_output(socket: web.WebSocketResponse, stream: ExecStream) -> None:
    try:
        async for kind, chunk in stream.read():
            await socket.send_bytes((OUTPUT if kind == "out" else ERROR_OUTPUT) + chunk)
        end: dict[str, object] = {"exit_code": stream.exit_code}
    except FluxCloudError as error:
        end = {"error": str(error)}
    except ConnectionError:
        return  # the asker has gone; the command is killed
    if not socket.closed:
        await socket.send_str(msgspec.json.encode(end).decode())


async def _feed_input(socket: web.WebSocketResponse, stream: ExecStream) -> None:
    """Until the asker hangs up: then the command is killed, for nobody listens any more."""
    async for message in socket:
        if message.type is not WSMsgType.BINARY or not message.data:
            break
        kind, body = message.data[0], message.data[1:]
        if kind == INPUT:
            await stream.write(body)
        elif kind == END_OF_INPUT:
            await stream.close_input()
        elif kind == RESIZE and len(body) == 4:
            await stream.resize(int.from_bytes(body[:2], "big"), int.from_bytes(body[2:], "big"))
    if stream.exit_code is None:
        await stream.kill()
