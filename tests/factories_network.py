"""A small chain with nodes on it, and agents that say what a test wants them to say of their copies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from factories import make_genesis, make_key, make_node
from factories_chain import PARAMS, TIP_LINKS, SmallChain, open_chain, run_blocks
from fluxcloud.chain.home import init_home
from fluxcloud.ids import NodeId
from fluxcloud.ledger.apps.model import ASSIGN, AssignEntry
from fluxcloud.ledger.genesis import Genesis
from fluxcloud.ledger.nodes.model import Endpoint
from fluxcloud.ledger.scheduler.messages import CopyReport, NodeReport
from fluxcloud.sdk.client import Chain
from fluxcloud.sdk.wallet import Wallet

ALICE, BOB = Wallet(make_key("alice")), Wallet(make_key("bob"))

Say = Callable[[AssignEntry], CopyReport | None]


def open_network(home: Path, nodes: int = 4, **params: Any) -> SmallChain:
    """A chain whose genesis has nodes, each of its own operator, at addresses where nobody listens."""
    validator = init_home(home, TIP_LINKS)
    genesis: Genesis = make_genesis(nodes=nodes, preset=PARAMS, **params)
    listed = tuple(make_node(k, k, genesis.params, endpoint=make_silent_endpoint(k)) for k in range(1, nodes + 1))
    opened = open_chain(home, msgspec.structs.replace(genesis, nodes=listed, validators=(validator,)))
    opened.step()
    return opened


def make_silent_endpoint(k: int) -> Endpoint:
    return Endpoint(f"127.98.{k}.1", 16_127, 16_128, 16_129, 20_000)


def say_well(entry: AssignEntry) -> CopyReport | None:
    """Actives run and standbys are ready, at once."""
    if entry.phase != "assigned":
        return None
    return CopyReport(entry.app, entry.generation, "ready" if entry.role == "standby" else "running")


@asynccontextmanager
async def run_network(chain: SmallChain, client: Chain, say: Say = say_well) -> AsyncIterator[None]:
    """Blocks, and one agent a node that reports what `say` makes of its assignment."""
    nodes = enumerate(chain.genesis.nodes, 1)
    agents = [asyncio.create_task(_run_agent(chain, client, NodeId(node.id), k, say)) for k, node in nodes]
    try:
        async with run_blocks(chain):
            yield
    finally:
        for agent in agents:
            agent.cancel()
        await asyncio.gather(*agents, return_exceptions=True)


async def _run_agent(chain: SmallChain, client: Chain, node_id: NodeId, k: int, say: Say) -> None:
    while True:
        assign = chain.app.state.get(ASSIGN, node_id)
        said = (say(entry) for entry in assign.entries) if assign else ()
        reports = tuple(report for report in said if report is not None)
        if reports:
            await client.submit_role(node_id, make_key(f"hot/{k}"), "report", (NodeReport(reports),))
        await asyncio.sleep(0.01)
