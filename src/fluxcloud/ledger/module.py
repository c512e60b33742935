"""Module: how a part of the ledger says what it handles, and the context its transitions get.

Nothing here knows a module by name; `transition.py` joins them in one visible tuple.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from ..codec import Record
from ..ids import Address, NodeId
from .params import Params
from .state import State, TableKey

Lane = Literal["user", "watch", "report", "proposer"]
"""user: fee and nonce; watch: observations and votes; report: nodes' reports; proposer: first in a block."""


def render_fields(record: Record) -> str:
    """`NodeDrain node=0a1b… until_tick=5`: exact; long bytes as their SHA-256, text escaped, nothing can add a line."""
    parts = [f"{name}={_render_value(getattr(record, name))}" for name in record.__struct_fields__]
    return " ".join((type(record).__name__, *parts))


def _render_value(value: Any) -> str:
    if isinstance(value, bytes):
        return value.hex() if len(value) <= 33 else f"sha256:{hashlib.sha256(value).hexdigest()}"
    if isinstance(value, tuple):
        return "[" + ", ".join(_render_value(item) for item in value) + "]"
    if isinstance(value, Record):
        return f"({render_fields(value)})"
    return ascii(value)


class Message(Record):
    """What a transaction asks for. A subclass declares `tag = module * 256 + n`, once for ever, and its lane.

    COST is what it adds to the fee beside its size, in cost units (RECORDS.md 1).
    """

    LANE: ClassVar[Lane] = "user"
    COST: ClassVar[int] = 1

    def render_action(self) -> str:
        """One line of ASCII for the text that a wallet shows before it signs: by default every field by name."""
        return render_fields(self)


class Event(Record):
    """What a block did, for people and followers; not part of the state. A subclass declares its tag like a message."""


@dataclass(slots=True)
class Context:
    """What a transition may know beside the state. Times in ms; `tick_ms` is the ledger's clock, `time_ms` consensus's.

    `sender` is set in the user lane, `node` in the role lanes; `nonce` and `index` name the message in its transaction.
    """

    chain_id: str
    params: Params
    height: int
    time_ms: int
    tick_ms: int
    beacon: bytes
    proposer: bytes
    sender: Address = Address(b"")  # noqa: RUF009
    node: NodeId = NodeId(b"")  # noqa: RUF009
    nonce: int = 0
    index: int = 0
    events: list[Event] = field(default_factory=list)

    def emit(self, event: Event) -> None:
        self.events.append(event)


Process = Callable[[State, Any, Context], None]
Assigned = Callable[[State, Any, NodeId], bool]
BlockStep = Callable[[State, Context], None]
Invariant = Callable[[State, Params], None]


@dataclass(frozen=True)
class Module:
    """One part of the ledger: its tables, its messages with their transitions, its steps in a block.

    Steps run in the order in which `transition.py` lists modules. An invariant raises AssertionError; tests run it.
    `assigned` says of a role lane's message whether the state asks this node for it at all: the mempool refuses what
    nobody has asked for before it looks at a signature. It must be cheap and must not raise.
    `admits` is what this module demands of a message of a module before it: it runs after that one's transition.
    """

    name: str
    number: int  # high byte of its message and event tags, and of its numeric result codes
    tables: tuple[TableKey[Any, Any], ...] = ()
    messages: Mapping[type[Message], Process] = field(default_factory=dict)
    events: tuple[type[Event], ...] = ()
    errors: tuple[type[Exception], ...] = ()
    begin_block: tuple[BlockStep, ...] = ()
    end_block: tuple[BlockStep, ...] = ()
    invariants: tuple[Invariant, ...] = ()
    assigned: Mapping[type[Message], Assigned] = field(default_factory=dict)
    admits: Mapping[type[Message], Process] = field(default_factory=dict)
