"""A node's identity: its id, and the hot key and certificate by which the ledger knows it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..crypto import PrivateKey
from ..errors import ConfigError, Rejected
from ..ids import NodeId, render_node
from ..sdk.wallet import read_key
from ..tls import validate_identity_cert


@dataclass(frozen=True, slots=True)
class Identity:
    id: NodeId
    key: PrivateKey
    cert: bytes  # DER


def load_identity(home: Path, node_id: NodeId) -> Identity:
    """From `hot.key` and `cert.der`. Raises ConfigError naming the file that is missing or does not fit."""
    key = read_key(home / "hot.key")
    try:
        cert = (home / "cert.der").read_bytes()
        validate_identity_cert(cert, key.public, render_node(node_id))
    except OSError as error:
        raise ConfigError(str(home / "cert.der"), f"can't be read: {error.strerror}") from error
    except Rejected as error:
        raise ConfigError(str(home / "cert.der"), error.message) from error
    return Identity(node_id, key, cert)
