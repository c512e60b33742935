"""The `docker` runtime passes the contract against Podman's service too, but for what that one can't."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fluxcloud.images.store import ContentStore
from fluxcloud.node.runtime.base import RuntimeConfig
from fluxcloud.node.runtime.docker.engine import DockerRuntime
from integration.runtime_contract import ContainerContract, Engine
from integration.test_runtime_oci import build_busybox_image
from podman import Podman, run_podman


@pytest.fixture(scope="module")
def podman() -> Iterator[Podman]:
    with run_podman() as service:
        yield service


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture
def engine(podman: Podman, tmp_path: Path, store: Path) -> Engine:
    config = RuntimeConfig(tmp_path / "node", "node-1", store, extra={"socket": podman.socket})
    return Engine(
        make=lambda: DockerRuntime(config),
        image=build_busybox_image(ContentStore(store)),
        hard_limits=True,
        own_ids=False,
        tells_oom=False,
        maps_ids=False,
        leftovers=lambda: list_leftovers(podman, tmp_path / "node"),
    )


def list_leftovers(podman: Podman, root: Path) -> list[str]:
    return [
        *podman.run("ps", "--all", "--quiet"),
        *podman.run("network", "ls", "--quiet", "--filter", "label=fluxcloud.node"),
        *podman.run("volume", "ls", "--quiet"),
        *podman.run("image", "ls", "--quiet", "fluxcloud/files"),
        *(path.name for path in (root / "starts").iterdir()),
    ]


class TestPodman(ContainerContract):
    async def test_isolation_says_what_is_missing(self, engine: Engine) -> None:
        runtime = engine.make()
        found = await runtime.open()
        await runtime.close()
        assert (found.engine, found.level, found.limits, found.egress) == ("docker", "namespaces", "hard", "closed")
        assert any("root in a container is root of the machine" in note for note in found.notes)
