"""Capabilities and every way to misuse one."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest

from fluxcloud.capability import (
    AppAuthority,
    Asked,
    BadCapability,
    Cap,
    CapabilityExpired,
    CapabilityRefused,
    Session,
    SignedCap,
    check_cap,
    check_sibling_cap,
    make_cap,
    parse_authorization,
    render_authorization,
    render_cap,
    render_session,
    sign_cap,
    sign_session,
)
from fluxcloud.codec import encode
from fluxcloud.crypto import PrivateKey, address_of_ed25519
from fluxcloud.errors import Rejected
from fluxcloud.ids import AppId, NodeId

OWNER = PrivateKey.from_seed(b"\x01" * 32)
OTHER = PrivateKey.from_seed(b"\x02" * 32)
HOT = PrivateKey.from_seed(b"\x03" * 32)
APP, NODE, SIBLING = AppId(b"\x0a" * 20), NodeId(b"\x0b" * 20), NodeId(b"\x0c" * 20)
NOW = 1_000_000_000
ASKED = Asked("dev", APP, NODE, "logs", NOW)
AUTHORITY = AppAuthority(address_of_ed25519(OWNER.public), session_epoch=4)


def change(**fields: Any) -> Cap:
    base = {"chain_id": "dev", "app": APP, "node": NODE, "actions": ("logs",), "expires_ms": NOW + 60_000}
    return Cap(**{**base, "session_epoch": 4, "id": b"\x00" * 16, **fields})


def make_session(**fields: Any) -> Session:
    base = {"chain_id": "dev", "app": APP, "pub": OTHER.public, "scopes": ("logs", "exec")}
    return Session(**{**base, "expires_ms": NOW + 86_400_000, "session_epoch": 4, **fields})


def test_owner__is_let_in() -> None:
    signed, cap = parse_authorization(render_authorization(sign_cap(make_cap(ASKED, AUTHORITY), OWNER)))
    check_cap(signed, cap, ASKED, AUTHORITY)


@pytest.mark.parametrize(
    ("cap", "key", "error", "word"),
    [
        (change(), OTHER, CapabilityRefused, "signature"),
        (change(node=SIBLING), OWNER, CapabilityRefused, "node"),
        (change(app=b"\x0f" * 20), OWNER, CapabilityRefused, "app"),
        (change(chain_id="other"), OWNER, CapabilityRefused, "chain_id"),
        (change(actions=("stats",)), OWNER, CapabilityRefused, "actions"),
        (change(actions=()), OWNER, CapabilityRefused, "actions"),
        (change(actions=("logs", "everything")), OWNER, CapabilityRefused, "actions"),
        (change(session_epoch=3), OWNER, CapabilityRefused, "session_epoch"),
        (change(session_epoch=5), OWNER, CapabilityRefused, "session_epoch"),
        (change(expires_ms=NOW - 30_000), OWNER, CapabilityExpired, "over"),
        (change(expires_ms=NOW + 15 * 60_000 + 30_001), OWNER, CapabilityExpired, "longer"),
        (change(holder=SIBLING), OWNER, CapabilityRefused, "holder"),
    ],
)
def test_misuse__is_refused(cap: Cap, key: PrivateKey, error: type[Rejected], word: str) -> None:
    with pytest.raises(error, match=word):
        check_cap(sign_cap(cap, key), cap, ASKED, AUTHORITY)


def test_changed_body__loses_its_signature() -> None:
    signed = sign_cap(change(), OWNER)
    other = change(id=b"\x01" * 16)
    with pytest.raises(CapabilityRefused, match="signature"):
        check_cap(SignedCap(encode(other), signed.sig), other, ASKED, AUTHORITY)


def test_session__may_sign_for_its_scopes() -> None:
    signed = sign_cap(change(), OTHER, sign_session(make_session(), OWNER))
    check_cap(signed, change(), ASKED, AUTHORITY)


@pytest.mark.parametrize(
    ("session", "key", "error"),
    [
        (make_session(scopes=("stats",)), OWNER, CapabilityRefused),
        (make_session(app=b"\x0f" * 20), OWNER, CapabilityRefused),
        (make_session(chain_id="other"), OWNER, CapabilityRefused),
        (make_session(session_epoch=3), OWNER, CapabilityRefused),
        (make_session(expires_ms=NOW - 40_000), OWNER, CapabilityExpired),
        (make_session(expires_ms=NOW + 31 * 86_400_000), OWNER, CapabilityExpired),
        (make_session(pub=HOT.public), OWNER, CapabilityRefused),
        (make_session(), OTHER, CapabilityRefused),
    ],
)
def test_session_misuse__is_refused(session: Session, key: PrivateKey, error: type[Rejected]) -> None:
    signed = sign_cap(change(), OTHER, sign_session(session, key))
    with pytest.raises(error):
        check_cap(signed, change(), ASKED, AUTHORITY)


PULL = Asked("dev", APP, NODE, "pull", NOW)


def test_sibling__is_let_in_with_its_hot_key() -> None:
    cap = make_cap(PULL, AUTHORITY, holder=SIBLING)
    check_sibling_cap(sign_cap(cap, HOT), cap, PULL, AUTHORITY, {SIBLING: HOT.public}.get)


@pytest.mark.parametrize(
    ("asked", "holder", "key"),
    [
        (PULL, SIBLING, OTHER),
        (PULL, NODE, HOT),
        (PULL, b"", HOT),
        (Asked("dev", APP, NODE, "exec", NOW), SIBLING, HOT),
    ],
)
def test_sibling_misuse__is_refused(asked: Asked, holder: bytes, key: PrivateKey) -> None:
    cap = make_cap(asked, AUTHORITY, holder=holder)
    with pytest.raises(CapabilityRefused):
        check_sibling_cap(sign_cap(cap, key), cap, asked, AUTHORITY, {SIBLING: HOT.public}.get)


def spoil(change_text: Callable[[str], str]) -> str:
    return change_text(render_authorization(sign_cap(change(), OWNER)))


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer abc",
        "FluxCloud-Cap",
        "FluxCloud-Cap !!!",
        "FluxCloud-Cap " + "A" * 5000,
        "FluxCloud-Cap " + base64.b64encode(b"\x93").decode(),
        spoil(lambda text: text[:-8]),
        spoil(lambda text: text.replace("FluxCloud-Cap", "fluxcloud-cap")),
    ],
)
def test_header_that_holds_none__is_refused(header: str) -> None:
    with pytest.raises(BadCapability):
        parse_authorization(header)


def test_texts_for_wallets__name_all_and_differ_in_their_first_line() -> None:
    assert render_cap(change()).splitlines()[0] == "FluxCloud capability"
    assert render_session(make_session()).splitlines()[0] == "FluxCloud session"
    assert len(render_cap(change()).splitlines()) == 8
