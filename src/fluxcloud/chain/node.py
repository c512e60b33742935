"""The chain node's daemon: opens its home, makes blocks, answers the RPC, and ends in one of four ways.

0 after SIGTERM or SIGINT; 2 where configuration or home is wrong; 74 where the disk is (full, damaged, in use); 70 for
a bug of ours, at once and loudly, because a ledger that goes on after one forks. The state on disk stays whole.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
from collections.abc import Callable, Iterator

import uvloop

from ..clock import Clock, SystemClock
from ..errors import ConfigError, Rejected
from ..ids import TxId
from ..ledger.assertions import require_assertions
from ..ledger.genesis import Genesis, parse_genesis
from ..log import setup_logging
from .app import Application, Finalized
from .config import ChainConfig
from .errors import EXIT_BUG, EXIT_CONFIG, EXIT_OK, EXIT_STORAGE, StorageError
from .home import TIPS_DIRECTORY, open_home
from .http import RpcServer
from .hub import Hub
from .mempool import Mempool
from .service import Service
from .solo import SoloEngine
from .store import MIB, Limits, Store
from .submissions import Submissions

log = logging.getLogger(__name__)

ENGINE = "solo"

Probe = Callable[[str], None]


def run(config: ChainConfig, *, clock: Clock | None = None, probe: Probe = lambda point: None) -> int:
    """Run until a signal; returns the exit code. `probe` hears of each point of a write, for crash tests."""
    setup_logging(config.log_level, json=config.log_json)
    try:
        require_assertions()
        return uvloop.run(_serve(config, clock or SystemClock(), probe))
    except ConfigError as error:
        log.error("%s", error)
        return EXIT_CONFIG
    except StorageError as error:
        log.critical("stopped: %s", error)
        return EXIT_STORAGE
    except Exception:
        log.critical("stopped by a bug; nothing that was acknowledged is lost", exc_info=True)
        return EXIT_BUG


async def _serve(config: ChainConfig, clock: Clock, probe: Probe) -> int:
    with _open_node(config, clock, probe) as node:
        await node.run()
    return EXIT_OK


@contextlib.contextmanager
def _open_node(config: ChainConfig, clock: Clock, probe: Probe) -> Iterator[ChainNode]:
    genesis = load_genesis(config)
    key = open_home(config.home_path)
    limits = Limits(config.storage.keep_blocks, config.storage.keep_mib * MIB, config.storage.max_mib * MIB)
    store = Store(config.home_path, limits, probe=probe)
    try:
        app = _open_app(store, genesis, config)
        gc.collect()
        gc.freeze()  # the state lives as long as the process: no collection has to walk it
        node = ChainNode(config, store, app, clock, probe)
        node.attach_solo(
            SoloEngine(app, store, node.mempool, key, config.home_path / TIPS_DIRECTORY, clock, node.note_block)
        )
        yield node
    finally:
        store.close()


def load_genesis(config: ChainConfig) -> Genesis:
    """Raises ConfigError naming the file."""
    path = config.genesis_path
    try:
        return parse_genesis(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, Rejected) as error:
        raise ConfigError("genesis", f"{path}: {error}") from error


def _open_app(store: Store, genesis: Genesis, config: ChainConfig) -> Application:
    try:
        return Application(store, genesis)
    except Rejected as error:
        raise ConfigError("genesis", f"{config.genesis_path}: {error}") from error


class ChainNode:
    """The parts of a node, put together."""

    def __init__(self, config: ChainConfig, store: Store, app: Application, clock: Clock, probe: Probe) -> None:
        self._app = app
        self._probe = probe
        self._submissions = Submissions()
        self.mempool = Mempool(config.mempool, app.check_tx, self._submissions.note_dropped)
        self._hub = Hub(app.head.height)
        self.service = Service(
            app,
            store,
            self.mempool,
            self._submissions,
            self._hub,
            clock,
            engine=ENGINE,
            submit_wait_s=config.rpc.submit_wait_s,
        )
        self._server = RpcServer(config.rpc, self.service)
        self._host = config.rpc.host
        self._engine: SoloEngine | None = None

    def attach_solo(self, engine: SoloEngine) -> None:
        self._engine = engine

    def note_block(self, done: Finalized, block_ms: int) -> None:
        """A block is durable: only now anybody hears of it."""
        height = done.block.height
        self._probe("before_answers")
        self._submissions.note_block(height, done.results)
        included = [TxId(receipt.tx_id) for receipt in done.results.receipts]
        self.mempool.update(included, height, done.results.time_ms)
        assert self._app.view is not None
        self._hub.publish(height, self._app.view, txs=len(included), block_ms=block_ms)

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT, or until the engine fails."""
        assert self._engine is not None
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        try:
            port = await self._server.start()
        except OSError as error:
            raise ConfigError("rpc", f"can't listen on {self._host}: {error.strerror or error}") from error
        head = self._app.head
        log.info(
            "listening",
            extra={"fields": {"url": f"http://{self._host}:{port}", "chain": head.chain_id, "height": head.height}},
        )
        stopping = asyncio.create_task(stop.wait())
        engine = asyncio.create_task(self._engine.run())
        try:
            await asyncio.wait((stopping, engine), return_when=asyncio.FIRST_COMPLETED)
            if engine.done():
                engine.result()
        finally:
            for task in (stopping, engine):
                task.cancel()
            await asyncio.gather(stopping, engine, return_exceptions=True)
            await self._server.stop()
            log.info("stopped", extra={"fields": {"height": self._app.head.height}})
