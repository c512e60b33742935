"""What every verb shares: global options, one way to run and to fail, and a session with the network."""

from __future__ import annotations

import asyncio
import functools
import math
import os
import sys
import traceback
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import click

from ..errors import FluxCloudError
from .output import INTERRUPTED, UNEXPECTED, CliError, Output, as_cli_error

F = TypeVar("F", bound=Callable[..., Any])
DEBUG = "FLUXCLOUD_DEBUG"


def verb(function: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Give a coroutine function `--json` and `-q`, run it, and end with its exit code.

    It gets `output` as a keyword. Ctrl-C detaches with 130 and cancels nothing on the network.
    """

    @click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
    @click.option("-q", "--quiet", is_flag=True, help="No progress on stderr.")
    @functools.wraps(function)
    def run(*args: Any, as_json: bool, quiet: bool, **kwargs: Any) -> None:
        output = Output(as_json=as_json, quiet=quiet)
        try:
            asyncio.run(function(*args, output=output, **kwargs))
        except FluxCloudError as error:
            failure = as_cli_error(error)
            output.fail(failure)
            sys.exit(failure.exit_code)
        except KeyboardInterrupt:
            output.progress("detached; what was begun goes on")
            sys.exit(INTERRUPTED)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(UNEXPECTED)
        except click.ClickException:
            raise  # a usage error: `main` tells it
        except Exception as error:
            output.fail(_describe_unexpected(error))
            sys.exit(UNEXPECTED)

    return run


def _describe_unexpected(error: Exception) -> CliError:
    """A failure of this machine, or of ours: never a traceback, unless it is asked for."""
    if DEBUG in os.environ:
        traceback.print_exception(error)
    if isinstance(error, OSError):
        return CliError(str(error), hints=("fluxcloud doctor",))
    return CliError(f"unexpected: {type(error).__name__}: {error}", hints=(f"{DEBUG}=1 shows where it comes from",))


class Seconds(click.FloatRange):
    """A finite number of seconds."""

    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        seconds = float(super().convert(value, param, ctx))
        if not math.isfinite(seconds):
            self.fail(f"{value} is no number of seconds", param, ctx)
        return seconds


def with_context(function: F) -> F:
    """Add `-c/--context` to a verb that talks to a network."""
    return click.option("-c", "--context", "context_name", help="Network to use (default: the local one).")(function)


class Screen:
    """Draws of a `--watch`: each replaces the one before where stdout is a terminal."""

    def __init__(self) -> None:
        self._lines = 0

    def draw(self, text: str) -> None:
        if sys.stdout.isatty() and self._lines:
            click.echo(f"\x1b[{self._lines}A\x1b[J", nl=False)
        self._lines = text.count("\n") + 1
        click.echo(text)


def require_yes(question: str, name: str, *, yes: bool) -> None:
    """A destructive verb wants the thing's name typed, or `--yes`."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise CliError(f"{question} needs --yes where nobody can be asked", exit_code=2, hints=("--yes",))
    if click.prompt(f"{question} Type its name to go on", default="", show_default=False) != name:
        raise CliError("not confirmed; nothing was changed", exit_code=2, hints=(f"type {name}, or give --yes",))
