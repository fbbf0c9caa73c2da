"""May I?  What the host is asked, when, and what a no does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from tests.engine.conftest import Printer, Site
from tests.support.releases import ReleaseSite, behind
from tests.support.upstream import Bench, Upstream
from trio_update.config import Config, HealthCheck
from trio_update.demo.github.server import GitHub, serve_github
from trio_update.engine.opening import open_manager
from trio_update.errors import OperationFailed, Reason, Refused
from trio_update.model import AppName, Outcome, Step

NO = "A print is running"


@dataclass
class Closing:
    """Says no from ``step`` on, as a print does that begins in the middle."""

    step: Step
    app: str | None = None
    closed: bool = False
    asked: list[tuple[AppName | None, Step]] = field(default_factory=list)

    async def __call__(self, app: AppName | None, step: Step) -> str | None:
        self.asked.append((app, step))
        self.closed = self.closed or (step is self.step and self.app in {None, app})
        return NO if self.closed else None


@dataclass
class Recorder:
    """A service manager that only remembers."""

    manages = True
    restarted: list[str] = field(default_factory=list)

    async def restart(self, name: str) -> None:
        self.restarted.append(name)

    async def is_active(self, name: str) -> bool:
        return True


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    upstream = Upstream(tmp_path / "upstream")
    upstream.commit(tag="v1.0")
    path = upstream.clone(tmp_path / "app")
    upstream.commits(3)
    return Bench(tmp_path, upstream, path)


async def test_the_host_is_asked_before_each_step(site: Site) -> None:
    await site.add("one")
    await site.add("two")
    one, two = AppName("one"), AppName("two")
    printer = Printer()
    async with site.manager(may_update=printer, refresh=False) as (manager, _):
        # The start looks for what is due by itself.
        await trio.testing.wait_all_tasks_blocked(0.05)
        await manager.refresh("one")
        assert printer.asked[-1] == (one, Step.REFRESH)
        printer.asked.clear()
        await manager.upgrade("one")
        assert printer.asked == [(one, Step.ADMISSION), (one, Step.SWITCH)]
        printer.asked.clear()
        await manager.upgrade(None)
        # There is nothing to do for the first: nothing of it is switched.
        assert printer.asked == [(None, Step.ADMISSION), (one, Step.APP), (two, Step.APP), (two, Step.SWITCH)]


async def test_a_gate_that_closes_between_the_download_and_the_switch_stops_it(bench: Bench) -> None:
    before = bench.head
    gate = Closing(Step.SWITCH)
    config = Config(source=bench.folder / "c", apps=(bench.config(),))
    async with open_manager(config, data_path=bench.data_path, may_update=gate, who="the host") as manager:
        await manager.wait_ready()
        record = await manager.upgrade("app")
        assert (record.outcome, record.reason, record.message) == (Outcome.FAILED, Reason.NOT_NOW, NO)
        assert [line for line in record.log if "Refused" in line] == [f"Refused: {NO}"]
        # It had come: what the fetch brought is there, and only the switch is not made.
        bench.git("cat-file", "-e", bench.upstream.head)
        bench.expect_whole(before)
        bench.expect_tidy()
        with pytest.raises(Refused, match=NO):
            await manager.upgrade("app")
        assert (await manager.history())[0] == record
        gate.closed, gate.step = False, Step.REFRESH
        assert (await manager.upgrade("app")).outcome is Outcome.SUCCEEDED
    bench.expect_whole(bench.upstream.head)


async def test_the_same_for_a_release(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        github: GitHub = await nursery.start(serve_github, GitHub())
        site: ReleaseSite = behind(tmp_path, github, "web")
        async with site.manager(may_update=Closing(Step.SWITCH)) as (manager, listener):
            with site.untouched(), pytest.raises(Refused, match=NO) as caught:
                await manager.upgrade("app")
            assert caught.value.reason is Reason.NOT_NOW
            assert (await listener.until("Downloading")).application == "app"
        nursery.cancel_scope.cancel()


async def test_a_gate_that_closes_before_the_restart_puts_the_app_back_and_restarts_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trio_update.engine.health.STEADY", 0.05)
    before, services, gate = bench.head, Recorder(), Closing(Step.RESTART)
    config = Config(source=bench.folder / "c", apps=(bench.config(managed_services=("app",)),))
    async with open_manager(config, data_path=bench.data_path, may_update=gate, services=services) as manager:
        await manager.wait_ready()
        record = await manager.upgrade("app")
        assert (record.reason, record.message, services.restarted) == (Reason.NOT_NOW, NO, [])
        bench.expect_whole(before)
        gate.closed, gate.step = False, Step.REFRESH
        assert (await manager.upgrade("app")).outcome is Outcome.SUCCEEDED
        assert services.restarted == ["app"]


async def test_a_gate_that_closes_behind_a_failed_restart_leaves_the_services_alone(bench: Bench) -> None:
    before, services = bench.head, Recorder()
    gate = Closing(Step.RESTART, app="nobody")
    restarts = iter([None, NO])

    async def second_time(app: AppName | None, step: Step) -> str | None:
        return next(restarts) if step is Step.RESTART else await gate(app, step)

    app = bench.config(managed_services=("app",), health=HealthCheck(command=("false",)))
    config = Config(source=bench.folder / "c", apps=(app,))
    async with open_manager(config, data_path=bench.data_path, may_update=second_time, services=services) as manager:
        await manager.wait_ready()
        record = await manager.upgrade("app")
    assert record.message.endswith("The app is back at v1.0-0.")
    assert f"Not restarted: {NO}" in record.log
    assert services.restarted == ["app"]
    bench.expect_whole(before)


async def test_a_full_update_asks_for_each_app_and_tells_which_were_left(site: Site) -> None:
    for name in ("one", "two", "three"):
        await site.add(name)
    before = site.head("two")
    async with site.manager(may_update=Closing(Step.APP, app="two")) as (manager, _):
        with pytest.raises(OperationFailed, match=f"2 of 3 apps were not updated: two: {NO}; three: {NO}"):
            await manager.upgrade(None)
    assert site.head("one") == site.tip("one")
    assert site.head("two") == before


async def raises() -> str | None:
    raise RuntimeError("the printer does not answer")


async def raises_in_a_nursery() -> str | None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(raises)
    return None


async def raises_without_a_word() -> str | None:
    raise ValueError


async def refuses() -> str | None:
    raise Refused(Reason.PRINTING, "Layer 5 of 900")


async def says_yes_as_python_does() -> Any:
    return True


async def says_no_in_bytes() -> Any:
    return b"no"


async def hangs() -> str | None:
    await trio.Event().wait()
    return None


@pytest.mark.parametrize(
    ("answer", "reason", "words"),
    [
        (raises, Reason.NOT_NOW, "the printer does not answer"),
        (raises_in_a_nursery, Reason.NOT_NOW, "the printer does not answer"),
        (raises_without_a_word, Reason.NOT_NOW, "could not be found out: ValueError"),
        (refuses, Reason.PRINTING, "Layer 5 of 900"),
        (says_yes_as_python_does, Reason.NOT_NOW, "answered with a value of type bool, not with None or a sentence"),
        (says_no_in_bytes, Reason.NOT_NOW, "answered with a value of type bytes, not with None or a sentence"),
        (hangs, Reason.NOT_NOW, "could not be found out within 0.2 s"),
    ],
)
@pytest.mark.parametrize("step", [Step.REFRESH, Step.ADMISSION, Step.SWITCH])
async def test_a_gate_that_fails_is_a_no(
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
    answer: Callable[[], Awaitable[str | None]],
    reason: Reason,
    words: str,
    step: Step,
) -> None:
    monkeypatch.setattr("trio_update.engine.gate.ANSWER_SECONDS", 0.2)
    before = bench.head

    async def may_update(app: AppName | None, asked: Step) -> str | None:
        return await answer() if asked is step else None

    config = Config(source=bench.folder / "c", apps=(bench.config(),))
    async with open_manager(config, data_path=bench.data_path, may_update=may_update) as manager:
        await manager.wait_ready()
        with trio.fail_after(20):
            if step is Step.REFRESH:
                # The start's own refresh got the same answer, and has ended nothing.
                await trio.testing.wait_all_tasks_blocked(0.05)
                with pytest.raises(Refused, match=words):
                    await manager.refresh()
            elif step is Step.ADMISSION:
                with pytest.raises(Refused, match=words) as caught:
                    await manager.start_upgrade("app")
                assert caught.value.reason is reason
                assert await manager.history() == ()
            else:
                record = await manager.upgrade("app")
                assert record.reason is reason
                assert words in record.message
    bench.expect_whole(before)
    bench.expect_tidy()


async def test_an_abort_while_the_host_is_asked_is_an_abort(bench: Bench) -> None:
    before, asked = bench.head, trio.Event()

    async def may_update(app: AppName | None, step: Step) -> str | None:
        if step is Step.SWITCH:
            asked.set()
            await trio.Event().wait()
        return None

    config = Config(source=bench.folder / "c", apps=(bench.config(),))
    async with open_manager(config, data_path=bench.data_path, may_update=may_update) as manager:
        await manager.wait_ready()
        job = await manager.start_upgrade("app")
        await asked.wait()
        await job.abort()
        assert (await job.wait()).outcome is Outcome.ABORTED
    bench.expect_whole(before)


async def test_who_comes_first_while_the_host_is_asked_has_the_app(bench: Bench) -> None:
    go, waiting = trio.Event(), trio.Event()

    async def may_update(app: AppName | None, step: Step) -> str | None:
        if step is Step.ADMISSION and not waiting.is_set():
            waiting.set()
            await go.wait()
        return None

    config = Config(source=bench.folder / "c", apps=(bench.config(),))
    async with open_manager(config, data_path=bench.data_path, may_update=may_update) as manager:
        await manager.wait_ready()
        refused: list[Reason] = []

        async def late() -> None:
            with pytest.raises(Refused) as caught:
                await manager.upgrade("app")
            refused.append(caught.value.reason)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(late)
            await waiting.wait()
            job = await manager.start_upgrade("app")
            go.set()
        assert refused == [Reason.BUSY]
        assert (await job.wait()).outcome is Outcome.SUCCEEDED
