"""The command line's outline: which verbs, options and arguments there are, as plain data, for completion.

The verbs' own modules take a quarter of a second to load: too long for a key press. So their outline is kept in the
user's cache and made anew whenever a file of the command line is another. Commands built of it complete and do nothing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

Outline = dict[str, Any]
ListNames = Callable[[], list[str]]

_NAMES_BY_ARGUMENT = {"app": "app", "node": "node"}
_NODE_VERBS_ARGUMENT = ("node", "name")


def describe_command(command: click.Command, path: tuple[str, ...] = ()) -> Outline:
    """The outline of a command and of all below it; this loads their modules."""
    context = click.Context(command, info_name=command.name)
    outline: Outline = {
        "help": command.get_short_help_str(),
        "params": [_describe_param(param, path) for param in command.get_params(context)],
    }
    if isinstance(command, click.Group):
        subs = {name: command.get_command(context, name) for name in command.list_commands(context)}
        outline["commands"] = {name: describe_command(sub, (*path, name)) for name, sub in subs.items() if sub}
    return outline


def _describe_param(param: click.Parameter, path: tuple[str, ...]) -> Outline:
    outline: Outline = {"name": param.name, "nargs": param.nargs, "kind": _find_kind(param, path)}
    if isinstance(param.type, click.Choice):
        outline["choices"] = [str(choice) for choice in param.type.choices]
    if isinstance(param, click.Option):
        outline |= {"opts": list(param.opts), "is_flag": param.is_flag, "multiple": param.multiple, "help": param.help}
    return outline


def _find_kind(param: click.Parameter, path: tuple[str, ...]) -> str:
    """What the argument's words are: names of apps or nodes, paths, choices, or nothing that is known."""
    if isinstance(param, click.Argument):
        if param.name == "source":
            return "path"
        if (*path[:1], param.name) == _NODE_VERBS_ARGUMENT:
            return "node"
        if param.name in _NAMES_BY_ARGUMENT:
            return _NAMES_BY_ARGUMENT[param.name]
    if isinstance(param.type, click.Choice):
        return "choice"
    return "path" if isinstance(param.type, click.Path | click.File) else ""


def build_command(outline: Outline, name: str, names: Mapping[str, ListNames]) -> click.Command:
    """A command that completes as the described one does; `names` gives those of apps and nodes."""
    params = [_build_param(param, names) for param in outline["params"]]
    if "commands" not in outline:
        return click.Command(name, params=params, short_help=outline["help"], add_help_option=False)
    commands = {sub: build_command(inner, sub, names) for sub, inner in outline["commands"].items()}
    return click.Group(name, commands, params=params, short_help=outline["help"], add_help_option=False)


def _build_param(outline: Outline, names: Mapping[str, ListNames]) -> click.Parameter:
    kind = outline["kind"]
    settings: dict[str, Any] = {"nargs": outline["nargs"], "type": _build_type(outline)}
    if kind in names:
        settings["shell_complete"] = _make_completer(names[kind])
    if "opts" not in outline:
        return click.Argument([outline["name"]], required=False, **settings)
    if outline["is_flag"]:
        return click.Option(outline["opts"], is_flag=True, help=outline["help"])
    return click.Option(outline["opts"], multiple=outline["multiple"], help=outline["help"], **settings)


def _build_type(outline: Outline) -> click.ParamType[Any]:
    if "choices" in outline:
        return click.Choice(outline["choices"])
    return click.Path() if outline["kind"] == "path" else click.STRING


def _make_completer(list_names: ListNames) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem]]:
    def complete(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return [CompletionItem(name) for name in list_names() if name.startswith(incomplete)]

    return complete


def load_outline(make: Callable[[], Outline]) -> Outline:
    """The kept outline, or the one that is made now and kept where that is possible."""
    path, stamp = _find_cache(), _compute_stamp()
    try:
        kept = json.loads(path.read_text())
        if kept["stamp"] == stamp:
            outline: Outline = kept["outline"]
            return outline
    except (OSError, ValueError, KeyError, TypeError):
        pass  # none yet, or a broken one
    outline = make()
    part = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps({"stamp": stamp, "outline": outline}))
        part.replace(path)
    except OSError:  # no room, or not allowed: then it is made each time
        with suppress(OSError):
            part.unlink()
    return outline


def _find_cache() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(cache) / "fluxcloud" / "completion.json"


def _compute_stamp() -> str:
    """Another one whenever a file of the command line is."""
    files = sorted((entry.name, entry.stat()) for entry in os.scandir(Path(__file__).parent) if entry.is_file())
    return "|".join(f"{name}:{stat.st_mtime_ns}:{stat.st_size}" for name, stat in files)
