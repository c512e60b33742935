"""Sticky: what the cookie of a sticky route says.

Pure. A token stands for a server: nothing can be read from it and no other can be guessed. Gateways that share a key
honour each other's, whatever their engine.
"""

from __future__ import annotations

import hashlib
from typing import Final

from .base import ProxyConfig

STICKY_COOKIE: Final = "FXS"
COOKIE_ATTRIBUTES: Final = "Path=/; HttpOnly; SameSite=Lax"


def compute_sticky_key(config: ProxyConfig) -> bytes:
    secret = config.sticky_key or config.key_seed
    return hashlib.blake2b(secret, digest_size=32, person=b"fluxcloud/fxs").digest()


def compute_token(sticky_key: bytes, route_key: str, server_id: str) -> str:
    return hashlib.blake2b(f"{route_key}\n{server_id}".encode(), digest_size=12, key=sticky_key).hexdigest()
