"""Debian's docker-registry on loopback, and pushing images into it."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from engines import require_engine
from fluxcloud.images.manifest import OCI_INDEX, OCI_MANIFEST, load_image
from fluxcloud.images.registry_auth import Credentials
from fluxcloud.images.store import ContentStore

from .supervisor import find_free_port

USER, PASSWORD = "me", "s3cret"
_HTPASSWD = "me:$2b$05$YyWEQW2nvsCt9cZd.rkvpedryz9/TrTi/CZ4TXRfXfMaBDmwzPUN2\n"
_START_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Daemon:
    """A running registry; `headers` are what it wants to see where it asks for a password."""

    port: int
    headers: dict[str, str]

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def push(self, store: ContentStore, digest: str, repository: str, tag: str) -> None:
        """Push an image that is in a store."""
        async with aiohttp.ClientSession(f"http://{self.host}/v2/{repository}/", headers=self.headers) as session:
            for blob in load_image(store, digest).list_blobs():
                await self._push_blob(session, store.path(blob.digest), blob.digest)
        await self.put_manifest(store.path(digest).read_bytes(), OCI_MANIFEST, repository, tag)

    async def put_manifest(self, raw: bytes, kind: str, repository: str, tag: str) -> None:
        async with (
            aiohttp.ClientSession(headers=self.headers) as session,
            session.put(
                f"http://{self.host}/v2/{repository}/manifests/{tag}", data=raw, headers={"Content-Type": kind}
            ) as response,
        ):
            assert response.status == 201, await response.text()

    async def put_index(self, raw: bytes, repository: str, tag: str) -> None:
        await self.put_manifest(raw, OCI_INDEX, repository, tag)

    async def _push_blob(self, session: aiohttp.ClientSession, path: Path, digest: str) -> None:
        async with session.post("blobs/uploads/") as response:
            assert response.status == 202, await response.text()
            location = response.headers["Location"]
        query = "&" if "?" in location else "?"
        async with session.put(f"{location}{query}digest={digest}", data=path.open("rb")) as response:
            assert response.status == 201, await response.text()


@asynccontextmanager
async def run_daemon(folder: Path, *, with_password: bool = False) -> AsyncIterator[Daemon]:
    """One on a free port; skips the test where it isn't installed."""
    program = require_engine("docker-registry")
    port = find_free_port()
    config = _write_config(folder, port, with_password=with_password)
    process = await asyncio.create_subprocess_exec(
        program, "serve", str(config), stdout=sys.stderr, stderr=sys.stderr, env={"OTEL_TRACES_EXPORTER": "none"}
    )
    try:
        await _wait_for(port, process)
        authorization = Credentials(USER, PASSWORD).render_basic()
        yield Daemon(port, {"Authorization": authorization} if with_password else {})
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


def _write_config(folder: Path, port: int, *, with_password: bool) -> Path:
    lines = [
        "version: 0.1",
        "log: {level: error, accesslog: {disabled: true}}",
        f"storage: {{filesystem: {{rootdirectory: {folder / 'blobs'}}}, delete: {{enabled: true}}}}",
        f"http: {{addr: '127.0.0.1:{port}'}}",
    ]
    if with_password:
        (folder / "htpasswd").write_text(_HTPASSWD)
        lines.append(f"auth: {{htpasswd: {{realm: test, path: {folder / 'htpasswd'}}}}}")
    config = folder / "registry.yml"
    config.write_text("\n".join(lines))
    return config


async def _wait_for(port: int, process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(_START_TIMEOUT_S):
        while True:
            assert process.returncode is None, "docker-registry has ended"
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
                continue
            writer.close()
            await writer.wait_closed()
            return
