"""Calls to the Docker Engine over its unix socket: bounded in time, failures told apart by type.

A daemon that is away, hangs or answers 5xx is `Temporary` (a fault of the host); what it refuses as wrong is
`Permanent`; `NotFound` and `Conflict` are for the runtime itself, which knows what they mean.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import aiohttp
import msgspec

from ....errors import Permanent, Temporary
from .answers import Version

T = TypeVar("T")

CALL_S = 20.0
API_MIN, API_MAX = (1, 40), (1, 47)
_ANSWER_BYTES_MAX = 64 << 20
_DISK_FULL = "no space left on device"


class NotFound(Temporary):
    """There is no such container, image, network."""


class Conflict(Temporary):
    """It exists already, or is not in the state that this needs."""


class Transport:
    """One socket of one engine. `open` agrees on a version of the API."""

    def __init__(self, socket: str) -> None:
        self.socket = socket
        self.prefix = ""
        self.is_podman = False
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Raises Temporary when no engine answers, Permanent when it may not be spoken to or is too old."""
        if self._session is None:
            # Followed logs and waiting calls each hold a connection: no limit on how many.
            connector = aiohttp.UnixConnector(self.socket, limit=0)
            self._session = aiohttp.ClientSession("http://docker", connector=connector)
        try:
            found = await self.call("GET", "/version", Version)
            self.prefix, self.is_podman = "/v" + choose_version(found), found.is_podman
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def call(
        self,
        method: str,
        path: str,
        kind: type[T],
        *,
        params: Mapping[str, str] | None = None,
        body: object = None,
        data: bytes | AsyncIterable[bytes] | None = None,
        timeout_s: float = CALL_S,
    ) -> T:
        """One answer as a whole. `None` as kind: nobody looks at it."""
        timeout = aiohttp.ClientTimeout(total=timeout_s)
        async with self.stream(method, path, params=params, body=body, data=data, timeout=timeout) as response:
            raw = await response.content.read(_ANSWER_BYTES_MAX) if kind is type(None) else await response.read()
        if kind is type(None):
            return None
        try:
            return msgspec.json.decode(raw, type=kind)
        except msgspec.DecodeError as error:
            raise Temporary(f"Docker's answer to {method} {path} can't be read: {error}") from error

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: object = None,
        data: bytes | AsyncIterable[bytes] | None = None,
        timeout: aiohttp.ClientTimeout,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """An answer to be read in pieces; what breaks on the way is told as by `call`."""
        if self._session is None:
            raise Temporary("the runtime is not open")
        headers = {"Content-Type": "application/json" if data is None else "application/x-tar"}
        sent = msgspec.json.encode(body) if body is not None else data
        try:
            async with self._session.request(
                method, self.prefix + path, params=params, data=sent, headers=headers, timeout=timeout
            ) as response:
                if response.status >= 400:
                    raise build_error(response.status, await response.content.read(65_536))
                yield response
        except TimeoutError as error:
            raise Temporary(f"Docker at {self.socket} gave no answer in time ({method} {path})") from error
        except (aiohttp.ClientError, OSError) as error:
            raise explain_failure(self.socket, error) from error

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A plain connection, for the calls that leave HTTP behind."""
        try:
            async with asyncio.timeout(CALL_S):
                return await asyncio.open_unix_connection(self.socket)
        except TimeoutError as error:
            raise Temporary(f"Docker at {self.socket} takes no connection") from error
        except OSError as error:
            raise explain_failure(self.socket, error) from error


def choose_version(found: Version) -> str:
    """The newest version of the API that both sides know. Raises Permanent."""
    newest, oldest = _parse_version(found.api_version), _parse_version(found.min_api_version)
    if newest < API_MIN:
        raise Permanent(
            f"Docker {found.version} speaks API {found.api_version}; needed is 1.40 (Docker 19.03) or newer"
        )
    chosen = max(min(newest, API_MAX), oldest)
    return f"{chosen[0]}.{chosen[1]}"


def _parse_version(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(".")
    try:
        return int(major), int(minor.partition(".")[0])
    except ValueError:
        raise Permanent(f"Docker's API version {text[:20]!r} is none that is known") from None


def build_error(status: int, raw: bytes) -> Exception:
    """What an answer of 400 and more means."""
    message = parse_message(raw)
    if _DISK_FULL in message:
        return make_disk_full(message)
    if status == 404:
        return NotFound(message)
    if status in (304, 409):
        return Conflict(message)
    if status < 500:
        return Permanent(message)
    return Temporary(f"Docker: {message}")


def make_disk_full(message: str) -> Temporary:
    """With the system's own error behind it, by which a full disk is known."""
    error = Temporary(f"the disk of the Docker Engine is full: {message[:200]}", retry_after_s=30.0)
    error.__cause__ = OSError(errno.ENOSPC, message)
    return error


def parse_message(raw: bytes) -> str:
    try:
        found: Any = msgspec.json.decode(raw)
    except msgspec.DecodeError:
        found = None
    text = found.get("message") if isinstance(found, dict) else None
    return text if isinstance(text, str) else raw.decode(errors="replace")[:400]


def explain_failure(socket: str, error: Exception) -> Temporary | Permanent:
    """Why an engine can't be spoken to, with the way out."""
    number = error.errno if isinstance(error, OSError) else None
    if number in (errno.EACCES, errno.EPERM):
        remedy = "run the agent as root, or add its user to the group that owns the socket (usermod -aG docker USER)"
        return Permanent(f"this user may not open {socket}: {remedy}")
    if number in (errno.ENOENT, errno.ECONNREFUSED):
        return Temporary(f"no Docker Engine at {socket}: start it (systemctl start docker), or set docker_socket")
    return Temporary(f"Docker at {socket} hung up: {error or type(error).__name__}")
