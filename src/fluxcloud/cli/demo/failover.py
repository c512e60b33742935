"""`demo failover`: faults under load, one after another, each healed and the app whole again before the next.

The load generator is a process of its own and counts what a visitor would have seen. When a node is suspected and found
down is read from the ledger's events; when its replacement serves, from the first answer that a new node gave.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from ...ids import AppId, NodeId, parse_node, render_node
from ...ledger.nodes.messages import NodeStateChanged
from ...ledger.nodes.model import NODES
from ...sdk.apps import AppView, find_app, read_app
from ..control import ask_control
from ..output import TIMEOUT, CliError, Output
from ..session import Session

APP = "hello"
STREAM_PATH = "/cgi-bin/stream"
FAULT_TIMEOUT_S = 60.0
WHOLE_TIMEOUT_S = 90.0
POLL_S = 0.1
CALM_S = 2.0


@dataclass(slots=True)
class Fault:
    """One fault and when its effects were seen, in seconds after it began."""

    kind: str
    node: str
    suspect_s: float | None = None
    replacement_s: float | None = None
    down_s: float | None = None

    def as_json(self) -> dict[str, Any]:
        def rounded(value: float | None) -> float | None:
            return None if value is None else round(value, 2)

        return {
            **{"kind": self.kind, "node": self.node, "suspect_s": rounded(self.suspect_s)},
            **{"replacement_s": rounded(self.replacement_s), "down_s": rounded(self.down_s)},
        }


@dataclass(slots=True)
class Load:
    """The load generator's process and what it has told so far."""

    process: asyncio.subprocess.Process
    answers: dict[str, float] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    reader: asyncio.Task[None] | None = None

    async def mark(self) -> None:
        """Begin a new phase: nodes that answer from now on are told again."""
        assert self.process.stdin is not None
        self.answers.clear()
        self.process.stdin.write(b"mark\n")
        await self.process.stdin.drain()

    async def end(self) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.reader is not None
        self.process.stdin.write(b"end\n")
        await self.process.stdin.drain()
        await self.reader
        await self.process.wait()
        return self.summary

    async def read(self) -> None:
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            told = json.loads(line)
            if "summary" in told:
                self.summary = told["summary"]
            else:
                self.answers.setdefault(told["served_by"], told["at"])


async def start_load(session: Session, app: str, rate: float) -> Load:
    """Start the generator against the gateway's address; names are never resolved."""
    host = f"{app}.{session.context.zone}"
    argv = ("--connect", session.context.gateway, "--host", host, "--rate", str(rate), "--stream", STREAM_PATH)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "fluxcloud.cli.demo.loadgen", *argv),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    load = Load(process)
    load.reader = asyncio.create_task(load.read())
    return load


class FailoverDemo:
    """Runs the faults in order and keeps the panel."""

    def __init__(self, session: Session, output: Output) -> None:
        self.session = session
        self.output = output
        self.began_s = time.monotonic()
        self.state_changes: list[tuple[float, NodeStateChanged]] = []

    async def run(self, kinds: tuple[str, ...], rate: float) -> dict[str, Any]:
        """The result in the form `demo.failover/1`, without its schema."""
        app = await find_app(self.session.chain, APP)
        app_id = AppId(app.id)
        await self._wait_whole(app_id, "the app is whole")
        events = asyncio.create_task(self._follow_events())
        load = await start_load(self.session, APP, rate)
        faults: list[Fault] = []
        try:
            await asyncio.sleep(CALM_S)
            for kind in kinds:
                faults.append(await self._inject(kind, app_id, load, {fault.node for fault in faults}))
            await asyncio.sleep(CALM_S)
            summary = await load.end()
        finally:
            events.cancel()
            with suppress(asyncio.CancelledError):
                await events
            if load.process.returncode is None:
                load.process.kill()
                await load.process.wait()
        return {**summary, "faults": [fault.as_json() for fault in faults]}

    async def _inject(self, kind: str, app_id: AppId, load: Load, used: set[str]) -> Fault:
        view = await read_app(self.session.chain, app_id)
        serving = {placement.node for _, placement in view.list_active()}
        fault = Fault(kind, self._choose_victim(view, used))
        await load.mark()
        self.state_changes.clear()
        begun = (await ask_control(self.session.layout.control, "fault", kind=kind, node=fault.node))["at"]
        self._say(f"{fault.node} {kind}: all its processes at once, under load")
        victim = parse_node(self.session.node_ids[fault.node])
        old = {render_node(NodeId(node)) for node in serving}
        try:
            async with asyncio.timeout(FAULT_TIMEOUT_S):
                while fault.down_s is None or fault.replacement_s is None:
                    self._look(fault, victim, old, load, begun)
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            self._say(f"{fault.node} {kind}: not replaced within {FAULT_TIMEOUT_S:g} s")
        await ask_control(self.session.layout.control, "start", node=fault.node)
        self._say(f"{fault.node} healed; waiting until the app is whole again")
        await self._wait_whole(app_id, f"{fault.node} is back and the app is whole")
        return fault

    def _choose_victim(self, view: AppView, used: set[str]) -> str:
        """A node that runs a copy, one that was not hit yet where there is any."""
        names = [self.session.name_node(NodeId(placement.node)) for _, placement in view.list_active()]
        fresh = [name for name in names if name not in used]
        return (fresh or names)[-1]

    def _look(self, fault: Fault, victim: NodeId, old: set[str], load: Load, begun: float) -> None:
        for at, change in self.state_changes:
            if change.node == victim and change.new == "suspect" and fault.suspect_s is None:
                fault.suspect_s = at - begun
                self._say(f"{fault.node} suspect after {fault.suspect_s:.1f} s; its standby starts")
            if change.node == victim and change.new == "down" and fault.down_s is None:
                fault.down_s = at - begun
                self._say(f"{fault.node} down after {fault.down_s:.1f} s: its jury has decided")
        new = [at for node, at in load.answers.items() if node not in old and at > begun]
        if new and fault.replacement_s is None:
            fault.replacement_s = min(new) - begun
            self._say(f"replacement serves after {fault.replacement_s:.1f} s")

    async def _follow_events(self) -> None:
        async for block in self.session.chain.events(0, follow=True):
            now = time.monotonic()
            self.state_changes += [(now, event) for _, event in block.events if isinstance(event, NodeStateChanged)]

    async def _wait_whole(self, app_id: AppId, what: str) -> None:
        deadline = time.monotonic() + WHOLE_TIMEOUT_S
        while not await self._is_whole(app_id):
            if time.monotonic() > deadline:
                hints = (f"fluxcloud app explain {APP}", "fluxcloud node list")
                raise CliError(f"not within {WHOLE_TIMEOUT_S:g} s: {what}", exit_code=TIMEOUT, hints=hints)
            await asyncio.sleep(POLL_S * 2)

    async def _is_whole(self, app_id: AppId) -> bool:
        view = await read_app(self.session.chain, app_id)
        nodes = [node for _, node in await self.session.chain.scan(NODES)]
        return view.is_whole and all(node.state == "active" for node in nodes)

    def _say(self, line: str) -> None:
        self.output.progress(f"{time.monotonic() - self.began_s:6.1f} s  {line}")


def render_result(result: dict[str, Any]) -> str:
    """The last line: requests, failures by class, longest wait, and the times of each fault."""
    failed, latency = result["failed"], result["latency_ms"]
    parts = [
        f"{result['requests']:,} requests, {failed['a']} failed (a), {failed['b']} (b), {failed['c']} (c), "
        f"longest {latency['max']:.0f} ms"
    ]
    for fault in result["faults"]:
        parts.append(
            f"{fault['node']} ({fault['kind']}) suspect {_render_delay(fault['suspect_s'])}, "
            f"replacement serving {_render_delay(fault['replacement_s'])}"
        )
    return "; ".join(parts)


def _render_delay(value: float | None) -> str:
    return "never" if value is None else f"after {value:.1f} s"
