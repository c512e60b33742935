"""The state transition: one block, one transaction, one order. The modules are joined here, visibly.

A block is its begin, its transactions, its end. A transaction whose envelope is refused changes nothing; one whose
messages are refused pays its fee, uses its nonce, and leaves no other trace (docs/adr/0003-failed-transactions-pay.md).
Only `Rejected` is caught: anything else is a bug of ours, and a receipt made of it would fork the chain.
Source: LEDGER.md 6.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from ..errors import Rejected
from ..ids import Address, NodeId, TxId
from .accounts.module import MODULE as ACCOUNTS_MODULE
from .accounts.transitions import charge, distribute_fees
from .apps.module import MODULE as APPS_MODULE
from .block import CLOCK, Block, BlockResult, LedgerClock, Receipt, get_clock, get_params
from .envelope import (
    NO_OVERLAY,
    DecodedTx,
    Now,
    Overlay,
    check_proposer,
    check_role,
    check_user,
    decode_tx,
)
from .envelope_errors import WrongProposal
from .gateways.module import MODULE as GATEWAYS_MODULE
from .liveness.module import MODULE as LIVENESS_MODULE
from .liveness.panels import draw_all_panels
from .liveness.steps import end_liveness
from .module import Context, Event, Lane
from .nodes.messages import NodeStateChanged
from .nodes.model import LANES
from .nodes.module import MODULE as NODES_MODULE
from .params import Params
from .registry import Registry
from .scheduler.module import MODULE as SCHEDULER_MODULE
from .scheduler.transitions import handle_node_change
from .signatures import SignatureCache
from .state import State
from .tx import RoleTx, UserTx, compute_tx_id
from .validators.module import MODULE as VALIDATORS_MODULE
from .validators.queries import get_payout_address
from .validators.transitions import process_missed_reveal

MODULES = (
    ACCOUNTS_MODULE,
    NODES_MODULE,
    LIVENESS_MODULE,
    APPS_MODULE,
    SCHEDULER_MODULE,
    GATEWAYS_MODULE,
    VALIDATORS_MODULE,
)
"""Each calls only those before it."""

REGISTRY = Registry(MODULES)
TABLES = REGISTRY.tables


@dataclass(frozen=True, slots=True)
class TxMeta:
    """What a mempool needs of a transaction it may take. `sender` is an address or a node id; `number` nonce or seq."""

    tx_id: TxId
    lane: Lane
    sender: bytes
    number: int
    fee: int
    messages: int
    valid_until_ms: int  # 0: without end


def apply_block(state: State, params: Params, block: Block, verify: SignatureCache) -> BlockResult:
    """Apply a block to the state of the height before; what changed is in the state's journal.

    Consensus vouches for height, time and proposer; the transactions may hold anything.
    """
    assert params == get_params(state)
    ctx = _begin_clock(state, params, block)
    beacon = ctx.beacon
    begin_events = _begin_block(state, ctx)
    fees = 0
    receipts = []
    for index, raw in enumerate(block.txs):
        receipt = _apply_tx(state, ctx, raw, index, verify)
        fees += receipt.fee
        receipts.append(receipt)
    if ctx.beacon == beacon:
        process_missed_reveal(state, ctx)
    distribute_fees(state, fees, get_payout_address(state, block.proposer))
    _end_block(state, ctx, (*begin_events, *(event for receipt in receipts for event in receipt.events)))
    return BlockResult(tuple(receipts), (*begin_events, *ctx.events), get_clock(state))


def check_tx(
    state: State,
    params: Params,
    raw: bytes,
    verify: SignatureCache,
    now_ms: int,
    overlay: Overlay = NO_OVERLAY,
) -> TxMeta:
    """Whether a mempool may take a transaction, given what it holds of the same sender. Raises Rejected (tx/n)."""
    clock = get_clock(state)
    tx = decode_tx(raw, REGISTRY, params)
    now = Now(clock.chain_id, now_ms, clock.tick_ms)
    body = tx.body
    if isinstance(body, UserTx):
        check_user(state, tx, now, params, verify, overlay)
        return TxMeta(tx.tx_id, tx.lane, body.sender, body.nonce, body.fee, len(tx.messages), body.valid_until_ms)
    if isinstance(body, RoleTx):
        check_role(state, tx, now, REGISTRY, params, verify, overlay)
        return TxMeta(tx.tx_id, tx.lane, body.node, body.seq, 0, len(tx.messages), 0)
    raise WrongProposal("a proposer's transaction can't be submitted")


def try_proposer_tx(state: State, params: Params, block: Block, raw: bytes, index: int) -> None:
    """Whether the proposer's transaction would be applied; the state is as before. Raises Rejected."""
    mark = state.mark()
    try:
        tx = decode_tx(raw, REGISTRY, params)
        check_proposer(tx, block.height, index)
        _run_messages(state, tx, _begin_clock(state, params, block))
    finally:
        state.rollback(mark)


def finish_genesis(state: State, ctx: Context) -> None:
    """What modules derive from the nodes that are there from the beginning."""
    draw_all_panels(state, ctx)


def check_invariants(state: State, params: Params) -> None:
    """Every module's invariants; AssertionError where one is broken. Costs as much as the state is large."""
    for module in MODULES:
        for invariant in module.invariants:
            invariant(state, params)


def _begin_clock(state: State, params: Params, block: Block) -> Context:
    clock = get_clock(state)
    assert block.height == clock.height + 1, (block.height, clock.height)
    assert block.time_ms >= clock.time_ms, "header time never runs back"
    tick_ms = clock.tick_ms + min(block.time_ms - clock.time_ms, params.tick_step_ms_max)
    state.set(CLOCK, "", LedgerClock(tick_ms, block.time_ms, clock.beacon, block.height, clock.chain_id))
    return Context(clock.chain_id, params, block.height, block.time_ms, tick_ms, clock.beacon, block.proposer)


def _begin_block(state: State, ctx: Context) -> tuple[Event, ...]:
    for module in MODULES:
        for step in module.begin_block:
            step(state, ctx)
    events = tuple(ctx.events)
    ctx.events = []
    return events


def _end_block(state: State, ctx: Context, events: tuple[Event, ...]) -> None:
    """`events` are those of the block so far: whatever changed a node's state concerns the copies on it."""
    end_liveness(state, ctx)
    for event in (*events, *ctx.events):
        if isinstance(event, NodeStateChanged):
            handle_node_change(state, NodeId(event.node))
    for module in MODULES:
        for step in module.end_block:
            step(state, ctx)


def _apply_tx(state: State, block: Context, raw: bytes, index: int, verify: SignatureCache) -> Receipt:
    """One transaction: its envelope, then its messages, all or none."""
    try:
        tx = decode_tx(raw, REGISTRY, block.params)
    except Rejected as error:
        return _render_receipt(compute_tx_id(raw), "user", 0, error)
    try:
        ctx, fee = _admit(state, block, tx, index, verify)
    except Rejected as error:
        return _render_receipt(tx.tx_id, tx.lane, 0, error)
    mark = state.mark()
    try:
        _run_messages(state, tx, ctx)
    except Rejected as error:
        state.rollback(mark)
        return _render_receipt(tx.tx_id, tx.lane, fee, error)
    block.beacon = ctx.beacon
    return Receipt(tx.tx_id, "", 0, "", tx.lane, fee, tuple(ctx.events))


def _run_messages(state: State, tx: DecodedTx, ctx: Context) -> None:
    for ctx.index, message in enumerate(tx.messages):
        REGISTRY.process[type(message)](state, message, ctx)


def _admit(state: State, block: Context, tx: DecodedTx, index: int, verify: SignatureCache) -> tuple[Context, int]:
    """Check the envelope, then take the fee and the number. The context of its messages, and the fee."""
    now = Now(block.chain_id, block.time_ms, block.tick_ms)
    ctx = Context(
        block.chain_id, block.params, block.height, block.time_ms, block.tick_ms, block.beacon, block.proposer
    )
    body = tx.body
    if isinstance(body, UserTx):
        account = check_user(state, tx, now, block.params, verify, NO_OVERLAY)
        ctx.sender, ctx.nonce = Address(body.sender), body.nonce
        charge(state, ctx.sender, account, body.fee)
        return ctx, body.fee
    if isinstance(body, RoleTx):
        lane = check_role(state, tx, now, REGISTRY, block.params, verify, NO_OVERLAY)
        ctx.node, ctx.nonce = NodeId(body.node), body.seq
        state.set(LANES, (ctx.node, body.lane), lane)
        return ctx, 0
    check_proposer(tx, block.height, index)
    return ctx, 0


def _render_receipt(tx_id: TxId, lane: Lane, fee: int, error: Rejected) -> Receipt:
    return Receipt(tx_id, error.code, REGISTRY.compute_number(error.code), error.message, lane, fee)


def encode_event(event: Event) -> msgspec.Raw:
    """An event as it is stored and sent."""
    return msgspec.Raw(msgspec.msgpack.encode(event))
