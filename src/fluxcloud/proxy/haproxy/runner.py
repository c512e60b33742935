"""Runner: a layout made to run, by a first process, a reloaded one, or one in the place of a dead one.

Each start of a worker has an admin socket of its own name, so that whoever answers there is the new one.
"""

from __future__ import annotations

import contextlib
import os
import resource
import socket
from collections.abc import Iterable, Mapping
from typing import Final

from ..base import ProxyConfig
from .admin import Admin, AdminFailed
from .commands import Command, build_present
from .layout import Layout
from .process import Process, write_files
from .render import Limits, Listen, render_files

_BACKLOG: Final = 1024
_START_S: Final = 60.0
_STOP_S: Final = 2.0
_DESCRIPTORS_SPARE: Final = 512


class Runner:
    """Owns the listening socket and the process."""

    def __init__(self, config: ProxyConfig) -> None:
        self._config = config
        self._generation = 0
        self._listener: socket.socket | None = None
        self._process: Process | None = None

    @property
    def process(self) -> Process:
        assert self._process is not None, "not started"
        return self._process

    @property
    def admin(self) -> Admin:
        return self.process.admin

    def listen(self) -> int:
        """Returns the port. Raises OSError when the address is not free."""
        config = self._config
        family = socket.AF_INET6 if ":" in config.listen_host else socket.AF_INET
        self._listener = listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((config.listen_host, config.listen_port))
            listener.listen(_BACKLOG)
        except OSError:
            self._unlisten()
            raise
        return int(listener.getsockname()[1])

    def _unlisten(self) -> None:
        """Refuse connections from now on, also in processes that have inherited the socket."""
        if self._listener is not None:
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None

    async def start(self, layout: Layout, health: Mapping[int, str]) -> None:
        """Run `layout`, whatever became of the process before. Raises Permanent when HAProxy does not come up."""
        if self._process is not None:
            await self._process.kill()
            self._process = None
        admin_name = self._write(layout)
        assert self._listener is not None
        self._process = await Process.start(self._config.state_dir, self._listener.fileno(), admin_name, _START_S)
        await self.run(build_present(layout, health))

    async def reload(self, layout: Layout, health: Mapping[int, str]) -> None:
        """Run `layout` in a new worker, without a lost connection. Raises Permanent, AdminFailed."""
        await self.process.reload(self._write(layout), _START_S)
        await self.run(build_present(layout, health))

    async def run(self, commands: Iterable[Command]) -> None:
        """Raises AdminFailed."""
        await self.process.admin.run(commands)

    async def stop(self, drain_s: float) -> None:
        """Take nothing new, let what is under way finish, for at most `drain_s`."""
        process, self._process = self._process, None
        if process is not None and drain_s > 0:
            # First the worker lets go of the socket, then everybody: pulled from under it, it would not end.
            with contextlib.suppress(AdminFailed):
                await process.admin.ask("shutdown frontend front", _STOP_S)
            self._unlisten()
            await process.drain(drain_s)
        self._unlisten()
        if process is not None:
            await process.end()

    def _write(self, layout: Layout) -> str:
        assert self._listener is not None
        self._generation += 1
        listen = Listen(self._listener.fileno(), f"admin.{self._generation}.sock")
        write_files(
            self._config.state_dir,
            render_files(self._config, layout, listen, compute_limits(self._config)),
        )
        return listen.admin


def compute_limits(config: ProxyConfig) -> Limits:
    """As many connections as asked for, or as this process may open: HAProxy refuses to start above its limit. Of the
    cores half at a gateway and a quarter at a node, which is there for its copies: threads of HAProxy wait for each
    other by spinning, so that two for which there is one core are slower than one."""
    _, limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    connections = max(16, min(config.connections_max, (limit - _DESCRIPTORS_SPARE) // 2))
    cores = len(os.sched_getaffinity(0))
    return Limits(connections, max(1, cores // (2 if config.role == "edge" else 4)))
