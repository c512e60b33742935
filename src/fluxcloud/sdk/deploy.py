"""Deploying: register (or update) an app, push its images to the nodes it was given, wait until it serves.

Nothing is lost if the caller goes away: the ledger has the app, the nodes take blobs from each other, and deploying the
same bundle again goes on where this stopped. Source: APPS.md 4.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Literal

from ..codec import encode
from ..errors import FluxCloudError, Permanent, Rejected, Temporary
from ..ids import AppId, NodeId
from ..images.errors import StoreFull
from ..ledger.apps.messages import AppRegistered, RegisterApp, UpdateApp
from ..ledger.apps.model import APPS, NAMES, REVISIONS, App, Placement
from ..ledger.nodes.model import NODES
from .apps import AppView, read_app
from .bundle import Bundle
from .client import Chain
from .nodes import NodeClient
from .sessions import CapSigner
from .wallet import Wallet

POLL_S = 0.1
PUSH_TRIES = 5
OWN_FAULTS = ("exit", "oom", "health")
"""Reasons for which a copy's own output says more."""


@dataclass(frozen=True, slots=True)
class Step:
    """What a deployment is at. `stage` of a copy: assigned, pushing, pushed, running, failed, waiting."""

    kind: Literal["accepted", "copy", "running", "whole"]
    text: str
    group: str = ""
    slot: int = -1
    node: bytes = b""


class NameTaken(Rejected):
    """Another account has an app of this name."""

    CODE = "sdk/5"


@dataclass
class Deployment:
    """One deployment under way. `run` yields steps; afterwards `view` is what came of it."""

    chain: Chain
    wallet: Wallet
    bundle: Bundle
    chain_id: str
    wait_spares: bool = True
    get_signer: Callable[[App], CapSigner] | None = None  # signs for the app towards nodes; the wallet where None
    app_id: AppId = field(default=AppId(b""), init=False)
    view: AppView | None = field(default=None, init=False)
    _pushes: dict[tuple[bytes, str], asyncio.Task[None]] = field(default_factory=dict, init=False)
    _said: dict[int, str] = field(default_factory=dict, init=False)

    async def run(self) -> AsyncIterator[Step]:
        """Until every slot runs, and (unless told not to) every spare is ready.

        Raises Rejected where the ledger refuses, Permanent where a copy can't run. The caller bounds the time.
        """
        yield Step("accepted", await self._register())
        has_run = False
        try:
            while True:
                self.view = await read_app(self.chain, self.app_id)
                for step in self._look(self.view):
                    yield step
                if self.view.is_running and not has_run:
                    has_run = True
                    yield Step("running", "every copy runs")
                if self.view.is_whole or (has_run and not self.wait_spares):
                    yield Step("whole", "every spare is ready" if self.view.is_whole else "spares follow")
                    return
                await asyncio.sleep(POLL_S)
        finally:
            await self._end_pushes()

    async def _register(self) -> str:
        spec = encode(self.bundle.spec)
        name = await self.chain.read(NAMES, self.bundle.spec.name)
        existing: App | None = None
        if name is not None:
            existing = await self.chain.read(APPS, AppId(name.app))
        if existing is None or existing.status != "active":
            message = RegisterApp(spec=spec, sealed=b"", images=self.bundle.images)
            receipt = await self.chain.submit((message,), self.wallet)
            self.app_id = AppId(next(event.app for event in receipt.events if isinstance(event, AppRegistered)))
            return f"{self.bundle.spec.name} is on the ledger in block {receipt.height}"
        if existing.owner != self.wallet.address:
            raise NameTaken(f"{existing.name!r} is another account's app", hint="choose another name")
        self.app_id = AppId(existing.id)
        if await self._is_current(existing, spec):
            return f"{existing.name} is unchanged, revision {existing.revision}"
        update = UpdateApp(app=self.app_id, spec=spec, sealed=b"", images=self.bundle.images)
        receipt = await self.chain.submit((update,), self.wallet)
        return f"{existing.name} has a new revision in block {receipt.height}"

    async def _is_current(self, app: App, spec: bytes) -> bool:
        revision = await self.chain.read(REVISIONS, (AppId(app.id), app.revision))
        return revision is not None and (revision.public, revision.images) == (spec, self.bundle.images)

    def _look(self, view: AppView) -> list[Step]:
        """Begin the pushes that placements need, and tell what changed since the last look."""
        steps = []
        for generation, placement in view.placements.items():
            if placement.phase == "assigned":
                self._begin_pushes(placement, view.app)
            stage = self._stage(placement)
            if self._said.get(generation) != stage:
                self._said[generation] = stage
                steps.append(Step("copy", stage, placement.group, placement.slot, placement.node))
        self._raise_if_hopeless(view)
        return steps

    def _stage(self, placement: Placement) -> str:
        if placement.phase == "assigned":
            tasks = [task for (node, _), task in self._pushes.items() if node == placement.node]
            return "starting" if all(task.done() for task in tasks) else "sending the image"
        return f"{placement.phase}: {placement.reason}" if placement.reason else placement.phase

    def _begin_pushes(self, placement: Placement, app: App) -> None:
        for digest, blobs in self.bundle.list_digests():
            key = (placement.node, digest)
            if key not in self._pushes:
                self._pushes[key] = asyncio.create_task(self._push(NodeId(placement.node), app, blobs))

    async def _push(self, node_id: NodeId, app: App, blobs: tuple[str, ...]) -> None:
        """Send the blobs to one node; a node that can't be reached, or has no room, is the ledger's to replace."""
        node = await self.chain.read(NODES, node_id)
        if node is None:
            return
        signer = self.get_signer(app) if self.get_signer else self.wallet
        for attempt in range(PUSH_TRIES):
            try:
                async with NodeClient(self.chain_id, node, app, signer) as client:
                    for blob in blobs:
                        await client.push_blob(blob, self.bundle.store.path(blob))
                return
            except Temporary:
                await asyncio.sleep(0.2 * 2**attempt)
            except Rejected as error:
                if error.code != StoreFull.CODE:
                    raise
                return  # the node will say so to the ledger, and its copy goes elsewhere

    def _raise_if_hopeless(self, view: AppView) -> None:
        """Give up where a slot is held (the app's own fault) or a push was refused."""
        for name, group in view.groups.items():
            for index, slot in enumerate(group.slots):
                if slot.state == "held":
                    is_apps_own = slot.reason.partition(":")[0] in OWN_FAULTS
                    hint = f"fluxcloud {'logs' if is_apps_own else 'app explain'} {view.app.name}"
                    raise DeployFailed(f"{view.app.name}/{name} slot {index} is held: {slot.reason}", hint=hint)
        for task in self._pushes.values():
            error = task.exception() if task.done() and not task.cancelled() else None
            if isinstance(error, FluxCloudError):
                raise Permanent(f"an image could not be sent: {error}") from error
            if error is not None:
                raise error

    async def _end_pushes(self) -> None:
        for task in self._pushes.values():
            task.cancel()
        await asyncio.gather(*self._pushes.values(), return_exceptions=True)


class DeployFailed(Rejected):
    """The app's copies can't run; the reason is the app's own."""

    CODE = "sdk/6"
