"""Images of a Docker (or Podman) daemon on this machine, by its Engine API over its socket; no `docker` program needed.

Only two questions are asked: whether the daemon has an image of this name, and for its archive, which is streamed to a
file. Source: the Engine API's reference (ImageInspect, ImageGet).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO
from urllib.parse import quote

import aiohttp
import msgspec
from yarl import URL

from ..errors import Permanent, Temporary
from ..images.reference import parse_reference

CONNECT_TIMEOUT_S = 3.0
READ_TIMEOUT_S = 60.0
CHUNK_BYTES = 256 * 1024
_ANSWER_BYTES_MAX = 4 << 20
_ERROR_CHARS_MAX = 300


def list_sockets(environment: Mapping[str, str]) -> Iterator[Path]:
    """Where a daemon's socket may be: DOCKER_HOST alone where it is set, else the usual places."""
    host = environment.get("DOCKER_HOST", "")
    if host:
        if host.startswith("unix://"):
            yield Path(host.removeprefix("unix://"))
        return
    yield from (Path("/var/run/docker.sock"), Path("/run/podman/podman.sock"))
    if "XDG_RUNTIME_DIR" in environment:
        folder = Path(environment["XDG_RUNTIME_DIR"])
        yield from (folder / "docker.sock", folder / "podman" / "podman.sock")


def find_socket(environment: Mapping[str, str] | None = None) -> Path | None:
    """The first socket that is there and that this user may use."""
    places = list_sockets(os.environ if environment is None else environment)
    return next((path for path in places if path.is_socket() and os.access(path, os.R_OK | os.W_OK)), None)


@dataclass(frozen=True, slots=True)
class LocalImage:
    """What a daemon has under a name. `size` in bytes, unpacked."""

    name: str
    size: int


class _Inspected(msgspec.Struct, rename="pascal"):
    size: int = 0


class DockerImages:
    """Asks one daemon. Use as an async context manager."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._session = aiohttp.ClientSession(
            connector=aiohttp.UnixConnector(str(socket)),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=READ_TIMEOUT_S),
        )

    async def __aenter__(self) -> DockerImages:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def find(self, name: str) -> LocalImage | None:
        """None where the daemon has none of this name. Raises BadReference (image/15), Temporary, Permanent."""
        try:
            async with self._session.get(self._url(name, "json")) as response:
                if response.status == 404:
                    return None
                raw = await response.content.read(_ANSWER_BYTES_MAX)
                if response.status != 200:
                    raise Permanent(f"Docker can't say what {name} is: {_read_message(raw)}")
                return LocalImage(name, msgspec.json.decode(raw, type=_Inspected).size)
        except msgspec.DecodeError as error:
            raise Permanent(f"{self._socket} is no Docker daemon's socket: {error}") from error
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise self._unreachable(error) from error

    async def save(self, name: str, target: Path, note: Callable[[int], None]) -> None:
        """Write the image's archive to a new file; `note` hears how many bytes there are so far."""
        try:
            async with self._session.get(self._url(name, "get")) as response:
                if response.status != 200:
                    raw = await response.content.read(_ANSWER_BYTES_MAX)
                    raise Permanent(f"Docker does not give {name}: {_read_message(raw)}")
                with target.open("xb") as file:
                    await _copy(response.content, file, note)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._unreachable(error) from error

    def _url(self, name: str, what: str) -> URL:
        """Names are checked first, so that none reaches for another part of the API."""
        parse_reference(name)
        return URL(f"http://docker/images/{quote(name, safe='/:@')}/{what}", encoded=True)

    def _unreachable(self, error: Exception) -> Temporary:
        return Temporary(f"Docker at {self._socket} can't be reached: {error or type(error).__name__}")


async def _copy(source: aiohttp.StreamReader, file: BinaryIO, note: Callable[[int], None]) -> None:
    done = 0
    async for chunk in source.iter_chunked(CHUNK_BYTES):
        await asyncio.to_thread(file.write, chunk)
        done += len(chunk)
        note(done)


def _read_message(raw: bytes) -> str:
    try:
        return str(msgspec.json.decode(raw, type=dict[str, object])["message"])[:_ERROR_CHARS_MAX]
    except (msgspec.DecodeError, KeyError):
        return raw[:_ERROR_CHARS_MAX].decode("utf-8", "replace")
