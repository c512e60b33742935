"""Messages of gateways, from their owners."""

from __future__ import annotations

from typing import ClassVar

from ..module import Event, Message
from ..nodes.model import Location


class GatewayRegister(Message, tag=0x0701):
    """Make a gateway of the sender. `hot_proof` as for a node, over the gateway's id; `cert` is for that id's text."""

    COST: ClassVar[int] = 20

    operator: bytes
    hot: bytes
    hot_proof: bytes
    cert: bytes
    host: str
    http_port: int
    zones: tuple[str, ...]
    location: Location


class GatewayRetire(Message, tag=0x0702):
    """Take a gateway of the sender out at once; its bond is free."""

    gateway: bytes


class GatewayRegistered(Event, tag=0x0781):
    gateway: bytes
    host: str


class GatewayRetired(Event, tag=0x0782):
    gateway: bytes
