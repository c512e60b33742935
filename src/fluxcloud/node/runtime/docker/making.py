"""Making and removing a copy's network, holder and containers.

Order matters, for an agent may die at any moment: the holder is created before and started after everything else, so a
copy whose holder never ran is a leftover, and one whose holder did is whole.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from ....errors import Permanent, Temporary
from ..base import ComponentSpec, CopyKey, CopySpec
from .api import DockerApi
from .copies import group_copies
from .images import ImageLoader
from .ipam import get_address
from .networks import NetworkMaker, remove_network
from .specs import (
    Bounds,
    CopyNames,
    build_archive,
    build_component,
    build_holder,
    make_filters,
    make_writable,
    parse_key,
)

_FILES_REPOSITORY = "fluxcloud/files"
_UNFIT = "processing tar file"  # the engine calls it a failure of its own


@dataclass(frozen=True, slots=True)
class CopyMaker:
    """`images` has those of components, `own_images` the holder's, whose digest is `holder`."""

    api: DockerApi
    node: str
    images: ImageLoader
    own_images: ImageLoader
    holder: str
    networks: NetworkMaker
    bounds: Bounds

    async def make(self, copy: CopySpec) -> str:
        """Everything of a copy, its holder started; the copy's address. Raises Temporary, Permanent."""
        names = CopyNames(self.node, copy.key)
        subnet = await self.networks.create(names)
        image = await self.own_images.ensure(self.holder)
        holder = await self.api.create(names.copy, build_holder(names, copy, image.id, subnet))
        for spec in copy.components:
            await self._make_component(names, spec, holder)
        await self.api.start(holder)
        return str(get_address(subnet))

    async def _make_component(self, names: CopyNames, spec: ComponentSpec, holder: str) -> None:
        image = await self.images.ensure(spec.image)
        body = build_component(names, spec, image.id, image.image.process, holder, self.bounds)
        if spec.files and spec.read_only:
            body["Image"] = await self._make_image(names, spec, body)
        container = await self.api.create(names.component(spec.name), body)
        if spec.files and not spec.read_only:
            await self._put_files(container, spec)

    async def _put_files(self, container: str, spec: ComponentSpec) -> None:
        archive = build_archive(spec)
        try:
            await self.api.put_files(container, archive)
        except Temporary as error:
            if _UNFIT not in str(error):
                raise
            raise Permanent(f"component {spec.name}: its files don't fit into the image: {error}") from error

    async def _make_image(self, names: CopyNames, spec: ComponentSpec, body: dict[str, Any]) -> str:
        """Files can't be put into a root that is read-only: so into one that is not, which becomes an image."""
        scratch = await self.api.create(names.component(spec.name), make_writable(body))
        try:
            await self._put_files(scratch, spec)
            return await self.api.commit(scratch, _FILES_REPOSITORY, names.component(spec.name))
        finally:
            await self.api.remove(scratch)

    async def remove(self, key: CopyKey) -> None:
        """All that is there of a copy, whoever has made it. Raises Temporary, Permanent."""
        filters = make_filters(self.node, key)
        for found in group_copies(await self.api.list_containers(filters)).values():
            await asyncio.gather(*(self.api.remove(part.id) for part in found.components.values()))
            if found.holder is not None:
                await self.api.remove(found.holder.id)
        for network in await self.api.list_networks(filters):
            await remove_network(self.api, network.id)
        for image in await self.api.list_images(filters):
            await self.api.remove_image(next(iter(image.repo_tags or ()), image.id))

    async def remove_leftovers(self) -> None:
        """Copies whose making or removal was interrupted."""
        filters = make_filters(self.node)
        copies = group_copies(await self.api.list_containers(filters))
        kept = {key for key, found in copies.items() if found.is_made or found.holder is None}
        networks = [parse_key(network.labels or {}) for network in await self.api.list_networks(filters)]
        for key in {*copies, *(key for key in networks if key is not None)} - kept:
            await self.remove(key)
