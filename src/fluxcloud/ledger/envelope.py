"""The envelope of a transaction: decoding it, and whether it may touch the state at all.

Checks run in the order of their codes and change nothing. The cheap ones that a stranger can't pass come before the
signature in the role lanes: an unknown node, a used number, an empty bucket, a message that nobody asked for.
Source: LEDGER.md 2; tests/vectors/tx/.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..codec import BadEncoding, TooLarge
from ..crypto import ED25519_KEY_BYTES, Sig, is_small_order_key
from ..ids import ADDRESS_BYTES, KIND_BTC, KIND_ED25519, KIND_ETH, Address, NodeId, TxId
from ..units import AMOUNT_MAX
from .accounts.model import Account
from .accounts.queries import get_account
from .envelope_errors import (
    BadSignature,
    Expired,
    FeeBounds,
    FeeTooLow,
    FeeUnpayable,
    LaneExhausted,
    MessageCount,
    NonceGap,
    NonceUsed,
    NotAssigned,
    NotCanonical,
    SenderKind,
    SeqUsed,
    TxTooLarge,
    UnknownSender,
    UnknownVersion,
    ValidTooFar,
    WeakKey,
    WrongChain,
    WrongLane,
    WrongProposal,
)
from .module import Lane, Message
from .nodes.lanes import TOKEN, refill
from .nodes.model import LANES, NODES, LaneState
from .params import Params
from .registry import Registry
from .signatures import SignatureCache
from .state import State
from .text import render_text
from .tx import SIGNED_TX, TX_BODY, ProposerTx, RoleTx, TxBody, UserTx, compute_tx_id

_KNOWN_VERSIONS = (1, 2, 3)
_SIGNING_KINDS = (KIND_ED25519, KIND_BTC, KIND_ETH)
_SIG_BYTES_MAX = 256


@dataclass(frozen=True, slots=True)
class DecodedTx:
    """A transaction whose bytes are right; nothing is known yet of its sender."""

    tx_id: TxId
    body: TxBody
    sig: Sig
    messages: tuple[Message, ...]
    lane: Lane
    body_bytes: int


@dataclass(frozen=True, slots=True)
class Now:
    """When and where an envelope is checked: at a block, or by a mempool between two."""

    chain_id: str
    time_ms: int
    tick_ms: int


@dataclass(frozen=True, slots=True)
class Overlay:
    """What waiting transactions of one sender take already: `nonce`, `spent` (user lane), `seq`, `messages` (role)."""

    nonce: int | None = None
    spent: int = 0
    seq: int = 0
    messages: int = 0


NO_OVERLAY = Overlay()


def decode_tx(raw: bytes, registry: Registry, params: Params) -> DecodedTx:
    """Raises, first that applies: tx/1 .. tx/6."""
    if len(raw) > params.tx_bytes_max + _SIG_BYTES_MAX:
        raise TxTooLarge(f"{len(raw)} bytes; at most {params.tx_bytes_max} of body are allowed")
    try:
        signed = SIGNED_TX.decode(raw)
    except (BadEncoding, TooLarge) as error:
        raise NotCanonical(f"signed transaction: {error.message}") from error
    if len(signed.body) > params.tx_bytes_max:
        raise TxTooLarge(f"body: {len(signed.body)} bytes; at most {params.tx_bytes_max} are allowed")
    body = _decode_body(signed.body)
    if not 1 <= len(body.messages) <= params.tx_messages_max:
        raise MessageCount(f"messages: {len(body.messages)}; allowed are 1..{params.tx_messages_max}")
    messages = tuple([registry.decode_message(message) for message in body.messages])
    lane = _get_lane(body)
    for message in messages:
        if lane != message.LANE:
            raise WrongLane(f"{type(message).__name__} belongs into the {message.LANE} lane, not into {lane}")
    return DecodedTx(compute_tx_id(signed.body), body, signed.sig, messages, lane, len(signed.body))


def _decode_body(raw: bytes) -> TxBody:
    # an array's first byte, then the version as a small integer: told apart so that people learn what to mend
    if len(raw) >= 2 and raw[0] & 0xF0 == 0x90 and raw[1] < 0x80 and raw[1] not in _KNOWN_VERSIONS:
        raise UnknownVersion(f"version {raw[1]}; known are 1 (user), 2 (role) and 3 (proposer)")
    try:
        return TX_BODY.decode(raw)
    except (BadEncoding, TooLarge) as error:
        raise NotCanonical(f"body: {error.message}") from error


def _get_lane(body: TxBody) -> Lane:
    if isinstance(body, UserTx):
        return "user"
    if isinstance(body, ProposerTx):
        return "proposer"
    if body.lane == "watch":
        return "watch"
    if body.lane == "report":
        return "report"
    raise WrongLane(f"lane: {body.lane[:32]!r}; allowed are watch and report")


def check_user(state: State, tx: DecodedTx, now: Now, params: Params, verify: SignatureCache, over: Overlay) -> Account:
    """The sender's account, whose fee may be charged. Raises, first that applies: tx/7 .. tx/17."""
    body = tx.body
    assert isinstance(body, UserTx)
    check_user_signed(tx, now, params, verify)
    account = get_account(state, Address(body.sender))
    nonce = account.nonce if over.nonce is None else over.nonce
    if body.nonce < nonce:
        raise NonceUsed(f"nonce: {body.nonce} was used; the next is {nonce}")
    if body.nonce > nonce:
        raise NonceGap(f"nonce: {body.nonce} leaves a gap; the next is {nonce}")
    _check_fee(body.fee, compute_fee(tx, params), account.balance - over.spent)
    return account


def check_user_signed(tx: DecodedTx, now: Now, params: Params, verify: SignatureCache) -> None:
    """What needs no state, so that a proposal can be refused by it alone. Raises tx/7 .. tx/12."""
    body = tx.body
    assert isinstance(body, UserTx)
    _check_chain(body.chain_id, now)
    if body.valid_until_ms < now.time_ms:
        raise Expired(f"valid_until_ms: {body.valid_until_ms} was {now.time_ms - body.valid_until_ms} ms ago")
    _check_not_too_far("valid_until_ms", body.valid_until_ms, now, params)
    if len(body.sender) != ADDRESS_BYTES or body.sender[0] not in _SIGNING_KINDS:
        raise SenderKind("sender: allowed are addresses of an ed25519, btc or eth key")
    if tx.sig.kind == KIND_ED25519 and len(tx.sig.pub) == ED25519_KEY_BYTES and is_small_order_key(tx.sig.pub):
        raise WeakKey
    sender = Address(body.sender)
    if not verify.has_user_signed(tx.tx_id, sender, tx.sig, lambda: render_text(body, tx.tx_id, tx.messages)):
        raise BadSignature


def _check_fee(fee: int, least: int, balance: int) -> None:
    if not 0 <= fee <= AMOUNT_MAX:
        raise FeeBounds(f"fee: {fee}; allowed are 0..{AMOUNT_MAX} base units")
    if fee < least:
        raise FeeTooLow(f"fee: {fee} base units; this transaction costs at least {least}")
    if balance < fee:
        raise FeeUnpayable(f"fee: {fee} base units; the free balance is {balance}")


def compute_fee(tx: DecodedTx, params: Params) -> int:
    """The least fee in base units: of the body's size and of what its messages cost."""
    cost = 0
    for message in tx.messages:
        cost += message.COST
    return tx.body_bytes * params.fee_per_byte + cost * params.fee_per_cost


def check_role(
    state: State, tx: DecodedTx, now: Now, registry: Registry, params: Params, verify: SignatureCache, over: Overlay
) -> LaneState:
    """The lane's state with this transaction counted. Raises: tx/7, tx/9, tx/18 .. tx/21, then tx/12."""
    body = tx.body
    assert isinstance(body, RoleTx)
    _check_chain(body.chain_id, now)
    _check_not_too_far("seq", body.seq, now, params)
    node_id = NodeId(body.node)
    node = state.get(NODES, node_id)
    if node is None or node.state == "retired":
        raise UnknownSender(f"node: no node {body.node[:20].hex()} may send")
    lane = _count_in_lane(state.get(LANES, (node_id, tx.lane)), body, len(tx.messages), now, params, over)
    _check_assigned(state, tx, node_id, registry)
    if not verify.has_key_signed(tx.tx_id, node.hot, tx.sig):
        raise BadSignature
    return lane


def _count_in_lane(
    lane: LaneState | None, body: RoleTx, messages: int, now: Now, params: Params, over: Overlay
) -> LaneState:
    last_seq = max(lane.last_seq if lane else 0, over.seq)
    if body.seq <= last_seq:
        raise SeqUsed(f"seq: {body.seq}; it must be higher than {last_seq}")
    left = refill(lane, now.tick_ms, params) - (over.messages + messages) * TOKEN
    if left < 0:
        raise LaneExhausted(f"lane {body.lane}: {messages} messages are more than it may send now")
    return LaneState(body.seq, left, now.tick_ms)


def _check_assigned(state: State, tx: DecodedTx, node_id: NodeId, registry: Registry) -> None:
    for message in tx.messages:
        is_assigned = registry.assigned.get(type(message))
        if is_assigned is not None and not is_assigned(state, message, node_id):
            raise NotAssigned(f"{type(message).__name__}: nobody asked this node for it")


def check_proposer(tx: DecodedTx, height: int, index: int) -> None:
    """Raises WrongProposal (tx/22)."""
    body = tx.body
    assert isinstance(body, ProposerTx)
    if index != 0 or body.height != height or tx.sig != Sig(0, b"", b""):
        raise WrongProposal(f"height {body.height} at place {index} of block {height}")


def _check_chain(chain_id: str, now: Now) -> None:
    if chain_id != now.chain_id:
        raise WrongChain(f"chain_id: {chain_id[:64]!r}; this chain is {now.chain_id!r}")


def _check_not_too_far(field: str, value: int, now: Now, params: Params) -> None:
    latest = now.time_ms + params.tx_valid_ms_max
    if value > latest:
        raise ValidTooFar(f"{field}: {value}; at most {latest} is allowed now")
