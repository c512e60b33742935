"""A gateway's and a node's configuration, and peers with real certificates."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fluxcloud.crypto import PrivateKey
from fluxcloud.proxy.base import ProxyConfig
from fluxcloud.proxy.routes import Peer
from fluxcloud.tls import build_identity_cert


def make_key(name: str) -> PrivateKey:
    return PrivateKey.from_seed(hashlib.sha256(name.encode()).digest())


@pytest.fixture
def make_peer() -> Callable[..., Peer]:
    def make(name: str, port: int = 7000) -> Peer:
        return Peer(name, "127.0.0.1", port, build_identity_cert(make_key(name), name))

    return make


@pytest.fixture
def edge() -> ProxyConfig:
    key = make_key("gw1")
    return ProxyConfig(
        role="edge",
        listen_host="127.0.0.1",
        listen_port=0,
        identity_id="gw1",
        cert_der=build_identity_cert(key, "gw1"),
        key_seed=key.seed,
        state_dir=Path("unused"),
    )


@pytest.fixture
def ingress(edge: ProxyConfig) -> ProxyConfig:
    return replace(edge, role="ingress")
