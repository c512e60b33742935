"""The demo's command line and its result in words."""

from __future__ import annotations

import pytest

from fluxcloud.cli.demo import command
from fluxcloud.cli.demo.command import _parse_faults
from fluxcloud.cli.demo.failover import Fault, render_result
from fluxcloud.cli.output import USAGE, CliError


@pytest.mark.parametrize(
    ("text", "can_cut", "kinds"),
    [
        (None, True, ("kill", "stop", "cut")),
        (None, False, ("kill", "stop")),
        ("stop, kill,", False, ("stop", "kill")),
        ("cut", True, ("cut",)),
    ],
)
def test_faults(text: str | None, can_cut: bool, kinds: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "can_cut", lambda: can_cut)
    assert _parse_faults(text) == kinds


@pytest.mark.parametrize(("text", "can_cut"), [("", True), ("kill,burn", True), ("cut", False)])
def test_faults__refused(text: str, can_cut: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "can_cut", lambda: can_cut)
    with pytest.raises(CliError, match="--faults: ") as error:
        _parse_faults(text)
    assert error.value.exit_code == USAGE


def test_fault__times_are_rounded_and_what_was_not_seen_is_none() -> None:
    fault = Fault("kill", "n3", suspect_s=3.4567, down_s=6.0)
    assert fault.as_json() == {
        "kind": "kill", "node": "n3", "suspect_s": 3.46, "replacement_s": None, "down_s": 6.0
    }  # fmt: skip


def test_result_in_words() -> None:
    result = {
        "requests": 12_345,
        "failed": {"a": 0, "b": 2, "c": 1},
        "latency_ms": {"p50": 2.0, "p99": 40.0, "max": 812.4},
        "faults": [
            Fault("kill", "n3", 3.46, 5.04, 6.0).as_json(),
            Fault("stop", "n1", 3.5).as_json(),
        ],
    }
    assert render_result(result) == (
        "12,345 requests, 0 failed (a), 2 (b), 1 (c), longest 812 ms; "
        "n3 (kill) suspect after 3.5 s, replacement serving after 5.0 s; "
        "n1 (stop) suspect after 3.5 s, replacement serving never"
    )
