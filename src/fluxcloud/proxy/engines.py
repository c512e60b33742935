"""The proxy engines by name; each is imported only where it is used."""

from __future__ import annotations

from typing import Literal

from .base import Proxy, ProxyConfig

ProxyEngine = Literal["embedded", "haproxy"]


def build_proxy(engine: ProxyEngine, config: ProxyConfig) -> Proxy:
    """A proxy that is not started yet; its state directory is made."""
    config.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    if engine == "haproxy":
        from .haproxy.engine import HaproxyProxy

        return HaproxyProxy(config)
    from .embedded import EmbeddedProxy

    return EmbeddedProxy(config)
