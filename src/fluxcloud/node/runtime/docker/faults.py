"""A whole node's containers at once, without its agent: for `fluxcloud node kill`, `stop` and `down`.

Everything goes by the label of the node, so other nodes on the same engine are left alone. Raises Temporary, Permanent.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from .answers import Summary
from .api import DockerApi
from .copies import group_copies
from .networks import remove_network
from .specs import make_filters
from .transport import Conflict, NotFound

_AT_ONCE = 8


async def kill_node(socket: str, node: str) -> int:
    """SIGKILL all containers of a node, as if its machine had lost power. Returns how many ran."""
    async with _open(socket) as api:
        running = await _list(api, node, "running", "paused")
        await _each(running, lambda container: api.kill(container.id, "KILL"))
    return len(running)


async def pause_node(socket: str, node: str) -> int:
    """Freeze all containers of a node. Returns how many."""
    async with _open(socket) as api:
        running = await _list(api, node, "running")
        await _each(running, lambda container: api.pause(container.id))
    return len(running)


async def unpause_node(socket: str, node: str) -> int:
    """Let go on what `pause_node` has frozen. Returns how many."""
    async with _open(socket) as api:
        paused = await _list(api, node, "paused")
        await _each(paused, lambda container: api.unpause(container.id))
    return len(paused)


async def remove_node(socket: str, node: str) -> int:
    """Delete all containers, networks and images of a node. Returns how many containers."""
    async with _open(socket) as api:
        containers = await api.list_containers(make_filters(node))
        for copy in group_copies(containers).values():
            await _each(copy.list_all(), lambda container: api.remove(container.id))
        await _each(containers, lambda container: api.remove(container.id))
        for network in await api.list_networks(make_filters(node)):
            await remove_network(api, network.id)
        await remove_images(api, node)
    return len(containers)


async def remove_images(api: DockerApi, node: str) -> None:
    """The node's names of images; an image goes with its last name."""
    for image in await api.list_images({"reference": ["fluxcloud/*"]}):
        for name in image.repo_tags or ():
            if name.rpartition(":")[2] == node:
                await api.remove_image(name)


async def _list(api: DockerApi, node: str, *states: str) -> list[Summary]:
    return [found for found in await api.list_containers(make_filters(node)) if found.state in states]


async def _each(containers: list[Summary], act: Callable[[Summary], Awaitable[object]]) -> None:
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(container: Summary) -> None:
        async with gate:
            try:
                await act(container)
            except (NotFound, Conflict):  # it ended, or was removed, in the meantime
                return

    await asyncio.gather(*(one(container) for container in containers))


@asynccontextmanager
async def _open(socket: str) -> AsyncIterator[DockerApi]:
    api = DockerApi(socket)
    await api.open()
    try:
        yield api
    finally:
        await api.close()
