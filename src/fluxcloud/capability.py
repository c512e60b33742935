"""Capabilities: what lets a deployer (or a sibling node) ask something of a node, without the ledger's help.

A `Cap` names one app, one node, the actions and an end at most 15 minutes away. The app's owner signs it, or a session
key that the owner has signed for at most 30 days; a node signs its own with its hot key to fetch blobs from a sibling.
The node checks it against the ledger's record of the app: owner, and `session_epoch`, whose bump voids what was given.
Wallets sign a text whose first line no transaction and no login has. Pure. Source: APPS.md 5; LEDGER.md 2.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

from .codec import Codec, Record, compute_hash, encode
from .crypto import CAPABILITY_FIRST_LINE, SESSION_FIRST_LINE, PrivateKey, Sig, verify_ed25519, verify_signature
from .errors import Rejected
from .ids import KIND_ED25519, Address, AppId, NodeId, render_app, render_node

Action = Literal["copies", "logs", "stats", "exec", "forward", "push", "pull"]
"""What may be asked. `push` writes blobs of the app's images, `pull` reads them (siblings)."""

OWNER_ACTIONS: frozenset[Action] = frozenset(("copies", "logs", "stats", "exec", "forward", "push"))
"""What an owner asks for, and so what a session is for."""

SCHEME = "FluxCloud-Cap"
CAP_MS_MAX = 15 * 60_000
SESSION_MS_MAX = 30 * 86_400_000
HEADER_BYTES_MAX = 4096
CLOCK_MS = 30_000
"""How far the clocks of signer and node may be apart."""

_ACTIONS = frozenset(get_args(Action))


class Session(Record, tag=1):
    """The owner's word that the key `pub` may sign capabilities for this app and these actions."""

    chain_id: str
    app: bytes
    pub: bytes
    scopes: tuple[str, ...]
    expires_ms: int
    session_epoch: int


class Cap(Record, tag=1):
    """`holder` is the node that asks, empty for the owner. `id` is random: for logs, and to tell two apart."""

    chain_id: str
    app: bytes
    node: bytes
    actions: tuple[str, ...]
    expires_ms: int
    session_epoch: int
    id: bytes
    holder: bytes = b""


class SignedSession(Record):
    body: bytes
    sig: Sig


class SignedCap(Record):
    """The wire form. With a session, `sig` is the session key's; without, the owner's or the holder's hot key's."""

    body: bytes
    sig: Sig
    session: SignedSession | None = None


class BadCapability(Rejected):
    """The Authorization header holds no capability."""

    CODE = "capability/1"


class CapabilityExpired(Rejected):
    """The capability's time is over, or longer than allowed."""

    CODE = "capability/2"


class CapabilityRefused(Rejected):
    """The capability is for something else, or signed by somebody who may not."""

    CODE = "capability/3"


CAP: Codec[Cap] = Codec(Cap, max_bytes=HEADER_BYTES_MAX)
SESSION: Codec[Session] = Codec(Session, max_bytes=HEADER_BYTES_MAX)
SIGNED_CAP: Codec[SignedCap] = Codec(SignedCap, max_bytes=HEADER_BYTES_MAX)


@dataclass(frozen=True, slots=True)
class AppAuthority:
    """What the ledger says of who may speak for an app."""

    owner: Address
    session_epoch: int


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request wants, where, and when: all that a capability has to allow."""

    chain_id: str
    app: AppId
    node: NodeId
    action: Action
    now_ms: int


def compute_cap_hash(body: bytes) -> bytes:
    return compute_hash("fluxcloud/cap/1", body)


def compute_session_hash(body: bytes) -> bytes:
    return compute_hash("fluxcloud/session/1", body)


def render_cap(cap: Cap) -> str:
    """The text that btc and eth wallets sign for a capability."""
    lines = (
        CAPABILITY_FIRST_LINE,
        f"chain: {cap.chain_id}",
        f"app: {render_app(AppId(cap.app))}",
        f"node: {render_node(NodeId(cap.node))}",
        f"actions: {', '.join(cap.actions)}",
        f"expires: {cap.expires_ms}",
        f"epoch: {cap.session_epoch}",
        f"id: {cap.id.hex()}",
    )
    return "\n".join(lines)


def render_session(session: Session) -> str:
    """The text that btc and eth wallets sign for a session."""
    lines = (
        SESSION_FIRST_LINE,
        f"chain: {session.chain_id}",
        f"app: {render_app(AppId(session.app))}",
        f"key: {session.pub.hex()}",
        f"scopes: {', '.join(session.scopes)}",
        f"expires: {session.expires_ms}",
        f"epoch: {session.session_epoch}",
    )
    return "\n".join(lines)


def make_cap(asked: Asked, authority: AppAuthority, *, life_ms: int = 300_000, holder: bytes = b"") -> Cap:
    """An unsigned capability for what is asked."""
    expires_ms = asked.now_ms + life_ms
    id_ = secrets.token_bytes(16)
    actions = (asked.action,)
    return Cap(asked.chain_id, asked.app, asked.node, actions, expires_ms, authority.session_epoch, id_, holder)


def sign_cap(cap: Cap, key: PrivateKey, session: SignedSession | None = None) -> SignedCap:
    """Sign with an ed25519 key: the owner's, a session's or a node's hot one. Wallets sign `render_cap` elsewhere."""
    body = encode(cap)
    return SignedCap(body, Sig(KIND_ED25519, key.public, key.sign(compute_cap_hash(body))), session)


def sign_session(session: Session, key: PrivateKey) -> SignedSession:
    body = encode(session)
    return SignedSession(body, Sig(KIND_ED25519, key.public, key.sign(compute_session_hash(body))))


def render_authorization(signed: SignedCap) -> str:
    """The value of the Authorization header."""
    return f"{SCHEME} {base64.b64encode(encode(signed)).decode('ascii')}"


def parse_authorization(header: str) -> tuple[SignedCap, Cap]:
    """The capability of a request, not yet checked. Raises BadCapability (capability/1)."""
    scheme, _, text = header.partition(" ")
    if scheme != SCHEME or not text or len(text) > HEADER_BYTES_MAX:
        raise BadCapability(f"Authorization: expected '{SCHEME} <base64>' of at most {HEADER_BYTES_MAX} characters")
    try:
        signed = SIGNED_CAP.decode(base64.b64decode(text, validate=True))
        return signed, CAP.decode(signed.body)
    except (binascii.Error, ValueError, Rejected) as error:
        raise BadCapability(f"Authorization: not a capability: {error}") from error


def check_cap(signed: SignedCap, cap: Cap, asked: Asked, authority: AppAuthority) -> None:
    """Whether the app's owner allows what is asked. Raises CapabilityExpired (2), CapabilityRefused (3)."""
    _check_terms(cap, asked, authority)
    if cap.holder:
        raise CapabilityRefused("holder: this is for the app's owner, not for another node")
    digest = compute_cap_hash(signed.body)
    if signed.session is None:
        is_signed = verify_signature(authority.owner, signed.sig, digest, render_cap(cap))
    else:
        session = check_session(signed.session, asked.chain_id, asked.app, authority, asked.now_ms)
        if not set(cap.actions) <= set(session.scopes):
            raise CapabilityRefused(f"session: allows {', '.join(session.scopes) or 'nothing'} only")
        is_signed = signed.sig.kind == KIND_ED25519 and verify_ed25519(session.pub, digest, signed.sig.sig)
    if not is_signed:
        raise CapabilityRefused("the signature is not that of the app's owner or of a session the owner signed")


def check_sibling_cap(
    signed: SignedCap,
    cap: Cap,
    asked: Asked,
    authority: AppAuthority,
    get_hot_key: Callable[[NodeId], bytes | None],
) -> None:
    """Whether the node that holds this capability signed it. That it runs the app is for the caller to check."""
    _check_terms(cap, asked, authority)
    hot = get_hot_key(NodeId(cap.holder)) if cap.holder else None
    if asked.action != "pull" or hot is None:
        raise CapabilityRefused("holder: only a node of the ledger may ask for this, and only to pull")
    if signed.session is not None or not verify_ed25519(hot, compute_cap_hash(signed.body), signed.sig.sig):
        raise CapabilityRefused("the signature is not that of the holder's hot key")


def _check_terms(cap: Cap, asked: Asked, authority: AppAuthority) -> None:
    _check_time("the capability", cap.expires_ms, asked.now_ms, CAP_MS_MAX)
    if cap.chain_id != asked.chain_id:
        raise CapabilityRefused(f"chain_id: for {cap.chain_id!r}, this is {asked.chain_id!r}")
    if cap.node != asked.node:
        raise CapabilityRefused("node: for another node")
    if cap.app != asked.app:
        raise CapabilityRefused("app: for another app")
    if not set(cap.actions) <= _ACTIONS or asked.action not in cap.actions:
        raise CapabilityRefused(f"actions: {asked.action!r} is not among {', '.join(cap.actions) or 'none'}")
    if cap.session_epoch != authority.session_epoch:
        raise CapabilityRefused("session_epoch: the owner has revoked all that was given before")


def check_session(signed: SignedSession, chain_id: str, app: AppId, authority: AppAuthority, now_ms: int) -> Session:
    """What a session says, once it is the owner's and has not ended. Raises CapabilityExpired (2), Refused (3)."""
    session = SESSION.decode(signed.body)
    _check_time("the session", session.expires_ms, now_ms, SESSION_MS_MAX)
    if (session.chain_id, session.app) != (chain_id, app):
        raise CapabilityRefused("session: for another app or chain")
    if session.session_epoch != authority.session_epoch:
        raise CapabilityRefused("session: the owner has revoked all that was given before")
    if not verify_signature(authority.owner, signed.sig, compute_session_hash(signed.body), render_session(session)):
        raise CapabilityRefused("session: not signed by the app's owner")
    return session


def _check_time(what: str, expires_ms: int, now_ms: int, longest_ms: int) -> None:
    if expires_ms <= now_ms - CLOCK_MS:
        raise CapabilityExpired(f"{what} is over for {(now_ms - expires_ms) // 1000} s")
    if expires_ms > now_ms + longest_ms + CLOCK_MS:
        raise CapabilityExpired(f"{what} runs longer than {longest_ms // 60_000} min from now")
