"""Role lanes through the client: numbers that only rise, one message in flight, sent anew where no block takes it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from factories import make_genesis, make_key
from factories_chain import PARAMS, TIP_LINKS, SmallChain, open_chain, run_blocks
from fluxcloud.chain.home import init_home
from fluxcloud.errors import Rejected, Temporary
from fluxcloud.ids import NodeId
from fluxcloud.ledger.genesis import Genesis
from fluxcloud.ledger.liveness.messages import Observation, Observe
from fluxcloud.ledger.liveness.model import DUTY, LIVENESS_CLOCK
from fluxcloud.ledger.module import Message
from fluxcloud.ledger.nodes.model import LANES
from fluxcloud.sdk.client import Chain, build_trust

HOT = make_key("hot/1")


@pytest.fixture
async def chain(tmp_path: Path) -> AsyncIterator[SmallChain]:
    home = tmp_path / "chain"
    validator = init_home(home, TIP_LINKS)
    genesis: Genesis = msgspec.structs.replace(make_genesis(nodes=4, preset=PARAMS), validators=(validator,))
    opened = open_chain(home, genesis)
    opened.step()
    yield opened
    opened.close()


@pytest.fixture
def client(chain: SmallChain) -> Chain:
    return Chain(chain.service, build_trust(chain.genesis))


@pytest.fixture
def node_id(chain: SmallChain) -> NodeId:
    return NodeId(chain.genesis.nodes[0].id)


def make_sighting(chain: SmallChain, node_id: NodeId) -> Message:
    """What the node was asked for: that one of its targets answers."""
    duty, clock = chain.app.state.get(DUTY, node_id), chain.app.state.get(LIVENESS_CLOCK, "")
    assert duty is not None
    assert clock is not None
    return Observe(clock.epoch, (Observation(duty.targets[0], False, 1),))


async def test_numbers_rise_and_lanes_are_apart(chain: SmallChain, client: Chain, node_id: NodeId) -> None:
    sighting = make_sighting(chain, node_id)
    seqs = []
    async with run_blocks(chain):
        for _ in range(3):
            done = await client.submit_role(node_id, HOT, "watch", (sighting,))
            assert done.height > 0
            state = chain.app.state.get(LANES, (node_id, "watch"))
            assert state is not None
            seqs.append(state.last_seq)
    assert seqs == sorted(set(seqs))
    assert chain.app.state.get(LANES, (node_id, "report")) is None


async def test_another_agent_of_the_same_node(chain: SmallChain, node_id: NodeId) -> None:
    """A number that was used up by somebody else (the agent before a restart) is found out and passed."""
    sighting = make_sighting(chain, node_id)
    old, new = (Chain(chain.service, build_trust(chain.genesis)) for _ in range(2))
    async with run_blocks(chain):
        await new.submit_role(node_id, HOT, "watch", (sighting,))
        await old.submit_role(node_id, HOT, "watch", (sighting,))
        await new.submit_role(node_id, HOT, "watch", (sighting,))


async def test_sent_anew_where_no_block_takes_it(
    chain: SmallChain, client: Chain, node_id: NodeId, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fluxcloud.sdk.submitting.ROLE_WAIT_BLOCKS", 0.1)
    with pytest.raises(Temporary, match="no block took the node's watch message within 4 tries"):
        await client.submit_role(node_id, HOT, "watch", (make_sighting(chain, node_id),))
    assert chain.mempool.count("watch") == 1, "the newest took the place of the older ones"
    chain.step()
    assert chain.mempool.count("watch") == 0


async def test_invalid__refused_before_any_block(chain: SmallChain, client: Chain, node_id: NodeId) -> None:
    sighting = make_sighting(chain, node_id)
    with pytest.raises(Rejected) as stranger:
        await client.submit_role(node_id, make_key("hot/2"), "watch", (sighting,))
    assert stranger.value.code == "tx/12"
    with pytest.raises(Rejected) as lane:
        await client.submit_role(node_id, HOT, "report", (sighting,))
    assert lane.value.code == "tx/6"
    with pytest.raises(Rejected) as unasked:
        await client.submit_role(node_id, HOT, "watch", (Observe(0, (Observation(node_id, True, 1),)),))
    assert unasked.value.code == "tx/21"


async def test_one_in_flight_per_lane(chain: SmallChain, client: Chain, node_id: NodeId) -> None:
    sighting = make_sighting(chain, node_id)
    async with run_blocks(chain):
        done = await asyncio.gather(*(client.submit_role(node_id, HOT, "watch", (sighting,)) for _ in range(3)))
    assert len({submitted.height for submitted in done}) == 3
