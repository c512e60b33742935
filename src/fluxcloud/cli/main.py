"""`fluxcloud`: the command line. Verbs are loaded when they are called, so that each start stays quick."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from .. import __version__
from . import COMPLETE_VARIABLE
from .output import INTERRUPTED, USAGE, CliError, Output

_VERBS: dict[str, tuple[str, str]] = {
    "up": ("up", "Start a network on this machine, or bring it back."),
    "down": ("local", "Stop the network that `up` started."),
    "status": ("local", "What runs here, and as whom commands act."),
    "doctor": ("doctor", "Look for what is wrong on this machine, and say what to do."),
    "demo": ("demo.command", "Show under load what the network is for."),
    "init": ("init", "Write a fluxcloud.yaml from what a folder holds."),
    "deploy": ("deploy", "Run an app: a folder, a compose file, an image."),
    "open": ("open", "Open an app in a browser."),
    "ps": ("ps", "An app's copies (or everybody's), where they run and how they are."),
    "logs": ("copies", "What copies wrote."),
    "exec": ("copies", "Run a command inside a copy."),
    "port-forward": ("portforward", "Reach a port of a copy from this machine."),
    "scale": ("app", "Change how many copies run."),
    "app": ("app", "List, show, plan, change, delete apps."),
    "node": ("node", "List nodes; drain them; break local ones on purpose."),
    "network": ("network", "The network as a whole."),
    "spec": ("spec", "Check and convert files that describe an app."),
    "completion": ("completion", "Completion of commands and names in a shell."),
    "version": ("local", "Versions of this program."),
}
"""Verb -> (module, short help). The module has a click command of the verb's name with dashes as underscores."""


class _LazyGroup(click.Group):
    """A group whose commands are imported when they are needed; its help needs none of them."""

    def main(self, args: Sequence[str] | None = None, *rest: Any, **options: Any) -> Any:
        """As click's own, but a wrong command line is told in the form of all errors, as JSON where it was asked."""
        if COMPLETE_VARIABLE in os.environ:
            from .completion import answer_shell

            sys.exit(answer_shell(self, os.environ[COMPLETE_VARIABLE]))
        given = list(sys.argv[1:] if args is None else args)
        try:
            sys.exit(super().main(given, *rest, **{**options, "standalone_mode": False}))
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            sys.exit(USAGE)
        except click.Abort:
            sys.exit(INTERRUPTED)
        except click.ClickException as error:
            Output(as_json="--json" in given).fail(_describe_usage(error))
            sys.exit(USAGE)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _VERBS:
            return None
        module = importlib.import_module(f"fluxcloud.cli.{_VERBS[cmd_name][0]}")
        command: click.Command = getattr(module, f"{cmd_name.replace('-', '_')}_command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _VERBS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            near = _find_near(args[0])
            if near:
                raise click.UsageError(f"{error.message} Did you mean {near!r}?", ctx) from None
            raise


def _describe_usage(error: click.ClickException) -> CliError:
    context = error.ctx if isinstance(error, click.UsageError) else None
    command = context.command_path if context else "fluxcloud"
    return CliError(error.format_message(), exit_code=USAGE, hints=(f"{command} --help",))


def _find_near(word: str) -> str:
    import difflib

    return next(iter(difflib.get_close_matches(word, _VERBS, 1)), "")


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, "--version", message="fluxcloud %(version)s")
def main() -> None:
    """Apps on servers of independent operators, placed by a ledger, healed in seconds.

    Begin with `fluxcloud up`.
    """


if __name__ == "__main__":
    main()
