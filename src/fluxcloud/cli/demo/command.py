"""`fluxcloud demo …`."""

from __future__ import annotations

import click

from ..common import verb, with_context
from ..control import ask_control
from ..faults import can_cut
from ..output import CONFLICT, UNEXPECTED, USAGE, CliError, Output
from ..session import Session, open_session

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
        problem = f"--faults: {text!r}; allowed are {', '.join(KINDS)}, separated by commas"
        raise CliError(problem, exit_code=USAGE, hints=("--faults kill,stop",))
    if "cut" in kinds and not can_cut():
        raise CliError("--faults: cut needs root and nftables", exit_code=USAGE, hints=("--faults kill,stop",))
    return kinds


async def _insist(session: Session, **wanted: str | None) -> None:
    """Raises CliError (6) where the network that runs here has other engines."""
    status = await ask_control(session.layout.control, "status")
    for what, value in wanted.items():
        if value not in (None, status[what]):
            message = f"this network's {what} is {status[what]}, not {value}"
            hints = (f"fluxcloud down; fluxcloud up --reset --{what} {value}",)
            raise CliError(message, exit_code=CONFLICT, hints=hints)


@demo_command.command("failover")
@click.option("--faults", "faults_text", help="kill,stop,cut in the order to inject (default: all that are possible).")
@click.option("--rate", type=click.FloatRange(1, 5_000), default=200.0, show_default=True, help="Requests a second.")
@click.option("--engine", type=click.Choice(["oci", "docker"]), help="Insist that copies run with this.")
@click.option("--proxy", type=click.Choice(["embedded", "haproxy"]), help="Insist that proxies are these.")
@with_context
@verb
async def failover_command(
    faults_text: str | None,
    rate: float,
    engine: str | None,
    proxy: str | None,
    context_name: str | None,
    output: Output,
) -> None:
    """Kill, hang and cut off nodes under load; count what visitors lose. Exit 1 if a class (a) request failed."""
    from .failover import FailoverDemo, render_result

    kinds = _parse_faults(faults_text)
    async with open_session(context_name) as session:
        if not session.context.data:
            raise CliError("the demo breaks nodes on purpose: it runs on a local network only", exit_code=USAGE)
        await _insist(session, engine=engine, proxy=proxy)
        result = await FailoverDemo(session, output).run(kinds, rate)
    errors = result.pop("errors", {})
    for error, count in sorted(errors.items()):
        output.progress(f"        {count} x {error}")
    output.data("demo.failover/1", result, render_result(result))
    if result["failed"]["a"] > 0:
        raise SystemExit(UNEXPECTED)
