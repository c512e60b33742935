"""The `docker` runtime passes the contract against a real daemon, and what is its own."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dockerd import Dockerd, run_dockerd
from fluxcloud.images.store import ContentStore
from fluxcloud.node.runtime.base import RuntimeConfig
from fluxcloud.node.runtime.docker.engine import DockerRuntime
from integration.runtime_contract import ContainerContract, Engine
from integration.test_runtime_oci import build_busybox_image


@pytest.fixture(scope="module")
def dockerd() -> Iterator[Dockerd]:
    with run_dockerd() as daemon:
        yield daemon


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture
def engine(dockerd: Dockerd, tmp_path: Path, store: Path) -> Engine:
    config = RuntimeConfig(tmp_path / "node", "node-1", store, extra={"socket": dockerd.socket})
    return Engine(
        make=lambda: DockerRuntime(config),
        image=build_busybox_image(ContentStore(store)),
        hard_limits=True,
        own_ids=False,
        leftovers=lambda: list_leftovers(dockerd, tmp_path / "node"),
    )


def list_leftovers(dockerd: Dockerd, root: Path) -> list[str]:
    host = ["docker", "--host", f"unix://{dockerd.socket}"]
    found = []
    for argv in (["ps", "-aq"], ["network", "ls", "-q", "--filter", "type=custom"], ["volume", "ls", "-q"]):
        found += subprocess.run([*host, *argv], capture_output=True, text=True, check=True).stdout.split()
    return [*found, *map(str, (root / "starts").iterdir())]


class TestDocker(ContainerContract):
    pass
