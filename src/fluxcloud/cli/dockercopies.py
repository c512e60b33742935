"""Copies of a local network on one Docker engine: found by their node's label, killed and frozen without an agent."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from contextlib import closing

from ..node.runtime.docker.faults import kill_node, pause_node, remove_node, unpause_node
from .layout import NetworkFile
from .output import USAGE, CliError

DEFAULT_SOCKET = "/var/run/docker.sock"


def find_socket() -> str:
    """The engine's unix socket: DOCKER_HOST, else the usual place. Raises CliError with what to do."""
    host = os.environ.get("DOCKER_HOST", "")
    path = host.removeprefix("unix://") if host.startswith("unix://") else DEFAULT_SOCKET
    with closing(socket.socket(socket.AF_UNIX)) as probe:
        probe.settimeout(2.0)
        try:
            probe.connect(path)
        except PermissionError:
            hints = ("add this user to the group docker, or run as root", "fluxcloud up --engine oci")
            raise CliError(f"{path}: this user may not use Docker", exit_code=USAGE, hints=hints) from None
        except OSError as error:
            hints = ("start Docker (as root: dockerd)", "fluxcloud up --engine oci")
            raise CliError(f"no Docker engine answers at {path}: {error}", exit_code=USAGE, hints=hints) from None
    return path


def node_subnets(number: int) -> str:
    """A node's part of 10.201.0.0/16, so that nodes on one engine never clash: room for 256 copies each."""
    return f"10.201.{(number - 1) * 4}.0/22"


class DockerCopies:
    """All copies of one network's nodes."""

    def __init__(self, network: NetworkFile) -> None:
        self._nodes = network.nodes
        self._socket = find_socket()

    async def kill(self, name: str) -> None:
        await kill_node(self._socket, self._nodes[name])

    async def freeze(self, name: str) -> None:
        await pause_node(self._socket, self._nodes[name])

    async def thaw(self, name: str) -> None:
        await unpause_node(self._socket, self._nodes[name])

    async def kill_all(self) -> None:
        await self._each(kill_node)

    async def remove_all(self) -> None:
        """Nothing of this network is left on the engine."""
        await self._each(remove_node)

    async def _each(self, act: Callable[[str, str], Awaitable[int]]) -> None:
        await asyncio.gather(*(act(self._socket, node) for node in self._nodes.values()))
