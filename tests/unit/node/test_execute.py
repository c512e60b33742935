"""Outcomes of steps: whose fault a failure is; and the executor's order of steps."""

from __future__ import annotations

import asyncio
import errno

import pytest

from fluxcloud.errors import Permanent, Rejected, Temporary
from fluxcloud.images.errors import StoreFull
from fluxcloud.node.copyspec import build_copy_spec
from fluxcloud.node.execute import Executor, Outcome, compute_outcome
from fluxcloud.node.model import Action, Create, Fetch, Prepare, Remove, Start, Stop

from .builders import make_copy, make_key

KEY = make_key()
FETCH, PREPARE = Fetch(KEY, ()), Prepare(KEY, ("sha256:00",))
CREATE, START = Create(KEY, build_copy_spec(make_copy())), Start(KEY, KEY, ("a", "b"))


def caused_by(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("action", "error", "reason", "is_final"),
    [
        (FETCH, Permanent("image_unavailable"), "image_pull", True),
        (FETCH, Rejected("bad manifest"), "image_pull", True),
        (FETCH, Temporary("away"), "image_pull", False),
        (FETCH, StoreFull("full"), "disk", True),
        (PREPARE, Rejected("bad layer"), "image_pull", True),
        (PREPARE, caused_by(Permanent("bad layer"), Rejected("bad layer")), "image_pull", True),
        (PREPARE, Permanent("nothing can run here"), "engine", True),
        (PREPARE, Temporary("busy"), "engine", False),
        (PREPARE, caused_by(Temporary("can't unpack"), FULL), "disk", True),
        (CREATE, Permanent("no user namespaces"), "engine", True),
        (CREATE, FULL, "disk", True),
        (START, Permanent("no such file"), "exit", True),
        (START, Temporary("away"), "engine", False),
        (START, KeyError("a fault of the driver"), "engine", False),
    ],
)
def test_failure__has_a_reason_that_fixes_the_blame(
    action: Action, error: Exception, reason: str, is_final: bool
) -> None:
    outcome = compute_outcome(action, error)
    assert (outcome.reason, outcome.is_final) == (reason, is_final)


class Engine:
    """Notes calls; `gate` holds every call until it is opened."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []
        self.gate = asyncio.Event()

    async def note(self, *call: object) -> None:
        self.calls.append(call)
        await self.gate.wait()

    async def prepare(self, image: str) -> None:
        await self.note("prepare", image)

    async def create(self, copy: object) -> None:
        await self.note("create")

    async def start(self, key: object, component: str) -> None:
        await self.note("start", component)

    async def stop(self, key: object, component: str, *, grace_s: float) -> None:
        await self.note("stop", component, grace_s)

    async def remove(self, key: object) -> None:
        await self.note("remove")

    async def fetch(self, app: object, images: object) -> None:
        await self.note("fetch")


def make_executor() -> tuple[Engine, Executor, asyncio.Queue[Outcome]]:
    engine: Engine = Engine()
    outcomes: asyncio.Queue[Outcome] = asyncio.Queue()
    return engine, Executor(engine, engine, outcomes.put_nowait), outcomes  # type: ignore[arg-type]


async def test_one_step_at_a_time_per_copy__copies_side_by_side() -> None:
    engine, executor, outcomes = make_executor()
    other = Remove(make_key(2), make_key(2))
    executor.apply([START, other])
    await asyncio.sleep(0)
    executor.apply([START, other])
    assert (executor.get_stage(KEY), executor.get_stage(make_key(2))) == ("starting", "removing")
    engine.gate.set()
    assert {(await outcomes.get()).action for _ in range(2)} == {START, other}
    assert engine.calls == [("start", "a"), ("remove",), ("start", "b")]
    assert executor.get_stage(KEY) == ""


async def test_stop__of_all_components_at_once() -> None:
    engine, executor, outcomes = make_executor()
    executor.apply([Stop(KEY, KEY, ("a", "b"), 7)])
    async with asyncio.timeout(5):
        while len(engine.calls) < 2:
            await asyncio.sleep(0)
    engine.gate.set()
    assert (await outcomes.get()).reason is None
    assert engine.calls == [("stop", "a", 7), ("stop", "b", 7)]


async def test_fetching__is_given_up_when_the_plan_wants_something_else() -> None:
    engine, executor, outcomes = make_executor()
    executor.apply([FETCH])
    await asyncio.sleep(0)
    executor.apply([])
    async with asyncio.timeout(5):
        while executor.get_stage(KEY):
            await asyncio.sleep(0)
    assert (engine.calls, outcomes.empty()) == ([("fetch",)], True)


async def test_prepared_images__are_remembered() -> None:
    engine, executor, outcomes = make_executor()
    engine.gate.set()
    executor.apply([PREPARE])
    await outcomes.get()
    assert executor.prepared == {"sha256:00"}
    await executor.close()
