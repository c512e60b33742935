"""Contexts: which network a command talks to, and as whom.

A context is one small TOML file. `local` is written by `fluxcloud up` into its data directory; others stand in
`~/.config/fluxcloud/contexts/NAME.toml`. Precedence: -c, then FLUXCLOUD_CONTEXT, then `local`.
"""

from __future__ import annotations

import os
import tomllib
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from ..config import render_toml
from ..errors import ConfigError
from .output import UNREACHABLE, USAGE, CliError

LOCAL = "local"


def find_data_dir() -> Path:
    """Where `fluxcloud up` keeps its network: FLUXCLOUD_DATA, else below XDG_DATA_HOME."""
    if "FLUXCLOUD_DATA" in os.environ:
        return Path(os.environ["FLUXCLOUD_DATA"]).absolute()
    share = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
    return Path(share) / "fluxcloud" / LOCAL


@dataclass(frozen=True, slots=True)
class Context:
    """`chain` is an RPC address, `gateway` an address:port to connect to, `zone` the apps' domain, `key` a wallet file,
    `genesis` the file whose validators are trusted, `data` the directory of a local network (empty elsewhere)."""

    name: str
    chain: str
    gateway: str
    zone: str
    key: str
    genesis: str
    data: str = ""

    def render(self) -> str:
        return render_toml(asdict(self))


def load_context(name: str | None) -> Context:
    """The context to use. Raises CliError where it does not exist, ConfigError where its file is wrong."""
    chosen = name or os.environ.get("FLUXCLOUD_CONTEXT") or LOCAL
    if "/" in chosen or "\0" in chosen:
        raise CliError(f"{chosen!r} is no name of a context", exit_code=USAGE, hints=("fluxcloud -c local …",))
    path = find_data_dir() / "context.toml" if chosen == LOCAL else _contexts_dir() / f"{chosen}.toml"
    try:
        return read_context(path)
    except FileNotFoundError:
        if chosen == LOCAL:
            message = f"no local network in {path.parent}"
            raise CliError(message, exit_code=UNREACHABLE, hints=("fluxcloud up",)) from None
        message = f"no context {chosen!r}: {path} does not exist"
        raise CliError(message, exit_code=USAGE, hints=("fluxcloud -c local …",)) from None


def read_context(path: Path) -> Context:
    """Raises ConfigError where the file is wrong, FileNotFoundError where there is none."""
    try:
        raw = tomllib.loads(path.read_text())
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(str(path), f"not TOML: {error}") from error
    known = {f.name for f in fields(Context)}
    missing = known - {"data"} - raw.keys()
    if missing or raw.keys() - known:
        raise ConfigError(str(path), f"must have the keys {', '.join(sorted(known))}")
    return Context(**raw)


def find_session_dir(context: Context) -> Path:
    """Where accounts' sessions are kept: beside a local network's data, else below XDG_STATE_HOME."""
    if context.data:
        return Path(context.data) / "sessions"
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return Path(state) / "fluxcloud" / "sessions" / context.name


def _contexts_dir() -> Path:
    config = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return Path(config) / "fluxcloud" / "contexts"
