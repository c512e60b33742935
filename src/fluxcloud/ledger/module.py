"""Module: how a part of the ledger says what it handles, and the context its transitions get.

Nothing here knows a module by name; `transition.py` joins them in one visible tuple.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from ..codec import Record
from ..ids import Address, NodeId
from .params import Params
from .state import State, TableKey

Lane = Literal["user", "watch", "report", "proposer"]
"""user: fee and nonce; watch: observations and votes; report: nodes' reports; proposer: first in a block."""


class Message(Record):
    """What a transaction asks for. A subclass declares `tag = module * 256 + n`, once for ever, and its lane.

    COST is what it adds to the fee beside its size, in cost units (RECORDS.md 1).
    """

    LANE: ClassVar[Lane] = "user"
    COST: ClassVar[int] = 1


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
BlockStep = Callable[[State, Context], None]
Invariant = Callable[[State, Params], None]


@dataclass(frozen=True)
class Module:
    """One part of the ledger: its tables, its messages with their transitions, its steps in a block.

    Steps run in the order in which `transition.py` lists them. An invariant raises AssertionError; tests run it per block.
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
