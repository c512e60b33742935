"""Memory: exits, failures, absences and adopted copies."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fluxcloud.ledger.apps.spec import Restart
from fluxcloud.node.copyspec import build_copy_spec
from fluxcloud.node.model import ComponentHealth, CopyMemory, Create, Failure, Memory, Prepare, Remove, Start
from fluxcloud.node.remember import note_done, note_error, remember

from .builders import make_component, make_copy, make_desired, make_entry, make_key, make_observed, make_state

KEY = make_key()


def run_exits(count: int, *, every_ms: int, **fields: object) -> Memory:
    """A component that exits again and again."""
    memory = Memory()
    desired = make_desired(make_copy())
    for restarts in range(count):
        state = make_state(phase="exited", restarts=restarts, exit_code=1, **fields)
        observed = make_observed(state, now_ms=1_000_000 + restarts * every_ms)
        memory = remember(memory, desired, observed)
        memory = remember(memory, desired, replace(observed, now_ms=observed.now_ms + 1))
    return memory


def test_exit__is_counted_once() -> None:
    assert run_exits(1, every_ms=1).get(KEY).exits == (("app", 1_000_000),)


def test_five_restarts_in_ten_minutes__are_not_yet_a_failure() -> None:
    assert run_exits(5, every_ms=1000).get(KEY).failure is None


def test_sixth_exit_in_ten_minutes__is_the_apps_failure() -> None:
    assert run_exits(6, every_ms=1000).get(KEY).failure == Failure("exit", "app exited with 1, 6 times in 10 min")


def test_exits_spread_out__never_fail() -> None:
    assert run_exits(20, every_ms=130_000).get(KEY).failure is None


@pytest.mark.parametrize(("reason", "blame"), [("oom", "oom"), ("engine", "engine"), ("exit", "exit")])
def test_reason_of_the_last_exit(reason: str, blame: str) -> None:
    failure = run_exits(6, every_ms=1000, reason=reason).get(KEY).failure
    assert failure is not None
    assert failure.reason == blame


def test_component_that_is_never_restarted__fails_at_once() -> None:
    desired = make_desired(make_copy(None, make_component(restart=Restart("never"))))
    memory = remember(Memory(), desired, make_observed(make_state(phase="exited", exit_code=3)))
    assert memory.get(KEY).failure == Failure("exit", "app exited with 3")


def test_never_healthy_in_its_start_time__fails_unless_it_ran_before() -> None:
    health = {(KEY, "app"): ComponentHealth("starting", "nothing listens on port 8080", late=True)}
    observed = make_observed(make_state(), health=health)
    memory = remember(Memory(), make_desired(make_copy()), observed)
    assert memory.get(KEY).failure == Failure("health", "app: nothing listens on port 8080")
    running = remember(Memory(), make_desired(make_copy(make_entry(phase="running"))), observed)
    assert running.get(KEY).failure is None


def test_copy_that_a_step_is_changing__is_judged_afterwards() -> None:
    desired = make_desired(make_copy(None, make_component(restart=Restart("never"))))
    observed = make_observed(make_state(phase="exited", exit_code=137, reason="engine"), busy=frozenset((KEY,)))
    assert remember(Memory(), desired, observed).get(KEY) == CopyMemory()


def test_stopping_copy__its_exit_is_no_failure() -> None:
    desired = make_desired(make_copy(make_entry(role="leaving", stop_tick=900)))
    memory = remember(Memory(), desired, make_observed(make_state(phase="exited", exit_code=143)))
    assert memory.get(KEY) == CopyMemory()


def test_absence__is_noted_with_its_first_height_and_forgotten_when_named_again() -> None:
    observed = make_observed(make_state())
    memory = remember(Memory(), make_desired(height=10), observed)
    assert memory.absent_since == {KEY: 10}
    memory = remember(memory, make_desired(height=12), observed)
    assert memory.absent_since == {KEY: 10}
    assert remember(memory, make_desired(make_copy(), height=13), observed).absent_since == {}


def test_absence__is_not_believed_without_a_live_chain() -> None:
    assert remember(Memory(), make_desired(live=False), make_observed(make_state())).absent_since == {}


def test_adoption__takes_the_running_copy_of_the_same_spec() -> None:
    desired = make_desired(make_copy(make_entry(5, adopts=1)))
    memory = remember(Memory(), desired, make_observed(make_state(1)))
    assert memory.runs_as == {make_key(5): KEY}
    assert memory.absent_since == {}


def test_adoption__again_and_again_keeps_the_first_name() -> None:
    memory = Memory(runs_as={make_key(5): KEY})
    desired = make_desired(make_copy(make_entry(9, adopts=5)))
    assert remember(memory, desired, make_observed(make_state(1))).runs_as == {make_key(9): KEY}


def test_adoption__of_another_spec_or_of_nothing_is_none() -> None:
    desired = make_desired(make_copy(make_entry(5, adopts=1, spec_hash=b"\x08" * 32)))
    assert remember(Memory(), desired, make_observed(make_state(1))).runs_as == {}
    same = make_desired(make_copy(make_entry(5, adopts=1)))
    assert remember(Memory(), same, make_observed()).runs_as == {}


def test_errors__back_off_and_give_up_after_five() -> None:
    action = Prepare(KEY, ())
    memory = Memory()
    retries = []
    for _ in range(6):
        memory = note_error(memory, action, "engine", "away", now_ms=0, retry_ms=0, is_final=False)
        retries.append(memory.get(KEY).retry_at_ms)
    assert retries == [1000, 2000, 4000, 8000, 16000, 32000]
    assert memory.get(KEY).failure == Failure("engine", "away")


def test_final_error__gives_up_at_once_but_never_on_removing() -> None:
    for action, fails in (
        (Create(KEY, build_copy_spec(make_copy())), True),
        (Start(KEY, KEY, ("app",)), True),
        (Remove(KEY, KEY), False),
    ):
        memory = note_error(Memory(), action, "disk", "full", now_ms=0, retry_ms=0, is_final=True)
        assert (memory.get(KEY).failure is not None) is fails


def test_success__forgets_attempts() -> None:
    memory = note_error(Memory(), Prepare(KEY, ()), "engine", "away", now_ms=0, retry_ms=5000, is_final=False)
    assert memory.get(KEY).retry_at_ms == 5000
    assert note_done(memory, KEY).get(KEY) == CopyMemory()


def test_memory_of_what_is_gone__is_dropped() -> None:
    memory = Memory({KEY: CopyMemory(attempts=3)})
    assert remember(memory, make_desired(), make_observed()).copies == {}
