"""Messages of the scheduler: what agents report of the copies they were given, in the report lane."""

from __future__ import annotations

from typing import ClassVar, Literal

from ...codec import Record
from ..module import Event, Lane, Message
from .explain import Refusal

AppReason = Literal["image_pull", "exit", "oom", "health"]
HostReason = Literal["engine", "disk", "port", "deadline"]


class CopyReport(Record):
    """`outcome`: running, ready (a standby's image is unpacked), stopped, failed with a reason that fixes the blame."""

    app: bytes
    generation: int
    outcome: Literal["running", "ready", "stopped", "failed"]
    reason: AppReason | HostReason | Literal[""] = ""
    detail: str = ""  # for people: ASCII, at most 200


class NodeReport(Message, tag=0x0601):
    """What became of copies since the last report: at most 256, sorted by (app, generation)."""

    LANE: ClassVar[Lane] = "report"

    copies: tuple[CopyReport, ...]


class CopyPlaced(Event, tag=0x0681):
    app: bytes
    group: str
    slot: int
    spare: bool
    generation: int
    node: bytes


class CopyChanged(Event, tag=0x0682):
    """A placement's role or phase, after."""

    app: bytes
    generation: int
    node: bytes
    role: str
    phase: str
    reason: str


class CopyRemoved(Event, tag=0x0683):
    app: bytes
    generation: int
    node: bytes


class CopyUnplaced(Event, tag=0x0684):
    """A slot or spare that no node fits now, with what each filter refused."""

    app: bytes
    group: str
    slot: int
    spare: bool
    refusals: tuple[Refusal, ...]


class SlotHeld(Event, tag=0x0685):
    app: bytes
    group: str
    slot: int
    reason: str
