"""The table of compose keys: complete, without inventions, and the page that is made of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fluxcloud.specfile.compose.check import check_keys
from fluxcloud.specfile.compose.docs import render_page
from fluxcloud.specfile.compose.keys import _SERVICE, _TOP, RULES
from fluxcloud.specfile.compose.report import Report

ROOT = Path(__file__).parents[4]
SCHEMA_KEYS = [line.split("\t")[0] for line in (ROOT / "tests/vectors/compose_keys.txt").read_text().splitlines()]
SCALARS = ("string", "boolean", "number", "integer")


def test_every_key_of_the_schema_is_classified() -> None:
    assert sorted(set(SCHEMA_KEYS) - set(RULES)) == []


def test_no_key_is_classified_that_does_not_exist() -> None:
    assert sorted(set(RULES) - set(SCHEMA_KEYS)) == []
    assert len(_SERVICE) + len(_TOP) == len(RULES) == len(SCHEMA_KEYS)


def test_every_rule_says_something() -> None:
    for rule in RULES.values():
        assert rule.words, rule
        assert not (rule.harmless and rule.kind != "rejected"), rule
        assert not (rule.loses and rule.kind != "ignored"), rule


def test_keys_below_a_refused_one_are_refused_too() -> None:
    for path, rule in RULES.items():
        parents = [other for other in RULES.values() if path.startswith((f"{other.path}.", f"{other.path}["))]
        for parent in parents:
            if parent.kind != "supported":
                assert rule.kind == parent.kind, path


def make_data(path: str) -> dict[str, object]:
    """A file in which this key stands."""
    value: object = "something"
    for part in reversed(path.replace("[]", ".[]").split(".")):
        value = [value] if part == "[]" else {"name" if part == "*" else part: value}
    assert isinstance(value, dict)
    return value


@pytest.mark.parametrize("path", SCHEMA_KEYS)
def test_key_is_found_where_it_stands(path: str) -> None:
    """Refused keys are problems, ignored ones notes, none is unknown."""
    report = Report()
    check_keys(make_data(path), report)
    reached = next(
        rule
        for rule in sorted(RULES.values(), key=lambda rule: len(rule.path))
        if (path == rule.path or path.startswith((f"{rule.path}.", f"{rule.path}[")))
        and (rule.kind != "supported" or path == rule.path)
    )
    problems, notes = [str(problem) for problem in report.problems], [str(note) for note in report.notes]
    assert bool(problems) is (reached.kind == "rejected"), problems
    assert not any("unknown key" in problem for problem in problems)
    is_quiet = path.startswith("services.*.build.")
    assert bool(notes) is (reached.kind == "ignored" and not is_quiet), notes
    assert all(reached.words in text for text in (*problems, *notes))


def test_extension_keys_pass_everywhere() -> None:
    report = Report()
    check_keys({"x-a": 1, "services": {"web": {"x-b": 1, "deploy": {"x-c": 1}, "ports": [{"x-d": 1}]}}}, report)
    assert (report.problems, report.notes) == ([], ())


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("privileged", False),
        ("privileged", "false"),
        ("cap_add", ["CAP_CHOWN", "net_bind_service"]),
        ("cap_add", []),
        ("network_mode", "service:vpn"),
        ("ipc", "private"),
        ("security_opt", ["no-new-privileges=true"]),
        ("pid", None),
    ],
)
def test_harmless_values_pass(key: str, value: object) -> None:
    report = Report()
    check_keys({"services": {"web": {key: value}}}, report)
    assert (report.problems, report.notes) == ([], ())


def test_page_is_made_of_the_table() -> None:
    page = ROOT / "docs" / "compose.md"
    if os.environ.get("FLUXCLOUD_WRITE_VECTORS") == "1":
        page.write_text(render_page())
    assert page.read_text() == render_page()
