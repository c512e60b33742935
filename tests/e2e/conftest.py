"""One network for the tests of a module: starting it takes seconds, and each test leaves it whole."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .harness import Network, running_network


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    data: Path = tmp_path_factory.mktemp("network") / "data"
    with running_network(data) as running:
        running.wait_for("hello is whole", running.is_whole)
        yield running
