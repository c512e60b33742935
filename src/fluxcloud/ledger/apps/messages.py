"""Messages of apps: all from the app's owner, in the user lane."""

from __future__ import annotations

from typing import ClassVar

from ..module import Event, Message
from .model import Image


class RegisterApp(Message, tag=0x0501):
    """Make an app of a spec. `images` names the digest of every component; its id follows from the transaction."""

    COST: ClassVar[int] = 20

    spec: bytes
    sealed: bytes
    images: tuple[Image, ...]


class UpdateApp(Message, tag=0x0502):
    """Accept a new revision of an app's spec. The name can't change."""

    COST: ClassVar[int] = 20

    app: bytes
    spec: bytes
    sealed: bytes
    images: tuple[Image, ...]


class ScaleGroup(Message, tag=0x0503):
    """Set a group's replicas (1..100)."""

    COST: ClassVar[int] = 5

    app: bytes
    group: str
    replicas: int


class DeleteApp(Message, tag=0x0504):
    """Stop an app's copies; its name and revisions are kept for its owner for 72 h, then it is gone."""

    app: bytes


class TransferApp(Message, tag=0x0505):
    """Make another account the owner."""

    app: bytes
    to: bytes


class EvictInstance(Message, tag=0x0506):
    """Move a copy off its node without giving proof; at most three a slot and day."""

    COST: ClassVar[int] = 5

    app: bytes
    generation: int


class UndeleteApp(Message, tag=0x0507):
    """Bring a deleted app back within 72 h."""

    COST: ClassVar[int] = 20

    app: bytes


class RevokeSessions(Message, tag=0x0508):
    """Make every session and capability given so far for this app void."""

    app: bytes


class AppRegistered(Event, tag=0x0581):
    app: bytes
    name: str
    owner: bytes


class AppUpdated(Event, tag=0x0582):
    app: bytes
    revision: int


class AppScaled(Event, tag=0x0583):
    app: bytes
    group: str
    replicas: int


class AppDeleted(Event, tag=0x0584):
    app: bytes
    name: str


class AppTransferred(Event, tag=0x0585):
    app: bytes
    to: bytes


class AppUndeleted(Event, tag=0x0586):
    app: bytes
    name: str


class SessionsRevoked(Event, tag=0x0587):
    app: bytes
    session_epoch: int
