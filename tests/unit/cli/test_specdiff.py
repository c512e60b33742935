"""Diffs of specs: which fields, and what restarts."""

from __future__ import annotations

from msgspec.structs import replace

from factories_apps import COMPONENT, DIGEST, make_images, make_spec
from fluxcloud.cli.specdiff import Change, SpecDiff, diff_specs
from fluxcloud.ledger.apps.spec import Place, Spec

OTHER = "sha256:" + "cd" * 32


def diff(before: Spec, after: Spec, *, digest: str = DIGEST, replicas: int = 3) -> SpecDiff:
    return diff_specs(before, after, make_images(before), make_images(after, digest), {"web": replicas})


def test_same__is_empty() -> None:
    found = diff(make_spec(), make_spec())
    assert found.is_empty
    assert [(effect.effect, effect.text) for effect in found.effects] == [("none", "no copy restarts")]


def test_component__its_fields_by_path_and_every_copy_restarts() -> None:
    component = replace(COMPONENT, memory_mib=1024, env=(("LOG", "debug"),))
    found = diff(make_spec(), make_spec(components=(component,)))
    assert found.changes == (
        Change("groups.web.components.app.env.LOG", None, "debug"),
        Change("groups.web.components.app.memory", None, "1GiB"),
    )
    assert str(found.changes[1]) == "+ groups.web.components.app.memory: 1GiB"
    (effect,) = found.effects
    assert effect.effect == "replaced"
    assert effect.text.startswith("all 3 copies and 1 spare are replaced, one at a time")


def test_place_and_replicas__nothing_restarts() -> None:
    found = diff(make_spec(), make_spec(replicas=5, place=Place(deny=("SG",))))
    assert [change.path for change in found.changes] == ["groups.web.place.deny", "groups.web.replicas"]
    assert [(e.effect, e.replicas) for e in found.effects] == [("none", (3, 5))]


def test_tag_that_means_another_image__restarts_though_no_field_differs() -> None:
    found = diff(make_spec(), make_spec(), digest=OTHER)
    assert found.changes == (Change("digest of web/app", DIGEST, OTHER),)
    assert found.effects[0].effect == "replaced"


def test_scaled_by_hand__is_said_and_is_a_change() -> None:
    found = diff(make_spec(), make_spec(), replicas=4)
    assert not found.is_empty
    assert found.effects[0].text == "no copy restarts, 4 copies become 3"


def test_other_groups__are_refused() -> None:
    before = make_spec()
    after = replace(before, groups=(replace(before.groups[0], name="api"),))
    found = diff(before, after)
    assert [(effect.group, effect.effect) for effect in found.effects] == [("api", "refused"), ("web", "refused")]


def test_long_text__is_shown_by_its_hash() -> None:
    component = replace(COMPONENT, files=(("/a", b"x" * 500),))
    (change,) = diff(make_spec(), make_spec(components=(component,))).changes
    assert len(str(change.after)) < 60
