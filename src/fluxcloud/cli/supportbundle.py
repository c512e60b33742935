"""`fluxcloud doctor --bundle FILE`: what somebody who helps needs to see, and nothing that is secret.

Only what is named here gets in: versions, findings, configuration files, the ends of the daemons' logs, and what the
ledger says of nodes and apps. No key, no session, no spec, no variable of an app; every text is redacted as well.
"""

from __future__ import annotations

import io
import json
import os
import platform
import shutil
import subprocess
import tarfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .. import __version__
from ..errors import FluxCloudError
from ..ids import AppId, NodeId, render_app, render_node
from ..ledger.apps.model import APPS, PLACEMENTS, REVISIONS
from ..ledger.apps.queries import read_spec
from ..ledger.liveness.model import CASES
from ..ledger.nodes.model import NODES
from ..sdk.client import Chain
from ..specfile.public import looks_secret
from .context import Context
from .control import ask_control
from .layout import Layout
from .output import CONFLICT, CliError
from .redact import Redactor
from .session import open_chain

LOG_LINES = 500
LOG_BYTES_MAX = 1 << 20
CONFIG_BYTES_MAX = 4 << 20
KEY_BYTES_MAX = 64 * 1024
PROGRAMS = (("bwrap", "--version"), ("dockerd", "--version"), ("haproxy", "-v"), ("nft", "--version"))
_NO_SECRETS = ("PWD", "OLDPWD")  # folders, not passwords
_KEYS = ("keys/*.key", "sessions/*/*.key", "chain/*.key", "*s/*/*.key")
_CONFIGS = ("genesis.json", "network.json", "context.toml", "chain/config.toml", "*s/*/config.toml")

Files = dict[str, str]


async def write_bundle(target: Path, findings: list[dict[str, Any]], data: Path, context: Context | None) -> list[str]:
    """Make the archive (mode 0600); the names of what is in it. Raises CliError (6) where the file exists."""
    if target.exists():
        raise CliError(f"{target} exists", exit_code=CONFLICT, hints=("choose another name",))
    files: Files = {"about.json": _render(_describe_machine()), "findings.json": _render({"findings": findings})}
    files |= {f"config/{name}": text for name, text in _read_configs(data)}
    files |= {f"logs/{log.name}": read_end(log) for log in _list_plain(data, "logs/*.log")}
    files["processes.json"] = _render(await _ask_processes(data))
    names, values = set[str](), list(_list_key_texts(data, context))
    if context is not None:
        ledger, variables = await _read_ledger(context)
        files["ledger.json"] = _render(ledger)
        names, values = set(variables), [*values, *(value for found in variables.values() for value in found)]
    values += [value for name, value in os.environ.items() if name not in _NO_SECRETS and looks_secret(name, value)]
    redactor = Redactor(values, names)
    _write_archive(target, {name: redactor.redact(text) for name, text in files.items()})
    return sorted(files)


def read_end(log: Path) -> str:
    """The last lines of a log, each whole."""
    with log.open("rb") as file:
        size = file.seek(0, io.SEEK_END)
        file.seek(max(0, size - LOG_BYTES_MAX))
        lines = file.read().decode("utf-8", "replace").splitlines()
    kept = lines[1:] if size > LOG_BYTES_MAX else lines
    return "\n".join(kept[-LOG_LINES:]) + "\n"


def _describe_machine() -> dict[str, Any]:
    return {
        "version": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "cpus": os.cpu_count(),
        "root": os.geteuid() == 0,
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "programs": {name: _ask_version(name, flag) for name, flag in PROGRAMS},
    }


def _ask_version(name: str, flag: str) -> str:
    program = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if program is None:
        return ""
    try:
        done = subprocess.run([program, flag], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"does not run: {error}"
    return (done.stdout or done.stderr).strip().split("\n")[0]


def _list_plain(data: Path, *patterns: str) -> Iterator[Path]:
    """Files, never links: those may lead anywhere."""
    for pattern in patterns:
        yield from (path for path in sorted(data.glob(pattern)) if path.is_file() and not path.is_symlink())


def _read_configs(data: Path) -> Iterator[tuple[str, str]]:
    for path in _list_plain(data, *_CONFIGS):
        with path.open("rb") as file:
            yield path.relative_to(data).as_posix(), file.read(CONFIG_BYTES_MAX).decode("utf-8", "replace")


def _list_key_texts(data: Path, context: Context | None) -> Iterator[str]:
    """Each line of each key, and each text in a session: whatever of them a log should hold by mistake."""
    own = [Path(context.key)] if context is not None and Path(context.key).is_file() else []
    for path in (*_list_plain(data, *_KEYS), *own):
        with path.open("rb") as file:
            text = file.read(KEY_BYTES_MAX).decode("ascii", "replace")
        yield from (part for part in text.replace('"', "\n").split("\n") if len(part) >= 16)


async def _ask_processes(data: Path) -> dict[str, Any]:
    try:
        return await ask_control(Layout(data).control, "status")
    except (FluxCloudError, OSError) as error:
        return {"error": str(error)}


async def _read_ledger(context: Context) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """What the ledger says, for the bundle; and apps' variables with their values, for the redactor alone."""
    try:
        async with open_chain(context) as chain:
            return await _describe_ledger(chain), await _list_variables(chain)
    except (FluxCloudError, OSError, TimeoutError) as error:
        return {"error": str(error)}, {}


async def _describe_ledger(chain: Chain) -> dict[str, Any]:
    status = await chain.status()
    nodes = await chain.scan(NODES)
    placements = await chain.scan(PLACEMENTS)
    return {
        "chain_id": status.chain_id,
        "engine": status.engine,
        "height": status.height,
        "lag_ms": status.lag_ms,
        "cases": [render_node(target) for target, _ in await chain.scan(CASES)],
        "nodes": [
            {"id": render_node(node_id), "state": node.state, "cordoned": node.cordoned, "reason": node.reason}
            for node_id, node in nodes
        ],
        "apps": [
            {"id": render_app(app_id), "name": app.name, "status": app.status, "revision": app.revision}
            for app_id, app in await chain.scan(APPS)
        ],
        "copies": [
            {
                **{"app": render_app(AppId(app_id)), "generation": generation, "group": p.group, "slot": p.slot},
                **{"node": render_node(NodeId(p.node)), "role": p.role, "phase": p.phase, "reason": p.reason},
            }
            for (app_id, generation), p in placements
        ],
    }


async def _list_variables(chain: Chain) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for _, revision in await chain.scan(REVISIONS):
        for group in read_spec(revision.public).groups:
            for component in group.components:
                for name, value in component.env:
                    found.setdefault(name, []).append(value)
    return found


def _render(body: dict[str, Any]) -> str:
    return json.dumps(body, indent=1, default=str) + "\n"


def _write_archive(target: Path, files: Mapping[str, str]) -> None:
    """Whole or not at all."""
    part = target.with_name(f"{target.name}.part")
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file, tarfile.open(fileobj=file, mode="w:gz") as archive:
            for name, text in sorted(files.items()):
                header = tarfile.TarInfo(f"fluxcloud-doctor/{name}")
                content = text.encode()
                header.size, header.mode, header.mtime = len(content), 0o600, int(time.time())
                archive.addfile(header, io.BytesIO(content))
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
