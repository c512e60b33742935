"""Containers read back as copies."""

from __future__ import annotations

import json

import pytest

from fluxcloud.node.runtime.base import ComponentState, CopyKey, CopyState
from fluxcloud.node.runtime.docker.answers import Container, State, Summary, parse_time_ns
from fluxcloud.node.runtime.docker.copies import build_component_state, build_copy_state, group_copies

KEY = CopyKey("app1x", 7)
STARTED = "2026-11-23T23:32:37.521519107Z"
STARTED_MS = 1_795_476_757_521


def summary(name: str = "", state: str = "running", **labels: str) -> Summary:
    found = {"fluxcloud.app": KEY.app, "fluxcloud.generation": "7"}
    if name:
        found["fluxcloud.component"] = name
    else:
        found |= {"fluxcloud.components": '["web", "db"]', "fluxcloud.labels": '[["slot", "0"]]'}
    return Summary(name or "holder", state, {**found, **{f"fluxcloud.{key}": text for key, text in labels.items()}})


def count_one(key: CopyKey, component: str) -> int:
    return 1


def state(name: str, **fields: object) -> dict[str, Container]:
    return {name: Container(name, State(started_at=STARTED, **fields))}  # type: ignore[arg-type]


def test_containers_are_grouped() -> None:
    stranger = Summary("other", "running", None)
    leaving = summary("web", "removing")
    found = group_copies([summary("web"), summary(address="10.1.1.2"), stranger, leaving])
    assert list(found) == [KEY]
    copy = found[KEY]
    assert (copy.is_made, copy.is_held, copy.address) == (True, True, "10.1.1.2")
    assert [part.id for part in copy.list_all()] == ["web", "holder"]


@pytest.mark.parametrize(
    ("holder", "is_made", "is_held"),
    [("created", False, False), ("running", True, True), ("paused", True, True), ("exited", True, False)],
)
def test_holder(holder: str, is_made: bool, is_held: bool) -> None:
    found = group_copies([summary(state=holder)])[KEY]
    assert (found.is_made, found.is_held) == (is_made, is_held)


def test_copy() -> None:
    found = group_copies([summary(), summary("web"), summary("db")])[KEY]
    inspected = state("web", running=True, pid=5) | state("db", exit_code=3)
    assert build_copy_state(KEY, found, inspected, count_one) == CopyState(
        KEY,
        (
            ComponentState("web", "running", 5, STARTED_MS),
            ComponentState("db", "exited", None, STARTED_MS, 3, "exit"),
        ),
        (("slot", "0"),),
    )


def test_copy__one_starts() -> None:
    found = group_copies([summary(), summary("web"), summary("db")])[KEY]
    copy = build_copy_state(KEY, found, state("web", running=True, pid=5), count_one, {"db"})
    assert copy.components[1] == ComponentState("db", "created")


def test_copy__a_part_is_gone() -> None:
    found = group_copies([summary(), summary("web")])[KEY]
    copy = build_copy_state(KEY, found, state("web"), count_one)
    assert (copy.broken, copy.labels) == ("the container of db is gone", (("slot", "0"),))


@pytest.mark.parametrize(
    "labels", [{"components": "["}, {"labels": "7"}, {"labels": json.dumps([["a"]])}, {"components": "7"}]
)
def test_copy__its_labels_are_not_ours(labels: dict[str, str]) -> None:
    found = group_copies([summary(**labels), summary("web"), summary("db")])[KEY]
    copy = build_copy_state(KEY, found, state("web") | state("db"), count_one)
    assert copy.broken == "its holder is gone, or is not as it was made"


def test_copy__without_a_holder() -> None:
    found = group_copies([summary("web")])[KEY]
    assert build_copy_state(KEY, found, state("web"), count_one).broken != ""


@pytest.mark.parametrize(
    ("fields", "is_held", "expected"),
    [
        ({"running": True, "pid": 5}, True, ComponentState("web", "running", 5, STARTED_MS, restarts=2)),
        ({"running": True, "pid": 5}, False, ComponentState("web", "exited", None, STARTED_MS, 137, "engine", 2)),
        ({"exit_code": 137}, True, ComponentState("web", "exited", None, STARTED_MS, 137, "exit", 2)),
        (
            {"exit_code": 137, "oom_killed": True},
            True,
            ComponentState("web", "exited", None, STARTED_MS, 137, "oom", 2),
        ),
        ({"exit_code": 1, "oom_killed": True}, True, ComponentState("web", "exited", None, STARTED_MS, 1, "exit", 2)),
        ({"exit_code": 128, "error": "x"}, True, ComponentState("web", "exited", None, STARTED_MS, 128, "engine", 2)),
    ],
)
def test_component(fields: dict[str, object], is_held: bool, expected: ComponentState) -> None:
    found = State(started_at=STARTED, **fields)  # type: ignore[arg-type]
    assert build_component_state("web", found, 3, is_held=is_held) == expected


def test_component__never_started() -> None:
    found = State(started_at="0001-01-01T00:00:00Z", exit_code=127, error="no such file")
    assert build_component_state("web", found, 1, is_held=True) == ComponentState("web", "created")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01T00:00:01Z", 1_000_000_000),
        ("1970-01-01T00:00:01.5Z", 1_500_000_000),
        ("1970-01-01T00:00:01.123456789Z", 1_123_456_789),
        ("1970-01-01T01:00:01+01:00", 1_000_000_000),
        ("1969-12-31T22:30:01-01:30", 1_000_000_000),
        ("0001-01-01T00:00:00Z", 0),
        ("yesterday", 0),
        ("", 0),
    ],
)
def test_times(text: str, expected: int) -> None:
    assert parse_time_ns(text) == expected
