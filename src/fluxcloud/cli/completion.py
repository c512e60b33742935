"""`fluxcloud completion bash|zsh|fish`, and the answers that the shells' scripts ask for at each key press."""

from __future__ import annotations

import os

import click
from click.shell_completion import get_completion_class

from . import COMPLETE_VARIABLE
from .context import find_data_dir
from .names import list_app_names, list_node_names
from .outline import build_command, describe_command, load_outline

PROGRAM = "fluxcloud"
SHELLS = ("bash", "zsh", "fish")
_INSTALL = {
    "bash": 'eval "$(fluxcloud completion bash)"  in ~/.bashrc',
    "zsh": 'eval "$(fluxcloud completion zsh)"  in ~/.zshrc, after compinit',
    "fish": "fluxcloud completion fish > ~/.config/fish/completions/fluxcloud.fish",
}


@click.command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
def completion_command(shell: str) -> None:
    """Print the script that completes commands, options, and names of apps and nodes.

    Put  eval "$(fluxcloud completion bash)"  into ~/.bashrc, or the same for zsh;
    for fish write it to ~/.config/fish/completions/fluxcloud.fish.
    """
    kind = get_completion_class(shell)
    assert kind is not None, shell
    click.echo(kind(click.Group(), {}, PROGRAM, COMPLETE_VARIABLE).source())
    if os.isatty(1):
        click.echo(f"This is a script; use it by  {_INSTALL[shell]}", err=True)


def answer_shell(root: click.Group, instruction: str) -> int:
    """What `COMPLETE_VARIABLE` asks for, on stdout; the exit code."""
    shell, _, what = instruction.partition("_")
    kind = get_completion_class(shell)
    if kind is None or what not in ("source", "complete"):
        return 1
    if what == "source":
        click.echo(kind(root, {}, PROGRAM, COMPLETE_VARIABLE).source())
        return 0
    data = find_data_dir()
    names = {"app": lambda: list_app_names(data), "node": lambda: list_node_names(data)}
    light = build_command(load_outline(lambda: describe_command(root)), PROGRAM, names)
    offered = kind(light, {}, PROGRAM, COMPLETE_VARIABLE).complete()
    click.echo(offered, nl=bool(offered))
    return 0
