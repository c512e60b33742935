"""Gateways: who may call the nodes' ingress, and under which zones apps are reached."""

from __future__ import annotations

from ...codec import Record
from ..nodes.model import Location
from ..state import TableKey


class Gateway(Record):
    """`zones`: an app `shop` is reached as `shop.<zone>`."""

    id: bytes
    owner: bytes
    operator: bytes
    hot: bytes
    cert: bytes
    host: str
    http_port: int
    zones: tuple[str, ...]
    location: Location
    bond: int = 0  # locked with the owner's account until it retires


class Gateways(Record, tag=1):
    """All gateways in one record, sorted by id, so that a node's ingress can prove that it knows each of them."""

    entries: tuple[Gateway, ...] = ()


GATEWAYS: TableKey[str, Gateways] = TableKey("gateways", ("text",), Gateways)
"""One record, under the key ``."""
