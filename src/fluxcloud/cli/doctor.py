"""`fluxcloud doctor`: look at this machine and the local network, and say what to do about what is wrong."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import click

from ..errors import FluxCloudError
from .common import verb
from .context import Context, find_data_dir, load_context
from .layout import Layout
from .output import UNEXPECTED, CliError, Output

FREE_MIB_MIN = 1024
BLOCK_AGE_MS_MAX = 5_000


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check saw. `level` bad: something will not work; warn: it works, less well."""

    level: Literal["ok", "warn", "bad"]
    name: str
    saw: str
    remedy: str = ""

    def render(self) -> str:
        sign = {"ok": "ok", "warn": " !", "bad": " x"}[self.level]
        remedy = f"\n        try  {self.remedy}" if self.remedy else ""
        return f"  {sign}  {self.name:<12}{self.saw}{remedy}"


def check_python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.flags.optimize:
        return Finding("bad", "python", f"{version} with -O: the ledger's checks are off", "start without -O")
    return Finding("ok", "python", version)


def check_sandbox() -> Finding:
    """Whether containers can be made: bubblewrap, and a user namespace that this user may create."""
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        saw = "no bubblewrap: only the built-in hello app runs, as a plain process"
        return Finding("warn", "sandbox", saw, "apt-get install bubblewrap")
    argv = [bwrap, "--unshare-all", "--ro-bind", "/", "/", "true"]
    tried = subprocess.run(argv, capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        saw = f"bubblewrap can't make a sandbox: {tried.stderr.strip()}"
        return Finding("bad", "sandbox", saw, "sysctl kernel.unprivileged_userns_clone=1 (or run as root)")
    return Finding("ok", "sandbox", "bubblewrap" + ("" if os.geteuid() == 0 else ", user namespace: limits are soft"))


def check_busybox() -> Finding:
    if Path("/bin/busybox").exists() or Path("/usr/bin/busybox").exists():
        return Finding("ok", "hello", "busybox is here for the hello image")
    return Finding("warn", "hello", "no busybox: hello runs as a plain process", "apt-get install busybox-static")


def check_faults() -> Finding:
    if os.geteuid() != 0:
        return Finding("warn", "faults", "kill and stop; cutting links needs root")
    if shutil.which("nft") is None:
        return Finding("warn", "faults", "kill and stop; cutting links needs nftables", "apt-get install nftables")
    return Finding("ok", "faults", "kill, stop and cut")


def check_disk(folder: Path) -> Finding:
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free_mib = shutil.disk_usage(existing).free // 2**20
    if free_mib < FREE_MIB_MIN:
        return Finding("bad", "disk", f"{free_mib} MiB free for {folder}", "free some, or set FLUXCLOUD_DATA elsewhere")
    return Finding("ok", "disk", f"{free_mib // 1024} GiB free for {folder}")


def check_files() -> Finding:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 4096:
        return Finding("warn", "open files", f"at most {hard}", "ulimit -n 20000 before `fluxcloud up`")
    return Finding("ok", "open files", f"{soft} of {hard}")


async def check_chain(context: Context) -> Finding:
    from .session import open_chain

    async with open_chain(context) as chain:
        status = await chain.status()
    if status.lag_ms > BLOCK_AGE_MS_MAX:
        saw = f"block {status.height} is {status.lag_ms // 1000} s old: running apps go on, nothing changes"
        return Finding("bad", "ledger", saw, f"read {Layout(Path(context.data)).log('chain')}")
    return Finding("ok", "ledger", f"{status.engine}, block {status.height}")


async def check_nodes(context: Context) -> Finding:
    from ..ledger.nodes.model import NODES, SERVING_STATES
    from .session import open_chain

    async with open_chain(context) as chain:
        nodes = await chain.scan(NODES)
    away = [node for _, node in nodes if node.state not in SERVING_STATES]
    if away:
        saw = f"{len(away)} of {len(nodes)} do not serve: {', '.join(sorted({node.state for node in away}))}"
        return Finding("warn", "nodes", saw, "fluxcloud node list")
    return Finding("ok", "nodes", f"{len(nodes)} serve")


async def check_gateway(context: Context) -> Finding:
    host, _, port = context.gateway.rpartition(":")
    try:
        async with asyncio.timeout(2):
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(b"GET / HTTP/1.1\r\nHost: nothing.invalid\r\nConnection: close\r\n\r\n")
            answered = await reader.readline()
            writer.close()
    except (OSError, TimeoutError) as error:
        return Finding("bad", "gateway", f"{context.gateway} does not answer: {error}", "fluxcloud status")
    return Finding("ok", "gateway", f"{context.gateway} answers ({answered.decode('latin-1').strip()})")


MACHINE_CHECKS: tuple[Callable[[], Finding], ...] = (
    check_python,
    check_sandbox,
    check_busybox,
    check_faults,
    check_files,
)
NETWORK_CHECKS: tuple[Callable[[Context], Awaitable[Finding]], ...] = (check_chain, check_nodes, check_gateway)


async def _look(context_name: str | None) -> list[Finding]:
    findings = [check() for check in MACHINE_CHECKS]
    findings.append(check_disk(find_data_dir()))
    try:
        context = load_context(context_name)
    except CliError as error:
        findings.append(Finding("warn", "network", str(error), "fluxcloud up"))
        return findings
    for check in NETWORK_CHECKS:
        try:
            async with asyncio.timeout(5):
                findings.append(await check(context))
        except (FluxCloudError, OSError, TimeoutError) as error:
            name = check.__name__.removeprefix("check_")
            findings.append(Finding("bad", name, str(error) or "no answer in 5 s", "fluxcloud up"))
    return findings


def _render(findings: Iterable[Finding]) -> str:
    return "\n".join(finding.render() for finding in findings)


async def _write_bundle(target: Path, rows: list[dict[str, str]], context_name: str | None) -> list[str]:
    from .supportbundle import write_bundle

    try:
        context: Context | None = load_context(context_name)
    except CliError:
        context = None  # no network: the rest is worth having all the same
    data = Path(context.data) if context is not None and context.data else find_data_dir()
    return await write_bundle(target, rows, data, context)


@click.command("doctor")
@click.option("-c", "--context", "context_name", help="Network to look at (default: the local one).")
@click.option(
    "--bundle", type=click.Path(path_type=Path, dir_okay=False), help="Write what helpers need, without secrets, here."
)
@verb
async def doctor_command(context_name: str | None, bundle: Path | None, output: Output) -> None:
    """Look for what is wrong on this machine, and say what to do. Exit 1 where something will not work.

    With --bundle FILE.tar.gz: versions, findings, configurations, the ends of the logs and the ledger's status.
    """
    findings = await _look(context_name)
    rows = [{"level": f.level, "check": f.name, "saw": f.saw, "try": f.remedy} for f in findings]
    body: dict[str, object] = {"findings": rows}
    text = _render(findings)
    if bundle is not None:
        files = await _write_bundle(bundle, rows, context_name)
        body |= {"bundle": str(bundle), "files": files}
        text += f"\n{bundle}: {len(files)} files without keys and secrets; look into it before you send it"
    output.data("doctor/1", body, text)
    if any(finding.level == "bad" for finding in findings):
        raise SystemExit(UNEXPECTED)
