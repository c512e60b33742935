"""Sessions: an owner's account signs once per app for a key of this machine, and that key signs what nodes are asked.

So a wallet is needed once in a while, not for every request. Kept in a folder, one file per app, which only its user
may read. A kept session is used as long as the app's owner would still sign it: same owner, same `session_epoch`, all
scopes, not about to end. Otherwise the wallet signs another one. Source: APPS.md 5.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec

from ..capability import (
    OWNER_ACTIONS,
    SESSION_MS_MAX,
    AppAuthority,
    Cap,
    CapabilityRefused,
    Session,
    SignedCap,
    SignedSession,
    check_session,
    sign_cap,
)
from ..codec import Codec, encode
from ..crypto import PrivateKey
from ..errors import ConfigError, Rejected
from ..files import write_atomically
from ..ids import Address, AppId, render_app
from ..ledger.apps.model import App

SESSION_MS = SESSION_MS_MAX - 3_600_000
"""An hour less than nodes allow: clocks differ."""

LEFT_MS_MIN = 3_600_000
"""A session that ends sooner is replaced."""

FILE_BYTES_MAX = 8 * 1024
SUFFIX = ".session.key"


class CapSigner(Protocol):
    """Who gives capabilities: a wallet itself, or a session that it has signed."""

    def sign_cap(self, cap: Cap) -> SignedCap: ...


class SessionWallet(Protocol):
    """An account that can sign sessions. Wallets of Bitcoin and Ethereum sign `capability.render_session`."""

    @property
    def address(self) -> Address: ...

    def sign_session(self, session: Session) -> SignedSession: ...


@dataclass(frozen=True, slots=True)
class AppSession:
    """A key that may sign capabilities for one app."""

    key: PrivateKey
    signed: SignedSession

    def sign_cap(self, cap: Cap) -> SignedCap:
        return sign_cap(cap, self.key, self.signed)


class _Kept(msgspec.Struct):
    """A file's form; bytes are base64."""

    seed: bytes
    signed: bytes


_SIGNED: Codec[SignedSession] = Codec(SignedSession, max_bytes=FILE_BYTES_MAX)


class SessionStore:
    """Sessions of one chain in one folder. `unix_ms` is the clock by which they end."""

    def __init__(self, folder: Path, chain_id: str, unix_ms: Callable[[], int] | None = None) -> None:
        self._folder = folder
        self._chain_id = chain_id
        self._unix_ms = unix_ms or (lambda: time.time_ns() // 1_000_000)

    def get(self, app: App, wallet: SessionWallet) -> AppSession:
        """The session for this app: the kept one, or one that the wallet signs now.

        Raises CapabilityRefused (capability/3) where the wallet is not the owner's, ConfigError where the folder
        can't be used or others may read a kept session.
        """
        authority = AppAuthority(Address(app.owner), app.session_epoch)
        kept = self._read(AppId(app.id))
        if kept is not None and self._is_good(kept, AppId(app.id), authority):
            return kept
        if wallet.address != app.owner:
            raise CapabilityRefused(
                f"{app.name} belongs to another account", hint="fluxcloud -c with a context of its owner's account"
            )
        key = PrivateKey.generate()
        scopes = tuple(sorted(OWNER_ACTIONS))
        expires_ms = self._unix_ms() + SESSION_MS
        session = Session(self._chain_id, app.id, key.public, scopes, expires_ms, app.session_epoch)
        made = AppSession(key, wallet.sign_session(session))
        self._write(AppId(app.id), made)
        return made

    def forget(self, app_id: AppId) -> None:
        """Delete the kept session, where there is one."""
        self._path(app_id).unlink(missing_ok=True)

    def _is_good(self, kept: AppSession, app_id: AppId, authority: AppAuthority) -> bool:
        now_ms = self._unix_ms()
        try:
            session = check_session(kept.signed, self._chain_id, app_id, authority, now_ms)
        except Rejected:
            return False
        is_long = session.expires_ms > now_ms + LEFT_MS_MIN
        return is_long and session.pub == kept.key.public and set(session.scopes) >= OWNER_ACTIONS

    def _path(self, app_id: AppId) -> Path:
        return self._folder / f"{render_app(app_id)}{SUFFIX}"

    def _read(self, app_id: AppId) -> AppSession | None:
        """None where there is none, or one that can't be read any more: it is only kept to spare a signature."""
        path = self._path(app_id)
        try:
            with path.open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                raw = file.read(FILE_BYTES_MAX + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ConfigError(str(path), f"can't be read: {error.strerror}") from error
        if stat.S_IMODE(mode) & 0o077:
            remedy = "run `fluxcloud app sessions revoke` for the app, which makes another one"
            raise ConfigError(str(path), f"others may read this session; {remedy}")
        try:
            kept = msgspec.json.decode(raw, type=_Kept)
            return AppSession(PrivateKey.from_seed(kept.seed), _SIGNED.decode(kept.signed))
        except (msgspec.DecodeError, ValueError, Rejected):
            return None

    def _write(self, app_id: AppId, session: AppSession) -> None:
        """All or nothing, so that two commands at once leave one whole session."""
        path = self._path(app_id)
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_atomically(path, msgspec.json.encode(_Kept(session.key.seed, encode(session.signed))))
        except OSError as error:
            raise ConfigError(str(path), f"can't be written: {error.strerror}") from error
