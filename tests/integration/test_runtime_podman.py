"""The `docker` runtime passes the contract against Podman's service too, but for what that one can't."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.runtime_contract import ContainerContract, Engine
from integration.test_runtime_docker import build_engine
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
    return build_engine(podman.socket, podman.run, tmp_path / "node", store, tells_oom=False, maps_ids=False)


class TestPodman(ContainerContract):
    async def test_isolation_says_what_is_missing(self, engine: Engine) -> None:
        runtime = engine.make()
        found = await runtime.open()
        await runtime.close()
        assert (found.engine, found.level, found.limits, found.egress) == ("docker", "namespaces", "hard", "closed")
        assert any("root in a container is root of the machine" in note for note in found.notes)
