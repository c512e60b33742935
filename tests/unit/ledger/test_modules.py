"""What every module owes: documented messages and errors, tags and codes of its own, a vector for each message."""

from __future__ import annotations

import importlib
import inspect
import json
import re
from pathlib import Path

import pytest

import fluxcloud.ledger
from factories_vectors import VECTORS
from fluxcloud.errors import Rejected
from fluxcloud.ledger.envelope_errors import ENVELOPE_ERRORS
from fluxcloud.ledger.module import Module
from fluxcloud.ledger.registry import get_tag
from fluxcloud.ledger.transition import MODULES, REGISTRY
from fluxcloud.ledger.types import EVENT_TYPES, MESSAGE_TYPES

LEDGER = Path(fluxcloud.ledger.__file__).parent

modules = pytest.mark.parametrize("module", MODULES, ids=[module.name for module in MODULES])


def find_errors(name: str) -> set[type[Rejected]]:
    """Every refusal that the module's `errors.py` declares."""
    errors = importlib.import_module(f"fluxcloud.ledger.{name}.errors")
    return {
        kind
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, Rejected) and kind.__module__ == errors.__name__
    }


def is_row_of(code: str, readme: str) -> bool:
    """Whether a table has a row for the code: `apps/5`, or several in one: `apps/5 .. 8`."""
    name, number = code.split("/")
    for line in readme.splitlines():
        row = re.match(rf"\| {name}/(\d+)(?: \.\. (\d+))? \|", line)
        if row and int(row[1]) <= int(number) <= int(row[2] or row[1]):
            return True
    return False


@modules
def test_messages_say_what_they_do(module: Module) -> None:
    assert [kind.__name__ for kind in module.messages if not kind.__dict__.get("__doc__")] == []


@modules
def test_each_message_has_a_vector(module: Module) -> None:
    files = sorted((VECTORS / module.name).glob("*.json"))
    shown = {name for path in files for name in json.loads(path.read_text()).get("messages", [])}
    assert {kind.__name__ for kind in module.messages} <= shown


@modules
def test_tags_of_events_are_the_modules_own(module: Module) -> None:
    assert [kind.__name__ for kind in module.events if get_tag(kind) >> 8 != module.number] == []
    assert [kind.__name__ for kind in module.events if get_tag(kind) & 0xFF < 0x80] == []


@modules
def test_errors_are_listed_unique_and_documented(module: Module) -> None:
    declared = find_errors(module.name)
    assert set(module.errors) == declared
    codes = [kind.CODE for kind in sorted(declared, key=lambda kind: int(kind.CODE.split("/")[1]))]
    assert len(set(codes)) == len(codes)
    assert [code for code in codes if not code.startswith(f"{module.name}/")] == []
    readme = (LEDGER / module.name / "README.md").read_text()
    assert [code for code in codes if not is_row_of(code, readme)] == []


def test_envelope_errors_are_documented() -> None:
    readme = (LEDGER / "README.md").read_text()
    assert [kind.CODE for kind in ENVELOPE_ERRORS if f"| {kind.CODE} |" not in readme] == []


def test_tags_and_tables_are_unique() -> None:
    tags = [*REGISTRY.tags, *(get_tag(kind) for module in MODULES for kind in module.events)]
    assert len(set(tags)) == len(tags)


def test_types_for_clients_are_all_types() -> None:
    assert set(MESSAGE_TYPES) == set(REGISTRY.process)
    assert set(EVENT_TYPES) == {kind for module in MODULES for kind in module.events}


def test_every_code_has_a_number() -> None:
    codes = [kind.CODE for module in MODULES for kind in module.errors] + [kind.CODE for kind in ENVELOPE_ERRORS]
    numbers = [REGISTRY.compute_number(code) for code in codes]
    assert len(set(numbers)) == len(codes)
    assert REGISTRY.compute_number("") == 0
