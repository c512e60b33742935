"""Blobs of images: pushed by the deployer, pulled by sibling nodes.

    HEAD /v1/blobs/<digest>      push or pull: 200 with Content-Length, or 404
    GET  /v1/blobs/<digest>      pull
    PUT  /v1/blobs/<digest>      push: 201 stored, 200 had it already

A push says its length; length and SHA-256 are checked while it streams, and what an app pushes here is bounded by its
spec's disk. Nothing of a push that fails is kept. Source: APPS.md 4 (images).
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from aiohttp import StreamReader, web

from ...capability import Action, parse_authorization
from ...ids import AppId, render_app
from ...images.errors import TooBig
from ...images.store import ContentStore, validate_digest
from .access import authorize
from .answers import BadRequest, NotHere, TooMany, answer_json
from .context import ApiContext

_log = logging.getLogger(__name__)

CHUNK_BYTES = 256 * 1024
CHUNK_TIMEOUT_S = 30.0
PUSHES_MAX = 8
ASSIGNMENT_WAIT_S = 5.0
"""A deployer may see its placement a block before this node does."""

ASSIGNMENT_POLL_S = 0.1


@dataclass(slots=True)
class _Pushed:
    """What an app has pushed to this node since it was first assigned here."""

    bytes: int = 0


class Blobs:
    """Handlers of blobs."""

    def __init__(self, context: ApiContext) -> None:
        self._context = context
        self._store: ContentStore = context.store
        self._pushed: dict[AppId, _Pushed] = {}
        self._pushes = 0

    def list_routes(self) -> list[web.RouteDef]:
        path = "/v1/blobs/{digest}"
        return [
            web.head(path, self.head_blob),
            web.get(path, self.get_blob, allow_head=False),
            web.put(path, self.put_blob),
        ]

    async def head_blob(self, request: web.Request) -> web.Response:
        header = request.headers.get("Authorization", "")
        action: Action = "push" if "push" in parse_authorization(header)[1].actions else "pull"
        await authorize(self._context, header, action)
        size = self._store.get_size(request.match_info["digest"])
        return web.Response(headers={"Content-Length": str(size)})

    async def get_blob(self, request: web.Request) -> web.FileResponse:
        await authorize(self._context, request.headers.get("Authorization", ""), "pull")
        digest = request.match_info["digest"]
        self._store.get_size(digest)
        headers = {"Content-Type": "application/octet-stream"}
        return web.FileResponse(self._store.path(digest), chunk_size=CHUNK_BYTES, headers=headers)

    async def put_blob(self, request: web.Request) -> web.Response:
        app = await self._authorize_push(request.headers.get("Authorization", ""))
        digest = request.match_info["digest"]
        validate_digest(digest)
        if self._store.has(digest):
            return answer_json({"digest": digest, "stored": False})
        size = request.content_length
        if size is None:
            raise BadRequest("Content-Length: needed, so that room can be checked before the first byte")
        if self._pushes >= PUSHES_MAX:
            raise TooMany(f"{PUSHES_MAX} pushes are under way; try again in a moment")
        self._pushes += 1
        try:
            await self._receive(request, app, digest, size)
        finally:
            self._pushes -= 1
        self._context.note_arrival()
        return answer_json({"digest": digest, "stored": True}, 201)

    async def _authorize_push(self, header: str) -> AppId:
        """As `authorize`; an app that was registered a moment ago is waited for. Raises as it does."""
        until_s = self._context.now_s() + ASSIGNMENT_WAIT_S
        while True:
            try:
                return await authorize(self._context, header, "push")
            except NotHere:
                if self._context.now_s() >= until_s:
                    raise
            await asyncio.sleep(ASSIGNMENT_POLL_S)

    async def _receive(self, request: web.Request, app: AppId, digest: str, size: int) -> None:
        room = await self._wait_for_room(app)
        pushed = self._pushed.setdefault(app, _Pushed())
        if pushed.bytes + size > room:
            left = max(0, room - pushed.bytes)
            raise TooBig(f"{digest}: {size} bytes; the disk of the app's spec leaves room for {left} more here")
        pushed.bytes += size
        try:
            with self._store.begin(digest=digest, size=size, size_max=room) as writer:
                while chunk := await _read_chunk(request.content):
                    writer.write(chunk)
                await asyncio.to_thread(writer.commit)
        except BaseException:
            pushed.bytes -= size
            raise
        _log.info("blob %s pushed, %d bytes", digest, size, extra={"fields": {"app": render_app(app)}})

    async def _wait_for_room(self, app: AppId) -> int:
        """What the app may push here in all; a new assignment is waited for. Raises NotHere (node/1)."""
        until_s = self._context.now_s() + ASSIGNMENT_WAIT_S
        while (room := self._context.get_push_bytes_max(app)) is None:
            if self._context.now_s() >= until_s:
                self._pushed.pop(app, None)
                raise NotHere("app: not assigned to this node, so nothing of it is stored here")
            await asyncio.sleep(ASSIGNMENT_POLL_S)
        return room


async def _read_chunk(content: StreamReader) -> bytes:
    """Raises TimeoutError where the sender pauses for too long."""
    async with asyncio.timeout(CHUNK_TIMEOUT_S):
        return await content.read(CHUNK_BYTES)
