"""Registries as the last source of a node's images: asked as nobody in particular, by digest alone.

Strangers choose the registry, so it has to be on a public address, except for those that the operator has listed. What
a registry refuses is not asked for again while the image is fetched: it may be one that the deployer pushes.
Source: APPS.md 4 (images).
"""

from __future__ import annotations

import ipaddress
import logging
import math
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from ...errors import Rejected, Temporary
from ...images.errors import StoreFull
from ...images.manifest import MANIFEST_BYTES_MAX
from ...images.reference import find_reference
from ...images.registry import Repository
from ...images.registry_net import Access
from ...images.store import ContentStore

_log = logging.getLogger(__name__)

_PLAIN = "http://"

PAUSE_S_MIN = 5.0
"""Before a registry that failed is asked again; the client underneath has tried several times by then."""


class RegistrySource:
    """The registry of one image, while that image is fetched. `problem` is what was wrong last."""

    def __init__(self, repository: Repository | None, problem: str, now: Callable[[], float]) -> None:
        self._repository = repository
        self._now = now
        self._ask_from_s = 0.0
        self.problem = problem

    async def pull(self, store: ContentStore, digest: str, size: int | None) -> bool:
        """Whether the blob (`size` None: a manifest) was got. Raises StoreFull (image/14)."""
        repository = self._repository
        if repository is None or self._now() < self._ask_from_s:
            return False
        size_max = MANIFEST_BYTES_MAX if size is None else size
        try:
            await repository.fetch(digest, store, size=size, size_max=size_max, is_manifest=size is None)
        except StoreFull:
            raise
        except Temporary as error:
            self._ask_from_s = self._now() + max(error.retry_after_s, PAUSE_S_MIN)
            self.problem = str(error)
        except Rejected as error:
            self._ask_from_s = math.inf
            self.problem = str(error)
        else:
            _log.info("blob %s got from %s", digest, repository.reference.name)
            return True
        _log.warning("blob %s not got: %s", digest, self.problem)
        return False


OpenRegistry = Callable[[str], AbstractAsyncContextManager[RegistrySource]]
"""The registry of an image, by a component's `image` as written; one that gives nothing where it is in no registry."""


def make_open_registry(host: str, private_registries: Iterable[str], now: Callable[[], float]) -> OpenRegistry:
    """Connections come from `host`, the node's address, unless it is on loopback, where nothing else is reached from.

    `private_registries`: those that may be on private addresses; `http://` before one says that it has no TLS.
    """
    local_host = "" if ipaddress.ip_address(host).is_loopback else host
    names = {entry.removeprefix(_PLAIN): entry.startswith(_PLAIN) for entry in private_registries}
    insecure = frozenset(name for name, is_plain in names.items() if is_plain)
    access = Access(private=frozenset(names), insecure=insecure, local_host=local_host)

    @asynccontextmanager
    async def open_registry(image: str) -> AsyncIterator[RegistrySource]:
        try:
            reference = find_reference(image)
        except Rejected as error:
            yield RegistrySource(None, str(error), now)
            return
        if reference is None:
            yield RegistrySource(None, "it is in no registry", now)
            return
        async with Repository(reference, access) as repository:
            yield RegistrySource(repository, f"{reference.registry} was not asked", now)

    return open_registry
