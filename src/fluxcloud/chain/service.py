"""Service: the methods of the RPC, as frames in and out; no HTTP here.

It has the shape of the SDK's `Transport`, so that tests and the simulator can put it in a transport's place. What it
reads is either proven by the newest header (`read`, `watch`) or said to be not proven (`scan`, `events`, `status`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from itertools import islice
from typing import TypeVar

from .. import __version__
from ..clock import Clock
from ..codec import Codec, encode
from ..errors import Rejected
from ..ids import TxId
from ..ledger.block import get_clock
from ..ledger.module import Lane
from ..ledger.tx import SIGNED_TX, TX_BODY, RoleTx, TxBody, UserTx, compute_tx_id
from ..metrics import Metric, make_metrics, render_metrics
from ..rpc import (
    KEYS_MAX,
    SCAN_MAX,
    EventsRequest,
    HeaderRequest,
    Key,
    ReadAnswer,
    ReadRequest,
    ScanAnswer,
    ScanRequest,
    Status,
    TxRequest,
    WatchFrame,
    WatchRequest,
)
from .app import Application
from .errors import BadRequest, Busy, HeightNotKept, StillWaiting, UnknownMethod, UnknownTable, UnknownTx
from .hub import Hub, Watcher
from .mempool import LANES, Mempool
from .proofs import ProvenView
from .results import RESULTS, StoredReceipt, StoredResults, make_answer, make_block_events
from .store import Store
from .submissions import Submissions, make_refusal

T = TypeVar("T")

STREAMS = ("watch", "events")
KEY_BYTES_MAX = 256
FRAME_ITEMS = 1_000
FRAME_VALUE_BYTES = 1 << 20
SCAN_VALUE_BYTES = 4 << 20
EVENTS_PER_TURN = 64
FIRST_VIEW_WAIT_S = 5.0
READY_LAG_MS = 10_000

_READ: Codec[ReadRequest] = Codec(ReadRequest)
_SCAN: Codec[ScanRequest] = Codec(ScanRequest)
_WATCH: Codec[WatchRequest] = Codec(WatchRequest)
_EVENTS: Codec[EventsRequest] = Codec(EventsRequest)
_HEADER: Codec[HeaderRequest] = Codec(HeaderRequest)
_TX: Codec[TxRequest] = Codec(TxRequest)


class Service:
    """One a chain node; owned by the event loop."""

    def __init__(
        self,
        app: Application,
        store: Store,
        mempool: Mempool,
        submissions: Submissions,
        hub: Hub,
        clock: Clock,
        *,
        engine: str,
        submit_wait_s: float,
    ) -> None:
        self._app = app
        self._store = store
        self._mempool = mempool
        self._submissions = submissions
        self._hub = hub
        self._clock = clock
        self._engine = engine
        self._submit_wait_s = submit_wait_s
        self._tables = {table.name for table in app.state.tables}
        self._single: dict[str, Callable[[bytes], Awaitable[bytes]]] = {
            "submit": self._submit,
            "status": self._status,
            "header": self._header,
            "read": self._read,
            "scan": self._scan,
            "tx": self._tx,
        }
        self._streams: dict[str, Callable[[bytes], AsyncGenerator[bytes, None]]] = {
            "watch": self._watch,
            "events": self._events,
        }

    async def stream(self, method: str, body: bytes) -> AsyncGenerator[bytes, None]:
        """The frames of an answer. Raises Rejected (rpc/n), before the first frame where the request is wrong."""
        single = self._single.get(method)
        if single is not None:
            yield await single(body)
            return
        stream = self._streams.get(method)
        if stream is None:
            raise UnknownMethod(f"{method[:32]!a}; there are {', '.join((*self._single, *self._streams))}")
        frames = stream(body)
        try:
            async for frame in frames:
                yield frame
        finally:
            await frames.aclose()

    # --- submitting

    async def _submit(self, raw: bytes) -> bytes:
        """Answered from a block that has it, or once one does, or once it is refused."""
        body, tx_id = _decode_tx(raw)
        known = self._find_receipt(tx_id)
        if known is not None and known[2].is_charged:
            return encode(make_answer(*known))
        if tx_id not in self._mempool:
            try:
                self._take(raw, body)
            except Busy:
                raise
            except Rejected as error:
                return encode(make_refusal(tx_id, error))
        answer = await self._submissions.wait(tx_id, self._submit_wait_s)
        if answer is None:
            raise StillWaiting(
                f"no block took the transaction within {self._submit_wait_s:g} s; send it again to wait on"
            )
        return encode(answer)

    def _take(self, raw: bytes, body: TxBody) -> None:
        height = self._app.head.height
        if isinstance(body, UserTx):
            self._mempool.add(raw, "user", body.sender, height)
        elif isinstance(body, RoleTx) and body.lane in LANES:
            lane: Lane = "watch" if body.lane == "watch" else "report"
            self._mempool.add(raw, lane, body.node, height)
        else:
            self._app.check_tx(raw)
            raise AssertionError("the ledger took a transaction that no lane is for")

    async def _tx(self, body: bytes) -> bytes:
        request = _decode(_TX, body)
        known = self._find_receipt(TxId(request.tx_id))
        if known is None:
            raise UnknownTx(f"no kept block holds {request.tx_id[:32].hex()}")
        return encode(make_answer(*known))

    def _find_receipt(self, tx_id: TxId) -> tuple[int, int, StoredReceipt] | None:
        place = self._store.find_tx(tx_id)
        if place is None:
            return None
        height, index = place
        return height, index, self._read_results(height).receipts[index]

    # --- reading

    async def _status(self, body: bytes) -> bytes:
        if body:
            raise BadRequest("this method takes an empty body")
        clock, head = get_clock(self._app.state), self._app.head
        return encode(
            Status(
                chain_id=head.chain_id,
                engine=self._engine,
                version=__version__,
                height=head.height,
                time_ms=clock.time_ms,
                tick_ms=clock.tick_ms,
                lag_ms=self._clock.wall_ms() - clock.time_ms,
                root=head.root,
                first_height=head.first_height,
                pending=len(self._mempool),
            )
        )

    async def _header(self, body: bytes) -> bytes:
        request = _decode(_HEADER, body)
        height = request.height or self._app.head.height
        raw = self._store.read_header(height)
        if raw is None:
            raise self._explain_height(height)
        return raw

    async def _read(self, body: bytes) -> bytes:
        request = _decode(_READ, body)
        self._check_keys(request.keys)
        view = await self._wait_view()
        if request.height not in (0, view.height):
            raise HeightNotKept(f"height {request.height}: state is proven at {view.height} alone")
        items = tuple(view.get_item(key.table, key.key) for key in request.keys)
        return encode(ReadAnswer(view.header, items))

    async def _scan(self, body: bytes) -> bytes:
        request = _decode(_SCAN, body)
        self._check_table(request.table)
        if not 1 <= request.limit <= SCAN_MAX:
            raise BadRequest(f"limit: {request.limit}; allowed are 1..{SCAN_MAX}")
        if max(len(request.prefix), len(request.after)) > KEY_BYTES_MAX:
            raise BadRequest(f"prefix, after: at most {KEY_BYTES_MAX} bytes each")
        items: list[tuple[bytes, bytes]] = []
        size, more = 0, False
        for key, value in islice(self._store.read_records(request.table, request.prefix, request.after), SCAN_MAX + 1):
            if len(items) == request.limit or size > SCAN_VALUE_BYTES:
                more = True
                break
            items.append((key, value))
            size += len(value)
        return encode(ScanAnswer(self._app.head.height, tuple(items), more))

    # --- following

    async def _watch(self, body: bytes) -> AsyncGenerator[bytes, None]:
        request = _decode(_WATCH, body)
        self._check_keys(request.keys)
        for table in request.tables:
            self._check_table(table)
        await self._wait_view()
        known = [(table, key) for table in request.tables for key, _ in self._store.read_records(table)]
        watcher = Watcher([(key.table, key.key) for key in request.keys], request.tables, known)
        self._hub.watchers[watcher] = None
        told = 0
        try:
            while True:
                await self._hub.wait_above(told)
                view = self._hub.view
                assert view is not None
                taken = watcher.take(view, FRAME_ITEMS, FRAME_VALUE_BYTES)
                complete = not watcher.untold
                if complete:
                    told = self._hub.height
                items = tuple(view.get_item(*place) for place in taken)
                yield encode(WatchFrame(view.header, view.tick_ms, items, complete))
                if not complete:
                    await asyncio.sleep(0)  # a long first answer must not hold up the blocks
        finally:
            del self._hub.watchers[watcher]

    async def _events(self, body: bytes) -> AsyncGenerator[bytes, None]:
        request = _decode(_EVENTS, body)
        head = self._app.head
        height = request.height or head.height + 1
        if not head.first_height <= height <= head.height + 1:
            raise self._explain_height(height)
        while True:
            while height <= self._hub.height:
                yield encode(make_block_events(height, self._read_results(height)))
                height += 1
                if height % EVENTS_PER_TURN == 0:
                    await asyncio.sleep(0)
            if not request.follow:
                return
            await self._hub.wait_above(height - 1)

    # --- what a supervisor asks

    def find_missing(self) -> str:
        """What keeps the node from being ready, for people; empty when it is."""
        lag_ms = self._clock.wall_ms() - get_clock(self._app.state).time_ms
        if self._hub.view is None:
            return "no block since the start"
        if lag_ms > READY_LAG_MS:
            return f"the newest block is {lag_ms} ms old"
        return ""

    def render_metrics(self) -> str:
        head, clock = self._app.head, get_clock(self._app.state)
        rows = (
            ("height", "Height of the newest block.", head.height),
            ("first_height", "Oldest height whose block is kept.", head.first_height),
            ("kept_bytes", "Size of the blocks kept.", head.kept_bytes),
            ("tick_ms", "The ledger's clock.", clock.tick_ms),
            ("lag_ms", "Age of the newest block.", self._clock.wall_ms() - clock.time_ms),
            ("watchers", "Followers connected.", len(self._hub.watchers)),
            ("txs_total", "Transactions in blocks since the start.", self._hub.txs_total),
            ("block_ms", "What the newest block took to be made and stored.", self._hub.block_ms),
        )
        pending = tuple(({"lane": lane}, self._mempool.count(lane)) for lane in LANES)
        waiting = Metric("fluxcloud_chain_pending", "Transactions that wait for a block.", pending)
        return render_metrics((*make_metrics("fluxcloud_chain", rows), waiting), {})

    # --- shared

    async def _wait_view(self) -> ProvenView:
        """What is proven; for a moment after a start nothing is, until the first block."""
        try:
            async with asyncio.timeout(FIRST_VIEW_WAIT_S):
                await self._hub.wait_above(0)
        except TimeoutError:
            raise Busy("nothing can be proven before the first block after a start") from None
        assert self._hub.view is not None
        return self._hub.view

    def _read_results(self, height: int) -> StoredResults:
        raw = self._store.read_results(height)
        if raw is None:
            raise self._explain_height(height)
        return RESULTS.decode_trusted(raw)

    def _explain_height(self, height: int) -> HeightNotKept:
        head = self._app.head
        return HeightNotKept(f"height {height}: blocks {head.first_height}..{head.height} are kept")

    def _check_keys(self, keys: tuple[Key, ...]) -> None:
        if len(keys) > KEYS_MAX:
            raise BadRequest(f"keys: {len(keys)}; at most {KEYS_MAX} are allowed")
        for key in keys:
            self._check_table(key.table)
            if len(key.key) > KEY_BYTES_MAX:
                raise BadRequest(f"key: {len(key.key)} bytes; at most {KEY_BYTES_MAX} are allowed")

    def _check_table(self, table: str) -> None:
        if table not in self._tables:
            raise UnknownTable(f"table: {table[:32]!a}; there are {', '.join(sorted(self._tables))}")


def _decode(codec: Codec[T], body: bytes) -> T:
    try:
        return codec.decode(body)
    except Rejected as error:
        raise BadRequest(f"body: {error.message}") from error


def _decode_tx(raw: bytes) -> tuple[TxBody, TxId]:
    try:
        signed = SIGNED_TX.decode(raw)
        return TX_BODY.decode(signed.body), compute_tx_id(signed.body)
    except Rejected as error:
        raise BadRequest(f"body: not a signed transaction: {error.message}") from error
