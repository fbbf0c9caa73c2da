"""Whatever is cancelled whenever: the clone is the old version or the new one, and nothing else is left.

Each seed is one story: an operation, a way to end it, and an instant.  ``TRIO_UPDATE_CANCELLATIONS=300`` tells more of
them than the usual run.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio

from tests.support.upstream import NAME, Bench, Upstream
from trio_update.config import Config, HealthCheck
from trio_update.engine.jobs import Job
from trio_update.engine.manager import Manager
from trio_update.engine.opening import open_manager
from trio_update.errors import ManagerClosed, Refused
from trio_update.model import Outcome

STORIES = int(os.environ.get("TRIO_UPDATE_CANCELLATIONS", "20"))
MINE = "untracked, and mine\n"


@dataclass(frozen=True)
class Scene:
    """A clone that was upgraded once and is behind again; what every story begins with."""

    folder: Path
    upstream: Upstream
    first: str
    second: str
    third: str


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    folder = tmp_path_factory.mktemp("scene")
    upstream = Upstream(folder / "upstream")
    first = upstream.commit({f"lib/{number}.py": "one\n" for number in range(40)}, tag="v1.0")
    path = upstream.clone(folder / "app")
    second = upstream.commit({f"lib/{number}.py": "two\n" for number in range(20)})
    bench = Bench(folder, upstream, path)

    async def make() -> None:
        config = Config(source=folder / "c", apps=(bench.config(),))
        async with open_manager(config, data_path=bench.data_path) as manager:
            await manager.wait_ready()
            assert (await manager.upgrade(NAME)).outcome is Outcome.SUCCEEDED

    trio.run(make)
    third = upstream.commit({f"lib/{number}.py": "three\n" for number in range(10, 40)})
    (path / "mine.txt").write_text(MINE)
    return Scene(folder, upstream, first, second, third)


@dataclass(frozen=True)
class Operation:
    """``start`` begins it; ``goal`` is the commit that it leads to, by the name of a :class:`Scene`'s field."""

    name: str
    start: Callable[[Manager], Awaitable[Job | None]]
    goal: str = "second"
    seconds: float = 0.5
    dirty: bool = False


async def refresh(manager: Manager) -> None:
    await manager.refresh()


async def plan(manager: Manager) -> None:
    await manager.plan()


async def nothing(manager: Manager) -> None:
    """The manager is left while it takes its first look."""


OPERATIONS = (
    Operation("upgrade", lambda manager: manager.start_upgrade(NAME), "third"),
    Operation("full", lambda manager: manager.start_upgrade(None), "third"),
    Operation("rollback", lambda manager: manager.start_rollback(NAME), "first"),
    Operation("soft", lambda manager: manager.start_recover(NAME), dirty=True),
    Operation("hard", lambda manager: manager.start_recover(NAME, hard=True), seconds=0.4),
    Operation("refresh", refresh, seconds=0.2),
    Operation("plan", plan, seconds=0.1),
    Operation("closing", nothing, seconds=0.2),
)
WAYS = ("abort", "leave", "cancel", "forget")


async def tell(manager: Manager, operation: Operation, way: str, seconds: float, host: trio.CancelScope) -> None:
    """Begin the operation, and end it in that way so many seconds later."""
    if operation.name != "closing":
        await manager.wait_ready()
    job = None
    with trio.move_on_after(seconds):
        job = await operation.start(manager)
        if job is not None and way == "forget":
            await job.wait()
        await trio.sleep_forever()
    if way == "cancel":
        host.cancel()
        await trio.sleep_forever()
    elif way == "abort" and job is not None:
        with suppress(Refused):
            await job.abort()
    elif way == "forget" and job is not None:
        assert (await job.wait()).outcome in {Outcome.SUCCEEDED, Outcome.UNCHANGED}


async def outside(calls: trio.Nursery, manager: Manager) -> None:
    """Somebody in a task that the manager's end does not end."""

    async def ask(call: Callable[[], Awaitable[object]]) -> None:
        with suppress(ManagerClosed, Refused):
            await call()

    for call in (manager.plan, manager.refresh, manager.history, manager.wait_ready):
        calls.start_soon(ask, call)


@pytest.mark.parametrize("seed", range(STORIES))
async def test_old_or_new_and_nothing_left(scene: Scene, tmp_path: Path, seed: int) -> None:
    # The operations in turn, so that a short run has each of them; everything else is chance.
    chance = random.Random(seed)
    operation = OPERATIONS[seed % len(OPERATIONS)]
    way = chance.choice(WAYS)
    for name in ("app", "data"):
        shutil.copytree(scene.folder / name, tmp_path / name, symlinks=True)
    bench = Bench(tmp_path, scene.upstream, tmp_path / "app")
    if operation.dirty:
        (bench.path / "main.py").write_text("mine")
    health = HealthCheck(command=("sleep", "0.1"))
    config = Config(source=tmp_path / "c", apps=(bench.config(health=health),))
    with trio.fail_after(60), trio.CancelScope() as host:
        async with trio.open_nursery() as calls, open_manager(config, data_path=bench.data_path) as manager:
            if chance.random() < 0.3:
                calls.start_soon(outside, calls, manager)
            await tell(manager, operation, way, chance.uniform(0, operation.seconds), host)
    expect_old_or_new(scene, bench, operation)
    # Whoever comes next finds nothing to do.
    async with open_manager(config, data_path=bench.data_path) as manager:
        assert all(record.outcome is not Outcome.INTERRUPTED for record in await manager.history())


def expect_old_or_new(scene: Scene, bench: Bench, operation: Operation) -> None:
    main = bench.path / "main.py"
    if operation.dirty and main.read_text() == "mine":
        assert bench.git("diff", "--name-only") == "main.py"
        bench.git("checkout", "main.py")
    elif operation.dirty:
        (patch,) = (bench.data_path / "trio_update" / "saved").rglob("changes.patch")
        assert "+mine" in patch.read_text()
    assert bench.head in {scene.second, getattr(scene, operation.goal)}
    bench.expect_whole(bench.head)
    assert (bench.path / "mine.txt").read_text() == MINE
    bench.expect_tidy()
