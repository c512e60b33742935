"""What the checks of a transaction's envelope refuse, in the order of looking. Such a transaction changes nothing."""

from __future__ import annotations

from ..errors import Rejected


class TxTooLarge(Rejected):
    """The transaction is longer than allowed."""

    CODE = "tx/1"


class NotCanonical(Rejected):
    """The bytes are not the canonical encoding of a signed transaction."""

    CODE = "tx/2"


class UnknownVersion(Rejected):
    """The body is of a version that this program doesn't know."""

    CODE = "tx/3"


class UnknownMessage(Rejected):
    """A message is of a type that this program doesn't know, or its fields don't fit its type."""

    CODE = "tx/4"


class MessageCount(Rejected):
    """A transaction carries 1..16 messages."""

    CODE = "tx/5"


class WrongLane(Rejected):
    """A message belongs into another kind of transaction."""

    CODE = "tx/6"


class WrongChain(Rejected):
    """The transaction was signed for another chain."""

    CODE = "tx/7"


class Expired(Rejected):
    """The transaction's `valid_until_ms` has passed."""

    CODE = "tx/8"


class ValidTooFar(Rejected):
    """`valid_until_ms` (or a role transaction's `seq`) is too far ahead."""

    CODE = "tx/9"


class SenderKind(Rejected):
    """The sender is not an account that can sign."""

    CODE = "tx/10"


class WeakKey(Rejected):
    """The sender's key is one of those of small order, for which anybody can sign."""

    CODE = "tx/11"


class BadSignature(Rejected):
    """The signature is not the sender's over this transaction."""

    CODE = "tx/12"


class NonceUsed(Rejected):
    """The nonce was used before."""

    CODE = "tx/13"


class NonceGap(Rejected):
    """The nonce is ahead of the account's next one."""

    CODE = "tx/14"


class FeeBounds(Rejected):
    """A fee is 0..2^63-1 base units."""

    CODE = "tx/15"


class FeeTooLow(Rejected):
    """The fee is lower than the transaction's size and messages cost."""

    CODE = "tx/16"


class FeeUnpayable(Rejected):
    """The sender's free balance doesn't cover the fee."""

    CODE = "tx/17"


class UnknownSender(Rejected):
    """No node of this id may send in this lane."""

    CODE = "tx/18"


class SeqUsed(Rejected):
    """The sequence number is not higher than the last one in this lane."""

    CODE = "tx/19"


class LaneExhausted(Rejected):
    """The node has used up what it may send in this lane for now."""

    CODE = "tx/20"


class NotAssigned(Rejected):
    """The state asks this node for no such message."""

    CODE = "tx/21"


class WrongProposal(Rejected):
    """A proposer's transaction stands first in the block it names, and nowhere else."""

    CODE = "tx/22"


class BadProposal(Rejected):
    """A proposed block that validators refuse."""

    CODE = "tx/23"


ENVELOPE_ERRORS: tuple[type[Rejected], ...] = (
    TxTooLarge,
    NotCanonical,
    UnknownVersion,
    UnknownMessage,
    MessageCount,
    WrongLane,
    WrongChain,
    Expired,
    ValidTooFar,
    SenderKind,
    WeakKey,
    BadSignature,
    NonceUsed,
    NonceGap,
    FeeBounds,
    FeeTooLow,
    FeeUnpayable,
    UnknownSender,
    SeqUsed,
    LaneExhausted,
    NotAssigned,
    WrongProposal,
    BadProposal,
)
