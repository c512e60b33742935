"""Status, live states of copies, figures and logs.

GET /v1/status                                    public
GET /v1/copies                                    copies
GET /v1/stats/<app>/<generation>/<component>      stats
GET /v1/logs/<app>/<generation>/<component>       logs: ?after=<cursor> &tail=<n> &follow=1, one JSON object a line
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing

import msgspec
from aiohttp import web

from ...capability import Action
from ...errors import FluxCloudError
from ..runtime.base import CopyKey, LogLine
from .access import authorize, parse_copy, parse_number
from .answers import BadRequest, NotHere, TooMany, answer_json
from .context import ApiContext

_log = logging.getLogger(__name__)

TAIL_MAX = 10_000
CURSOR_MAX = 256
FOLLOWERS_MAX = 64


class Copies:
    """Handlers of what is only read."""

    def __init__(self, context: ApiContext) -> None:
        self._context = context
        self._followers = 0

    def list_routes(self) -> list[web.RouteDef]:
        return [
            web.get("/v1/status", self.get_status),
            web.get("/v1/copies", self.get_copies),
            web.get("/v1/stats/{app}/{generation}/{component}", self.get_stats),
            web.get("/v1/logs/{app}/{generation}/{component}", self.get_logs),
        ]

    async def get_status(self, request: web.Request) -> web.Response:
        return answer_json(self._context.get_status())

    async def get_copies(self, request: web.Request) -> web.Response:
        app = await authorize(self._context, request.headers.get("Authorization", ""), "copies")
        return answer_json({"copies": self._context.list_copies(app)})

    async def get_stats(self, request: web.Request) -> web.Response:
        key, component = await find_component(self._context, request, "stats")
        return answer_json(msgspec.structs.asdict(await self._read_usage(key, component)))

    async def _read_usage(self, key: CopyKey, component: str) -> msgspec.Struct:
        usage = await self._context.runtime.get_usage(key, component)
        return _Usage(usage.cpu_ns, usage.memory_bytes, usage.pids, usage.disk_bytes)

    async def get_logs(self, request: web.Request) -> web.StreamResponse:
        key, component = await find_component(self._context, request, "logs")
        after = request.query.get("after", "")
        if len(after) > CURSOR_MAX:
            raise BadRequest(f"after: at most {CURSOR_MAX} characters")
        tail = request.query.get("tail")
        tail_lines = None if tail is None else parse_number(tail, "tail", TAIL_MAX)
        follow = request.query.get("follow") in ("1", "true")
        if follow and self._followers >= FOLLOWERS_MAX:
            raise TooMany(f"follow: {FOLLOWERS_MAX} log streams are open already")
        self._followers += follow
        try:
            return await self._stream_logs(request, key, component, after, tail_lines, follow)
        finally:
            self._followers -= follow

    async def _stream_logs(
        self, request: web.Request, key: CopyKey, component: str, after: str, tail: int | None, follow: bool
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson", "Cache-Control": "no-store"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        lines = self._context.runtime.read_logs(key, component, after=after, tail=tail, follow=follow)
        try:
            async with aclosing(lines) as stream:  # type: ignore[type-var]
                async for line in stream:
                    await response.write(render_line(line))
        except FluxCloudError as error:
            await response.write(msgspec.json.encode({"error": str(error)}) + b"\n")
        except (ConnectionError, asyncio.CancelledError):
            _log.debug("a reader of logs has gone")
            raise
        await response.write_eof()
        return response


class _Usage(msgspec.Struct):
    cpu_ns: int
    memory_bytes: int
    pids: int
    disk_bytes: int


def render_line(line: LogLine) -> bytes:
    """One JSON object; what is no UTF-8 is replaced, for JSON can't hold it."""
    text = line.text.decode("utf-8", "replace")
    fields = {"cursor": line.cursor, "time_ms": line.time_ms, "stream": line.stream, "text": text}
    return msgspec.json.encode(fields) + b"\n"


async def find_component(context: ApiContext, request: web.Request, action: Action) -> tuple[CopyKey, str]:
    """The copy and component of a path, once the caller may do this. Raises as `authorize`; NotHere (node/1)."""
    info = request.match_info
    app, key = parse_copy(info["app"], info["generation"])
    await authorize(context, request.headers.get("Authorization", ""), action, app)
    runs_as = context.find_copy(key)
    states = await context.runtime.observe()
    state = next((state for state in states if state.key == runs_as), None)
    if state is None:
        raise NotHere(f"copy {key.generation} of this app is not on this node")
    if all(part.name != info["component"] for part in state.components):
        names = ", ".join(part.name for part in state.components)
        raise NotHere(f"component {info['component'][:40]!r} is not in this copy; it has {names}")
    return runs_as, info["component"]
