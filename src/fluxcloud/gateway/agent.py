"""The gateway's daemon: follows the ledger's routes with proof and keeps the edge proxy at them.

Without a chain it goes on with the last table, which it also starts from; what is dead the proxy's own checks find out.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from pathlib import Path

import uvloop

from ..ids import AppId, NodeId
from ..ledger.apps.model import ROUTES
from ..ledger.nodes.model import NODES
from ..log import setup_logging
from ..metrics import render_metrics
from ..proxy.base import Proxy, ProxyConfig
from ..proxy.engines import build_proxy
from ..proxy.metrics import list_metrics
from ..proxy.routes import Table
from ..sdk.client import Chain, Update, load_genesis
from ..sdk.wallet import read_key
from ..status import serve_status
from ..tls import read_identity_cert
from .config import GatewayConfig
from .kept import load_table, save_table
from .table import RouteBook

logger = logging.getLogger(__name__)

SAVE_INTERVAL_S = 1.0
DRAIN_S = 1.0


class GatewayAgent:
    """Watches, builds, applies. One instance a process."""

    def __init__(self, config: GatewayConfig, chain: Chain, proxy: Proxy) -> None:
        self._chain = chain
        self._proxy = proxy
        self._book = RouteBook(config.zones)
        self._config = config
        self._kept = Path(config.home) / "table.msgpack"
        self._table = load_table(self._kept)
        self._saved = self._table
        self._has_read = False

    async def run(self) -> None:
        """Serve from the kept table at once, then from the ledger's, until cancelled."""
        await self._proxy.start(self._table)
        saver = asyncio.create_task(self._keep_saved())
        config = self._config
        status = serve_status(config.status_host, config.status_port, self._find_missing, self._render_metrics)
        try:
            async with status:
                async for update in self._chain.watch(tables=(ROUTES, NODES)):
                    await self._take(update)
        finally:
            saver.cancel()
            await self._proxy.stop(drain_s=DRAIN_S)

    def _find_missing(self) -> str:
        return "" if self._has_read or self._table.routes else "no routes yet, neither kept nor from the ledger"

    def _render_metrics(self) -> str:
        return render_metrics(list_metrics(self._proxy.get_stats()), {"gateway": self._config.id})

    async def _take(self, update: Update) -> None:
        self._book.update_apps({AppId(key): record for key, record in update.get(ROUTES).items()})
        self._book.update_nodes({NodeId(key): record for key, record in update.get(NODES).items()})
        if update.complete:
            await self._apply(self._book.build_table())
            self._has_read = True

    async def _apply(self, table: Table) -> None:
        if table == self._table:
            return
        await self._proxy.apply(table)
        logger.info("routes %d -> %d", len(self._table.routes), len(table.routes))
        self._table = table

    async def _keep_saved(self) -> None:
        while True:
            await asyncio.sleep(SAVE_INTERVAL_S)
            if self._table is not self._saved:
                self._saved = self._table
                try:
                    await asyncio.to_thread(save_table, self._kept, self._saved)
                except OSError as error:  # a full disk: what is served doesn't depend on it
                    logger.warning("the table can't be kept: %s", error)


def build_edge(config: GatewayConfig) -> Proxy:
    """Raises ConfigError naming the file of its identity that is missing or does not fit."""
    home = Path(config.home)
    key = read_key(home / "hot.key")
    return build_proxy(
        config.proxy,
        ProxyConfig(
            role="edge",
            listen_host=config.listen_host,
            listen_port=config.listen_port,
            identity_id=config.id,
            cert_der=read_identity_cert(home / "cert.der", key.public, config.id),
            key_seed=key.seed,
            state_dir=home / "proxy",
            source_host=config.source_host,
            connect_timeout_s=config.connect_timeout_ms / 1000,
        ),
    )


async def _serve(config: GatewayConfig) -> None:
    chain = Chain.connect(config.chain, load_genesis(Path(config.genesis)), source_host=config.source_host)
    agent = asyncio.create_task(GatewayAgent(config, chain, build_edge(config)).run())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, agent.cancel)
    try:
        await agent
    except asyncio.CancelledError:
        logger.info("stopped")
    finally:
        await chain.close()


def run(config: GatewayConfig) -> int:
    """Serve until SIGTERM. Returns the exit code."""
    setup_logging(config.log_level)
    uvloop.run(_serve(config))
    return 0
