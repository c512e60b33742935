"""What gateways refuse; keys, hosts and certificates are refused with the codes of nodes."""

from __future__ import annotations

from ...errors import Rejected


class UnknownGateway(Rejected):
    """No gateway has this id."""

    CODE = "gateways/1"


class NotOwner(Rejected):
    """Only the gateway's owner may do this."""

    CODE = "gateways/2"


class BadZone(Rejected):
    """`zones` are 1..8 lower-case domain names, sorted, each once."""

    CODE = "gateways/3"


class TooManyGateways(Rejected):
    """No more gateways fit into their record."""

    CODE = "gateways/4"


class HotKeyTaken(Rejected):
    """Another gateway or a node has this hot key."""

    CODE = "gateways/5"


class HostTaken(Rejected):
    """Another gateway is reached at this address and port."""

    CODE = "gateways/6"
