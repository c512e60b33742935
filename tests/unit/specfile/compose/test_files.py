"""Whole compose files and what becomes of them, compared with what is written beside each.

Each folder of `tests/vectors/compose` has a compose file and perhaps others, `expected.yaml` (the fluxcloud.yaml, or
nothing) and `expected.txt` (notes, or the problems, or what is asked). FLUXCLOUD_WRITE_VECTORS=1 writes both anew.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fluxcloud.ledger.apps.bounds import validate_spec
from fluxcloud.specfile.compose.convert import Converted, Options
from fluxcloud.specfile.compose.files import find_compose, read_compose
from fluxcloud.specfile.reader import InvalidSpec, read_spec
from fluxcloud.specfile.render import render_spec
from fluxcloud.specfile.stateful import NeedsChoice
from fluxcloud.specfile.yaml_data import load_yaml

CASES = Path(__file__).parents[3] / "vectors" / "compose"
ENVIRONMENT = {"TAG": "1.4", "HOME": "/home/someone"}
OPTIONS = {"profiles-chosen": Options(profiles=("tools",)), "stateful-flag": Options(stateful="separate-data")}
IS_WRITING = os.environ.get("FLUXCLOUD_WRITE_VECTORS") == "1"


def convert(case: Path) -> tuple[str, str]:
    """What the files beside a compose file should hold."""
    files = find_compose(case)
    assert files is not None
    try:
        result = read_compose(files, ENVIRONMENT, OPTIONS.get(case.name, Options()))
    except InvalidSpec as error:
        return "", "".join(f"problem {problem}\n" for problem in error.problems)
    match result:
        case NeedsChoice():
            options = "".join(f"option  {option.name}: {option.words}\n" for option in result.options)
            return "", f"asks    {result.question}\n{options}"
        case Converted():
            validate_spec(result.spec)
            text = render_spec(result.spec)
            assert read_spec(load_yaml(text.encode())) == result.spec
            platforms = "".join(f"image   {use.component}: {use.platform}\n" for use in result.images if use.platform)
            return text, "".join(f"{note}\n" for note in result.report) + platforms


@pytest.mark.parametrize("name", sorted(case.name for case in CASES.iterdir() if case.is_dir()))
def test_file(name: str) -> None:
    spec, report = convert(CASES / name)
    if IS_WRITING:
        (CASES / name / "expected.yaml").write_text(spec)
        (CASES / name / "expected.txt").write_text(report)
    assert (CASES / name / "expected.yaml").read_text() == spec
    assert (CASES / name / "expected.txt").read_text() == report


def test_there_are_thirty() -> None:
    assert sum(1 for case in CASES.iterdir() if case.is_dir()) >= 30
