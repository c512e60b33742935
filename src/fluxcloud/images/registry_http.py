"""Requests to one repository of a registry: authentication, redirects, tries, and what each failure means.

Every answer is bounded in size and time. Redirects are followed by hand: at most REDIRECTS_MAX, never from https to
http, never with our authorization. Source: the OCI distribution specification 1.1.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from types import TracebackType

import aiohttp
import msgspec
from yarl import URL

from ..errors import Temporary
from .errors import BadRegistry, ImageRejected, TooBig, Unauthorised, UnknownImage
from .reference import Reference
from .registry_auth import TOKEN_BYTES_MAX, Credentials, Token, build_token_url, parse_challenge, parse_token
from .registry_net import Access, Guard, build_base_url, follow_redirect

REDIRECTS_MAX = 5
CONNECT_TIMEOUT_S = 15.0
READ_TIMEOUT_S = 30.0
SMALL_TIMEOUT_S = 60.0
RETRY_AFTER_S_MAX = 30.0
CHUNK_BYTES = 256 * 1024

_REDIRECTS = (301, 302, 303, 307, 308)
_ERROR_BYTES_MAX = 16 << 10
_ERROR_CHARS_MAX = 200


class RegistryBusy(Temporary):
    """The registry answers, but not now: 429 or a failure of its own."""


class RegistryUnreachable(Temporary):
    """The registry can't be connected to, or the connection broke."""


@dataclass(frozen=True, slots=True)
class Small:
    """An answer that was read as a whole."""

    raw: bytes
    content_type: str
    digest: str  # as the registry says; empty where it says nothing


class _Error(msgspec.Struct, frozen=True):
    code: str = ""
    message: str = ""


class _Errors(msgspec.Struct, frozen=True):
    errors: list[_Error] = []


class RegistryHttp:
    """Open with `async with`. Errors name the registry; the image is named by whoever calls."""

    def __init__(self, reference: Reference, access: Access, credentials: Credentials | None) -> None:
        self._reference = reference
        self._access = access
        self._credentials = credentials
        self._base = build_base_url(reference, access)
        self._token: Token | None = None
        self._basic = ""
        self._asking = asyncio.Lock()

    async def __aenter__(self) -> RegistryHttp:
        self._guard = Guard(self._reference, self._base, self._access)
        local = (self._access.local_host, 0) if self._access.local_host else None
        connector = aiohttp.TCPConnector(resolver=self._guard, use_dns_cache=False, local_addr=local)
        self._session = aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=None, connect=CONNECT_TIMEOUT_S, sock_read=READ_TIMEOUT_S),
            headers={"Accept-Encoding": "identity", "User-Agent": "fluxcloud"},
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def get_small(self, path: str, *, accept: str, size_max: int) -> Small:
        """An answer of at most `size_max` bytes, tried again while the registry is busy.

        Raises Unauthorised (image/16), UnknownImage (image/17), BadRegistry (image/18), ForbiddenAddress (image/19),
            TooBig (image/8), RegistryBusy, RegistryUnreachable.
        """
        attempt = 0
        while True:
            try:
                return await self._get_small(path, accept, size_max)
            except RegistryBusy as error:
                attempt += 1
                await self.pause(attempt, error)

    async def pause(self, attempt: int, error: Temporary) -> None:
        """Wait before the next try, or raise `error` where none is left or the pause asked for is too long."""
        if attempt >= self._access.tries or error.retry_after_s > RETRY_AFTER_S_MAX:
            raise error
        backoff_s = self._access.backoff_s * 2 ** (attempt - 1) * random.uniform(0.75, 1.25)  # noqa: S311 (no secret)
        await asyncio.sleep(max(backoff_s, error.retry_after_s))

    @asynccontextmanager
    async def open(self, path: str, *, accept: str, first_byte: int = 0) -> AsyncIterator[aiohttp.ClientResponse]:
        """An answer with status 200 or 206; its body is to be read with `read_chunks`. Raises as `get_small`."""
        headers = {"Accept": accept} | ({"Range": f"bytes={first_byte}-"} if first_byte else {})
        sent = self._get_authorization()
        response = await self._follow(path, headers, sent)
        if response.status == 401 and response.url.origin() == self._base.origin():
            response.release()
            authorization = await self._authorize(response.headers.get("WWW-Authenticate", ""), sent)
            response = await self._follow(path, headers, authorization)
        try:
            if response.status not in (200, 206):
                raise await self._read_failure(response, path)
            yield response
        finally:
            response.release()

    async def read_chunks(self, response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        """The body in pieces. Raises RegistryUnreachable where it breaks off."""
        chunks = response.content.iter_chunked(CHUNK_BYTES)
        while True:
            try:
                chunk = await anext(chunks, b"")
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                raise self._unreachable(response.url, error) from error
            if not chunk:
                return
            yield chunk

    async def _get_small(self, path: str, accept: str, size_max: int) -> Small:
        try:
            async with asyncio.timeout(SMALL_TIMEOUT_S), self.open(path, accept=accept) as response:
                raw = await self._read_bounded(response, size_max)
        except TimeoutError as error:
            raise self._unreachable(self._base, error) from error
        return Small(raw, response.content_type, response.headers.get("Docker-Content-Digest", ""))

    async def _read_bounded(self, response: aiohttp.ClientResponse, size_max: int) -> bytes:
        raw = bytearray()
        if (response.content_length or 0) <= size_max:
            async for chunk in self.read_chunks(response):
                raw += chunk
                if len(raw) > size_max:
                    break
            else:
                return bytes(raw)
        raise TooBig(f"{response.url.host} answers with more than {size_max} bytes; no more are allowed here")

    async def _follow(self, path: str, headers: dict[str, str], authorization: str) -> aiohttp.ClientResponse:
        url = self._base.join(URL(path, encoded=True))
        own = {"Authorization": authorization} if authorization else {}
        for _ in range(REDIRECTS_MAX + 1):
            response = await self._get(url, headers | own)
            if response.status not in _REDIRECTS:
                return response
            response.release()
            url, own = follow_redirect(url, response.headers.get("Location", "")), {}
        raise BadRegistry(f"{self._reference.registry} leads on and on; allowed are {REDIRECTS_MAX} redirects")

    async def _get(self, url: URL, headers: dict[str, str]) -> aiohttp.ClientResponse:
        self._guard.check_literal(url)
        try:
            return await self._session.get(url, headers=headers, allow_redirects=False)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._unreachable(url, error) from error

    def _get_authorization(self) -> str:
        if self._token is not None and time.monotonic() < self._token.until_s:
            return f"Bearer {self._token.text}"
        return self._basic

    async def _authorize(self, header: str, sent: str) -> str:
        """What a registry that said 401 to `sent` wants to see."""
        challenge = parse_challenge(header)
        if challenge.scheme == "bearer":
            url = build_token_url(challenge, self._reference.repository, plain_ok=self._base.scheme == "http")
            async with self._asking:  # of several requests that were refused at once, one asks
                if self._get_authorization() in ("", sent):
                    self._token = await self._fetch_token(url)
                return f"Bearer {self._token.text}" if self._token else ""
        if self._credentials is None or self._basic:
            raise self._refused("")
        self._basic = self._credentials.render_basic()
        return self._basic

    async def _fetch_token(self, url: URL) -> Token:
        headers = {"Authorization": self._credentials.render_basic()} if self._credentials else {}
        response = await self._get(url, headers)
        try:
            if response.status in (401, 403):
                raise self._refused(await self._read_message(response))
            if response.status == 429 or response.status >= 500:
                raise self._busy(response)
            if response.status != 200:
                raise BadRegistry(f"the token service {url.host} answers {response.status}")
            return parse_token(await self._read_bounded(response, TOKEN_BYTES_MAX), time.monotonic())
        finally:
            response.release()

    async def _read_failure(self, response: aiohttp.ClientResponse, path: str) -> ImageRejected | Temporary:
        if response.status == 429 or response.status >= 500:
            return self._busy(response)
        message = await self._read_message(response)
        if response.status in (401, 403):
            return self._refused(message)
        registry, target = self._reference.registry, path.partition("/")[2]
        if response.status == 404:
            return UnknownImage(
                f"{registry} has no {target} in {self._reference.repository}{message}",
                hint="is the name right? a digest whose tag was moved may have been deleted since",
            )
        return BadRegistry(f"{registry} answers {response.status} when asked for {target}{message}")

    async def _read_message(self, response: aiohttp.ClientResponse) -> str:
        """What the registry itself says of an error, as `: text`; empty where that can't be read."""
        try:
            raw = await response.content.read(_ERROR_BYTES_MAX)
            errors = msgspec.json.decode(raw, type=_Errors).errors
        except (aiohttp.ClientError, TimeoutError, OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return ""
        text = (errors[0].message or errors[0].code)[:_ERROR_CHARS_MAX] if errors else ""
        return f": {''.join(char if char.isprintable() else ' ' for char in text)}" if text else ""

    def _refused(self, message: str) -> Unauthorised:
        name = self._reference.registry
        if self._credentials is not None:
            return Unauthorised(
                f"{name} refuses {self._credentials.user} for {self._reference.repository}{message}",
                hint=f"does this user have the image? log in again with: docker login {name}",
            )
        return Unauthorised(
            f"{name} has no {self._reference.repository} that everybody may have{message}",
            hint=f"if the image is private, log in with: docker login {name} (what a helper keeps is not read)",
        )

    def _busy(self, response: aiohttp.ClientResponse) -> RegistryBusy:
        wanted_s = parse_retry_after(response.headers.get("Retry-After", ""), time.time())
        return RegistryBusy(
            f"{response.url.host} answers {response.status} {response.reason or ''}".rstrip(),
            retry_after_s=self._access.backoff_s if wanted_s is None else wanted_s,
        )

    def _unreachable(self, url: URL, error: Exception) -> RegistryUnreachable:
        reason = str(error) or type(error).__name__
        return RegistryUnreachable(
            f"registry {url.host} can't be reached: {reason}", retry_after_s=self._access.backoff_s
        )


def parse_retry_after(value: str, now_s: float) -> float | None:
    """Seconds to wait, from seconds or a date (RFC 9110); None where it says neither."""
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now_s)
    except ValueError:
        return None
