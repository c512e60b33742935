"""Wallet: an ed25519 key that signs for an account, kept in a file that only its user may read.

Keys of Bitcoin and Ethereum wallets never come here: those wallets sign by themselves.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from ..capability import Cap, Session, SignedCap, SignedSession, sign_cap, sign_session
from ..crypto import PrivateKey, Sig, address_of_ed25519
from ..errors import ConfigError
from ..ids import KIND_ED25519, Address, TxId

_SEED_BYTES = 32


class Wallet:
    """Signs for the account `address`."""

    def __init__(self, key: PrivateKey) -> None:
        self._key = key
        self.address: Address = address_of_ed25519(key.public)

    @classmethod
    def generate(cls) -> Wallet:
        """A new account that no file holds."""
        return cls(PrivateKey.generate())

    @classmethod
    def create(cls, path: Path) -> Wallet:
        """A new account, its seed written to `path` (mode 0600). Raises ConfigError where the file exists."""
        key = PrivateKey.generate()
        write_key(path, key)
        return cls(key)

    @classmethod
    def load(cls, path: Path) -> Wallet:
        """Raises ConfigError naming the file where it is absent, readable by others, or holds no key."""
        return cls(read_key(path))

    def sign(self, tx_id: TxId) -> Sig:
        return sign_with(self._key, tx_id)

    def sign_cap(self, cap: Cap) -> SignedCap:
        """A capability for one app on one node, as its owner gives it."""
        return sign_cap(cap, self._key)

    def sign_session(self, session: Session) -> SignedSession:
        """The account's word that the session's key may sign capabilities for an app."""
        return sign_session(session, self._key)


def sign_with(key: PrivateKey, tx_id: TxId) -> Sig:
    """An ed25519 signature over a transaction's id, as accounts and nodes' hot keys give it."""
    return Sig(kind=KIND_ED25519, pub=key.public, sig=key.sign(tx_id))


def write_key(path: Path, key: PrivateKey) -> None:
    """The seed as a line of hex, durable, mode 0600; never over an existing file."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise ConfigError(str(path), "exists already; a key is never written over") from None
    except OSError as error:
        raise ConfigError(str(path), f"can't be written: {error.strerror}") from error
    with os.fdopen(fd, "w") as file:
        file.write(key.seed.hex() + "\n")
        file.flush()
        os.fsync(file.fileno())


def read_key(path: Path) -> PrivateKey:
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), f"can't be read as a key file: {error}") from error
    if stat.S_IMODE(mode) & 0o077:
        raise ConfigError(str(path), f"others may read it; run `chmod 600 {path}`")
    try:
        seed = bytes.fromhex(text)
    except ValueError:
        seed = b""
    if len(seed) != _SEED_BYTES:
        raise ConfigError(str(path), f"holds no key: a line of {2 * _SEED_BYTES} hex digits is expected")
    return PrivateKey.from_seed(seed)
