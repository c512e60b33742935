"""The forms that every verb prints in."""

from __future__ import annotations

import json

import pytest

from fluxcloud.cli.hints import find_exit_code
from fluxcloud.cli.output import CliError, Output, as_cli_error, render_age, render_error, render_table
from fluxcloud.errors import ConfigError, Rejected, Temporary


class Full(Rejected):
    """No node fits."""

    CODE = "scheduler/3"


def test_error__has_code_why_try_and_more() -> None:
    error = CliError(
        "no node fits shop/web slot 2",
        code="scheduler/3",
        why="9 nodes: 4 lack memory",
        hints=("fluxcloud scale", "fluxcloud app plan"),
        more="fluxcloud app explain shop",
    )
    assert render_error(error) == (
        "error[scheduler/3]: no node fits shop/web slot 2\n"
        "  why   9 nodes: 4 lack memory\n"
        "  try   fluxcloud scale\n"
        "        fluxcloud app plan\n"
        "  more  fluxcloud app explain shop"
    )


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [
        (Full(), 9),
        (Rejected("x", code="image/3"), 2),
        (Rejected("x", code="accounts/1"), 7),
        (Rejected("x", code="apps/9"), 6),
        (Temporary("away"), 10),
        (ConfigError("key", "wrong"), 2),
        (CliError("x", exit_code=5), 5),
    ],
)
def test_exit_codes(error: Exception, exit_code: int) -> None:
    assert as_cli_error(error).exit_code == exit_code  # type: ignore[arg-type]
    assert find_exit_code("unknown/1") == 6


def test_own_hint_of_an_error_comes_first() -> None:
    assert as_cli_error(Rejected("x", hint="do this", code="scheduler/3")).hints == ("do this",)


def test_json__names_its_schema(capsys: pytest.CaptureFixture[str]) -> None:
    Output(as_json=True).data("ps/1", {"copies": []}, "no copies")
    assert json.loads(capsys.readouterr().out) == {"schema": "ps/1", "copies": []}


def test_json_error__goes_to_stdout_and_text_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    Output(as_json=True).fail(CliError("broken", exit_code=4, code="sdk/4"))
    printed = capsys.readouterr()
    assert json.loads(printed.out) == {
        **{"schema": "error/1", "code": "sdk/4", "message": "broken", "why": "", "try": [], "exit": 4}
    }
    assert printed.err == "error[sdk/4]: broken\n"


def test_table_and_age() -> None:
    assert render_table(("A", "LONG"), [("x", 1), ("yyy", "")]) == "A    LONG\nx    1\nyyy"
    assert [render_age(seconds) for seconds in (0, 59.9, 60, 3_600, 86_400 * 5)] == ["0s", "59s", "1m", "1h", "5d"]
