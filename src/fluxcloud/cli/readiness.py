"""When a local network is ready, and what its nodes run copies with."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from pathlib import Path

from ..errors import FluxCloudError
from ..ids import AppId
from ..images.store import ContentStore
from ..ledger.apps.model import NAMES
from ..ledger.nodes.model import NODES
from ..sdk.apps import find_app, read_app
from ..sdk.bundle import build_hello_bundle
from ..sdk.deploy import Deployment
from .context import read_context
from .layout import Layout
from .session import Session, open_chain
from .visit import count_answers

HELLO = "hello"
POLL_S = 0.05


async def wait_network(layout: Layout) -> None:
    """Until the ledger makes blocks and every node is active."""
    context = read_context(layout.context)
    async with open_chain(context) as chain:
        while True:
            try:
                status = await chain.status()
                states = [node.state for _, node in await chain.scan(NODES)]
                if status.height >= 2 and set(states) <= {"active", "retired", "draining", "drained"}:
                    return
            except FluxCloudError:
                pass  # not up yet; whoever waits has a deadline
            await asyncio.sleep(POLL_S)


async def wait_hello(layout: Layout) -> None:
    """Deploy the hello app where it was never deployed, and wait until it is served."""
    context = read_context(layout.context)
    async with open_chain(context) as chain:
        session = Session(context, chain)
        if await chain.read(NAMES, HELLO) is None:
            await _deploy_hello(session)
        app = await find_app(chain, HELLO)
        if app.status != "active":
            return  # its owner deleted it
        view = await read_app(chain, AppId(app.id))
        wanted = min(3, sum(group.replicas for group in view.groups.values()))
        nodes: set[str] = set()
        while len(nodes) < wanted:
            await count_answers(session, HELLO, nodes)
            await asyncio.sleep(POLL_S)


async def _deploy_hello(session: Session) -> None:
    with tempfile.TemporaryDirectory(prefix="fluxcloud-hello-") as folder:
        bundle = await asyncio.to_thread(build_hello_bundle, ContentStore(Path(folder)))
        status = await session.chain.status()
        async for _ in Deployment(session.chain, session.wallet, bundle, status.chain_id).run():
            pass


def describe_engine(engine: str) -> tuple[bool, str]:
    """Whether copies get all the isolation this engine has, and a line that says which."""
    if engine == "docker":
        return True, "docker (containers, hard limits)"
    if shutil.which("bwrap") is None:
        return False, "none: hello only, as a plain process (apt-get install bubblewrap)"
    if os.geteuid() == 0:
        return True, "oci (bubblewrap, own uids, cgroup limits)"
    return False, "oci (bubblewrap, user namespace): limits are soft, no disk quota"
