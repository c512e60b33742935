"""The ledger as this node sees it: proven records while headers come, else the last proven ones it has kept.

Whatever it answers was proven once. `is_live` says that it still is, and that what is absent is absent indeed.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from ..ids import NodeId
from ..ledger.apps.model import ASSIGN, Assign
from ..ledger.gateways.model import GATEWAYS, Gateways
from ..ledger.liveness.model import DUTY, LIVENESS_CLOCK, SEATS, Duty
from ..ledger.nodes.model import NODES, Node
from .chain import FeedKey
from .feed import Feed
from .kept import Kept, load_kept, save_kept
from .runtime.base import CopyKey
from .watch.contacts import Contact, make_contact

_log = logging.getLogger(__name__)

_BACK_STATES = ("down", "deactivated")


def list_own_keys(me: NodeId) -> tuple[FeedKey, ...]:
    """What a node follows whatever its duty."""
    return ((ASSIGN, me), (DUTY, me), (SEATS, me), (NODES, me), (GATEWAYS, ""), (LIVENESS_CLOCK, ""))


class LedgerView:
    """`kept_path`: file of what survives a restart."""

    def __init__(self, feed: Feed, me: NodeId, kept_path: Path) -> None:
        self._feed = feed
        self._me = me
        self._kept_path = kept_path
        self._kept = load_kept(kept_path)

    @property
    def is_proven(self) -> bool:
        """Whether a header since the start has proven the assignment."""
        return self._feed.head is not None and self._feed.is_known(ASSIGN, self._me)

    @property
    def is_live(self) -> bool:
        return self.is_proven and self._feed.is_live

    @property
    def height(self) -> int:
        return self._feed.head.height if self._feed.head else self._kept.height

    @property
    def tick_ms(self) -> int:
        return self._feed.head.tick_ms if self._feed.head else self._kept.tick_ms

    @property
    def epoch(self) -> int:
        clock = self._feed.get(LIVENESS_CLOCK, "")
        return clock.epoch if clock else 0

    @property
    def assign(self) -> Assign:
        if not self.is_proven:
            return self._kept.assign
        return self._feed.get(ASSIGN, self._me) or Assign()

    @property
    def gateways(self) -> Gateways:
        if not self._feed.is_known(GATEWAYS, ""):
            return self._kept.gateways
        return self._feed.get(GATEWAYS, "") or Gateways()

    @property
    def duty(self) -> Duty:
        return self._feed.get(DUTY, self._me) or Duty()

    @property
    def own(self) -> Node | None:
        return self._feed.get(NODES, self._me)

    @property
    def is_back(self) -> bool:
        """Whether the ledger holds this node for gone though it is here and in touch."""
        return self.is_live and self.own is not None and self.own.state in _BACK_STATES

    @property
    def has_unkept(self) -> bool:
        """Whether the assignment, the gateways or the peers have changed since they were kept."""
        kept = self._kept
        return (self.assign, self.gateways, self.list_peers()) != (kept.assign, kept.gateways, kept.peers)

    def get_runs_as(self) -> Mapping[CopyKey, CopyKey]:
        """As kept by the last agent."""
        return self._kept.list_runs_as()

    def list_peers(self) -> tuple[Contact, ...]:
        """Targets and monitors of this node: as proven, else as kept, as far as they are known at all."""
        if not self._feed.is_known(SEATS, self._me):
            return self._kept.peers
        kept = {peer.id: peer for peer in self._kept.peers}
        contacts = (self._get_contact(peer, kept.get(peer)) for peer in self._list_peer_ids())
        return tuple(contact for contact in contacts if contact is not None)

    def follow_peers(self) -> None:
        """Follow the records of whom this node watches and of who watches it."""
        self._feed.set_keys((*list_own_keys(self._me), *((NODES, peer) for peer in self._list_peer_ids())))

    def keep(self, runs_as: Mapping[CopyKey, CopyKey]) -> None:
        """Write down what the next start needs, where it has changed."""
        pairs = tuple(sorted((new.app, new.generation, old.generation) for new, old in runs_as.items()))
        if not self.has_unkept and pairs == self._kept.runs_as:
            return
        self._kept = Kept(self.height, self.tick_ms, self.assign, self.gateways, pairs, self.list_peers())
        try:
            save_kept(self._kept_path, self._kept)
        except OSError as error:
            _log.error("the assignment can't be kept: %s", error)

    def _get_contact(self, peer: NodeId, kept: Contact | None) -> Contact | None:
        if not self._feed.is_known(NODES, peer):
            return kept
        node = self._feed.get(NODES, peer)
        return make_contact(node) if node is not None else None

    def _list_peer_ids(self) -> list[NodeId]:
        panel = self._feed.get(SEATS, self._me)
        monitors = {seat.monitor for seat in panel.seats if seat.monitor} if panel else set()
        return [NodeId(peer) for peer in sorted(monitors | set(self.duty.targets))]
