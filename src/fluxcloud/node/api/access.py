"""Access: who may ask what. Every request but the public status carries a capability in its Authorization header."""

from __future__ import annotations

from ...capability import (
    Action,
    AppAuthority,
    Asked,
    Cap,
    CapabilityRefused,
    SignedCap,
    check_cap,
    check_sibling_cap,
    parse_authorization,
)
from ...ids import AppId, NodeId, parse_app
from ..runtime.base import CopyKey
from .answers import BadRequest, NotHere
from .context import ApiContext


async def authorize(context: ApiContext, header: str, action: Action, app: AppId | None = None) -> AppId:
    """The app that the caller may do this for. Where the path names no app, the capability does.

    Raises BadCapability (capability/1), NotHere (node/1), CapabilityExpired (capability/2),
        CapabilityRefused (capability/3).
    """
    signed, cap = parse_authorization(header)
    subject = AppId(cap.app) if app is None else app
    authority = await context.read_authority(subject)
    if authority is None:
        raise NotHere("app: the ledger knows no such app")
    asked = Asked(context.chain_id, subject, context.node_id, action, context.unix_ms())
    if not cap.holder:
        await _check_owner(context, signed, cap, asked, authority)
        return subject
    holder = NodeId(cap.holder)
    hot = await context.get_hot_key(holder)
    check_sibling_cap(signed, cap, asked, authority, lambda _: hot)
    if not await context.is_holder(holder, subject):
        raise CapabilityRefused("holder: this node runs no copy of the app")
    return subject


async def _check_owner(context: ApiContext, signed: SignedCap, cap: Cap, asked: Asked, authority: AppAuthority) -> None:
    """As `check_cap`. What is refused by what was known of the app is judged by what the ledger says now.

    So whoever has just revoked sessions, or got the app, is let in at once.
    """
    try:
        check_cap(signed, cap, asked, authority)
    except CapabilityRefused:
        renewed = await context.renew_authority(asked.app)
        if renewed is None or renewed == authority:
            raise
        check_cap(signed, cap, asked, renewed)


def parse_copy(app: str, generation: str) -> tuple[AppId, CopyKey]:
    """A copy as a path names it. Raises BadId (ids/1), BadRequest (node/2)."""
    app_id = parse_app(app)
    if not generation.isascii() or not generation.isdecimal() or len(generation) > 19:
        raise BadRequest(f"generation: {generation[:20]!r} is not a number")
    return app_id, CopyKey(app, int(generation))


def parse_number(text: str, name: str, largest: int) -> int:
    """Raises BadRequest (node/2)."""
    if not text.isascii() or not text.isdecimal() or len(text) > 19 or int(text) > largest:
        raise BadRequest(f"{name}: allowed is 0 to {largest}")
    return int(text)
