"""A registry over plain HTTP on loopback that serves what it was given, and misbehaves where a test tells it to."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

from fluxcloud.images.build import Entry, build_image
from fluxcloud.images.manifest import DOCKER_INDEX, OCI_INDEX, OCI_MANIFEST, Process, load_image
from fluxcloud.images.store import ContentStore, compute_digest

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

REPOSITORY = "team/app"


@dataclass
class FakeRegistry:
    """`manifests`: (content type, bytes) by tag or digest. `overrides`: a handler instead, by the path's end."""

    port: int = 0
    manifests: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    overrides: dict[str, Handler] = field(default_factory=dict)
    seen: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"127.0.0.1:{self.port}/{REPOSITORY}"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v2/{REPOSITORY}"

    def add_image(self, tmp: Path, content: bytes = b"hello", *, platform: str = "linux/amd64", tag: str = "1") -> str:
        """Make an image of one file and two layers' worth of blobs; its manifest's digest."""
        store = ContentStore(tmp / compute_digest(content + platform.encode())[7:19])
        digest = build_image(store, [Entry("app", content, executable=True)], Process(cmd=["/app"]), platform=platform)
        for blob in load_image(store, digest).list_blobs():
            self.blobs[blob.digest] = store.path(blob.digest).read_bytes()
        self.manifests[digest] = self.manifests[tag] = (OCI_MANIFEST, store.path(digest).read_bytes())
        return digest

    def add_index(self, images: dict[str, str], *, tag: str = "1", docker: bool = False) -> str:
        """An index of manifests by platform; its digest."""
        kind = DOCKER_INDEX if docker else OCI_INDEX
        entries = []
        for platform, digest in images.items():
            system, _, architecture = platform.partition("/")
            media_type, raw = self.manifests[digest]
            entry = {"mediaType": media_type, "digest": digest, "size": len(raw)}
            entries.append(entry | {"platform": {"os": system, "architecture": architecture}})
        raw = json.dumps({"schemaVersion": 2, "mediaType": kind, "manifests": entries}).encode()
        digest = compute_digest(raw)
        self.manifests[digest] = self.manifests[tag] = (kind, raw)
        return digest

    def list_layers(self, digest: str) -> list[str]:
        return [layer["digest"] for layer in json.loads(self.manifests[digest][1])["layers"]]

    def count(self, ending: str) -> int:
        return sum(path.endswith(ending) for path, _ in self.seen)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.seen.append((request.path, dict(request.headers)))
        for ending, override in self.overrides.items():
            if request.path.endswith(ending):
                return await override(request)
        return self.serve(request)

    def serve(self, request: web.Request) -> web.Response:
        """What an honest registry answers, ranges included."""
        kind, _, target = request.path.removeprefix(f"/v2/{REPOSITORY}/").partition("/")
        if kind == "manifests" and target in self.manifests:
            media_type, raw = self.manifests[target]
            return web.Response(
                body=raw, headers={"Content-Type": media_type, "Docker-Content-Digest": compute_digest(raw)}
            )
        if kind == "blobs" and target in self.blobs:
            raw = self.blobs[target]
            first = int(request.headers.get("Range", "bytes=0-")[6:-1])
            if not first:
                return web.Response(body=raw)
            headers = {"Content-Range": f"bytes {first}-{len(raw) - 1}/{len(raw)}"}
            return web.Response(status=206, body=raw[first:], headers=headers)
        errors = {"errors": [{"code": "MANIFEST_UNKNOWN", "message": "nothing here"}]}
        return web.json_response(errors, status=404)


@asynccontextmanager
async def run_registry(host: str = "127.0.0.1") -> AsyncIterator[FakeRegistry]:
    registry = FakeRegistry()
    async with serve(registry.handle, host) as port:
        registry.port = port
        yield registry


@asynccontextmanager
async def serve(handler: Handler, host: str = "127.0.0.1") -> AsyncIterator[int]:
    """A server on a port of its own."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, 0)
        await site.start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
