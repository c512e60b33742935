"""One blob from a registry into the content store: checked while it streams, taken up again where it broke off."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from contextlib import aclosing

import aiohttp

from ..errors import Temporary
from .errors import BadRegistry, SizeMismatch
from .registry_http import RegistryHttp, RegistryUnreachable
from .store import BlobWriter, ContentStore

BLOB_TIMEOUT_S = 120.0
BYTES_PER_S_MIN = 50_000
"""A blob may take BLOB_TIMEOUT_S and its bytes at this rate, all tries together."""

PROGRESS_BYTES = 1 << 20
"""So much gained by a try, and the tries are counted anew."""

_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-\d{1,18}/(?:\d{1,18}|\*)", re.ASCII)

Note = Callable[[int], None]


async def pull_blob(
    http: RegistryHttp, store: ContentStore, digest: str, *, size: int | None, size_max: int, note: Note | None = None
) -> None:
    """`note` is told the length of each piece that was written.

    Raises what a registry's answers mean, SizeMismatch (image/3), DigestMismatch (image/2), TooBig (image/8), StoreFull
        (image/14), and RegistryUnreachable when the tries or the time are used up.
    """
    timeout_s = BLOB_TIMEOUT_S + (size_max if size is None else size) / BYTES_PER_S_MIN
    with store.begin(digest=digest, size=size, size_max=size_max) as writer:
        try:
            async with asyncio.timeout(timeout_s):
                await _fill(http, writer, digest, size, note)
        except TimeoutError as error:
            raise RegistryUnreachable(f"{digest} did not come within {timeout_s:.0f} s") from error
        await asyncio.to_thread(writer.commit)


async def _fill(http: RegistryHttp, writer: BlobWriter, digest: str, size: int | None, note: Note | None) -> None:
    attempt = 0
    while size is None or writer.written < size:
        before = writer.written
        try:
            await _stream(http, writer, digest, size, note)
        except Temporary as error:
            if writer.written == size:
                return  # all is there; the hash will tell
            attempt = 1 if writer.written - before >= PROGRESS_BYTES else attempt + 1
            await http.pause(attempt, error)
        else:
            return


async def _stream(http: RegistryHttp, writer: BlobWriter, digest: str, size: int | None, note: Note | None) -> None:
    """One answer, from where the writer is to the end."""
    first = writer.written
    async with http.open(f"blobs/{digest}", accept="*/*", first_byte=first) as response:
        skip = _count_known(response, digest, first, size)
        async with aclosing(http.read_chunks(response)) as chunks:  # type: ignore[type-var]
            async for chunk in chunks:
                known, skip = min(skip, len(chunk)), max(skip - len(chunk), 0)
                if len(chunk) > known:
                    writer.write(chunk[known:])
                    if note is not None:
                        note(len(chunk) - known)


def _count_known(response: aiohttp.ClientResponse, digest: str, first: int, size: int | None) -> int:
    """How many bytes at the answer's beginning are written already: all, where the registry knows no ranges."""
    host = response.url.host
    if response.status == 206:
        found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if not first or found is None or int(found[1]) != first:
            raise BadRegistry(f"{host} answers with another range of {digest} than was asked for")
        return 0
    length = response.content_length
    if length is not None and size is not None and length != size:
        raise SizeMismatch(f"{digest}: {host} says it has {length} bytes, the manifest says {size}")
    return first
