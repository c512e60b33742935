"""Finding and reading the compose files of a folder: one of the usual names, and what overrides it beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..reader import InvalidSpec, Problem
from ..stateful import NeedsChoice
from ..yaml_data import BYTES_MAX, BadYaml, load_yaml
from .convert import DEFAULT_OPTIONS, Converted, Options, convert_compose

FILE_NAMES = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")


@dataclass(frozen=True, slots=True)
class ComposeFiles:
    """What to convert: the main file, what overrides it, and the folder below which everything is."""

    main: Path
    overrides: tuple[Path, ...]

    @property
    def folder(self) -> Path:
        return self.main.parent


def find_compose(source: Path) -> ComposeFiles | None:
    """The compose file of a folder with its override, or the file itself, then alone."""
    if source.is_file():
        return ComposeFiles(source, ())
    main = next((source / name for name in FILE_NAMES if (source / name).is_file()), None)
    if main is None:
        return None
    stem = main.name.rpartition(".")[0]
    names = (f"{stem}.override.yaml", f"{stem}.override.yml")
    return ComposeFiles(main, tuple(source / name for name in names if (source / name).is_file())[:1])


def read_compose(
    files: ComposeFiles, environment: Mapping[str, str], options: Options = DEFAULT_OPTIONS
) -> Converted | NeedsChoice:
    """Read and convert. Raises BadYaml (spec/1), InvalidSpec (spec/2)."""
    documents = [_load(file) for file in (files.main, *files.overrides)]
    return convert_compose(documents[0], files.folder, environment, overrides=documents[1:], options=options)


def _load(file: Path) -> Any:
    try:
        with file.open("rb") as opened:
            raw = opened.read(BYTES_MAX + 1)
        return load_yaml(raw, merge_tags=True)
    except OSError as error:
        raise InvalidSpec([Problem(file.name, error.strerror or str(error))]) from None
    except BadYaml as error:
        raise BadYaml(f"{file.name}: {error.message}") from None
