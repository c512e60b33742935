"""What a supervisor asks a program over HTTP: `/livez`, `/readyz`, `/metrics`."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web

logger = logging.getLogger(__name__)


def render_page(
    path: str, find_missing: Callable[[], str], render_metrics: Callable[[], str]
) -> tuple[int, str] | None:
    """Status and text; nothing where there is no such page.

    `find_missing`: what keeps the program from being ready, for people; empty when it is.
    """
    if path == "/livez":
        return 200, "ok\n"
    if path == "/readyz":
        missing = find_missing()
        return 503 if missing else 200, f"{missing or 'ok'}\n"
    return (200, render_metrics()) if path == "/metrics" else None


@asynccontextmanager
async def serve_status(
    host: str, port: int, find_missing: Callable[[], str], render_metrics: Callable[[], str]
) -> AsyncIterator[None]:
    """While the block runs; nowhere with port 0. Where the address is taken, the program serves all the same."""
    if not port:
        yield
        return

    async def tell(request: web.Request) -> web.Response:
        page = render_page(request.path, find_missing, render_metrics)
        if page is None:
            raise web.HTTPNotFound
        return web.Response(status=page[0], text=page[1])

    app = web.Application(client_max_size=0)
    app.router.add_get("/{page}", tell)
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
