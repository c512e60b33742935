"""The client's lists of messages and events hold all that the ledger's modules handle and emit."""

from __future__ import annotations

from fluxcloud.ledger.registry import get_tag
from fluxcloud.ledger.transition import MODULES
from fluxcloud.ledger.types import EVENT_TYPES, MESSAGE_TYPES


def test_messages_are_those_of_the_modules() -> None:
    handled = {kind for module in MODULES for kind in module.messages}
    assert handled == set(MESSAGE_TYPES)


def test_events_are_those_of_the_modules() -> None:
    emitted = {kind for module in MODULES for kind in module.events}
    assert emitted == set(EVENT_TYPES)


def test_tags_are_unique() -> None:
    for kinds in (MESSAGE_TYPES, EVENT_TYPES):
        assert len({get_tag(kind) for kind in kinds}) == len(kinds)
