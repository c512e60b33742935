"""`fluxcloud init`: write a `fluxcloud.yaml` to begin with, from what the folder holds."""

from __future__ import annotations

from pathlib import Path

import click

from ..specfile.compose.convert import Options
from ..specfile.compose.files import find_compose
from ..specfile.outline import render_outline
from ..specfile.reader import InvalidSpec
from ..specfile.stateful import Choice
from .common import verb
from .detect import Beginning, detect
from .output import NOT_FOUND, CliError, Output
from .spec import refuse_overwriting, say_notes, with_compose_options
from .specsource import SPEC_NAMES, as_failure, convert_source


@click.command("init")
@click.argument("folder", default=".", type=click.Path(path_type=Path, file_okay=False))
@click.option("-y", "--yes", is_flag=True, help="Overwrite a fluxcloud.yaml that is there.")
@click.option("--name", default="", help="Name of the app; the folder's where it is left out.")
@with_compose_options
@verb
async def init_command(
    folder: Path,
    yes: bool,
    name: str,
    stateful: Choice | None,
    profiles: tuple[str, ...],
    public_env: tuple[str, ...],
    output: Output,
) -> None:
    """Write fluxcloud.yaml from what FOLDER holds.

    It looks for a compose file, a Dockerfile, an image archive, a Procfile and index.html, in this order.
    """
    if not folder.is_dir():
        raise CliError(f"{folder} is no folder", exit_code=NOT_FOUND)
    target = folder / SPEC_NAMES[0]
    refuse_overwriting(target, yes=yes)
    begun = _begin(folder, Options(name, profiles, stateful, frozenset(public_env)), output)
    head = f"{begun.head}\nCheck it with `fluxcloud spec validate`, run it with `fluxcloud deploy`."
    target.write_text(render_outline(begun.spec, head=head, sources=begun.sources))
    body = {"file": str(target), "app": begun.spec.name, "found": begun.found}
    output.data("init/1", body, f"{target} is written, from {begun.found}")


def _begin(folder: Path, options: Options, output: Output) -> Beginning:
    """A compose file before everything else; what is to be known of it goes to stderr."""
    compose = find_compose(folder)
    if compose is None:
        return detect(folder, options.name)
    try:
        converted = convert_source(compose, options)
    except InvalidSpec as error:
        raise as_failure(compose.main, error) from None
    say_notes(converted.report, output)
    return Beginning(compose.main.name, f"From {compose.main.name}.", converted.spec)
