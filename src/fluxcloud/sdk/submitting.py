"""Submitting: builds, signs and sends transactions, and waits until a block has them.

A transaction is known by its id, so the same bytes are sent again where an answer was lost. One account's transactions
follow one another here, because each needs the nonce after the last; a node has one in flight in each of its lanes.
Times are the chain's, by its newest header, so that a wrong clock here does no harm. Source: RECORDS.md 1.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from ..codec import Codec, encode
from ..crypto import PrivateKey
from ..errors import Rejected, Temporary
from ..ids import Address, NodeId, TxId
from ..ledger.accounts.model import ACCOUNTS
from ..ledger.block import PARAMS
from ..ledger.module import Event, Lane, Message
from ..ledger.nodes.model import LANES
from ..ledger.params import Params
from ..ledger.tx import Messages, RoleTx, SignedTx, UserTx, compute_tx_id
from ..ledger.types import EVENT
from ..rpc import SubmitAnswer
from .light import LightClient
from .reading import LyingNode, decode_value, make_key, read_items
from .transport import NodeBusy, Transport, Unreachable, call
from .wallet import Wallet, sign_with

VALID_MS = 60_000
VALID_SPREAD_MS = 60_000
"""Drawn at random, so that two clients of one account that say the same at once make two transactions, not one."""

UNREACHABLE_S = 15.0
"""How long a node that does not answer is tried again: a restart takes a second or two."""

RETRY_S = 0.25
RETRY_MAX_S = 2.0
NUMBER_TRIES = 8
ROLE_TRIES = 4
ROLE_WAIT_BLOCKS = 3
"""A block that it may have just missed, and two more; then it is sent anew."""

_SUBMIT: Codec[SubmitAnswer] = Codec(SubmitAnswer, max_bytes=4 << 20)
_STALE_CODES = frozenset({"tx/8", "tx/13", "tx/14"})
"""What was known of the account or of the chain's time was too old: nonce used, gap, expired. Nothing was charged."""

_SEQ_CODES = frozenset({"tx/19", "mempool/3"})
_FEE_TOO_LOW = "tx/16"
_FEE_MAX = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Submitted:
    """A transaction that was applied in a block, with its events."""

    tx_id: TxId
    height: int
    index: int
    events: tuple[Event, ...]


@dataclass(slots=True)
class _Sender:
    """Of one account or of one node's lane. `next` is None where the ledger has to be asked; never below `floor`."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    next: int | None = None
    floor: int = 0


class Submitter:
    """One for each client of a chain."""

    def __init__(self, chain_id: str, transport: Transport, light: LightClient) -> None:
        self._chain_id = chain_id
        self._transport = transport
        self._light = light
        self._senders: dict[tuple[bytes, str], _Sender] = {}
        self._params: Params | None = None

    async def submit(self, messages: Sequence[Message], wallet: Wallet, fee: int | None) -> Submitted:
        """In the user lane, for the wallet's account."""
        sender = self._get_sender(wallet.address, "user")
        async with sender.lock:
            for _ in range(NUMBER_TRIES):
                answer = await self._submit_once(sender, messages, wallet, fee)
                if answer.code == _FEE_TOO_LOW and fee is None:
                    self._params = None  # the tariff has changed
                elif answer.code not in _STALE_CODES:
                    break
                else:
                    sender.next = None  # somebody else signs for this account, too: look again after a block
                    await asyncio.sleep((await self._get_params()).block_interval_ms / 1_000)
        return _finish(answer)

    async def _submit_once(
        self, sender: _Sender, messages: Sequence[Message], wallet: Wallet, fee: int | None
    ) -> SubmitAnswer:
        params = await self._get_params()
        if sender.next is None:
            sender.next = max(await self._read_nonce(wallet.address), sender.floor)
        valid_until_ms = self._light.estimate_time_ms() + VALID_MS + secrets.randbelow(VALID_SPREAD_MS)
        body = UserTx(self._chain_id, wallet.address, sender.next, valid_until_ms, _FEE_MAX, encode_messages(messages))
        least = compute_fee(body, messages, params)
        body = msgspec.structs.replace(body, fee=least if fee is None else fee)
        raw = encode(body)
        tx_id = compute_tx_id(raw)
        nonce, sender.next = sender.next, None
        answer = await self._send(encode(SignedTx(raw, wallet.sign(tx_id))), tx_id, valid_until_ms)
        if answer.height and not answer.code.startswith("tx/"):
            sender.next = sender.floor = nonce + 1
        return answer

    async def _send(self, signed: bytes, tx_id: TxId, valid_until_ms: int) -> SubmitAnswer:
        """The same bytes until there is an answer, they are no longer valid, or nobody has answered for a while."""
        pause_s, answered_s = RETRY_S, time.monotonic()
        while True:
            try:
                return await self._ask(signed, tx_id)
            except NodeBusy as error:
                answered_s, pause_s = time.monotonic(), max(RETRY_S, min(error.retry_after_s, RETRY_MAX_S))
                if self._light.estimate_time_ms() > valid_until_ms:
                    raise Temporary(f"no block took transaction {tx_id.hex()} while it was valid: {error}") from error
            except Unreachable as error:
                if time.monotonic() - answered_s > UNREACHABLE_S:
                    still_s = (VALID_MS + VALID_SPREAD_MS) // 1_000
                    raise Temporary(
                        f"{error}. Transaction {tx_id.hex()} may still be applied within {still_s} s"
                    ) from error
                pause_s = min(pause_s * 2, RETRY_MAX_S)
            await asyncio.sleep(pause_s)

    async def submit_role(self, node_id: NodeId, key: PrivateKey, lane: Lane, messages: Sequence[Message]) -> Submitted:
        """In a role lane, for a node; sent anew under a new number where no block takes it soon."""
        sender = self._get_sender(node_id, lane)
        async with sender.lock:
            wait_s = ROLE_WAIT_BLOCKS * (await self._get_params()).block_interval_ms / 1_000
            for _ in range(ROLE_TRIES):
                try:
                    async with asyncio.timeout(wait_s):
                        answer = await self._submit_role_once(sender, node_id, key, lane, messages)
                except TimeoutError:
                    continue
                except NodeBusy as error:
                    await asyncio.sleep(min(error.retry_after_s, RETRY_MAX_S))
                    continue
                if answer.code not in _SEQ_CODES:
                    return _finish(answer)
                sender.next = None
        raise Temporary(f"no block took the node's {lane} message within {ROLE_TRIES} tries")

    async def _submit_role_once(
        self, sender: _Sender, node_id: NodeId, key: PrivateKey, lane: Lane, messages: Sequence[Message]
    ) -> SubmitAnswer:
        if sender.next is None:
            item = (await read_items(self._transport, self._light, [make_key(LANES, (node_id, lane))]))[0]
            state = decode_value(LANES, item)
            sender.next = max(sender.floor, 1 if state is None else state.last_seq + 1)
        seq = max(sender.next, self._light.estimate_time_ms())
        sender.next = sender.floor = seq + 1
        raw = encode(RoleTx(self._chain_id, node_id, lane, seq, encode_messages(messages)))
        tx_id = compute_tx_id(raw)
        return await self._ask(encode(SignedTx(raw, sign_with(key, tx_id))), tx_id)

    async def _ask(self, signed: bytes, tx_id: TxId) -> SubmitAnswer:
        answer = _SUBMIT.decode(await call(self._transport, "submit", signed))
        if answer.tx_id != tx_id:
            raise LyingNode("the answer is about another transaction")
        return answer

    async def _read_nonce(self, address: Address) -> int:
        item = (await read_items(self._transport, self._light, [make_key(ACCOUNTS, address)]))[0]
        account = decode_value(ACCOUNTS, item)
        return 0 if account is None else int(account.nonce)

    async def _get_params(self) -> Params:
        if self._params is None:
            item = (await read_items(self._transport, self._light, [make_key(PARAMS, "")]))[0]
            params: Params | None = decode_value(PARAMS, item)
            if params is None:
                raise LyingNode("params: every chain has them from its genesis on")
            self._params = params
        return self._params

    def _get_sender(self, sender: Address | NodeId, lane: str) -> _Sender:
        return self._senders.setdefault((bytes(sender), lane), _Sender())


def encode_messages(messages: Sequence[Message]) -> Messages:
    return tuple(msgspec.Raw(encode(message)) for message in messages)


def compute_fee(body: UserTx, messages: Sequence[Message], params: Params) -> int:
    """The least fee of this body. Its own `fee` counts by its length: with the largest in it, never too low."""
    cost = sum(message.COST for message in messages)
    return len(encode(body)) * params.fee_per_byte + cost * params.fee_per_cost


def _finish(answer: SubmitAnswer) -> Submitted:
    if answer.code:
        raise Rejected(answer.message, code=answer.code)
    events = tuple(EVENT.decode(bytes(raw)) for raw in answer.events)
    return Submitted(TxId(answer.tx_id), answer.height, answer.index, events)
