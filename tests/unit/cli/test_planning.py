"""Dry runs against the ledger itself: what is planned is what then happens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from factories import make_address_of
from factories_apps import COMPONENT, DIGEST, Deployment, make_images, make_spec
from fluxcloud.cli.planning import KnownApp, Plan, Snapshot, plan_deploy
from fluxcloud.errors import Rejected
from fluxcloud.images.store import ContentStore
from fluxcloud.ledger.apps.model import APPS, GROUPS, NAMES, PLACEMENTS, REVISIONS
from fluxcloud.ledger.apps.spec import Place, Spec
from fluxcloud.ledger.block import get_clock
from fluxcloud.ledger.nodes.model import NODES
from fluxcloud.sdk.bundle import Bundle


def take_snapshot(net: Deployment, name: str) -> Snapshot:
    state, record = net.state, net.state.get(NAMES, name)
    known = None
    if record is not None:
        app = state.get(APPS, record.app)  # type: ignore[arg-type]
        assert app is not None
        tables = (tuple(state.items(table)) for table in (REVISIONS, GROUPS, PLACEMENTS))  # type: ignore[arg-type]
        known = KnownApp(app, *tables)  # type: ignore[arg-type]
    return Snapshot(net.genesis.chain_id, get_clock(state), net.params, tuple(state.items(NODES)), record, known)


def plan(net: Deployment, spec: Spec, owner: str = "alice", digest: str = DIGEST) -> Plan:
    bundle = Bundle(spec, make_images(spec, digest), ContentStore(Path("/nowhere")))
    return plan_deploy(take_snapshot(net, spec.name), bundle, make_address_of(owner))


def list_places(net: Deployment) -> list[tuple[str, int, bytes]]:
    placements = [p for _, p in net.state.items(PLACEMENTS) if p.role in ("active", "standby")]
    return sorted((p.role, p.slot if p.slot >= 0 else p.spare, p.node) for p in placements)


def list_planned(planned: Plan) -> list[tuple[str, int, bytes]]:
    return sorted(
        ("standby" if slot.status.is_spare else "active", slot.status.index, slot.node.id)
        for slot in planned.slots
        if slot.node is not None
    )


@pytest.mark.parametrize("settings", [{}, {"replicas": 4}, {"place": Place(deny=("SG",))}, {"spares": 0}])
def test_new_app__goes_where_it_was_planned(settings: dict[str, Any]) -> None:
    net = Deployment(5)
    spec = make_spec(**settings)
    planned = plan(net, spec)
    assert planned.is_whole
    assert planned.is_exact
    assert not planned.is_update
    assert net.state.count(APPS) == 0
    net.deploy(spec)
    assert list_planned(planned) == list_places(net)


def test_new_app_that_fits_in_part__says_which_slot_waits_and_why() -> None:
    net = Deployment(5)
    planned = plan(net, make_spec(replicas=6, spares=0))
    assert not planned.is_whole
    (waiting,) = [slot for slot in planned.slots if slot.node is None]
    assert waiting.status.index == 5
    assert [(r.filter, r.count) for r in waiting.status.refusals] == [("operator", 5)]


def test_new_app_that_fits_nowhere__is_planned_all_the_same() -> None:
    net = Deployment(5)
    planned = plan(net, make_spec(components=(replace(COMPONENT, mcpu=15_000),)))
    assert [group.fitting for group in planned.groups] == [0]
    assert all(slot.node is None for slot in planned.slots)


def test_update_of_what_copies_are_made_of__every_copy_is_new() -> None:
    net = Deployment(5)
    net.deploy()
    planned = plan(net, make_spec(), digest="sha256:" + "cd" * 32)
    assert planned.is_update
    assert planned.is_whole
    assert all(slot.is_new for slot in planned.slots)
    assert len({slot.node.id for slot in planned.slots if slot.node}) == 4


def test_update_of_the_count__copies_stay() -> None:
    net = Deployment(5)
    net.deploy()
    planned = plan(net, make_spec(replicas=4))
    # The standby is the fourth; a new one stands by.
    assert [(slot.status.is_spare, slot.is_new) for slot in planned.slots] == [(False, False)] * 4 + [(True, True)]
    actives = [place for place in list_places(net) if place[0] == "active"]
    assert list_planned(planned)[:3] == actives


def test_name_of_another_account__is_refused_as_the_ledger_would() -> None:
    net = Deployment(5)
    net.deploy()
    with pytest.raises(Rejected) as refused:
        plan(net, make_spec(), owner="bob")
    assert refused.value.code == "apps/2"
