"""What a node asks of the chain: proven records, followed or read, and a way to say something in its role lanes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, Protocol, TypeVar

from ..crypto import PrivateKey
from ..ids import NodeId
from ..ledger.module import Lane, Message
from ..ledger.state import TableKey
from ..sdk.client import Submitted, Update

K = TypeVar("K")
V = TypeVar("V")

FeedKey = tuple[TableKey[Any, Any], Any]


class NodeChain(Protocol):
    """`sdk.client.Chain`, as far as an agent uses it."""

    @property
    def chain_id(self) -> str: ...

    async def read(self, table: TableKey[K, V], key: K) -> V | None: ...

    def watch(self, keys: Sequence[FeedKey]) -> AsyncIterator[Update]: ...

    async def submit_role(
        self, node_id: NodeId, key: PrivateKey, lane: Lane, messages: Sequence[Message]
    ) -> Submitted: ...

    async def close(self) -> None: ...
