"""Deleting a local network: what is in its directory, and its containers on the Docker engine."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress

from ..errors import ConfigError, FluxCloudError
from .dockercopies import DockerCopies
from .layout import Layout, load_network
from .output import Output


async def delete_network(layout: Layout, output: Output) -> None:
    """All that it holds, here and on the Docker engine. It must not run."""
    await _remove_containers(layout, output)
    _clear(layout)


async def _remove_containers(layout: Layout, output: Output) -> None:
    """Of the network that was here, where it ran with Docker; a network that can't be read has none that we know."""
    with suppress(ConfigError, OSError):
        network = load_network(layout)
        if network.engine == "docker":
            try:
                await DockerCopies(network).remove_all()
            except FluxCloudError as error:
                output.progress(f"containers of the old network, if any, stay: {error}")


def _clear(layout: Layout) -> None:
    for child in layout.root.iterdir():
        if child == layout.lock:
            continue
        if child.is_dir() and not child.is_symlink():
            shutil.rmtree(child, onerror=_open_up)
        else:
            child.unlink()


def _open_up(function: object, path: str, failure: object) -> None:
    """The kernel leaves folders in an overlay that not even their owner may enter."""
    with suppress(FileNotFoundError):
        os.chmod(path, 0o700)
        shutil.rmtree(path)
