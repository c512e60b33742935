"""Making and removing the networks of copies, with subnets from the node's own pool."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Network
from itertools import islice
from pathlib import Path

from ....errors import Permanent, Temporary
from .api import DockerApi
from .ipam import list_free, parse_routes, parse_subnets
from .specs import BRIDGE_PREFIX, CopyNames, build_network

_ROUTES = Path("/proc/net/route")
_TRIES = 16
_REMOVE_TRIES = 50
_REMOVE_PAUSE_S = 0.1


class NetworkMaker:
    """`pool` is this node's; other nodes on the engine may, against all advice, draw from the same one."""

    def __init__(self, api: DockerApi, pool: IPv4Network) -> None:
        self._api = api
        self._pool = pool
        self._reserved: set[IPv4Network] = set()  # by copies being made this moment

    async def create(self, names: CopyNames) -> IPv4Network:
        """A network for one copy; its subnet. Raises Temporary when no subnet is left."""
        taken = await self._list_taken()
        # The bridge's name is a hash already: so copies begin to look at different places.
        seed = int(names.bridge.removeprefix(BRIDGE_PREFIX), 16)
        for subnet in islice(list_free(self._pool, [*taken, *self._reserved], seed), _TRIES):
            with self._reserve(subnet):
                try:
                    await self._api.create_network(build_network(names, subnet))
                except Permanent as error:
                    if "overlap" not in str(error):
                        raise
                else:
                    return subnet
        raise Temporary(
            f"no subnet is left in {self._pool} for another copy: set docker_subnets to a larger or another network",
            retry_after_s=10.0,
        )

    async def _list_taken(self) -> list[IPv4Network]:
        networks = await self._api.list_networks({})
        texts = [subnet.subnet for network in networks for subnet in network.address_plan.config or ()]
        try:
            routes = parse_routes(_ROUTES.read_text())
        except OSError:
            routes = []
        return [*parse_subnets(texts), *(route for route in routes if not self._pool.subnet_of(route))]

    @contextmanager
    def _reserve(self, subnet: IPv4Network) -> Iterator[None]:
        self._reserved.add(subnet)
        try:
            yield
        finally:
            self._reserved.discard(subnet)


async def remove_network(api: DockerApi, network: str) -> None:
    """A container that was removed may take a moment to leave it. Raises Permanent when one stays."""
    for _ in range(_REMOVE_TRIES):
        try:
            return await api.remove_network(network)
        except Permanent:
            await asyncio.sleep(_REMOVE_PAUSE_S)
    await api.remove_network(network)
