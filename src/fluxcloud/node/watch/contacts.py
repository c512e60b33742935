"""Contacts: the nodes this one may hear from or has to ask, as the ledger knows them.

Monitors and targets are put here by the agent as they change. Jurors are strangers: the first datagram of an
unknown sender asks for its record, and its next one is answered. What is asked for is bounded, so that a flood of
invented senders costs neither memory nor the chain node.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable

from ...codec import Record
from ...errors import FluxCloudError
from ...ids import NodeId, render_node
from ...ledger.nodes.model import Node, NodeState
from .bucket import Bucket

_log = logging.getLogger(__name__)

STRANGERS_MAX = 2_048
LOOKUPS_PER_S = 10.0
FRESH_S = 60.0
"""A stranger's record is read again after this: its key or address may have changed."""


class Contact(Record, tag=1):
    """What probing needs of a node's record."""

    id: NodeId
    hot: bytes
    host: str
    probe_port: int
    state: NodeState
    since_tick: int


def make_contact(node: Node) -> Contact:
    return Contact(NodeId(node.id), node.hot, node.endpoint.host, node.endpoint.probe_port, node.state, node.since_tick)


class Contacts:
    """Known nodes: followed ones, kept current by the agent, and strangers, kept for a while. `now` in seconds."""

    def __init__(self, look_up: Callable[[NodeId], Awaitable[Node | None]], now: Callable[[], float]) -> None:
        self._look_up = look_up
        self._now = now
        self._followed: dict[NodeId, Contact] = {}
        self._strangers: OrderedDict[NodeId, tuple[float, Contact | None]] = OrderedDict()
        self._wanted: OrderedDict[NodeId, None] = OrderedDict()
        self._lookups = Bucket(LOOKUPS_PER_S, LOOKUPS_PER_S)

    def set_followed(self, contacts: Iterable[Contact]) -> None:
        """Take all monitors and targets as they are now known."""
        self._followed = {contact.id: contact for contact in contacts}

    def get(self, node_id: NodeId) -> Contact | None:
        """The node, if it is known; a stranger is put on the list of those to look up."""
        contact = self._followed.get(node_id)
        if contact is not None:
            return contact
        found_at, stranger = self._strangers.get(node_id, (-FRESH_S, None))
        if self._now() - found_at >= FRESH_S and len(self._wanted) < STRANGERS_MAX:
            self._wanted[node_id] = None
        return stranger

    async def look_up_wanted(self) -> None:
        """Read the records of the strangers heard of, at most so many a second."""
        while self._wanted and self._lookups.take(self._now()):
            node_id, _ = self._wanted.popitem(last=False)
            await self.read(node_id)

    async def read(self, node_id: NodeId) -> Contact | None:
        """Read one record now. An answer, also that there is none, is kept; a failure to read is not."""
        try:
            node = await self._look_up(node_id)
        except FluxCloudError as error:
            _log.debug("no record of a stranger: %s", error, extra={"fields": {"peer": render_node(node_id)}})
            return self.get(node_id)
        contact = make_contact(node) if node is not None else None
        self._strangers[node_id] = (self._now(), contact)
        self._strangers.move_to_end(node_id)
        while len(self._strangers) > STRANGERS_MAX:
            self._strangers.popitem(last=False)
        return contact
