"""The plan, as tables of what is wanted, what is found, and the one next step."""

from __future__ import annotations

from typing import Any

import pytest

from fluxcloud.ledger.apps.spec import Restart, StartAfter
from fluxcloud.ledger.scheduler.messages import CopyReport
from fluxcloud.node.copyspec import build_copy_spec
from fluxcloud.node.model import (
    Action,
    ComponentHealth,
    CopyMemory,
    Create,
    Failure,
    Fetch,
    Memory,
    Observed,
    Prepare,
    Remove,
    Start,
    Stop,
)
from fluxcloud.node.plan import compute_wanted, plan
from fluxcloud.node.runtime.base import ComponentState, CopyState

from .builders import (
    APP,
    DIGEST,
    make_component,
    make_copy,
    make_desired,
    make_entry,
    make_key,
    make_observed,
    make_state,
)

KEY = make_key()
STOP = Stop(KEY, KEY, ("app",), 7)
REMOVE = Remove(KEY, KEY)
START = Start(KEY, KEY, ("app",))


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({}, "run"),
        ({"phase": "running"}, "run"),
        ({"role": "leaving"}, "run"),
        ({"role": "leaving", "stop_tick": 1001}, "run"),
        ({"role": "leaving", "stop_tick": 1000}, "stop"),
        ({"role": "orphan", "phase": "running"}, "run"),
        ({"role": "orphan", "stop_tick": 999}, "stop"),
        ({"role": "active", "stop_tick": 999}, "stop"),
        ({"phase": "failed"}, "stop"),
        ({"phase": "stopped"}, "run"),
        ({"role": "standby"}, "ready"),
        ({"role": "standby", "phase": "ready"}, "ready"),
        ({"role": "standby", "backs": 0, "phase": "ready"}, "run"),
        ({"role": "standby", "backs": 2, "phase": "running"}, "run"),
        ({"role": "standby", "phase": "running"}, "keep"),
        ({"role": "standby", "phase": "running", "stop_tick": 900}, "stop"),
    ],
)
def test_what_an_entry_wants(fields: dict[str, Any], wanted: str) -> None:
    assert compute_wanted(make_entry(**fields), tick_ms=1000) == wanted


ABSENT = Observed(now_ms=1_000_000)
STORED = Observed(now_ms=1_000_000, stored=frozenset((DIGEST,)))
PREPARED = make_observed()
RUNNING = make_observed(make_state())
CREATED = make_observed(make_state(phase="created"))
EXITED = make_observed(make_state(phase="exited", exit_code=1))
BROKEN = make_observed(CopyState(KEY, (), broken="its state file is corrupt"))
FETCH = Fetch(KEY, make_copy().images)
PREPARE = Prepare(KEY, (DIGEST,))
CREATE = Create(KEY, build_copy_spec(make_copy()))


@pytest.mark.parametrize(
    ("fields", "observed", "action"),
    [
        ({}, ABSENT, FETCH),
        ({}, STORED, PREPARE),
        ({}, PREPARED, CREATE),
        ({}, CREATED, START),
        ({}, RUNNING, None),
        ({}, EXITED, START),
        ({}, BROKEN, REMOVE),
        ({"role": "orphan", "phase": "running"}, RUNNING, None),
        ({"role": "leaving", "stop_tick": 900}, RUNNING, STOP),
        ({"role": "leaving", "stop_tick": 900}, EXITED, REMOVE),
        ({"role": "leaving", "stop_tick": 900}, PREPARED, None),
        ({"role": "standby"}, ABSENT, FETCH),
        ({"role": "standby"}, STORED, PREPARE),
        ({"role": "standby"}, PREPARED, None),
        ({"role": "standby", "phase": "ready"}, RUNNING, STOP),
        ({"role": "standby", "phase": "ready"}, EXITED, REMOVE),
        ({"role": "standby", "phase": "running"}, RUNNING, None),
        ({"role": "standby", "phase": "running"}, EXITED, None),
        ({"role": "standby", "phase": "ready", "backs": 0}, PREPARED, CREATE),
        ({"role": "standby", "phase": "ready", "backs": 0}, CREATED, START),
        ({"phase": "failed"}, RUNNING, STOP),
        ({"phase": "failed"}, BROKEN, REMOVE),
    ],
)
def test_the_next_step(fields: dict[str, Any], observed: Observed, action: Action | None) -> None:
    made = plan(make_desired(make_copy(make_entry(**fields))), observed, Memory())
    assert made.actions == ((action,) if action else ())


@pytest.mark.parametrize(
    ("fields", "observed", "outcome"),
    [
        ({}, RUNNING, "running"),
        ({}, make_observed(make_state(), verdict="starting"), None),
        ({}, make_observed(make_state(), verdict="unhealthy"), None),
        ({}, CREATED, None),
        ({"phase": "running"}, RUNNING, None),
        ({"phase": "running"}, make_observed(make_state(), verdict="unhealthy"), None),
        ({"role": "standby", "phase": "ready", "backs": 1}, RUNNING, "running"),
        ({"role": "standby"}, PREPARED, "ready"),
        ({"role": "standby"}, STORED, None),
        ({"role": "standby", "phase": "ready"}, PREPARED, None),
        ({"role": "standby", "phase": "running"}, RUNNING, None),
        ({"role": "leaving", "phase": "running", "stop_tick": 900}, RUNNING, None),
        ({"role": "leaving", "phase": "running", "stop_tick": 900}, PREPARED, "stopped"),
        ({"role": "leaving", "phase": "assigned", "stop_tick": 9000}, RUNNING, None),
        ({"phase": "stopped"}, RUNNING, "running"),
        ({"phase": "failed"}, PREPARED, None),
    ],
)
def test_what_is_reported(fields: dict[str, Any], observed: Observed, outcome: str | None) -> None:
    made = plan(make_desired(make_copy(make_entry(**fields))), observed, Memory())
    expected = CopyReport(APP, 1, outcome) if outcome else None  # type: ignore[arg-type]
    assert made.reports == ((expected,) if expected else ())


def test_absent_copy__stopped_at_the_first_proof_and_removed_at_a_later_height() -> None:
    memory = Memory(absent_since={KEY: 10})
    assert plan(make_desired(), RUNNING, memory).actions == (STOP,)
    assert plan(make_desired(height=10), EXITED, memory).actions == ()
    assert plan(make_desired(height=11), EXITED, memory).actions == (REMOVE,)


def test_absent_copy__left_alone_before_its_absence_is_proven() -> None:
    assert plan(make_desired(), RUNNING, Memory()).actions == ()


def test_without_a_live_chain__nothing_stops_and_the_last_assignment_goes_on() -> None:
    stopping = make_copy(make_entry(role="leaving", stop_tick=900))
    stale = {"live": False}
    assert plan(make_desired(stopping, **stale), RUNNING, Memory()).actions == ()
    assert plan(make_desired(**stale), RUNNING, Memory(absent_since={KEY: 1})).actions == ()
    assert plan(make_desired(make_copy(), **stale), EXITED, Memory()).actions == (START,)
    assert plan(make_desired(make_copy(), **stale), PREPARED, Memory()).actions == (CREATE,)


def test_unread_spec__what_runs_is_left_alone() -> None:
    desired = make_desired(unread=frozenset((KEY,)), height=20)
    assert plan(desired, RUNNING, Memory(absent_since={KEY: 1})).actions == ()


def test_adopted_copy__runs_on_under_its_old_name() -> None:
    copy = make_copy(make_entry(5, adopts=1))
    memory = Memory(runs_as={make_key(5): KEY})
    running = plan(make_desired(copy), RUNNING, memory)
    assert running.actions == ()
    assert running.reports == (CopyReport(APP, 5, "running"),)
    assert plan(make_desired(copy), EXITED, memory).actions == (Start(make_key(5), KEY, ("app",)),)
    stopping = make_copy(make_entry(5, adopts=1, stop_tick=900))
    assert plan(make_desired(stopping), RUNNING, memory).actions == (Stop(make_key(5), KEY, ("app",), 7),)


def test_start_after__waits_for_started_and_healthy() -> None:
    database = make_component("db")
    for condition, verdict, names in (
        ("started", "starting", ("app",)),
        ("healthy", "starting", ()),
        ("healthy", "healthy", ("app",)),
    ):
        app = make_component("app", start_after=(StartAfter("db", condition),))  # type: ignore[arg-type]
        state = CopyState(KEY, (ComponentState("db", "running"), ComponentState("app", "created")))
        observed = make_observed(state, health={(KEY, "db"): ComponentHealth(verdict)})  # type: ignore[arg-type]
        made = plan(make_desired(make_copy(None, database, app)), observed, Memory())
        assert made.actions == ((Start(KEY, KEY, names),) if names else ())


def test_start_after__nothing_started_yet() -> None:
    parts = (make_component("db"), make_component("app", start_after=(StartAfter("db"),)))
    state = make_state(phase="created", names=("db", "app"))
    made = plan(make_desired(make_copy(None, *parts)), make_observed(state), Memory())
    assert made.actions == (Start(KEY, KEY, ("db",)),)


@pytest.mark.parametrize(
    ("policy", "exit_code", "restarts"),
    [("always", 0, True), ("always", 1, True), ("on-failure", 0, False), ("on-failure", 1, True), ("never", 1, False)],
)
def test_restart_policy(policy: str, exit_code: int, restarts: bool) -> None:
    copy = make_copy(None, make_component(restart=Restart(policy)))  # type: ignore[arg-type]
    made = plan(make_desired(copy), make_observed(make_state(phase="exited", exit_code=exit_code)), Memory())
    assert made.actions == ((START,) if restarts else ())


def test_finished_component__counts_as_running() -> None:
    parts = (make_component("init", restart=Restart("on-failure"), ports=()), make_component())
    state = CopyState(KEY, (ComponentState("init", "exited", exit_code=0), ComponentState("app", "running")))
    made = plan(make_desired(make_copy(None, *parts)), make_observed(state), Memory())
    assert made.reports == (CopyReport(APP, 1, "running"),)


def test_first_exit__starts_again_at_once() -> None:
    memory = Memory({KEY: CopyMemory(exits=(("app", 5_000),))})
    state = make_state(phase="exited", exit_code=1)
    assert plan(make_desired(make_copy()), make_observed(state, now_ms=5_000), memory).actions == (
        Start(KEY, KEY, ("app",)),
    )


@pytest.mark.parametrize(
    ("exits", "due_ms"), [((4_000, 5_000), 6_000), ((3, 4, 5_000), 7_000), ((1, 2, 3, 5_000), 9_000)]
)
def test_restart_backoff__doubles_with_every_exit(exits: tuple[int, ...], due_ms: int) -> None:
    memory = Memory({KEY: CopyMemory(exits=tuple(("app", at_ms) for at_ms in exits))})
    state = make_state(phase="exited", exit_code=1)
    early = plan(make_desired(make_copy()), make_observed(state, now_ms=due_ms - 1), memory)
    assert (early.actions, early.wake_at_ms) == ((), due_ms)
    assert plan(make_desired(make_copy()), make_observed(state, now_ms=due_ms), memory).actions == (START,)


def test_failed_step__waits_for_its_backoff() -> None:
    memory = Memory({KEY: CopyMemory(attempts=1, retry_at_ms=1_000_500)})
    made = plan(make_desired(make_copy()), PREPARED, memory)
    assert (made.actions, made.wake_at_ms) == ((), 1_000_500)


def test_failed_copy__is_reported_until_the_ledger_knows_and_not_started_again() -> None:
    memory = Memory({KEY: CopyMemory(failure=Failure("oom", "app was killed — näh\n" + "x" * 300))})
    made = plan(make_desired(make_copy()), EXITED, memory)
    detail = "app was killed ? n?h " + "x" * 179
    assert (made.actions, made.reports) == ((), (CopyReport(APP, 1, "failed", "oom", detail),))
    known = make_desired(make_copy(make_entry(phase="failed")))
    assert plan(known, EXITED, memory).reports == ()
    assert plan(known, EXITED, memory).actions == (REMOVE,)


def test_copies_are_planned_side_by_side() -> None:
    copies = (make_copy(make_entry(1)), make_copy(make_entry(2)))
    made = plan(make_desired(*copies), make_observed(make_state(1, phase="created")), Memory())
    assert made.actions == (START, Create(make_key(2), build_copy_spec(copies[1])))
