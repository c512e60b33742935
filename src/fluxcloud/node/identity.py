"""A node's identity: its id, and the hot key and certificate by which the ledger knows it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..crypto import PrivateKey
from ..ids import NodeId, render_node
from ..sdk.wallet import read_key
from ..tls import read_identity_cert


@dataclass(frozen=True, slots=True)
class Identity:
    id: NodeId
    key: PrivateKey
    cert: bytes  # DER


def load_identity(home: Path, node_id: NodeId) -> Identity:
    """From `hot.key` and `cert.der`. Raises ConfigError naming the file that is missing or does not fit."""
    key = read_key(home / "hot.key")
    return Identity(node_id, key, read_identity_cert(home / "cert.der", key.public, render_node(node_id)))
