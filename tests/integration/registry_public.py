"""Run inside a network namespace whose loopback also has a public address: what a registry there may make us reach.

Prints, for each place that a blob's redirect leads to, `<place> <image/N or ok>`, and at the end how often the place
that is not to be reached was reached.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from aiohttp import web

from fluxcloud.errors import Rejected
from fluxcloud.images.reference import parse_reference
from fluxcloud.images.registry import Repository
from fluxcloud.images.registry_net import PUBLIC_ACCESS
from fluxcloud.images.store import ContentStore, compute_digest
from integration.fake_registry import serve

PUBLIC = sys.argv[1]
RAW = b"layer"


async def main() -> None:
    places: list[str] = []
    reached = 0

    async def redirect(request: web.Request) -> web.StreamResponse:
        return web.Response(status=307, headers={"Location": places[-1]})

    async def give(request: web.Request) -> web.StreamResponse:
        return web.Response(body=RAW)

    async def tempt(request: web.Request) -> web.StreamResponse:
        nonlocal reached
        reached += 1
        return web.Response(body=RAW)

    async with serve(redirect, PUBLIC) as port, serve(give, PUBLIC) as cdn, serve(tempt) as inside:
        registry = f"{PUBLIC}:{port}"
        access = replace(PUBLIC_ACCESS, insecure=frozenset({registry}), tries=1)
        for host in (f"{PUBLIC}:{cdn}", *(f"{h}:{inside}" for h in ("127.0.0.1", "localhost", "[::ffff:7f00:1]"))):
            places.append(f"http://{host}/")
            with tempfile.TemporaryDirectory() as folder:
                store = ContentStore(Path(folder))
                async with Repository(parse_reference(f"{registry}/a"), access) as repository:
                    print(host.rpartition(":")[0], await fetch(repository, store))
    print("reached", reached)


async def fetch(repository: Repository, store: ContentStore) -> str:
    try:
        await repository.fetch(compute_digest(RAW), store, size=len(RAW), size_max=len(RAW))
    except Rejected as error:
        return error.code
    return "ok"


asyncio.run(main())
