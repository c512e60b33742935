"""Each message of apps: what it changes, what it emits, and each way in which it is refused."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from factories_apps import ALICE, BOB, COMPONENT, Deployment, make_images, make_register, make_spec
from factories_vectors import check_vector
from fluxcloud.codec import encode
from fluxcloud.ids import AppId
from fluxcloud.ledger.apps.errors import UnknownApp
from fluxcloud.ledger.apps.messages import (
    AppDeleted,
    AppRegistered,
    AppScaled,
    AppTransferred,
    AppUndeleted,
    AppUpdated,
    DeleteApp,
    EvictInstance,
    RegisterApp,
    RevokeSessions,
    ScaleGroup,
    SessionsRevoked,
    TransferApp,
    UndeleteApp,
    UpdateApp,
)
from fluxcloud.ledger.apps.model import NAMES, REVISIONS, NameRecord
from fluxcloud.ledger.apps.queries import get_app_by_name, get_apps_of
from fluxcloud.ledger.apps.spec import Component, Place
from fluxcloud.ledger.apps.transitions import SEALED_BYTES_MAX


@pytest.fixture
def net() -> Deployment:
    deployment = Deployment(5)
    deployment.deploy()
    return deployment


def test_register_app() -> None:
    net = Deployment(5)
    receipt = check_vector(net, net.user("alice", make_register(make_spec())), "apps", "register_app")
    assert receipt.code == ""
    (event,) = (event for event in receipt.events if isinstance(event, AppRegistered))
    net.app_id = AppId(event.app)
    app = net.app()
    assert (app.name, app.owner, app.revision, app.status, app.gen_counter) == ("shop", ALICE, 1, "active", 4)
    assert net.state.get(NAMES, "shop") == NameRecord(app.id, ALICE)
    assert get_app_by_name(net.state, "shop") == app
    assert get_apps_of(net.state, ALICE) == (app,)
    assert get_apps_of(net.state, BOB) == ()


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (RegisterApp(b"\x00", b"", ()), "apps/16"),
        (make_register(make_spec(replicas=0)), "apps/5"),
        (make_register(make_spec(components=(COMPONENT, COMPONENT))), "apps/6"),
        (make_register(make_spec(mode="primary")), "apps/7"),
        (make_register(make_spec(), ()), "apps/8"),
        (make_register(make_spec(), sealed=bytes(SEALED_BYTES_MAX + 1)), "apps/15"),
        (make_register(make_spec()), "apps/3"),
        (make_register(make_spec("big", components=(replace(COMPONENT, mcpu=15_000),))), "scheduler/3"),
        (make_register(make_spec("far", place=Place(allow=("OC",)))), "scheduler/3"),
    ],
)
def test_invalid_register_app(net: Deployment, message: RegisterApp, code: str) -> None:
    assert net.refuse(message, owner="bob") == code


def test_invalid_register_app__says_which_filters_refuse(net: Deployment) -> None:
    spec = make_spec("big", components=(replace(COMPONENT, memory_mib=10 * 1024),), place=Place(deny=("DE",)))
    receipt = net.reject(net.user("bob", make_register(spec)))
    assert receipt.message == ("groups.web: no node could hold a copy: 5 nodes: 5 lack memory (need 10.0 GiB)")


def test_update_app(net: Deployment) -> None:
    spec = replace(make_spec(replicas=4), description="new")
    events = net.update(spec)
    assert AppUpdated(net.app_id, 2) in events
    assert (net.app().revision, net.spec(), net.group().replicas) == (2, spec, 4)


@pytest.mark.parametrize(
    ("spec", "code"),
    [
        (make_spec("other"), "apps/12"),
        (make_spec(name="shop", replicas=0), "apps/5"),
        (replace(make_spec(), groups=(*make_spec().groups, replace(make_spec().groups[0], name="api"))), "apps/12"),
        (make_spec(components=(replace(COMPONENT, mcpu=15_000),)), "scheduler/3"),
    ],
)
def test_invalid_update_app(net: Deployment, spec: object, code: str) -> None:
    message = UpdateApp(net.app_id, encode(spec), b"", make_images(spec))  # type: ignore[arg-type]
    assert net.refuse(message) == code
    assert net.app().revision == 1


def test_update_app__keeps_the_newest_revisions(net: Deployment) -> None:
    for number in range(12):
        net.update(replace(make_spec(), description=str(number)))
    numbers = [key[1] for key, _ in net.state.items(REVISIONS)]
    assert numbers == [1, *range(4, 14)], "copies still run revision 1, for none of their containers changed"


def test_scale_group(net: Deployment) -> None:
    assert AppScaled(net.app_id, "web", 2) in net.send(ScaleGroup(net.app_id, "web", 2))
    assert len(net.group().slots) == 2


def test_delete_and_undelete(net: Deployment) -> None:
    assert AppDeleted(net.app_id, "shop") in net.send(DeleteApp(net.app_id))
    name = net.state.get(NAMES, "shop")
    assert name == NameRecord(net.app_id, ALICE, net.tick_ms + 72 * 3_600_000, net.tick_ms + (72 + 720) * 3_600_000)
    with pytest.raises(UnknownApp):
        get_app_by_name(net.state, "shop")
    assert net.refuse(make_register(make_spec()), owner="bob") == "apps/4"
    assert AppUndeleted(net.app_id, "shop") in net.send(UndeleteApp(net.app_id))
    assert net.state.get(NAMES, "shop") == NameRecord(net.app_id, ALICE)


def test_delete__its_owner_may_give_the_name_to_a_new_app(net: Deployment) -> None:
    old = net.app_id
    net.send(DeleteApp(old))
    net.deploy()
    assert net.app_id != old
    assert net.refuse(UndeleteApp(old)) == "apps/3"


def test_name__is_nobodys_during_its_quarantine() -> None:
    net = Deployment(5, name_kept_ms=1_000, name_quarantine_ms=3_000)
    net.deploy(is_run=False)
    net.send(DeleteApp(net.app_id))
    net.run_ms(1_000)
    assert net.refuse(make_register(make_spec())) == "apps/4"
    net.run_ms(3_000)
    net.deploy(owner="bob")


def test_transfer_app(net: Deployment) -> None:
    assert AppTransferred(net.app_id, BOB) in net.send(TransferApp(net.app_id, BOB))
    assert (net.app().owner, net.app().session_epoch) == (BOB, 1)
    assert net.refuse(DeleteApp(net.app_id)) == "apps/2"
    net.send(DeleteApp(net.app_id), owner="bob")


def test_revoke_sessions(net: Deployment) -> None:
    assert SessionsRevoked(net.app_id, 1) in net.send(RevokeSessions(net.app_id))
    assert net.app().session_epoch == 1


def test_evict__three_times_a_slot_and_day() -> None:
    net = Deployment(8)
    net.deploy(make_spec(spares=0))
    for _ in range(3):
        net.send(EvictInstance(net.app_id, net.slots()[0][1]))
        net.report_all()
    assert net.refuse(EvictInstance(net.app_id, net.slots()[0][1])) == "apps/14"
    net.send(EvictInstance(net.app_id, net.slots()[1][1]))


@pytest.mark.parametrize("kind", ["update", "scale", "delete", "undelete", "transfer", "evict", "revoke"])
def test_invalid__unknown_not_owner_deleted(net: Deployment, kind: str) -> None:
    spec = make_spec()

    def make(app: bytes) -> object:
        return {
            "update": UpdateApp(app, encode(spec), b"", make_images(spec)),
            "scale": ScaleGroup(app, "web", 3),
            "delete": DeleteApp(app),
            "undelete": UndeleteApp(app),
            "transfer": TransferApp(app, BOB),
            "evict": EvictInstance(app, 1),
            "revoke": RevokeSessions(app),
        }[kind]

    assert net.refuse(make(bytes(20))) == "apps/1"  # type: ignore[arg-type]
    assert net.refuse(make(net.app_id), owner="bob") == "apps/2"  # type: ignore[arg-type]
    if kind == "undelete":
        assert net.refuse(make(net.app_id)) == "apps/10"  # type: ignore[arg-type]
    elif kind != "revoke":
        net.send(DeleteApp(net.app_id))
        assert net.refuse(make(net.app_id)) == "apps/9"  # type: ignore[arg-type]


def test_invalid__group_copy_recipient(net: Deployment) -> None:
    assert net.refuse(ScaleGroup(net.app_id, "db", 3)) == "apps/11"
    assert net.refuse(ScaleGroup(net.app_id, "web", 101)) == "apps/5"
    assert net.refuse(EvictInstance(net.app_id, 99)) == "apps/13"
    assert net.refuse(EvictInstance(net.app_id, -1)) == "apps/13"
    assert net.refuse(TransferApp(net.app_id, b"nobody")) == "accounts/3"


def test_two_groups__are_placed_each_on_its_own() -> None:
    net = Deployment(5)
    web = make_spec().groups[0]
    db = replace(web, name="db", replicas=1, components=(Component("pg", "postgres:16"),))
    net.deploy(replace(make_spec(), groups=(web, db)))
    assert [state for state, _ in net.slots("db")] == ["placed"]
    assert len(net.routes()) == 4
