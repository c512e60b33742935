"""The haproxy proxy engine: the contract of all engines, and what this one does besides."""

from __future__ import annotations

import pytest

from fluxcloud.proxy.haproxy.engine import HaproxyProxy
from integration.proxy_world import Engine

pytest.register_assert_rewrite("integration.proxy_contract")

from integration.proxy_contract import *  # noqa: E402, F403  # the tests themselves


@pytest.fixture
def engine() -> Engine:
    return HaproxyProxy
