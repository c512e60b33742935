"""The holder's image: one static busybox that sleeps, made here, so that nothing has to be fetched for it."""

from __future__ import annotations

from ....errors import FluxCloudError, Permanent
from ....images.build import build_image
from ....images.busybox import find_busybox, list_busybox
from ....images.manifest import Process
from ....images.store import ContentStore
from .api import DockerApi
from .specs import NODE

_FOR_EVER_S = "2147483647"


def build_holder_image(store: ContentStore) -> str:
    """Its manifest's digest. Raises Permanent where there is no busybox."""
    busybox = find_busybox()
    if busybox is None:
        raise Permanent("the docker runtime needs a static busybox: install busybox-static")
    return build_image(store, list_busybox(busybox), Process(entrypoint=["/bin/busybox", "sleep", _FOR_EVER_S]))


async def can_bound_disk(api: DockerApi, node: str, image: str) -> bool:
    """Found out by trying: it depends on the engine's storage driver, file system and mount options."""
    name = f"{node}.probe"
    body = {"Image": image, "Labels": {NODE: node}, "HostConfig": {"StorageOpt": {"size": "64M"}}}
    await api.remove(name)
    try:
        container = await api.create(name, body)
    except FluxCloudError:
        return False
    await api.remove(container)
    return True
