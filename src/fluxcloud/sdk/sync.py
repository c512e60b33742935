"""SyncChain: the same client for programs without an event loop. A thin wrapper: the loop has its own thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import Any, TypeVar

from ..ledger.genesis_model import Genesis
from ..ledger.module import Message
from ..ledger.state import TableKey
from ..rpc import Status
from .client import BlockOfEvents, Chain, Submitted
from .wallet import Wallet

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")


class SyncChain:
    """Use as a context manager. Methods and errors are those of `Chain`; calls from several threads are fine."""

    def __init__(self, url: str, genesis: Genesis, *, source_host: str = "") -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fluxcloud-chain", daemon=True)
        self._thread.start()
        self._chain = Chain.connect(url, genesis, source_host=source_host)

    def __enter__(self) -> SyncChain:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._run(self._chain.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def status(self) -> Status:
        return self._run(self._chain.status())

    def read(self, table: TableKey[K, V], key: K) -> V | None:
        record: V | None = self._run(self._chain.read_many([(table, key)]))[0]
        return record

    def scan(self, table: TableKey[K, V], prefix: bytes = b"") -> list[tuple[K, V]]:
        return self._run(self._chain.scan(table, prefix))

    def submit(self, messages: Sequence[Message], wallet: Wallet, *, fee: int | None = None) -> Submitted:
        return self._run(self._chain.submit(messages, wallet, fee=fee))

    def events(self, from_height: int) -> Iterator[BlockOfEvents]:
        """Up to the newest block."""
        yield from self._run(self._collect_events(from_height))

    async def _collect_events(self, from_height: int) -> list[BlockOfEvents]:
        async with aclosing(self._chain.events(from_height, follow=False)) as blocks:
            return [block async for block in blocks]

    def _run(self, call: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(call, self._loop).result()
