"""The calls of the Docker Engine API that this runtime makes, one method each, typed."""

from __future__ import annotations

import json
from collections.abc import AsyncIterable, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any

import aiohttp
import msgspec

from ....errors import Temporary
from .answers import Container, Created, Exec, Image, Info, Network, Progress, Stats, Summary
from .transport import CALL_S, Conflict, NotFound, Transport, make_disk_full

LOOK_S = 10.0
START_S = 60.0
LOAD_S = 1_800.0
REMOVE_S = 60.0
_IDLE_S = 120.0
_NONE = type(None)
Filters = Mapping[str, list[str]]


class DockerApi:
    """See the Engine's own reference for what each call does. Raises what `Transport` raises."""

    def __init__(self, socket: str) -> None:
        self.transport = Transport(socket)
        self._call = self.transport.call

    async def open(self) -> None:
        await self.transport.open()

    async def close(self) -> None:
        await self.transport.close()

    async def info(self) -> Info:
        return await self._call("GET", "/info", Info)

    # -- containers

    async def list_containers(self, filters: Filters) -> list[Summary]:
        params = {"all": "1", "filters": json.dumps(filters)}
        return await self._call("GET", "/containers/json", list[Summary], params=params, timeout_s=LOOK_S)

    async def inspect(self, container: str, *, size: bool = False) -> Container:
        """With `size` the engine walks the writable layer."""
        params, timeout_s = ({"size": "1"}, CALL_S) if size else (None, LOOK_S)
        path = f"/containers/{container}/json"
        return await self._call("GET", path, Container, params=params, timeout_s=timeout_s)

    async def create(self, name: str, body: dict[str, Any]) -> str:
        found = await self._call("POST", "/containers/create", Created, params={"name": name}, body=body)
        return found.id

    async def put_files(self, container: str, archive: bytes) -> None:
        """Unpack a tar archive into a container's root; no folder is replaced by a file."""
        params = {"path": "/", "noOverwriteDirNonDir": "true"}
        await self._call("PUT", f"/containers/{container}/archive", _NONE, params=params, data=archive)

    async def commit(self, container: str, repository: str, tag: str) -> str:
        params = {"container": container, "repo": repository, "tag": tag, "pause": "0"}
        return (await self._call("POST", "/commit", Created, params=params, timeout_s=START_S)).id

    async def start(self, container: str) -> None:
        await self._call("POST", f"/containers/{container}/start", _NONE, timeout_s=START_S)

    async def kill(self, container: str, signal: str) -> bool:
        """False when it does not run."""
        try:
            await self._call("POST", f"/containers/{container}/kill", _NONE, params={"signal": signal})
        except (Conflict, NotFound):
            return False
        return True

    async def pause(self, container: str) -> None:
        await self._call("POST", f"/containers/{container}/pause", _NONE)

    async def unpause(self, container: str) -> None:
        await self._call("POST", f"/containers/{container}/unpause", _NONE)

    async def wait_ended(self, container: str, timeout_s: float) -> bool:
        """Whether it has ended in that time; one that is gone has."""
        timeout = aiohttp.ClientTimeout(total=timeout_s)
        params = {"condition": "not-running"}
        try:
            async with self.transport.stream(
                "POST", f"/containers/{container}/wait", params=params, timeout=timeout
            ) as response:
                await response.read()
        except NotFound:
            return True
        except Temporary as error:
            if isinstance(error.__cause__, TimeoutError):
                return False
            raise
        return True

    async def remove(self, container: str) -> None:
        """Kill and delete it with its writable layer and unnamed volumes. No-op when it is gone."""
        params = {"force": "1", "v": "1"}
        with suppress(NotFound):
            await self._call("DELETE", f"/containers/{container}", _NONE, params=params, timeout_s=REMOVE_S)

    async def stats(self, container: str) -> Stats:
        params = {"stream": "0", "one-shot": "1"}
        return await self._call("GET", f"/containers/{container}/stats", Stats, params=params)

    # -- streams

    def logs(self, container: str, params: Mapping[str, str]) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """A context with the answer whose content is frames (see frames.py)."""
        following = params.get("follow") == "1"
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CALL_S, sock_read=None if following else _IDLE_S)
        return self.transport.stream("GET", f"/containers/{container}/logs", params=params, timeout=timeout)

    def events(self, filters: Filters, since_ns: int) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """A context with the answer whose content is lines of events, from `since_ns` (0: from now) for ever."""
        params = {"filters": json.dumps(filters)}
        if since_ns:
            params["since"] = f"{since_ns // 1_000_000_000}.{since_ns % 1_000_000_000:09d}"
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CALL_S)
        return self.transport.stream("GET", "/events", params=params, timeout=timeout)

    # -- commands in containers

    async def create_exec(self, container: str, body: dict[str, Any]) -> str:
        return (await self._call("POST", f"/containers/{container}/exec", Created, body=body)).id

    async def inspect_exec(self, command: str) -> Exec:
        return await self._call("GET", f"/exec/{command}/json", Exec)

    async def resize_exec(self, command: str, rows: int, columns: int) -> None:
        await self._call("POST", f"/exec/{command}/resize", _NONE, params={"h": str(rows), "w": str(columns)})

    # -- images

    async def inspect_image(self, name: str) -> Image | None:
        try:
            return await self._call("GET", f"/images/{name}/json", Image)
        except NotFound:
            return None

    async def list_images(self, filters: Filters) -> list[Image]:
        return await self._call("GET", "/images/json", list[Image], params={"filters": json.dumps(filters)})

    async def load_image(self, archive: AsyncIterable[bytes]) -> None:
        """A `docker save` archive. Raises Temporary also for what the engine finds wrong while it reads."""
        timeout = aiohttp.ClientTimeout(total=LOAD_S, sock_connect=CALL_S)
        async with self.transport.stream(
            "POST", "/images/load", params={"quiet": "1"}, data=archive, timeout=timeout
        ) as response:
            lines = (await response.read()).splitlines()
        for line in filter(None, lines):
            error = msgspec.json.decode(line, type=Progress).error
            if "no space left on device" in error:
                raise make_disk_full(error)
            if error:
                raise Temporary(f"Docker did not load an image: {error}")

    async def tag_image(self, image: str, repository: str, tag: str) -> None:
        await self._call("POST", f"/images/{image}/tag", _NONE, params={"repo": repository, "tag": tag})

    async def remove_image(self, name: str) -> bool:
        """Take the name away, and the image with its last name. False while containers need it."""
        try:
            await self._call("DELETE", f"/images/{name}", _NONE, timeout_s=REMOVE_S)
        except NotFound:
            return True
        except Conflict:
            return False
        return True

    # -- networks

    async def list_networks(self, filters: Filters) -> list[Network]:
        return await self._call("GET", "/networks", list[Network], params={"filters": json.dumps(filters)})

    async def create_network(self, body: dict[str, Any]) -> None:
        await self._call("POST", "/networks/create", _NONE, body=body)

    async def remove_network(self, name: str) -> None:
        """No-op when it is gone. Raises Permanent while a container is in it."""
        with suppress(NotFound):
            await self._call("DELETE", f"/networks/{name}", _NONE)
