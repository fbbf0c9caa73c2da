"""Apps are looked after while nothing else goes on, once a day, and never in anybody's way."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
import trio.testing

import trio_update as tu
from tests.support.upstream import Bench, Upstream, git
from trio_update.config import AppConfig
from trio_update.engine import upkeep
from trio_update.host.git import upkeep as git_upkeep
from trio_update.progress import Report
from trio_update.updaters.base import Decision, Prepared, Request, Target, Tools, WorkArea
from trio_update.updaters.kinds import Kind

NAME = tu.AppName("app")
DAY = 24 * 3600.0


class KeptConfig(AppConfig, frozen=True, kw_only=True, tag="kept"):
    pass


class KeptStatus(tu.AppStatus, frozen=True, kw_only=True, tag="kept"):
    pass


class Nothing(msgspec.Struct, frozen=True, kw_only=True, tag="kept.nothing"):
    reversible: bool = True

    async def apply(self, tools: Tools, report: Report) -> None: ...

    async def settle(self, tools: Tools, report: Report) -> None: ...

    async def discard(self, tools: Tools, report: Report) -> None: ...


@dataclass
class Kept:
    """An app whose upkeep does what ``story`` says; ``diary`` has what happened."""

    config: KeptConfig
    story: dict[str, Any]
    diary: list[str]

    def initial(self) -> KeptStatus:
        return KeptStatus(name=NAME, channel=self.config.channel)

    async def tidy(self) -> tuple[str, ...]:
        return ()

    async def inspect(self, known: tu.AppStatus) -> KeptStatus:
        return self.initial()

    async def check(self, known: tu.AppStatus) -> KeptStatus:
        self.diary.append("check")
        return self.initial()

    async def decide(self, request: Request, known: tu.AppStatus, *, fetch: Report | None = None) -> Decision:
        plan = tu.Plan(name=NAME, up_to_date=False, from_version="1", to_version="2")
        return Decision(request=request, known=known, plan=plan)

    async def prepare(self, decision: Decision, area: WorkArea, report: Report) -> Prepared:
        self.diary.append("job")
        if (event := self.story.get("job")) is not None:
            await event.wait()
        return Prepared(Target("1"), Target("2"), effects=(Nothing(),))

    async def upkeep(self, report: Report) -> tuple[str, ...]:
        self.diary.append("begin")
        try:
            if self.story.get("lasts"):
                await trio.sleep_forever()
            if error := self.story.get("raises"):
                raise error
        finally:
            self.diary.append("end")
        done: tuple[str, ...] = self.story.get("done", ())
        return done


@dataclass
class House:
    """What the tests have of an app: its diary, and a clock that they move."""

    folder: Path
    story: dict[str, Any] = field(default_factory=dict)
    diary: list[str] = field(default_factory=list)
    time: float = 1_800_000_000.0

    @asynccontextmanager
    async def manager(self, **options: Any) -> AsyncIterator[tu.Manager]:
        def make(config: KeptConfig, tools: Tools) -> Kept:
            return Kept(config, self.story, self.diary)

        kind = Kind(config=KeptConfig, status=KeptStatus, options={}, effects=lambda: (Nothing,), make=make)
        (self.folder / "app").mkdir(exist_ok=True)
        config = tu.Config(apps=(KeptConfig(name=NAME, path=self.folder / "app"),))
        opened = tu.open_manager(
            config, data_path=self.folder / "data", kinds=[kind], clock=lambda: self.time, **options
        )
        with trio.fail_after(30):
            async with opened as manager:
                await manager.wait_ready()
                yield manager

    async def until(self, what: str, count: int = 1) -> None:
        with trio.fail_after(10):
            while self.diary.count(what) < count:  # noqa: ASYNC110 - it is written by what knows no Trio
                await trio.sleep(0.01)


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    monkeypatch.setattr(upkeep, "_TICK", 0.05)
    return House(tmp_path)


@pytest.fixture(autouse=True)
def told(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.INFO, "trio_update.engine.upkeep"):
        yield caplog


def lines(told: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in told.records if record.name == "trio_update.engine.upkeep"]


async def test_it_is_done_once_a_day_also_across_starts(house: House, told: pytest.LogCaptureFixture) -> None:
    async with house.manager():
        await house.until("end")
        await trio.sleep(0.3)
    house.time += DAY - 10
    async with house.manager():
        await trio.sleep(0.3)
        assert house.diary.count("begin") == 1
        house.time += 20
        await house.until("end", 2)
    # It had nothing to do.
    assert lines(told) == []


async def test_what_was_done_is_one_line_of_the_log(house: House, told: pytest.LogCaptureFixture) -> None:
    house.story["done"] = ("Packed this", "packed that")
    async with house.manager():
        await house.until("end")
        await trio.sleep(0.3)
    assert lines(told) == ["app was looked after: Packed this; packed that"]


@pytest.mark.parametrize("error", [tu.OperationFailed("the disk is full"), KeyError("bug")])
async def test_a_failure_is_told_once_a_day_and_harms_nobody(
    house: House, told: pytest.LogCaptureFixture, error: Exception
) -> None:
    house.story["raises"] = error
    async with house.manager() as manager:
        await house.until("end")
        await trio.sleep(0.3)
        assert manager.status().version_info[NAME].warnings == ()
    (line,) = lines(told)
    assert line.startswith("app was not looked after")


async def test_a_job_ends_it_at_once_and_none_begins_while_a_job_runs(house: House) -> None:
    house.story |= {"lasts": True, "job": trio.Event()}
    async with house.manager() as manager:
        await house.until("begin")
        job = await manager.start_upgrade(NAME)
        await house.until("job")
        assert house.diary == ["check", "begin", "end", "job"]
        await trio.sleep(0.3)
        assert house.diary.count("begin") == 1
        house.story["job"].set()
        assert (await job.wait()).outcome is tu.Outcome.SUCCEEDED
        # It had no turn, and gets it later.
        await house.until("begin", 2)


async def test_a_refresh_ends_it_and_is_not_kept_waiting(house: House) -> None:
    house.story["lasts"] = True
    async with house.manager() as manager:
        await house.until("begin")
        with trio.fail_after(2):
            await manager.refresh(None)
        assert house.diary[:4] == ["check", "begin", "end", "check"]


async def test_the_end_of_the_manager_ends_it(house: House) -> None:
    house.story["lasts"] = True
    async with house.manager():
        await house.until("begin")
    assert house.diary[-1] == "end"


async def test_the_host_can_put_it_off(house: House) -> None:
    asked: list[tu.Step] = []
    printing = True

    async def may_update(app: tu.AppName | None, step: tu.Step) -> str | None:
        asked.append(step)
        return "A print is running" if printing and step is tu.Step.UPKEEP else None

    async with house.manager(may_update=may_update):
        await trio.sleep(0.4)
        assert tu.Step.UPKEEP in asked
        assert "begin" not in house.diary
        printing = False
        await house.until("end")


async def test_a_clone_that_is_updated_for_years_is_packed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: pytest.LogCaptureFixture
) -> None:
    upstream = Upstream(tmp_path / "upstream")
    upstream.commits(2)
    bench = Bench(tmp_path, upstream, upstream.clone(tmp_path / "app"))
    for _ in range(8):
        upstream.commit()
        git(bench.path, "fetch", "-q", "origin")
    monkeypatch.setattr(upkeep, "_TICK", 0.05)
    monkeypatch.setattr(git_upkeep.maintain, "__kwdefaults__", {"limits": git_upkeep.Limits(5, 2, 50), "seconds": 60.0})
    async with bench.manager() as manager:
        await manager.wait_ready()
        with trio.fail_after(20):
            while not lines(told):  # noqa: ASYNC110 - as logging knows no Trio
                await trio.sleep(0.05)
    assert git_upkeep.measure(bench.path / ".git").loose == 0
    assert "app was looked after: Packed" in lines(told)[0]
    git(bench.path, "fsck", "--strict")
