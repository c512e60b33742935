"""The engine `docker`: copies as containers of a Docker Engine that many nodes, and other users, may share.

Nothing is kept in the agent but caches: what a copy is stands in the labels of its containers (specs.py), so an agent
or an engine that was started again finds all of it. Every call is bounded in time; an engine that is away or hangs is
`Temporary`, and never taken for one without copies.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

from ....errors import FluxCloudError, Permanent, Temporary
from ....images.store import ContentStore
from ..base import (
    CopyKey,
    CopySpec,
    CopyState,
    Endpoint,
    ExecStream,
    Isolation,
    ListeningSocket,
    LogLine,
    RuntimeConfig,
    Usage,
)
from ..component import get_signal
from ..layout import validate_component, validate_key
from ..usage import read_listening
from . import firewall
from .answers import Container, Summary
from .api import DockerApi
from .causes import is_unrunnable, shorten_cause
from .copies import Found, build_copy_state, group_copies
from .events import EventFeed
from .exec import start_exec
from .holder import build_holder_image, can_bound_disk
from .images import ImageLoader
from .ipam import parse_pool
from .isolation import build_isolation
from .logs import LogReader
from .making import CopyMaker
from .networks import NetworkMaker
from .specs import Bounds, build_exec, make_filters, validate_node
from .starts import StartBook
from .transport import Conflict, NotFound

_log = logging.getLogger(__name__)

SOCKET = "/var/run/docker.sock"
SUBNETS = "10.201.0.0/16"
_KILL_TIMEOUT_S = 10.0
_FRESH_S = 10.0
_AT_ONCE = 16
_FOLLOW_PAUSE_S = 1.0
_FIREWALL_PERIOD_S = 30.0
_COLLECT_PERIOD_S = 600.0
_RUNNING = ("running", "paused")


class DockerRuntime:
    """See `Runtime` for what the calls promise. `config.extra`: `socket`, `subnets` (this node's part of the pool)."""

    def __init__(self, config: RuntimeConfig) -> None:
        """Raises ConfigError."""
        self.root = config.root
        self._node = validate_node(config.node)
        self._pool = parse_pool(config.extra.get("subnets", SUBNETS))
        self._log_bytes = config.log_max_bytes
        self._api = DockerApi(config.extra.get("socket", SOCKET))
        self._store = ContentStore(config.store)
        self._images = ImageLoader(self._api, self._store, self._node)
        self._starts = StartBook(config.root)
        self._feed = EventFeed(self._api, self._node, self._note_event)
        self._locks: defaultdict[CopyKey, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._busy: set[CopyKey] = set()  # being made or removed: neither there nor gone
        self._starting: set[tuple[CopyKey, str]] = set()
        self._changed = asyncio.Event()
        self._inspected: dict[str, tuple[float, Container]] = {}
        self._addresses: dict[CopyKey, str] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._is_closed = False  # the network of copies
        self._maker: CopyMaker | None = None

    async def open(self) -> Isolation:
        await self._api.open()
        try:
            return await self._open()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        await self._api.close()
        self._maker = None

    async def prepare(self, image: str) -> None:
        await self._images.ensure(image)

    async def create(self, copy: CopySpec) -> None:
        validate_key(copy.key)
        for component in copy.components:
            validate_component(component.name)
            get_signal(component.stop_signal)
        async with self._locks[copy.key]:
            found = group_copies(await self._api.list_containers(make_filters(self._node, copy.key)))
            if copy.key in found and found[copy.key].is_made:
                return
            with self._mark_busy(copy.key):
                await self._make(copy, is_begun=bool(found))
        self._changed.set()

    async def start(self, key: CopyKey, component: str) -> None:
        async with self._locks[key]:
            try:
                await self._start(key, component)
            except Conflict:  # the holder ended this moment
                await self._start(key, component)
        self._changed.set()

    async def stop(self, key: CopyKey, component: str, *, grace_s: float) -> None:
        part = _get_part(key, await self._find(key), component)
        if part.state not in _RUNNING:
            return
        if part.state == "paused":
            await self._api.unpause(part.id)
        signal = (await self._api.inspect(part.id)).config.stop_signal
        if not (await self._api.kill(part.id, signal) and await self._api.wait_ended(part.id, grace_s)):
            await self._kill(part)
        self._inspected.pop(part.id, None)
        self._changed.set()

    async def remove(self, key: CopyKey) -> None:
        validate_key(key)
        async with self._locks[key]:
            with self._mark_busy(key):
                await self._get_maker().remove(key)
            self._starts.forget(key)
            self._addresses.pop(key, None)
        self._locks.pop(key, None)
        self._changed.set()

    async def observe(self) -> list[CopyState]:
        copies = await self._list()
        starting = frozenset(self._starting)  # the engine answers nothing about a container while it starts it
        parts = [
            part
            for key, found in copies.items()
            for name, part in found.components.items()
            if (key, name) not in starting
        ]
        inspected = await self._inspect_all(parts)
        return [
            build_copy_state(key, found, inspected, self._starts.count, {name for k, name in starting if k == key})
            for key, found in sorted(copies.items())
            if key not in self._busy
        ]

    async def wait_change(self, timeout_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._changed.wait()
        self._changed.clear()

    def get_endpoint(self, key: CopyKey, port: int) -> Endpoint:
        """Of a copy that was never observed: one where nobody answers."""
        address = self._addresses.get(key, "")
        return Endpoint(host=address, port=port) if address else Endpoint(host="127.0.0.1", port=0)

    async def get_usage(self, key: CopyKey, component: str) -> Usage:
        part = _get_part(key, await self._find(key), component)
        if part.state not in _RUNNING:
            raise Temporary("it does not run")
        stats, container = await asyncio.gather(self._api.stats(part.id), self._api.inspect(part.id, size=True))
        return Usage(
            cpu_ns=stats.cpu_stats.cpu_usage.total_usage,
            memory_bytes=stats.memory_stats.usage,
            pids=stats.pids_stats.current,
            disk_bytes=container.size_rw,
        )

    async def list_listening(self, key: CopyKey) -> list[ListeningSocket]:
        holder = (await self._find(key)).holder
        if holder is None or not (pid := (await self._api.inspect(holder.id)).state.pid):
            return []
        return read_listening(pid)

    async def read_logs(
        self, key: CopyKey, component: str, *, after: str = "", tail: int | None = None, follow: bool = False
    ) -> AsyncIterator[LogLine]:
        part = _get_part(key, await self._find(key), component)
        reader = LogReader(self._api, part.id, lambda: self._feed.wait(_FOLLOW_PAUSE_S))
        async for line in reader.read(after=after, tail=tail, follow=follow):
            yield line

    async def exec(self, key: CopyKey, component: str, argv: tuple[str, ...], *, tty: bool = False) -> ExecStream:
        part = _get_part(key, await self._find(key), component)
        if part.state != "running":
            raise Temporary(f"{component} of copy {key.app}.{key.generation} does not run: nothing can start in it")
        return await start_exec(self._api, part.id, build_exec(argv, tty=tty), tty=tty)

    # -- beginning

    async def _open(self) -> Isolation:
        info = await self._api.info()
        why_open = await self._try_close()
        own = ContentStore(self.root / "holder")
        try:
            self._starts.open()
            holder = await asyncio.to_thread(build_holder_image, own)
        except OSError as error:
            raise Temporary(f"can't write to {self.root}: {error}") from error
        own_images = ImageLoader(self._api, own, self._node)
        disk = await can_bound_disk(self._api, self._node, (await own_images.ensure(holder)).id)
        bounds = Bounds(self._log_bytes, disk, is_podman=self._api.transport.is_podman)
        isolation = build_isolation(info, bounds, open_network=why_open)
        networks = NetworkMaker(self._api, self._pool)
        self._maker = CopyMaker(self._api, self._node, self._images, own_images, holder, networks, bounds)
        await self._maker.remove_leftovers()
        await self._list()
        for run in (self._feed.run(), self._run_closing(), self._run_collecting(holder)):
            self._tasks.append(asyncio.create_task(run))
        return isolation

    async def _try_close(self) -> str:
        """Why the network of copies is open; empty where it is closed."""
        problem = firewall.explain_missing()
        if not problem:
            try:
                await firewall.install()
            except Temporary as error:
                problem = str(error)
        self._is_closed = not problem
        return problem

    async def _ensure_closed(self) -> None:
        if self._is_closed:
            await firewall.ensure()

    async def _run_closing(self) -> None:
        while True:
            await asyncio.sleep(_FIREWALL_PERIOD_S)
            try:
                await self._ensure_closed()
            except FluxCloudError as error:
                _log.warning("%s", error)

    async def _run_collecting(self, holder: str) -> None:
        while True:
            await asyncio.sleep(_COLLECT_PERIOD_S)
            try:
                await self._images.collect(holder)
            except (FluxCloudError, OSError) as error:
                _log.warning("images that nothing needs stay: %s", error)

    # -- copies

    def _get_maker(self) -> CopyMaker:
        if self._maker is None:
            raise Temporary("the runtime is not open")
        return self._maker

    @contextmanager
    def _mark_busy(self, key: CopyKey) -> Iterator[None]:
        self._busy.add(key)
        try:
            yield
        finally:
            self._busy.discard(key)

    async def _make(self, copy: CopySpec, *, is_begun: bool) -> None:
        maker = self._get_maker()
        if is_begun:
            await maker.remove(copy.key)
        self._starts.forget(copy.key)
        await self._ensure_closed()
        try:
            self._addresses[copy.key] = await maker.make(copy)
        except BaseException:
            # What can't be removed now is a leftover, which the next try or start of the agent removes.
            with contextlib.suppress(FluxCloudError):
                await maker.remove(copy.key)
            raise

    async def _find(self, key: CopyKey) -> Found:
        validate_key(key)
        found = group_copies(await self._api.list_containers(make_filters(self._node, key))).get(key)
        if found is None or not found.is_made:
            raise Temporary(f"there is no copy {key.app}.{key.generation}")
        return found

    async def _list(self) -> dict[CopyKey, Found]:
        """Whole copies and broken ones, not those whose making was interrupted."""
        copies = group_copies(await self._api.list_containers(make_filters(self._node)))
        found = {key: copy for key, copy in copies.items() if copy.is_made or copy.holder is None}
        self._addresses.update({key: copy.address for key, copy in found.items() if copy.address})
        return found

    async def _start(self, key: CopyKey, name: str) -> None:
        found = await self._find(key)
        part = _get_part(key, found, name)
        if found.is_held and part.state in _RUNNING:
            return
        await self._ensure_closed()
        if not found.is_held:
            await self._hold_again(found)
        self._starting.add((key, name))
        try:
            await self._api.start(part.id)
            self._starts.note(key, name)
        except (Permanent, Temporary) as error:
            if isinstance(error, Temporary) and not is_unrunnable(str(error)):
                raise
            raise Permanent(f"component {name}: {shorten_cause(str(error))}") from error
        finally:
            self._inspected.pop(part.id, None)
            self._starting.discard((key, name))

    async def _hold_again(self, found: Found) -> None:
        """What still runs has lost its network with the holder, and nothing can join it there: so it ends first."""
        await asyncio.gather(*(self._kill(part) for part in found.components.values() if part.state in _RUNNING))
        if found.holder is not None:
            await self._api.start(found.holder.id)
        self._inspected.clear()

    async def _kill(self, part: Summary) -> None:
        await self._api.kill(part.id, "KILL")
        if not await self._api.wait_ended(part.id, _KILL_TIMEOUT_S):
            raise Temporary("a container does not end")

    # -- looking

    async def _inspect_all(self, parts: list[Summary]) -> dict[str, Container]:
        """By id; one that was removed meanwhile is not among them."""
        gate = asyncio.Semaphore(_AT_ONCE)
        kept = {part.id for part in parts}
        self._inspected = {name: found for name, found in self._inspected.items() if name in kept}

        async def inspect(part: Summary) -> Container | None:
            async with gate:
                try:
                    return await self._inspect(part)
                except NotFound:
                    return None

        found = await asyncio.gather(*map(inspect, parts))
        return {container.id: container for container in found if container is not None}

    async def _inspect(self, part: Summary) -> Container:
        """Asked again when anything was heard of it, when its state is another one, and now and then anyway."""
        at_s, known = self._inspected.get(part.id, (0.0, None))
        now_s = time.monotonic()
        is_fresh = self._feed.is_live and now_s - at_s < _FRESH_S
        if known is None or not is_fresh or known.state.status != part.state:
            known = await self._api.inspect(part.id)
            self._inspected[part.id] = (now_s, known)
        return known

    def _note_event(self, container: str, action: str) -> None:
        if container:
            self._inspected.pop(container, None)
        else:
            self._inspected.clear()
        self._changed.set()


def _get_part(key: CopyKey, found: Found, name: str) -> Summary:
    if name not in found.components:
        raise Permanent(f"copy {key.app}.{key.generation} has no component {name!r}")
    return found.components[name]
