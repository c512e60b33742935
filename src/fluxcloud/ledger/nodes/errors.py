"""What nodes refuse."""

from __future__ import annotations

from ...errors import Rejected


class UnknownNode(Rejected):
    """No node has this id."""

    CODE = "nodes/1"


class NotOwner(Rejected):
    """Only the node's owner may do this."""

    CODE = "nodes/2"


class NotOperator(Rejected):
    """Only the node's operator (or its owner) may do this."""

    CODE = "nodes/3"


class BadField(Rejected):
    """A field is outside of its bounds."""

    CODE = "nodes/4"


class HotKeyTaken(Rejected):
    """Another node has had this hot key."""

    CODE = "nodes/5"


class EncKeyTaken(Rejected):
    """Another node has had this enc key."""

    CODE = "nodes/6"


class EndpointTaken(Rejected):
    """Another node is reached at this address and port."""

    CODE = "nodes/7"


class BadHotProof(Rejected):
    """`hot_proof` is not the hot key's signature for this chain, owner and node."""

    CODE = "nodes/8"


class BadCertificate(Rejected):
    """`cert` is not a certificate of the hot key for this node id."""

    CODE = "nodes/9"


class WrongState(Rejected):
    """The node's state doesn't allow this."""

    CODE = "nodes/10"


class DrainTooLong(Rejected):
    """`until_tick` lies in the past or too far ahead."""

    CODE = "nodes/11"
