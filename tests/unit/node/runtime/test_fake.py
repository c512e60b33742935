"""The fake passes the part of the contract that needs no processes, and does what tests tell it."""

from __future__ import annotations

from pathlib import Path

import pytest

from fluxcloud.errors import Temporary
from fluxcloud.node.runtime.base import RuntimeConfig
from fluxcloud.node.runtime.fake import FakeRuntime, Program, World
from integration.runtime_contract import (
    EXIT_3,
    KEY,
    POLITE,
    PRINT,
    SERVE,
    STUBBORN,
    Engine,
    RuntimeContract,
    component,
    get_state,
    make_copy,
)

IMAGE = "sha256:" + "1" * 64


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    world.images.add(IMAGE)
    world.programs.update(
        {
            SERVE: Program(serves=b"hello\n"),
            EXIT_3: Program(exit_code=3),
            POLITE: Program(lines=(("out", b"ready"),), stop_code=9),
            STUBBORN: Program(lines=(("out", b"ready"),), stop_code=None),
            PRINT: Program(lines=(("out", b"one"), ("err", b"two"), ("out", b"three"))),
        }
    )
    return world


@pytest.fixture
def engine(tmp_path: Path, world: World) -> Engine:
    config = RuntimeConfig(tmp_path / "node", "node-1", tmp_path / "store")
    return Engine(
        make=lambda: FakeRuntime(config, world), image=IMAGE, leftovers=lambda: [str(key) for key in world.copies]
    )


class TestFake(RuntimeContract):
    async def test_scripted_failures_and_ends(self, engine: Engine, world: World) -> None:
        runtime = engine.make()
        await runtime.create(make_copy(engine, component(engine, "web", POLITE)))
        world.fail_next("start", Temporary("busy"))
        with pytest.raises(Temporary, match="busy"):
            await runtime.start(KEY, "web")
        await runtime.start(KEY, "web")
        world.end(KEY, "web", 137, "oom")
        ended = await get_state(runtime)
        assert (ended.phase, ended.exit_code, ended.reason) == ("exited", 137, "oom")
        assert world.calls == [("create", KEY, ""), ("start", KEY, "web"), ("start", KEY, "web")]
