"""A command's session with a network: verified reads, the account that signs, and names for people."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..ids import NodeId, render_address, render_node
from ..ledger.apps.model import ASSIGN, App
from ..ledger.liveness.model import CASES, SEATS
from ..ledger.nodes.model import NODES
from ..sdk.client import Chain, load_genesis
from ..sdk.sessions import CapSigner, SessionStore
from ..sdk.wallet import Wallet
from .context import Context, find_session_dir, load_context
from .control import ask_control
from .layout import Layout, load_network
from .output import CliError

ID_SHOWN = 14


@dataclass(frozen=True)
class Session:
    """Open until `open_session` ends."""

    context: Context
    chain: Chain

    @cached_property
    def wallet(self) -> Wallet:
        return Wallet.load(Path(self.context.key))

    def get_signer(self, app: App) -> CapSigner:
        """What signs for this app towards nodes: a session that the account signs once and that is kept here."""
        return self.sessions.get(app, self.wallet)

    @property
    def sessions(self) -> SessionStore:
        """Kept by account, so that no context of another one makes use of them."""
        folder = find_session_dir(self.context) / render_address(self.wallet.address)
        return SessionStore(folder, self.chain.chain_id)

    @property
    def layout(self) -> Layout:
        return Layout(Path(self.context.data))

    @cached_property
    def node_ids(self) -> dict[str, str]:
        """Local names of nodes -> their ids; empty where the network is not of this machine."""
        return load_network(self.layout).nodes if self.context.data else {}

    @cached_property
    def _names(self) -> dict[str, str]:
        return {node_id: name for name, node_id in self.node_ids.items()}

    def name_node(self, node_id: NodeId) -> str:
        """`n3` on a local network, else the beginning of the id."""
        text = render_node(node_id)
        return self._names.get(text, text[:ID_SHOWN])

    def url(self, app_name: str) -> str:
        port = self.context.gateway.rpartition(":")[2]
        return f"http://{app_name}.{self.context.zone}" + ("" if port == "80" else f":{port}")

    async def count_copies(self) -> dict[bytes, int]:
        """Node id -> how many copies it was given."""
        return {node_id: len(assign.entries) for node_id, assign in await self.chain.scan(ASSIGN)}

    async def describe_places(self, nodes: Iterable[NodeId]) -> str:
        """`Serving from 3 operators in 3 countries`, or that nothing serves."""
        records = [record for node_id in nodes if (record := await self.chain.read(NODES, node_id)) is not None]
        if not records:
            return "Not serving: no copy runs"
        operators = len({record.owner for record in records})
        countries = len({record.location.country for record in records})
        return f"Serving from {_count(operators, 'operator')} in {_count(countries, 'country', 'countries')}"

    async def explain_case(self, target: NodeId) -> str:
        """`n3 is suspected: 2 of 4 votes are in`, in the words of the case as it stands."""
        case = await self.chain.read(CASES, target)
        name = self.name_node(target)
        if case is None:
            return f"{name}: the case is closed"
        if not case.jurors:
            return f"{name} is suspected by {_count(len(case.reporters), 'monitor')}; its jury is being drawn"
        panel = await self.chain.read(SEATS, target)
        alive = sum(bool(seat.monitor) for seat in panel.seats) if panel else 0
        misses = sum(miss for _, miss in case.votes)
        return (
            f"{name} is suspected: round {case.round}, {misses} of {len(case.jurors)} jurors miss it, "
            f"{len(case.votes) - misses} see it; {alive} seats watch it"
        )

    async def add_pids(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """On a local network, the processes of each node that runs copies; elsewhere nothing is added."""
        if not self.context.data:
            return rows
        try:
            pids = await ask_control(self.layout.control, "pids")
        except CliError:
            return rows
        return [{**row, "node_pids": pids.get(row["node"], [])} for row in rows]


@asynccontextmanager
async def open_chain(context: Context) -> AsyncIterator[Chain]:
    chain = Chain.connect(context.chain, load_genesis(Path(context.genesis)))
    try:
        yield chain
    finally:
        await chain.close()


@asynccontextmanager
async def open_session(context_name: str | None) -> AsyncIterator[Session]:
    context = load_context(context_name)
    async with open_chain(context) as chain:
        yield Session(context, chain)
        await chain.wait_written()  # else the next command might not see what this one did


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"
