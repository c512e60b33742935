"""Sessions: signed once, kept privately, replaced when the ledger would refuse them."""

from __future__ import annotations

import stat
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from msgspec.structs import replace

from fluxcloud.capability import (
    OWNER_ACTIONS,
    SESSION,
    AppAuthority,
    Asked,
    CapabilityRefused,
    Session,
    SignedSession,
    check_cap,
    make_cap,
    parse_authorization,
    render_authorization,
    sign_session,
)
from fluxcloud.crypto import PrivateKey, address_of_ed25519
from fluxcloud.errors import ConfigError
from fluxcloud.ids import Address, AppId, NodeId
from fluxcloud.ledger.apps.model import App
from fluxcloud.sdk.sessions import AppSession, SessionStore

KEY = PrivateKey.from_seed(b"\x01" * 32)
NODE = NodeId(b"\x0b" * 20)
NOW = 1_700_000_000_000
DAY_MS = 86_400_000
APP = App(b"\x0a" * 20, "shop", address_of_ed25519(KEY.public), 1, "active", 0, session_epoch=4)


@dataclass
class CountingWallet:
    """An account that counts what it was asked to sign."""

    key: PrivateKey = KEY
    signed: list[Session] = field(default_factory=list)

    @property
    def address(self) -> Address:
        return address_of_ed25519(self.key.public)

    def sign_session(self, session: Session) -> SignedSession:
        self.signed.append(session)
        return sign_session(session, self.key)


@dataclass
class Clock:
    now_ms: int = NOW

    def __call__(self) -> int:
        return self.now_ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> SessionStore:
    return SessionStore(tmp_path / "sessions", "dev", clock)


def check(session: AppSession, app: App, now_ms: int = NOW) -> None:
    """As a node does with a request to run a command."""
    asked = Asked("dev", AppId(app.id), NODE, "exec", now_ms)
    authority = AppAuthority(Address(app.owner), app.session_epoch)
    header = render_authorization(session.sign_cap(make_cap(asked, authority)))
    check_cap(*parse_authorization(header), asked, authority)


def read(session: AppSession) -> Session:
    return SESSION.decode(session.signed.body)


def test_first_use__the_wallet_signs_once_and_a_node_takes_it(store: SessionStore) -> None:
    wallet = CountingWallet()
    session = store.get(APP, wallet)
    check(session, APP)
    assert store.get(APP, wallet).signed == session.signed
    assert [(s.app, s.session_epoch, set(s.scopes)) for s in wallet.signed] == [(APP.id, 4, set(OWNER_ACTIONS))]


def test_file__is_for_its_user_alone(store: SessionStore, tmp_path: Path) -> None:
    store.get(APP, CountingWallet())
    (file,) = (tmp_path / "sessions").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    file.chmod(0o644)
    with pytest.raises(ConfigError, match="others may read"):
        store.get(APP, CountingWallet())


def test_revoked__another_one_is_signed(store: SessionStore) -> None:
    old = store.get(APP, CountingWallet())
    revoked = replace(APP, session_epoch=5)
    with pytest.raises(CapabilityRefused, match="revoked"):
        check(old, revoked)
    new = store.get(revoked, CountingWallet())
    check(new, revoked)
    assert read(new).pub != read(old).pub


def test_about_to_end__another_one_is_signed(store: SessionStore, clock: Clock) -> None:
    old = store.get(APP, CountingWallet())
    clock.now_ms = NOW + 29 * DAY_MS
    assert store.get(APP, CountingWallet()).signed == old.signed
    clock.now_ms = read(old).expires_ms - 60_000
    new = store.get(APP, CountingWallet())
    assert new.signed != old.signed
    check(new, APP, clock.now_ms)


@pytest.mark.parametrize("content", [b"", b"{", b"{}", b'{"seed":"AA==","signed":"AA=="}', b"x" * 20_000])
def test_spoilt_file__another_one_is_signed(store: SessionStore, tmp_path: Path, content: bytes) -> None:
    store.get(APP, CountingWallet())
    (file,) = (tmp_path / "sessions").iterdir()
    file.write_bytes(content)
    check(store.get(APP, CountingWallet()), APP)


def test_fewer_scopes_than_needed__another_one_is_signed(store: SessionStore, tmp_path: Path) -> None:
    wallet = CountingWallet()

    def sign_narrow(session: Session) -> SignedSession:
        return sign_session(replace(session, scopes=("logs",)), KEY)

    narrow = CountingWallet()
    narrow.sign_session = sign_narrow  # type: ignore[method-assign]
    store.get(APP, narrow)
    check(store.get(APP, wallet), APP)
    assert len(wallet.signed) == 1


def test_another_account__is_refused_before_any_node_is_asked(store: SessionStore) -> None:
    stranger = CountingWallet(PrivateKey.from_seed(b"\x02" * 32))
    with pytest.raises(CapabilityRefused, match="another account"):
        store.get(APP, stranger)
    assert stranger.signed == []


def test_session_of_the_owner__serves_whoever_was_given_its_file(store: SessionStore) -> None:
    session = store.get(APP, CountingWallet())
    guest = CountingWallet(PrivateKey.from_seed(b"\x02" * 32))
    assert store.get(APP, guest).signed == session.signed


def test_forget__removes_the_file(store: SessionStore, tmp_path: Path) -> None:
    store.get(APP, CountingWallet())
    store.forget(AppId(APP.id))
    store.forget(AppId(APP.id))
    assert list((tmp_path / "sessions").iterdir()) == []
