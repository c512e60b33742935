"""The embedded engine: real images, unpacked once, each copy under bubblewrap in namespaces of its own.

Nothing lives in the agent's memory: each copy has a folder (layout.py) with its spec, a pod (pod.py) that holds its
namespaces and relays its ports, and for each component a shim (shim.sh) that outlives the agent and writes down what
became of the container. `open` on the same root takes all of it up again.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import subprocess
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

from ...errors import FluxCloudError, Permanent, Temporary
from ...images.errors import ImageRejected, MissingBlob
from ...images.hello import is_hello_image
from ...images.store import ContentStore
from ...images.unpack import Owner
from ..images.cache import ImageCache, UnpackedImage
from .base import (
    ComponentSpec,
    ComponentState,
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
from .children import keep_child, reap_children
from .component import Launch, get_image_base, get_signal, launch, make_component, plan_launch, run_shim
from .exec import ExecTarget, build_request, start_exec
from .idrange import choose_ids
from .layout import CopyPaths, Layout, validate_component
from .logs import read_log
from .machine import Machine, observe_machine
from .plain import build_plain_command, validate_plain
from .pod import build_pod_command, get_holder, is_pod_alive, start_pod
from .process import find_user
from .procs import get_boot_id, open_pidfd, read_ref, send_signal
from .record import BrokenRecord, CopyRecord, get_container, observe_component, read_record, write_record
from .removal import kill_copy, name_group, remove_folders
from .shims import KILL_TIMEOUT_S, await_container, await_shim, end_shim
from .usage import measure_usage, read_listening
from .waiting import wait_readable

_ENDING_S = 2.0


class OciRuntime:
    """See `Runtime` for what the calls promise."""

    def __init__(self, config: RuntimeConfig) -> None:
        self.root = config.root
        self._config = config
        self._layout = Layout(config.root)
        self._store = ContentStore(config.store)
        self._locks: defaultdict[CopyKey, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._watched: dict[int, int] = {}  # pid of a shim -> its pidfd
        self._starting: set[tuple[CopyKey, str]] = set()
        self._changed = asyncio.Event()
        self._image_lock = asyncio.Lock()
        self._machine: Machine | None = None

    async def open(self) -> Isolation:
        with _engine_errors("open the runtime"):
            self._layout.make_folders()
            machine = await asyncio.to_thread(observe_machine, self._layout.root)
            self._machine = machine
            owner = Owner(keep_ids=machine.as_root and machine.contained, base=get_image_base(machine))
            self._images = ImageCache(self._layout.images, self._store, boot=get_boot_id(), owner=owner)
            await asyncio.to_thread(self._remove_leftovers)
        for key in self._layout.list_keys():
            self._watch(self._layout.copy(key))
        return machine.render()

    async def close(self) -> None:
        for pid in list(self._watched):
            self._unwatch(pid)
        self._machine = None

    async def prepare(self, image: str) -> None:
        with _engine_errors(f"unpack image {image[:19]}"):
            async with self._image_lock:
                unpacked = await asyncio.to_thread(self._images.prepare, image)
        if not self._get_machine().contained and not is_hello_image(unpacked.image):
            raise Permanent(f"image {image[:19]} can't run here: {self._get_machine().reasons[0]}")

    async def create(self, copy: CopySpec) -> None:
        paths = self._layout.copy(copy.key)
        async with self._locks[copy.key]:
            if paths.spec.exists():
                return
            for component in copy.components:
                validate_component(component.name)
                get_signal(component.stop_signal)
            record = CopyRecord(copy, choose_ids(self._get_machine(), self._layout, copy.key))
            try:
                with _engine_errors(f"create copy {paths.folder.name}"):
                    await asyncio.to_thread(self._make_folders, paths, record)
                    await self._start_pod(paths, record)
                    write_record(paths, record)
            except BaseException:
                await self._remove(copy.key, paths)
                raise

    async def start(self, key: CopyKey, component: str) -> None:
        async with self._locks[key]:
            paths, record = self._get_copy(key)
            spec = _get_component(record, component)
            if get_container(paths.component(component)) is not None:
                return
            with _engine_errors(f"start {component} of copy {paths.folder.name}"):
                if not is_pod_alive(paths):
                    await self._start_pod(paths, record)
                self._starting.add((key, component))
                try:
                    await self._start_component(paths, record, spec)
                finally:
                    self._starting.discard((key, component))
            self._changed.set()

    async def stop(self, key: CopyKey, component: str, *, grace_s: float) -> None:
        paths, record = self._get_copy(key)
        folder = paths.component(component)
        spec = _get_component(record, component)
        shim = read_ref(folder.shim)
        descriptor = open_pidfd(shim) if shim else None
        if descriptor is None:
            return
        try:
            container = get_container(folder)
            heard = send_signal(container, get_signal(spec.stop_signal))
            # Without a container it has just ended: killing the shim now would lose the exit code.
            if await wait_readable(descriptor, grace_s if heard else _ENDING_S):
                return
            if not send_signal(container, signal.SIGKILL):
                send_signal(shim, signal.SIGKILL)
            if not await wait_readable(descriptor, KILL_TIMEOUT_S):
                raise Temporary(f"{component} of copy {paths.folder.name} does not end")
        finally:
            os.close(descriptor)
            reap_children()

    async def remove(self, key: CopyKey) -> None:
        async with self._locks[key]:
            await self._remove(key, self._layout.copy(key))
        self._locks.pop(key, None)

    async def observe(self) -> list[CopyState]:
        reap_children()
        return [state for key in self._layout.list_keys() if (state := self._observe_copy(key)) is not None]

    async def wait_change(self, timeout_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):  # wait_for can lose a cancellation (Python 3.11)
                await self._changed.wait()
        self._changed.clear()
        reap_children()

    def get_endpoint(self, key: CopyKey, port: int) -> Endpoint:
        return Endpoint(unix=self._layout.get_socket(key, port))

    async def get_usage(self, key: CopyKey, component: str) -> Usage:
        paths, record = self._get_copy(key)
        _get_component(record, component)
        name = name_group(paths, component)
        with _engine_errors(f"measure {component}"):
            return await asyncio.to_thread(measure_usage, paths.component(component), self._get_machine().cgroups, name)

    async def list_listening(self, key: CopyKey) -> list[ListeningSocket]:
        paths, _ = self._get_copy(key)
        return read_listening(get_holder(paths).pid) if self._get_machine().contained else []

    def read_logs(
        self, key: CopyKey, component: str, *, after: str = "", tail: int | None = None, follow: bool = False
    ) -> AsyncIterator[LogLine]:
        paths, record = self._get_copy(key)
        _get_component(record, component)
        return read_log(paths.component(component).logs, after=after, tail=tail, follow=follow)

    async def exec(self, key: CopyKey, component: str, argv: tuple[str, ...], *, tty: bool = False) -> ExecStream:
        paths, record = self._get_copy(key)
        spec = _get_component(record, component)
        container = get_container(paths.component(component))
        if container is None:
            raise Temporary(f"{component} of copy {paths.folder.name} does not run, so nothing can be started in it")
        machine = self._get_machine()
        if not machine.contained:
            raise Permanent("commands can't be started in a plain process")
        image = self._get_image(spec.image)
        groups = machine.cgroups.list_folders(name_group(paths, component)) if machine.cgroups else []
        target = ExecTarget(container.pid, get_holder(paths).pid, tuple(groups), machine.as_root)
        with _engine_errors(f"start a command in {component}"):
            return await start_exec(build_request(target, spec, image, argv, tty=tty))

    def _get_machine(self) -> Machine:
        if self._machine is None:
            raise Temporary("the runtime is not open")
        return self._machine

    def _get_copy(self, key: CopyKey) -> tuple[CopyPaths, CopyRecord]:
        paths = self._layout.copy(key)
        try:
            record = read_record(paths)
        except BrokenRecord as error:
            raise Permanent(f"copy {paths.folder.name}: {error}; it can only be removed") from error
        if record is None:
            raise Temporary(f"there is no copy {paths.folder.name}")
        return paths, record

    def _get_image(self, digest: str) -> UnpackedImage:
        image = self._images.find(digest)
        if image is None:
            raise Temporary(f"image {digest[:19]} is not unpacked yet")
        return image

    def _list_images(self, record: CopyRecord) -> list[UnpackedImage]:
        return [self._get_image(spec.image) for spec in record.spec.components]

    def _make_folders(self, paths: CopyPaths, record: CopyRecord) -> None:
        paths.folder.mkdir(mode=0o700)
        for spec in record.spec.components:
            image = self._get_image(spec.image)
            if not self._get_machine().contained:
                validate_plain(image, spec)
            make_component(self._get_machine(), paths.component(spec.name), record, spec, image)

    async def _start_pod(self, paths: CopyPaths, record: CopyRecord) -> None:
        """What still runs of the copy is in namespaces that nothing can join any more, so it ends first."""
        await asyncio.to_thread(kill_copy, paths, self._get_machine().cgroups)
        command = build_pod_command(
            self._get_machine(), paths, record, self._config.log_max_bytes, self._count_users(record)
        )
        shim = await start_pod(command, paths, record)
        keep_child(shim)

    def _count_users(self, record: CopyRecord) -> int:
        return sum(find_user(image, image.image.process.user or "").uid > 0 for image in self._list_images(record))

    async def _start_component(self, paths: CopyPaths, record: CopyRecord, spec: ComponentSpec) -> None:
        machine, folder = self._get_machine(), paths.component(spec.name)
        image = self._get_image(spec.image)
        holder = get_holder(paths).pid
        plan = plan_launch(machine, folder, record, spec, image, holder) if machine.contained else None
        await end_shim(folder)
        starts = observe_component(folder, spec.name).restarts + 2 if folder.starts.exists() else 1
        for path in (folder.shim, folder.exit, folder.status):
            path.unlink(missing_ok=True)
        folder.starts.write_text(str(starts))
        if plan is None:
            command = build_plain_command(self._layout, record, spec, folder)
            folder.args.touch()
            shim = run_shim(command.argv, (), command.env)
            self._adopt_child(shim)
            await await_shim(folder, shim)
            return
        reader, writer = os.pipe()
        try:
            shim = await asyncio.to_thread(self._launch, paths, plan, writer)
            os.close(writer)
            writer = -1
            self._adopt_child(shim)
            await await_container(folder, reader)
        finally:
            os.close(reader)
            if writer >= 0:
                os.close(writer)

    def _launch(self, paths: CopyPaths, plan: Launch, writer: int) -> subprocess.Popen[bytes]:
        cgroups = self._get_machine().cgroups
        name = name_group(paths, plan.spec.name)
        folders = cgroups.create(name, plan.spec) if cgroups else []
        return launch(self._get_machine(), plan, folders, cgroups.get_oom_file(name) if cgroups else None, writer)

    def _adopt_child(self, shim: subprocess.Popen[bytes]) -> None:
        keep_child(shim)
        descriptor = os.pidfd_open(shim.pid)
        self._watched[shim.pid] = descriptor
        asyncio.get_running_loop().add_reader(descriptor, self._shim_ended, shim.pid)

    def _watch(self, paths: CopyPaths) -> None:
        """Take up the shims of a copy that another agent has started."""
        for path in paths.folder.glob("c/*/shim.pid"):
            ref = read_ref(path)
            descriptor = open_pidfd(ref) if ref else None
            if ref is not None and descriptor is not None:
                self._watched[ref.pid] = descriptor
                asyncio.get_running_loop().add_reader(descriptor, self._shim_ended, ref.pid)

    def _shim_ended(self, pid: int) -> None:
        self._unwatch(pid)
        reap_children()
        self._changed.set()

    def _unwatch(self, pid: int) -> None:
        descriptor = self._watched.pop(pid)
        asyncio.get_running_loop().remove_reader(descriptor)
        os.close(descriptor)

    def _observe_copy(self, key: CopyKey) -> CopyState | None:
        paths = self._layout.copy(key)
        try:
            record = read_record(paths)
            if record is None:
                return None  # being made, or being removed
            states = (observe_component(paths.component(c.name), c.name) for c in record.spec.components)
            return CopyState(key, tuple(self._hide_end(key, state) for state in states), record.spec.labels)
        except (BrokenRecord, ValueError) as error:
            return CopyState(key, (), broken=str(error))

    def _hide_end(self, key: CopyKey, state: ComponentState) -> ComponentState:
        """While a component starts, its files tell of the end before, or look as if its shim had been killed."""
        if state.phase == "exited" and (key, state.name) in self._starting:
            return ComponentState(state.name, "created", restarts=state.restarts)
        return state

    def _remove_leftovers(self) -> None:
        """Copies whose making or removal was interrupted, with all that still runs of them."""
        cgroups = self._get_machine().cgroups
        left = [paths for key in self._layout.list_keys() if not (paths := self._layout.copy(key)).spec.exists()]
        for paths in left:
            kill_copy(paths, cgroups)
        remove_folders(left)
        kept = {self._layout.copy(key).folder.name for key in self._layout.list_keys()}
        if cgroups:
            for name in cgroups.list_names():
                if name.rpartition(".")[0] not in kept:
                    cgroups.remove(name)

    async def _remove(self, key: CopyKey, paths: CopyPaths) -> None:
        cgroups = self._get_machine().cgroups
        with _engine_errors(f"remove copy {paths.folder.name}"):
            paths.spec.unlink(missing_ok=True)
            await asyncio.to_thread(kill_copy, paths, cgroups)
            reap_children()
            await asyncio.to_thread(remove_folders, [paths])
            if cgroups and not self._layout.list_keys():
                cgroups.remove_all()
        self._changed.set()


def _get_component(record: CopyRecord, name: str) -> ComponentSpec:
    for spec in record.spec.components:
        if spec.name == name:
            return spec
    raise Permanent(f"copy {record.spec.key.app}/{record.spec.key.generation} has no component {name!r}")


@contextmanager
def _engine_errors(action: str) -> Iterator[None]:
    """The world's failures in the runtime's own words; the message is shown to people."""
    try:
        yield
    except FluxCloudError as error:
        if isinstance(error, MissingBlob):
            raise Temporary(str(error)) from error
        if isinstance(error, ImageRejected):
            raise Permanent(str(error)) from error
        raise
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        reason = "the disk is full" if full else str(error)
        raise Temporary(f"can't {action}: {reason}", retry_after_s=30.0 if full else 1.0) from error
