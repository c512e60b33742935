"""`fluxcloud spec …`: is a file right, what a compose file becomes, and the schema of `fluxcloud.yaml`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import click

from ..ledger.apps.spec import Spec
from ..specfile.compose.convert import Options
from ..specfile.compose.report import Note
from ..specfile.reader import InvalidSpec
from ..specfile.render import render_spec
from ..specfile.schema import build_schema
from ..specfile.stateful import OPTIONS, Choice
from .common import verb
from .output import USAGE, CliError, Output
from .specsource import SpecSource, as_failure, convert_source, find_source, list_warnings, read_own

F = TypeVar("F", bound=Callable[..., Any])


def with_compose_options(function: F) -> F:
    """What can be decided about a compose file on the command line."""
    for option in (
        click.option(
            "--stateful", type=click.Choice([option.name for option in OPTIONS]), help="Copies that keep data."
        ),
        click.option(
            "--profile", "profiles", multiple=True, help="Take the services of this profile in (again: more)."
        ),
        click.option(
            "--public-env", multiple=True, help="A variable that may be public though it looks like a secret."
        ),
    ):
        function = option(function)
    return function


@click.group("spec")
def spec_command() -> None:
    """Check and convert files that describe an app."""


@spec_command.command("validate")
@click.argument("source", default=".", type=click.Path(path_type=Path))
@with_compose_options
@verb
async def validate_command(
    source: Path,
    stateful: Choice | None,
    profiles: tuple[str, ...],
    public_env: tuple[str, ...],
    output: Output,
) -> None:
    """Whether the ledger would take a file: SOURCE is a file, or a folder with fluxcloud.yaml or compose.yaml."""
    found = find_source(source)
    options = Options("", profiles, stateful, frozenset(public_env))
    body: dict[str, Any] = {"file": str(found.file), "format": found.format}
    try:
        spec, notes = _read(found, options)
    except InvalidSpec as error:
        if not output.as_json:
            raise as_failure(found.file, error) from None
        problems = [{"path": problem.path, "message": problem.message} for problem in error.problems]
        output.data("spec-validate/1", {**body, "valid": False, "problems": problems, "notes": []}, "")
        sys.exit(USAGE)
    body |= {"valid": True, "problems": [], "notes": _list_notes(notes), "app": _summarise(spec)}
    say_notes(notes, output)
    output.data("spec-validate/1", body, f"{found.file} is right: {_describe(spec)}")


def _read(found: SpecSource, options: Options) -> tuple[Spec, tuple[Note, ...]]:
    if found.compose is not None:
        converted = convert_source(found.compose, options)
        return converted.spec, converted.report
    spec = read_own(found.file)
    return spec, list_warnings(spec)


@spec_command.command("convert")
@click.argument("source", default=".", type=click.Path(path_type=Path))
@click.option("-o", "--output", "target", type=click.Path(path_type=Path, dir_okay=False), help="Write to this file.")
@click.option("-y", "--yes", is_flag=True, help="Overwrite the file.")
@click.option("--name", default="", help="Name of the app.")
@with_compose_options
@verb
async def convert_command(
    source: Path,
    target: Path | None,
    yes: bool,
    name: str,
    stateful: Choice | None,
    profiles: tuple[str, ...],
    public_env: tuple[str, ...],
    output: Output,
) -> None:
    """What a compose file becomes: fluxcloud.yaml to stdout or -o, what was kept, changed and dropped to stderr."""
    found = find_source(source)
    if found.compose is None:
        raise CliError(
            f"{found.file} is no compose file", exit_code=USAGE, hints=("fluxcloud spec validate checks it",)
        )
    refuse_overwriting(target, yes=yes)
    try:
        converted = convert_source(found.compose, Options(name, profiles, stateful, frozenset(public_env)))
    except InvalidSpec as error:
        raise as_failure(found.file, error) from None
    text = render_spec(converted.spec)
    say_notes(converted.report, output)
    images = [
        {"component": use.component, "image": use.reference, "platform": use.platform} for use in converted.images
    ]
    body = {"file": str(found.file), "notes": _list_notes(converted.report), "images": images, "spec": text}
    if target is not None:
        target.write_text(text)
    output.data("spec-convert/1", body, f"{target} is written" if target else text.rstrip())


@spec_command.command("schema")
@verb
async def schema_command(output: Output) -> None:
    """The JSON Schema of fluxcloud.yaml, for editors."""
    schema = build_schema()
    output.data("spec-schema/1", {"json_schema": schema}, json.dumps(schema, indent=2))


def refuse_overwriting(target: Path | None, *, yes: bool) -> None:
    """Raises CliError (2) where a file would be lost."""
    if target is not None and target.exists() and not yes:
        raise CliError(f"{target} exists", exit_code=USAGE, hints=("--yes overwrites it",))


def say_notes(notes: Iterable[Note], output: Output) -> None:
    for note in notes:
        output.progress(f"  {note}")


def _list_notes(notes: Iterable[Note]) -> list[dict[str, str]]:
    return [{"kind": note.kind, "path": note.path, "text": note.text} for note in notes]


def _summarise(spec: Spec) -> dict[str, Any]:
    groups = {group.name: {"replicas": group.replicas, "components": len(group.components)} for group in spec.groups}
    return {"name": spec.name, "groups": groups}


def _describe(spec: Spec) -> str:
    parts = [f"{len(group.components)} components x {group.replicas} copies" for group in spec.groups]
    return f"{spec.name}, {'; '.join(parts)}"
