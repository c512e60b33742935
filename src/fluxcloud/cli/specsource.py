"""Spec files for the verbs: finding one in a folder, reading it whatever its format, asking what it leaves open."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import click

from ..errors import Rejected
from ..ledger.apps.bounds import validate_spec
from ..ledger.apps.spec import Spec
from ..specfile.compose.convert import Converted, Options
from ..specfile.compose.files import FILE_NAMES, ComposeFiles, find_compose, read_compose
from ..specfile.compose.report import Note
from ..specfile.public import find_public_secrets
from ..specfile.reader import InvalidSpec, Problem, read_spec
from ..specfile.stateful import Choice, NeedsChoice, check_stateful
from ..specfile.yaml_data import BYTES_MAX, load_yaml
from .output import NOT_FOUND, USAGE, CliError

SPEC_NAMES = ("fluxcloud.yaml", "fluxcloud.yml")


@dataclass(frozen=True, slots=True)
class SpecSource:
    """A file that describes an app: ours, or a compose file with what overrides it."""

    file: Path
    compose: ComposeFiles | None = None

    @property
    def format(self) -> str:
        return "compose" if self.compose else "fluxcloud/1"


def find_source(path: Path) -> SpecSource:
    """The file itself, or the one of a folder: ours before a compose file. Raises CliError (4)."""
    if path.is_file():
        is_compose = path.name in FILE_NAMES or _has_services(path)
        return SpecSource(path, find_compose(path) if is_compose else None)
    for name in SPEC_NAMES:
        if (path / name).is_file():
            return SpecSource(path / name)
    found = find_compose(path) if path.is_dir() else None
    if found is None:
        looked = ", ".join((*SPEC_NAMES[:1], *FILE_NAMES))
        message = f"{path} has none of {looked}" if path.is_dir() else f"{path} does not exist"
        raise CliError(message, exit_code=NOT_FOUND, hints=("fluxcloud init writes a fluxcloud.yaml",))
    return SpecSource(found.main, found)


def _has_services(path: Path) -> bool:
    """Whether a file of an unusual name is a compose file. One that can't be read is reported as ours."""
    try:
        data = load_yaml(read_bytes(path), merge_tags=True)
    except Rejected:
        return False
    return isinstance(data, dict) and "services" in data and "components" not in data


def read_bytes(path: Path) -> bytes:
    """No more than can be a spec. Raises InvalidSpec."""
    try:
        with path.open("rb") as opened:
            return opened.read(BYTES_MAX + 1)
    except OSError as error:
        raise InvalidSpec([Problem(str(path), error.strerror or str(error))]) from None


def read_own(path: Path) -> Spec:
    """The spec of a `fluxcloud.yaml`, within all bounds. Raises BadYaml, InvalidSpec."""
    spec = read_spec(load_yaml(read_bytes(path)), folder=path.parent)
    try:
        validate_spec(spec)
    except Rejected as error:
        where, _, message = error.message.partition(": ")
        raise InvalidSpec([Problem(where, message)]) from error
    return spec


def list_warnings(spec: Spec) -> tuple[Note, ...]:
    """What is allowed and perhaps not meant."""
    secret = [Note("kept", path, "looks like a secret, and specs are public") for path in find_public_secrets(spec)]
    thin = [
        Note("kept", f"groups.{group.name}.replicas", f"{group.replicas} is not redundant: a node's death is felt")
        for group in spec.groups
        if group.replicas < 3
    ]
    needed = check_stateful(spec)
    return (*secret, *thin, *([Note("kept", "", needed.question)] if needed else []))


def convert_source(compose: ComposeFiles, options: Options) -> Converted:
    """The spec of a compose file; on a terminal what has to be chosen is asked.

    Raises BadYaml, InvalidSpec, CliError (2) where nobody can be asked.
    """
    result = read_compose(compose, os.environ, options)
    if isinstance(result, Converted):
        return result
    chosen = Options(options.name, options.profiles, ask_stateful(result), options.public_env)
    converted = read_compose(compose, os.environ, chosen)
    assert isinstance(converted, Converted)
    return converted


def ask_stateful(needed: NeedsChoice) -> Choice:
    """Ask on a terminal; elsewhere the answer has to be given as a flag. Raises CliError (2)."""
    if not sys.stdin.isatty():
        hints = [f"--stateful {option.name}    {option.words}" for option in needed.options]
        raise CliError(needed.question, exit_code=USAGE, code="spec/4", hints=hints)
    click.echo(needed.question, err=True)
    for option in needed.options:
        click.echo(f"  {option.name:<16}{option.words}", err=True)
    names = click.Choice([option.name for option in needed.options])
    chosen: Choice = click.prompt("How is it meant?", type=names, err=True)
    return chosen


def as_failure(file: Path, error: InvalidSpec) -> CliError:
    """All problems of a file, one a line."""
    count = len(error.problems)
    return CliError(
        f"{file.name} has {count} problem{'s' if count > 1 else ''}",
        exit_code=USAGE,
        code=error.code,
        why="\n        ".join(str(problem) for problem in error.problems),
        hints=("fluxcloud spec schema describes fluxcloud.yaml; docs/compose.md what becomes of a compose file",),
    )
