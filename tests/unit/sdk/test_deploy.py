"""Deploying against a chain with nodes: steps in order, again, changed, taken, and given up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from factories_chain import SmallChain
from factories_network import ALICE, BOB, open_network, run_network, say_well
from fluxcloud.errors import Rejected
from fluxcloud.images.store import ContentStore
from fluxcloud.ledger.apps.messages import DeleteApp
from fluxcloud.ledger.apps.model import AssignEntry
from fluxcloud.ledger.scheduler.messages import CopyReport
from fluxcloud.sdk.bundle import Bundle, build_hello_bundle
from fluxcloud.sdk.client import Chain, build_trust
from fluxcloud.sdk.deploy import DeployFailed, Deployment, NameTaken, Step
from fluxcloud.sdk.wallet import Wallet


@pytest.fixture
async def chain(tmp_path: Path) -> AsyncIterator[SmallChain]:
    opened = open_network(tmp_path / "chain", requeue_backoff_ms=1, requeue_backoff_ms_max=1)
    yield opened
    opened.close()


@pytest.fixture
def client(chain: SmallChain) -> Chain:
    return Chain(chain.service, build_trust(chain.genesis))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return build_hello_bundle(ContentStore(tmp_path_factory.mktemp("store")))


async def deploy(deployment: Deployment) -> list[Step]:
    async with asyncio.timeout(30):
        return [step async for step in deployment.run()]


def make(client: Chain, bundle: Bundle, wallet: Wallet = ALICE, *, wait_spares: bool = True) -> Deployment:
    return Deployment(client, wallet, bundle, client.chain_id, wait_spares)


async def test_deploy__every_copy_is_told_and_then_the_whole(chain: SmallChain, client: Chain, bundle: Bundle) -> None:
    deployment = make(client, bundle)
    async with run_network(chain, client):
        steps = await deploy(deployment)
    assert steps[0].kind == "accepted"
    assert steps[0].text.startswith("hello is on the ledger in block ")
    assert [step for step in steps if step.kind != "copy"][1:] == [
        Step("running", "every copy runs"), Step("whole", "every spare is ready")
    ]  # fmt: skip
    last = {(step.slot, step.node): step.text for step in steps if step.kind == "copy"}
    assert sorted((slot, text) for (slot, _), text in last.items()) == [
        (-1, "ready"), (0, "running"), (1, "running"), (2, "running")
    ]  # fmt: skip
    assert len({node for _, node in last}) == 4
    assert deployment.view is not None
    assert [placement.slot for _, placement in deployment.view.list_active()] == [0, 1, 2]
    assert deployment.app_id == deployment.view.id


async def test_deploy__again_changes_nothing_and_another_spec_is_a_revision(
    chain: SmallChain, client: Chain, bundle: Bundle
) -> None:
    async with run_network(chain, client):
        first = make(client, bundle)
        await deploy(first)
        again = make(client, bundle)
        steps = await deploy(again)
        assert [step.text for step in steps if step.kind != "copy"] == [
            "hello is unchanged, revision 1", "every copy runs", "every spare is ready"
        ]  # fmt: skip
        assert again.app_id == first.app_id
        changed = replace(bundle, spec=msgspec.structs.replace(bundle.spec, description="another text"))
        steps = await deploy(make(client, changed))
        assert steps[0].text.startswith("hello has a new revision in block ")


async def test_deploy__spares_are_waited_for_only_if_asked(chain: SmallChain, client: Chain, bundle: Bundle) -> None:
    def say_actives(entry: AssignEntry) -> CopyReport | None:
        return say_well(entry) if entry.role == "active" else None

    async with run_network(chain, client, say_actives):
        steps = await deploy(make(client, bundle, wait_spares=False))
    assert steps[-1] == Step("whole", "spares follow")


async def test_deploy__name_is_free_again_for_its_owner_only(chain: SmallChain, client: Chain, bundle: Bundle) -> None:
    async with run_network(chain, client):
        first = make(client, bundle)
        await deploy(first)
        with pytest.raises(NameTaken) as taken:
            await deploy(make(client, bundle, BOB))
        assert taken.value.code == "sdk/5"
        await client.submit((DeleteApp(first.app_id),), ALICE)
        with pytest.raises(Rejected) as kept:
            await deploy(make(client, bundle, BOB))
        assert kept.value.code.startswith("apps/")


async def test_deploy__is_given_up_where_a_slot_is_held(chain: SmallChain, client: Chain, bundle: Bundle) -> None:
    def say_failing(entry: AssignEntry) -> CopyReport | None:
        if entry.slot != 1:
            return say_well(entry)
        return CopyReport(entry.app, entry.generation, "failed", "exit", "code 3 after 10 ms")

    deployment = make(client, bundle)
    async with run_network(chain, client, say_failing):
        with pytest.raises(DeployFailed) as failed:
            await deploy(deployment)
    assert failed.value.code == "sdk/6"
    assert str(failed.value) == "hello/main slot 1 is held: exit: code 3 after 10 ms"
    assert failed.value.hint == "fluxcloud logs hello"


async def test_deploy__that_is_cancelled_leaves_no_task(chain: SmallChain, client: Chain, bundle: Bundle) -> None:
    async with run_network(chain, client, lambda entry: None):
        before = asyncio.all_tasks()
        task = asyncio.create_task(deploy(make(client, bundle)))
        while len(asyncio.all_tasks() - before) < 5:  # it and a push to each of four nodes
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0)
        assert asyncio.all_tasks() - before == set()
