"""What a supervisor asks a gateway or a node's agent over HTTP: `/livez`, `/readyz`, `/metrics`."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web

logger = logging.getLogger(__name__)


@asynccontextmanager
async def serve_status(
    host: str, port: int, find_missing: Callable[[], str], render_metrics: Callable[[], str]
) -> AsyncIterator[None]:
    """While the block runs; nowhere with port 0. Where the address is taken, the program serves all the same.

    `find_missing`: what keeps it from being ready, for people; empty when it is.
    """
    if not port:
        yield
        return

    async def tell_live(request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def tell_ready(request: web.Request) -> web.Response:
        missing = find_missing()
        return web.Response(status=503 if missing else 200, text=f"{missing or 'ok'}\n")

    async def tell_metrics(request: web.Request) -> web.Response:
        return web.Response(text=render_metrics())

    app = web.Application(client_max_size=0)
    app.add_routes(
        [web.get("/livez", tell_live), web.get("/readyz", tell_ready), web.get("/metrics", tell_metrics)],
    )
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            logger.warning("nothing is told at status_host, status_port: %s", error)
        yield
    finally:
        await runner.cleanup()
