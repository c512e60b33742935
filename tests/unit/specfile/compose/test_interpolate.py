"""Variables in compose files and `.env` files, and that neither can grow without bound."""

from __future__ import annotations

import pytest

from fluxcloud.specfile.compose.dotenv import parse_env
from fluxcloud.specfile.compose.interpolate import TEXT_MAX, Expander, interpolate
from fluxcloud.specfile.compose.report import Report

VALUES = {"A": "1", "EMPTY": ""}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("$A", "1"),
        ("${A}x", "1x"),
        ("$$A $${A}", "$A ${A}"),
        ("${EMPTY:-d}", "d"),
        ("${EMPTY-d}", ""),
        ("${NONE-d}", "d"),
        ("${NONE:-${A}b}", "1b"),
        ("${NONE:-${EMPTY:-deep}}", "deep"),
        ("${NONE:+x}", ""),
        ("${A:+x}", "x"),
        ("${EMPTY:+x}", ""),
        ("${EMPTY+x}", "x"),
        ("${NONE:-a}b}", "ab}"),
        ("${A:?not used}", "1"),
        ("${EMPTY?set}", ""),
        ("$A$A-$A.b", "11-1.b"),
        ("${NONE:-$$5}", "$5"),
        ("${A:-${UNREAD:?never asked}}", "1"),
    ],
)
def test_expand(text: str, expected: str) -> None:
    assert Expander(VALUES.get).expand(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5$", "begins no variable"),
        ("$5", "begins no variable"),
        ("${", "not closed"),
        ("${A", "not closed"),
        ("${}", "no variable"),
        ("${A!b}", "not understood"),
        ("${NONE:?give a tag}", "NONE must be set: give a tag"),
        ("${EMPTY:?}", "EMPTY must be set: it has no value"),
        ("${X:-" * 30 + "}" * 30, "nested deeper"),
    ],
)
def test_what_can_not_be_expanded(text: str, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        Expander(VALUES.get).expand(text)


def test_a_text_does_not_grow_without_bound() -> None:
    with pytest.raises(ValueError, match="longer than 65536 characters"):
        Expander({"A": "x" * 1024}.get).expand("$A" * 65)


def test_a_file_does_not_grow_without_bound() -> None:
    report = Report()
    interpolate({"a": ["$A"] * 20}, {"A": "x" * TEXT_MAX}.get, report)
    assert [str(problem) for problem in report.problems] == ["more than 1048576 characters once variables are replaced"]


def test_unset_variables_are_told_once() -> None:
    report = Report()
    assert interpolate({"a": "$X-$X", "b": [{"c": "${X}"}], "d": 1, "$X": None}, dict[str, str]().get, report) == {
        **{"a": "-", "b": [{"c": ""}], "d": 1, "$X": None}
    }
    assert [str(note) for note in report.notes] == ["changed environment: X is not set: an empty text stands for it"]


def test_env_file() -> None:
    text = """\ufeff
# comment
PLAIN=two words   # comment
HASH=a#b
export EXPORTED = spaced
SINGLE='kept $A \\n # all'
DOUBLE="line\\nof ${A} and \\$A \\"quoted\\"" # comment
MULTI="one
two"
EMPTY=
COLON: yaml style
INHERITED
UNKNOWN
LATER=$PLAIN!
OUTSIDE_WINS=$A
A=2
""".lstrip("\ufeff\n")
    assert parse_env(text, {"A": "1", "INHERITED": "in"}.get) == {
        "PLAIN": "two words",
        "HASH": "a#b",
        "EXPORTED": "spaced",
        "SINGLE": "kept $A \\n # all",
        "DOUBLE": 'line\nof 1 and $A "quoted"',
        "MULTI": "one\ntwo",
        "EMPTY": "",
        "COLON": "yaml style",
        "INHERITED": "in",
        "LATER": "two words!",
        "OUTSIDE_WINS": "1",
        "A": "2",
    }


def test_raw_env_file__nothing_is_replaced() -> None:
    assert parse_env("A='$B' # c\r\nB=\"x\"", dict[str, str]().get, raw=True) == {"A": "'$B' # c", "B": '"x"'}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A=1\n=2", "line 2: expected NAME=value"),
        ("A B", "line 1: expected NAME=value"),
        ("A='open", "line 1: a single quote is not closed"),
        ('A=1\nB="open\nC=2', "line 2: a double quote is not closed"),
        ("A=${B", "line 1: a brace is not closed"),
        ("A=1\n" * 2001, "^more than 2000 lines"),
        ("A0=" + "x" * 60_000 + "".join(f"\nA{n}=$A{n - 1}" for n in range(1, 30)), "more than 1048576 characters"),
    ],
)
def test_env_file_with_a_mistake(text: str, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        parse_env(text, dict[str, str]().get)
