"""What a supervisor asks a gateway over HTTP: `/livez`, `/readyz`, `/metrics`."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from ..proxy.base import ProxyStats
from ..proxy.metrics import render_metrics

logger = logging.getLogger(__name__)


@asynccontextmanager
async def serve_status(
    host: str, port: int, gateway_id: str, is_ready: Callable[[], bool], get_stats: Callable[[], ProxyStats]
) -> AsyncIterator[None]:
    """While the block runs; nowhere with port 0. Where the address is taken, visitors are served all the same."""
    if not port:
        yield
        return

    async def tell_live(request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def tell_ready(request: web.Request) -> web.Response:
        if is_ready():
            return web.Response(text="ok\n")
        return web.Response(status=503, text="no routes yet, neither kept nor from the ledger\n")

    async def tell_metrics(request: web.Request) -> web.Response:
        return web.Response(text=render_metrics(get_stats(), {"gateway": gateway_id}))

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
