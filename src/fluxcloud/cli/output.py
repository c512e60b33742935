"""What the CLI prints: data to stdout, progress and errors to stderr, one form for each."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import click

from ..errors import ConfigError, FluxCloudError, Rejected, Temporary
from .hints import find_exit_code, find_hints

UNEXPECTED, USAGE, AUTH, NOT_FOUND, TIMEOUT, CONFLICT, PAYMENT, DEPLOY_FAILED, CANT_PLACE, UNREACHABLE = range(1, 11)
INTERRUPTED = 130


class CliError(FluxCloudError):
    """A failure that the user is told in the common form; `exit_code` is one of PRODUCT.md 2.

    Its code is that of what was rejected; where the command line itself refuses, `cli/` and the exit code.
    """

    def __init__(
        self,
        message: str,
        *,
        exit_code: int = UNEXPECTED,
        code: str = "",
        why: str = "",
        hints: Sequence[str] = (),
        more: str = "",
    ) -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.code = code or f"cli/{exit_code}"
        self.why = why
        self.hints = tuple(hints)
        self.more = more


@dataclass(frozen=True, slots=True)
class Output:
    """How this call prints: `as_json` for machines, `quiet` without progress."""

    as_json: bool = False
    quiet: bool = False

    @property
    def color(self) -> bool:
        return sys.stderr.isatty() and "NO_COLOR" not in os.environ

    def data(self, schema: str, body: dict[str, Any], text: str) -> None:
        """The result: one JSON object that names its schema, or text for people."""
        if self.as_json:
            click.echo(json.dumps({"schema": schema, **body}, separators=(", ", ": ")))
        elif text:
            click.echo(text)

    def progress(self, line: str) -> None:
        if not self.quiet:
            click.echo(line, err=True)

    def live(self, line: str) -> None:
        """A line that the next one replaces, where there is a terminal."""
        if not self.quiet and sys.stderr.isatty():
            click.echo(f"\r\x1b[K{line}", err=True, nl=False)

    def fail(self, error: CliError) -> None:
        if self.as_json:
            body = {"code": error.code, "message": str(error), "why": error.why, "try": list(error.hints)}
            click.echo(json.dumps({"schema": "error/1", **body, "exit": error.exit_code}))
        click.echo(render_error(error, color=self.color), err=True)


def render_error(error: CliError, *, color: bool = False) -> str:
    """`error[code]: message`, then why, what to try, and where to read more; parts that are empty are left out."""
    head = f"error[{error.code}]" if error.code else "error"
    lines = [f"{click.style(head, fg='red', bold=True) if color else head}: {error}"]
    if error.why:
        lines.append(f"  why   {error.why}")
    for position, hint in enumerate(error.hints):
        lines.append(f"  {'try ' if position == 0 else '    '}  {hint}")
    if error.more:
        lines.append(f"  more  {error.more}")
    return "\n".join(lines)


def as_cli_error(error: FluxCloudError) -> CliError:
    """Any of our errors in the CLI's form, with the hints that its code has."""
    if isinstance(error, CliError):
        return error
    if isinstance(error, Rejected):
        hints = (error.hint,) if error.hint else find_hints(error.code)
        return CliError(error.message, exit_code=find_exit_code(error.code), code=error.code, hints=hints)
    if isinstance(error, Temporary):
        return CliError(
            str(error),
            exit_code=UNREACHABLE,
            hints=("fluxcloud up  (where the network is this machine's)", "fluxcloud doctor"),
        )
    if isinstance(error, ConfigError):
        return CliError(str(error), exit_code=USAGE, code="config/1")
    return CliError(str(error))


def render_table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Columns padded to their widest cell, two spaces apart, no trailing blanks."""
    cells = [[str(cell) for cell in row] for row in (headings, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headings))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
    )


def render_age(seconds: float) -> str:
    """`8s`, `3m`, `2h`, `5d`: the largest unit only."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= size:
            return f"{int(seconds // size)}{unit}"
    return f"{max(0, int(seconds))}s"
