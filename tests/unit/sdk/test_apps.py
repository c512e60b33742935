"""Apps found by name and id, and what a view of one says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec.structs import replace as change

from factories_chain import SmallChain
from factories_network import ALICE, open_network, run_network
from fluxcloud.errors import Rejected
from fluxcloud.ids import AppId, render_app
from fluxcloud.images.store import ContentStore
from fluxcloud.ledger.apps.model import Slot
from fluxcloud.sdk.apps import AppNotFound, AppView, find_app, find_view, read_app
from fluxcloud.sdk.bundle import build_hello_bundle
from fluxcloud.sdk.client import Chain, build_trust
from fluxcloud.sdk.deploy import Deployment


@pytest.fixture
async def chain(tmp_path: Path) -> AsyncIterator[SmallChain]:
    opened = open_network(tmp_path / "chain")
    yield opened
    opened.close()


@pytest.fixture
def client(chain: SmallChain) -> Chain:
    return Chain(chain.service, build_trust(chain.genesis))


@pytest.fixture
async def view(chain: SmallChain, client: Chain, tmp_path: Path) -> AppView:
    deployment = Deployment(client, ALICE, build_hello_bundle(ContentStore(tmp_path / "store")), client.chain_id)
    async with run_network(chain, client):
        async for _ in deployment.run():
            pass
    assert deployment.view is not None
    return deployment.view


async def test_find__by_name_and_by_id(client: Chain, view: AppView) -> None:
    found = await find_app(client, "hello")
    assert (found.name, found.owner, found.status) == ("hello", ALICE.address, "active")
    assert await find_app(client, render_app(view.id)) == found
    assert (await find_view(client, "hello")).id == view.id


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("shop", "no app is named 'shop'"),
        ("app1", "no app is named 'app1'"),
        ("ladé", "no app is named 'ladé'"),
        ("x" * 41, f"no app is named '{'x' * 40}…'"),
    ],
)
async def test_find__unknown_name(client: Chain, text: str, shown: str) -> None:
    with pytest.raises(AppNotFound) as error:
        await find_app(client, text)
    assert (str(error.value), error.value.code) == (shown, "sdk/4")


async def test_find__unknown_and_broken_ids(client: Chain) -> None:
    nobody = AppId(bytes(20))
    with pytest.raises(AppNotFound, match=f"no app '{render_app(nobody)}'"):
        await find_app(client, render_app(nobody))
    with pytest.raises(AppNotFound, match="the app is gone"):
        await read_app(client, nobody)
    with pytest.raises(Rejected) as error:
        await find_app(client, render_app(nobody)[:-1] + "!")
    assert error.value.code == "ids/1"


async def test_view__all_records_of_one_app(view: AppView) -> None:
    assert view.spec.name == "hello"
    assert [(p.group, p.slot) for _, p in view.list_active()] == [("main", 0), ("main", 1), ("main", 2)]
    assert view.routes is not None
    assert {copy.generation for copy in view.routes.copies} == {gen for gen, _ in view.list_active()}


async def test_view__running_and_whole(view: AppView) -> None:
    (group,) = view.groups.values()
    assert (view.is_running, view.is_whole) == (True, True)
    without_spare = replace(view, groups={"main": change(group, spares=(Slot("queued"),))})
    assert (without_spare.is_running, without_spare.is_whole) == (True, False)
    queued = replace(view, groups={"main": change(group, slots=(Slot("queued"), *group.slots[1:]))})
    assert (queued.is_running, queued.is_whole) == (False, False)
    deleted = replace(view, app=change(view.app, status="deleted"))
    assert (deleted.is_running, deleted.is_whole) == (True, False)
    assert not replace(view, groups={}).is_running
