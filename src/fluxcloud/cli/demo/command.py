"""`fluxcloud demo …`."""

from __future__ import annotations

import click

from ..common import verb, with_context
from ..faults import can_cut
from ..output import UNEXPECTED, USAGE, CliError, Output
from ..session import open_session

KINDS = ("kill", "stop", "cut")


@click.group("demo")
def demo_command() -> None:
    """Show under load what the network is for."""


def _parse_faults(text: str | None) -> tuple[str, ...]:
    if text is None:
        return KINDS if can_cut() else KINDS[:2]
    kinds = tuple(part.strip() for part in text.split(",") if part.strip())
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown or not kinds:
        raise CliError(f"--faults: {text!r}; allowed are {', '.join(KINDS)}, separated by commas", exit_code=USAGE)
    if "cut" in kinds and not can_cut():
        raise CliError("--faults: cut needs root and nftables", exit_code=USAGE, hints=("--faults kill,stop",))
    return kinds


@demo_command.command("failover")
@click.option("--faults", "faults_text", help="kill,stop,cut in the order to inject (default: all that are possible).")
@click.option("--rate", type=click.FloatRange(1, 5_000), default=200.0, show_default=True, help="Requests a second.")
@with_context
@verb
async def failover_command(faults_text: str | None, rate: float, context_name: str | None, output: Output) -> None:
    """Kill, hang and cut off nodes under load; count what visitors lose. Exit 1 if a class (a) request failed."""
    from .failover import FailoverDemo, render_result

    kinds = _parse_faults(faults_text)
    async with open_session(context_name) as session:
        if not session.context.data:
            raise CliError("the demo breaks nodes on purpose: it runs on a local network only", exit_code=USAGE)
        result = await FailoverDemo(session, output).run(kinds, rate)
    errors = result.pop("errors", {})
    for error, count in sorted(errors.items()):
        output.progress(f"        {count} x {error}")
    output.data("demo.failover/1", result, render_result(result))
    if result["failed"]["a"] > 0:
        raise SystemExit(UNEXPECTED)
