"""When a monitor speaks."""

from __future__ import annotations

from fluxcloud.ids import NodeId
from fluxcloud.ledger.liveness.messages import Observation
from fluxcloud.node.watch.opinion import Opinion
from fluxcloud.node.watch.skew import compute_skew_level

TARGET = NodeId(b"\x01" * 20)
MISS, OK = Observation(TARGET, True, 70), Observation(TARGET, False, 80)


def make_opinion() -> Opinion:
    opinion = Opinion(TARGET, started_ms=0, last_ok_tick=5)
    opinion.note(True, now_ms=1000, tick_ms=70)
    return opinion


def miss(opinion: Opinion, count: int, *, from_ms: int = 2000) -> None:
    for index in range(count):
        opinion.note(False, now_ms=from_ms + index * 1000, tick_ms=100)


def test_three_misses_in_a_row__are_said_once() -> None:
    opinion = make_opinion()
    miss(opinion, 2)
    assert opinion.get_due("active", 1, 4000) is None
    miss(opinion, 1)
    assert opinion.get_due("active", 1, 4000) == MISS
    opinion.note_told(MISS, 1, 4000)
    assert opinion.get_due("active", 1, 5000) is None


def test_miss__is_said_again_while_it_lasts() -> None:
    opinion = make_opinion()
    miss(opinion, 3)
    opinion.note_told(MISS, 1, 4000)
    assert opinion.get_due("active", 1, 8_999) is None
    assert opinion.get_due("active", 1, 9_000) == MISS


def test_one_answer__ends_a_row_and_withdraws_what_was_said() -> None:
    opinion = make_opinion()
    miss(opinion, 3)
    opinion.note_told(MISS, 1, 4000)
    opinion.note(True, now_ms=6000, tick_ms=80)
    assert opinion.get_due("suspect", 2, 6000) == OK
    opinion.note_told(OK, 2, 6500)
    assert opinion.get_due("suspect", 2, 7000) is None


def test_no_answer_yet__misses_count_from_15_s_on() -> None:
    opinion = Opinion(TARGET, started_ms=0, last_ok_tick=5)
    for second in range(15):
        opinion.note(False, now_ms=second * 1000, tick_ms=9)
    assert opinion.misses == 0
    for second in (15, 16, 17):
        opinion.note(False, now_ms=second * 1000, tick_ms=9)
    assert opinion.get_due("active", 1, 17_000) == Observation(TARGET, True, 5)


def test_states_without_a_case__hear_no_misses() -> None:
    opinion = make_opinion()
    miss(opinion, 5)
    for state in ("suspect", "down", "deactivated", "retired", "pending"):
        assert opinion.get_due(state, 1, 9000) is None  # type: ignore[arg-type]


def test_returning_node__is_said_to_be_seen_once_per_return() -> None:
    opinion = make_opinion()
    opinion.note(True, now_ms=6000, tick_ms=80)
    assert opinion.get_due("active", 1, 6000) is None
    assert opinion.get_due("pending", 2, 6000) == OK
    opinion.note_told(OK, 2, 6000)
    assert opinion.get_due("pending", 2, 6500) is None
    assert opinion.get_due("pending", 2, 11_000) == OK
    assert opinion.get_due("pending", 3, 7000) == OK
    miss(opinion, 3, from_ms=8000)
    assert opinion.get_due("pending", 2, 10_000) == Observation(TARGET, True, 80)


def test_skew_levels() -> None:
    assert [compute_skew_level(ms) for ms in (0, 2000, -2001, 30_000, 30_001, -31_000)] == [
        "ok",
        "ok",
        "warn",
        "warn",
        "stop",
        "stop",
    ]
