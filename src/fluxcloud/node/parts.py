"""The parts of a node, put together from its configuration: identity, chain, engine, sockets.

Every socket is bound to the node's own address, outgoing ones too. Opening them may fail with ConfigError (an address
that is taken or not of this machine); closing lets go of everything and leaves the copies running.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from ..clock import Clock, SystemClock
from ..errors import ConfigError
from ..images.store import ContentStore
from ..ledger.apps.model import APPS, REVISIONS, ROUTES
from ..ledger.module import Lane, Message
from ..ledger.nodes.model import NODES
from ..proxy.base import Proxy, ProxyConfig
from ..proxy.engines import build_proxy
from ..proxy.routes import Table
from ..sdk.client import Chain, load_genesis
from .chain import NodeChain
from .config import NodeConfig
from .execute import Executor
from .feed import Feed
from .identity import Identity, load_identity
from .images.collect import Collector
from .images.fetch import Fetcher
from .images.registry import make_open_registry
from .images.siblings import Me, Siblings
from .inbox import Inbox
from .observe import HealthBook, Observer
from .report import Reporter
from .runtime.base import Isolation, Runtime, RuntimeConfig
from .runtime.docker.engine import DockerRuntime
from .runtime.oci import OciRuntime
from .specs import SpecBook
from .view import LedgerView, list_own_keys
from .watch.contacts import Contacts
from .watch.monitor import ChainNow, Monitor
from .watch.prober import Prober
from .watch.responder import Responder, Vitals
from .watch.skew import SkewGauge
from .watch.vitals import HealthAge

INGRESS_DRAIN_S = 2.0


@dataclass(frozen=True, slots=True)
class Parts:
    """All that the agent and its API work with."""

    config: NodeConfig
    identity: Identity
    clock: Clock
    chain: NodeChain
    feed: Feed
    view: LedgerView
    inbox: Inbox
    runtime: Runtime
    isolation: Isolation
    store: ContentStore
    collector: Collector
    fetcher: Fetcher
    specs: SpecBook
    observer: Observer
    executor: Executor
    reporter: Reporter
    contacts: Contacts
    monitor: Monitor
    responder: Responder
    health_age: HealthAge
    skew: SkewGauge
    ingress: Proxy


def connect_chain(config: NodeConfig) -> NodeChain:
    """Raises ConfigError where the genesis can't be read."""
    return Chain.connect(config.chain, load_genesis(Path(config.genesis)), source_host=config.host)


@asynccontextmanager
async def open_parts(
    config: NodeConfig, connect: Callable[[NodeConfig], NodeChain] = connect_chain
) -> AsyncIterator[Parts]:
    """Everything of a node, its sockets open. Raises ConfigError."""
    identity = load_identity(config.home_path, config.node_id)
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        chain = connect(config)
        stack.push_async_callback(chain.close)
        runtime = make_runtime(config)
        isolation = await runtime.open()
        stack.push_async_callback(runtime.close)
        parts = _assemble(config, identity, clock, chain, runtime, isolation)
        stack.push_async_callback(parts.executor.close)
        stack.push_async_callback(parts.observer.close)
        await _open_sockets(parts, stack)
        yield parts


def make_runtime(config: NodeConfig) -> Runtime:
    """The engine that the configuration names. Raises ConfigError."""
    home = config.home_path
    extra = {"socket": config.docker_socket, "subnets": config.docker_subnets}
    found = RuntimeConfig(root=home / "runtime", node=config.id, store=home / "store", extra=extra)
    return DockerRuntime(found) if config.runtime == "docker" else OciRuntime(found)


def _assemble(
    config: NodeConfig, identity: Identity, clock: Clock, chain: NodeChain, runtime: Runtime, isolation: Isolation
) -> Parts:
    home, now = config.home_path, clock.monotonic_s
    feed = Feed(chain, list_own_keys(identity.id), now)
    view = LedgerView(feed, identity.id, home / "assignment")
    inbox, skew = Inbox(), SkewGauge()
    store = ContentStore(home / "store", capacity=config.store_mib_max << 20)
    store.remove_leftovers()
    me = Me(chain.chain_id, identity.id, identity.key, config.host)
    siblings = _make_siblings(me, chain, clock)
    open_registry = make_open_registry(config.host, config.private_registries, now)
    fetcher = Fetcher(store, siblings.list_siblings, open_registry, now)
    health = HealthBook(runtime, inbox.wake, now, reaches_loopback=isolation.engine == "oci")
    health_age = HealthAge(runtime.observe, home, now)
    contacts = Contacts(lambda node_id: chain.read(NODES, node_id), now)
    prober = Prober(chain.chain_id, identity.id, identity.key, lambda: clock.wall_ms() / 1000)

    def get_vitals() -> Vitals:
        return Vitals(view.height, health_age.age_ms)

    def get_chain_now() -> ChainNow:
        is_active = view.own is not None and view.own.state == "active"
        return ChainNow(view.tick_ms, view.epoch, may_speak=view.is_live and is_active and skew.level != "stop")

    return Parts(
        config=config,
        identity=identity,
        clock=clock,
        chain=chain,
        feed=feed,
        view=view,
        inbox=inbox,
        runtime=runtime,
        isolation=isolation,
        store=store,
        collector=Collector(store),
        fetcher=fetcher,
        specs=SpecBook(home / "specs", lambda app, revision: chain.read(REVISIONS, (app, revision)), config.id),
        observer=Observer(runtime, fetcher, health, now),
        executor=Executor(runtime, fetcher, inbox.note_outcome),
        reporter=Reporter(_make_lane(chain, identity, "report"), now),
        contacts=contacts,
        monitor=Monitor(prober, contacts, _make_lane(chain, identity, "watch"), get_chain_now, now),
        responder=Responder(chain.chain_id, identity.id, identity.key, contacts, get_vitals, now),
        health_age=health_age,
        skew=skew,
        ingress=build_proxy(config.proxy, _make_ingress_config(config, identity)),
    )


def _make_siblings(me: Me, chain: NodeChain, clock: Clock) -> Siblings:
    return Siblings(
        me,
        lambda app: chain.read(APPS, app),
        lambda app: chain.read(ROUTES, app),
        lambda node: chain.read(NODES, node),
        clock.wall_ms,
    )


def _make_lane(chain: NodeChain, identity: Identity, lane: Lane) -> Callable[[tuple[Message, ...]], Awaitable[None]]:
    async def submit(messages: tuple[Message, ...]) -> None:
        await chain.submit_role(identity.id, identity.key, lane, messages)

    return submit


def _make_ingress_config(config: NodeConfig, identity: Identity) -> ProxyConfig:
    return ProxyConfig(
        role="ingress",
        listen_host=config.host,
        listen_port=config.ingress_port,
        identity_id=config.id,
        cert_der=identity.cert,
        key_seed=identity.key.seed,
        state_dir=config.home_path / "ingress",
        source_host=config.host,
    )


async def _open_sockets(parts: Parts, stack: AsyncExitStack) -> None:
    config, loop = parts.config, asyncio.get_running_loop()
    try:
        await parts.ingress.start(Table())
        stack.push_async_callback(parts.ingress.stop, drain_s=INGRESS_DRAIN_S)
        for protocol, port in ((parts.responder, config.probe_port), (parts.monitor.prober, 0)):
            transport, _ = await loop.create_datagram_endpoint(
                lambda protocol=protocol: protocol,  # type: ignore[misc]
                local_addr=(config.host, port),
            )
            stack.callback(transport.close)
    except OSError as error:
        raise ConfigError("host", f"a port of {config.host} can't be opened: {error}") from error
