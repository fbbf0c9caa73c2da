"""The manager inside an application: its jobs, its end, what comes out of it, and what it leaves of the process."""

from __future__ import annotations

import ctypes
import logging
import os
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import partial
from pathlib import Path

import msgspec
import pytest
import trio
import trio.testing

from tests.engine.conftest import Site
from tests.support.upstream import Bench, Upstream
from trio_update.config import Config, HealthCheck, RefreshWindow, UpdateManagerConfig
from trio_update.engine.jobs import Job
from trio_update.engine.manager import Manager
from trio_update.engine.opening import open_manager
from trio_update.errors import Aborted, ManagerClosed, OperationFailed, Reason, Refused, StartFailed
from trio_update.events import Event
from trio_update.model import AppName, JobRecord, JobState, Outcome
from trio_update.web.api.wire import Wire

UNHEALTHY = HealthCheck(command=("false",))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    upstream = Upstream(tmp_path / "upstream")
    upstream.commit(tag="v1.0")
    path = upstream.clone(tmp_path / "app")
    upstream.commits(3)
    return Bench(tmp_path, upstream, path)


def config_of(bench: Bench, **options: object) -> Config:
    return Config(source=bench.folder / "c", apps=(bench.config(**options),))


# Jobs


async def test_a_job_is_a_handle(bench: Bench) -> None:
    async with open_manager(config_of(bench), data_path=bench.data_path, who="the host") as manager:
        await manager.wait_ready()
        job = await manager.start_upgrade("app")
        assert (job.id, job.view().state, job.error) == (1, JobState.WAITING, None)
        with pytest.raises(Refused) as caught:
            await manager.start_upgrade("app")
        assert caught.value.reason is Reason.BUSY
        record = await job.wait()
        assert (record.proc_id, record.outcome, record.requested_by) == (1, Outcome.SUCCEEDED, "the host")
        assert (job.error, job.view().outcome) == (None, Outcome.SUCCEEDED)
        assert await manager.history() == (record,)
        with pytest.raises(Refused) as caught:
            await job.abort()
        assert caught.value.reason is Reason.NO_JOB
        assert (await manager.upgrade("app", who="Ada")).requested_by == "Ada"


async def test_a_record_comes_back_whatever_the_outcome(bench: Bench) -> None:
    async with open_manager(config_of(bench, health=UNHEALTHY), data_path=bench.data_path) as manager:
        await manager.wait_ready()
        job = await manager.start_upgrade("app")
        record = await job.wait()
        assert (record.outcome, record.reason) == (Outcome.FAILED, None)
        assert isinstance(job.error, OperationFailed)
        assert str(job.error) == record.message
        (bench.path / "main.py").write_text("mine")
        record = await manager.upgrade("app")
        assert (record.outcome, record.reason) == (Outcome.FAILED, Reason.INVALID)
        with pytest.raises(Refused) as caught:
            await manager.rollback("no such app")
        assert caught.value.reason is Reason.UNKNOWN_APP


async def test_a_caller_that_was_cancelled_has_started_nothing(bench: Bench) -> None:
    async with open_manager(config_of(bench), data_path=bench.data_path) as manager:
        await manager.wait_ready()
        with trio.CancelScope() as scope:
            scope.cancel()
            await manager.start_upgrade("app")
        assert scope.cancelled_caught
        assert not manager.status().busy
        assert await manager.history() == ()


async def test_one_line_a_job_in_the_log(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "trio_update.engine")
    async with open_manager(config_of(bench), data_path=bench.data_path, who="Ada") as manager:
        await manager.wait_ready()
        await manager.upgrade("app")
        await manager.upgrade("app", who="Eve")
    lines = [record.getMessage() for record in caplog.records if record.levelno == logging.INFO]
    assert len(lines) == 2
    assert lines[0].startswith("job 1, upgrade of app for Ada, succeeded after ")
    assert lines[0].endswith(" s (app v1.0-0 → v1.0-3)")
    assert lines[1].startswith("job 2, upgrade of app for Eve, unchanged after ")


async def test_clocks_are_the_hosts(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unix time says when something happened, and what is due; local time in which hours remotes are asked."""
    monkeypatch.setattr("trio_update.engine.refresh._TICK", 0.02)
    update_manager = UpdateManagerConfig(enable_auto_refresh=True, refresh_window=RefreshWindow(2, 4))
    config = Config(source=bench.folder / "c", apps=(bench.config(),), update_manager=update_manager)
    seconds, hour, asked = [1000.0], [12], trio.Event()

    def now() -> datetime:
        asked.set()
        return datetime(2026, 1, 1, hour[0])

    def refreshed(manager: Manager) -> float | None:
        return manager.status().version_info[AppName("app")].refreshed_at

    async with open_manager(config, data_path=bench.data_path, clock=lambda: seconds[0], now=now) as manager:
        await manager.wait_ready()
        await manager.refresh()
        assert refreshed(manager) == 1000.0
        seconds[0] += 30 * 86400
        async with manager.events() as events:
            await anext(events)
            for _ in range(2):
                asked = trio.Event()
                await asked.wait()
            assert refreshed(manager) == 1000.0
            hour[0] = 3
            with trio.fail_after(10):
                while refreshed(manager) != seconds[0]:
                    await anext(events)
        assert (await manager.upgrade("app")).started == seconds[0]


# The end


async def calls_after_the_end(manager: Manager, job: Job) -> list[Callable[[], Awaitable[object]]]:
    async def at_once(call: Callable[[], object]) -> object:
        return call()

    async def read() -> None:
        async with manager.events():
            raise AssertionError("there are no events any more")

    return [
        partial(at_once, lambda: manager.hub),
        partial(at_once, manager.stop),
        partial(at_once, manager.status),
        partial(at_once, manager.since_refresh),
        partial(at_once, manager.job),
        manager.wait_ready,
        manager.refresh,
        manager.plan,
        manager.history,
        manager.abort,
        partial(manager.start_upgrade, "app"),
        partial(manager.start_upgrade, None),
        partial(manager.start_upgrade, None, plan_id="0"),
        partial(manager.start_upgrade, "no such app"),
        partial(manager.upgrade, "app"),
        partial(manager.recover, "app"),
        partial(manager.rollback, "app"),
        job.abort,
        read,
    ]


async def test_after_the_end_everything_says_so_and_a_job_still_tells_how_it_ended(bench: Bench) -> None:
    async with open_manager(config_of(bench), data_path=bench.data_path) as manager:
        await manager.wait_ready()
        job = await manager.start_upgrade("app")
        record = await job.wait()
    with trio.fail_after(5):
        for call in await calls_after_the_end(manager, job):
            with pytest.raises(ManagerClosed):
                await call()
        assert await job.wait() == record
        assert job.view().outcome is Outcome.SUCCEEDED


async def test_a_hub_that_was_kept_beyond_the_end_has_nothing_to_wait_for(bench: Bench) -> None:
    async with open_manager(config_of(bench), data_path=bench.data_path) as manager:
        hub = manager.hub
    send, receive = trio.open_memory_channel[Event](1)
    with trio.fail_after(5), hub.attach(send) as attached, pytest.raises(trio.EndOfChannel):
        await receive.receive()
    assert not attached.missed


async def test_whoever_waits_when_the_manager_ends_gets_an_answer(site: Site) -> None:
    """In tasks of the host that outlive the manager."""
    path = await site.add("one")
    before = site.head("one")
    answers: dict[str, object] = {}

    async def ask(what: str, call: Callable[[], Awaitable[object]]) -> None:
        try:
            answers[what] = await call()
        except (ManagerClosed, Refused) as error:
            answers[what] = type(error)

    async with trio.open_nursery() as host:
        async with site.manager() as (manager, _):
            site.behave("one", hang=True)
            host.start_soon(ask, "refresh", manager.refresh)
            await site.server.requests_reach("one", site.server.requests["one"] + 1)
            job = await manager.start_upgrade("one")
            host.start_soon(ask, "wait", job.wait)
            host.start_soon(ask, "wait again", job.wait)
            await site.server.requests_reach("one", site.server.requests["one"] + 1)
        # The last of them ended before the manager did: nothing works in the clone any more.
        host.cancel_scope.deadline = trio.current_time() + 5
    for what in ("wait", "wait again"):
        record = answers[what]
        assert isinstance(record, JobRecord)
        assert record.outcome is Outcome.ABORTED
    assert isinstance(job.error, Aborted)
    assert "refresh" in answers
    assert site.head("one") == before
    assert not list((path / ".git").rglob("*.lock"))


async def test_a_plan_that_is_asked_for_in_another_task_ends_with_the_manager(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = trio.Event()

    async def decide(*_: object, **__: object) -> None:
        asked.set()
        await trio.Event().wait()

    monkeypatch.setattr("trio_update.updaters.git.updater.GitRepo.decide", decide)

    async def ask(manager: Manager) -> None:
        with pytest.raises(ManagerClosed):
            await manager.plan()

    with trio.fail_after(10):
        async with trio.open_nursery() as host, open_manager(config_of(bench), data_path=bench.data_path) as manager:
            host.start_soon(ask, manager)
            await asked.wait()


# What comes out


class Mine(Exception):
    """The host's own."""


@contextmanager
def comes_out(error: BaseException) -> Iterator[None]:
    """Exactly this one comes out, and nothing was added to it."""
    try:
        yield
    except BaseException as found:  # noqa: BLE001 - a KeyboardInterrupt is one of them
        assert found is error
        assert found.__cause__ is None
        assert found.__context__ is None
    else:
        raise AssertionError("nothing came out")


async def test_what_the_body_raises_comes_out_as_it_went_in(bench: Bench) -> None:
    one, several = Mine("one"), BaseExceptionGroup("mine", [Mine("a"), ExceptionGroup("more", [Mine("b")])])
    only = ExceptionGroup("mine", [Mine("only")])
    for error in (one, several, only, KeyboardInterrupt()):
        with comes_out(error):
            async with open_manager(config_of(bench), data_path=bench.data_path) as manager:
                await manager.start_upgrade("app")
                raise error


async def test_what_the_body_raises_while_it_is_cancelled_comes_out_too(bench: Bench) -> None:
    error = Mine("in the middle of a cancellation")
    with trio.CancelScope() as scope, pytest.raises(Mine) as caught:
        async with open_manager(config_of(bench), data_path=bench.data_path) as manager:
            await manager.start_upgrade("app")
            scope.cancel()
            with suppress(trio.Cancelled):
                await trio.sleep_forever()
            raise error
    assert caught.value is error
    bench.expect_tidy()


async def test_a_cancellation_comes_out_as_one(bench: Bench) -> None:
    before = bench.head
    with trio.CancelScope() as scope:
        try:
            async with open_manager(config_of(bench), data_path=bench.data_path) as manager:
                await manager.start_upgrade("app")
                scope.cancel()
                await trio.sleep_forever()
        except BaseException as error:
            assert type(error) is trio.Cancelled
            raise
    assert scope.cancelled_caught
    bench.expect_whole(before)
    bench.expect_tidy()


async def test_a_fault_of_the_managers_own_comes_out_alone(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("trio_update.engine.routine.Routine._due", broken)
    with trio.fail_after(10), pytest.raises(ZeroDivisionError):
        async with open_manager(config_of(bench), data_path=bench.data_path):
            await trio.sleep_forever()


async def test_what_keeps_a_manager_from_opening_has_two_names(bench: Bench) -> None:
    bench.data_path.mkdir()
    (bench.data_path / "trio_update").mkdir()
    (bench.data_path / "trio_update" / "journal").write_text("no folder")
    with pytest.raises(StartFailed, match="journal"):
        async with open_manager(config_of(bench), data_path=bench.data_path):
            raise AssertionError("there is no journal")


# Values


async def test_a_reader_cannot_change_the_status(bench: Bench) -> None:
    async with open_manager(config_of(bench), data_path=bench.data_path) as manager:
        await manager.wait_ready()
        status = manager.status()
        with pytest.raises(TypeError):
            status.version_info[AppName("app")] = None  # type: ignore[index]
        with pytest.raises(AttributeError):
            status.version_info.clear()  # type: ignore[attr-defined]
        assert set(msgspec.json.decode(Wire().text(status))["version_info"]) == {"app"}


async def test_a_relative_data_path_stays_where_it_is(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = bench.folder / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(bench.folder)
    async with open_manager(config_of(bench), data_path=Path("data")) as manager:
        await manager.wait_ready()
        monkeypatch.chdir(elsewhere)
        assert (await manager.upgrade("app")).outcome is Outcome.SUCCEEDED
    assert list(elsewhere.iterdir()) == []
    bench.expect_whole(bench.upstream.head)


# The process


def is_subreaper() -> bool:
    found = ctypes.c_int()
    assert ctypes.CDLL(None).prctl(37, ctypes.byref(found), 0, 0, 0) == 0
    return bool(found.value)


@pytest.fixture
def plain_process() -> Iterator[None]:
    """This process is no subreaper, as a host's is not; the tests' own is one."""
    was = is_subreaper()
    ctypes.CDLL(None).prctl(36, 0, 0, 0, 0)
    yield
    ctypes.CDLL(None).prctl(36, int(was), 0, 0, 0)


async def test_two_managers_in_one_process_in_any_order(tmp_path: Path, plain_process: None) -> None:
    benches = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        upstream = Upstream(tmp_path / name / "upstream")
        upstream.commit(tag="v1.0")
        path = upstream.clone(tmp_path / name / "app")
        upstream.commits(2)
        benches.append(Bench(tmp_path / name, upstream, path))
    first_ended, second_open = trio.Event(), trio.Event()

    async def first() -> None:
        async with open_manager(config_of(benches[0]), data_path=benches[0].data_path) as manager:
            await manager.wait_ready()
            await second_open.wait()
            assert (await manager.upgrade("app")).outcome is Outcome.SUCCEEDED
        first_ended.set()

    async def second() -> None:
        async with open_manager(config_of(benches[1]), data_path=benches[1].data_path) as manager:
            await manager.wait_ready()
            job = await manager.start_upgrade("app")
            second_open.set()
            await first_ended.wait()
            assert is_subreaper()
            assert (await job.wait()).outcome is Outcome.SUCCEEDED

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(first)
            nursery.start_soon(second)
    assert not is_subreaper()
    for bench in benches:
        bench.expect_whole(bench.upstream.head)
        bench.expect_tidy()


@pytest.mark.parametrize("wanted", [True, False])
async def test_being_a_subreaper_ends_with_the_manager_and_can_be_declined(
    bench: Bench, plain_process: None, wanted: bool
) -> None:
    with suppress(Mine):
        async with open_manager(config_of(bench), data_path=bench.data_path, subreaper=wanted) as manager:
            await manager.wait_ready()
            assert is_subreaper() is wanted
            assert (await manager.upgrade("app")).outcome is Outcome.SUCCEEDED
            raise Mine
    assert not is_subreaper()


async def test_a_host_that_keeps_all_of_trios_threads_busy_stalls_nothing(bench: Bench) -> None:
    before, release = bench.head, threading.Event()
    limiter = trio.to_thread.current_default_thread_limiter()
    try:
        async with trio.open_nursery() as host:
            for _ in range(int(limiter.total_tokens)):
                # For longer than the test has, and not for ever: what waits for them cannot be cancelled.
                host.start_soon(partial(trio.to_thread.run_sync, release.wait, 40))
            await trio.testing.wait_all_tasks_blocked()
            assert limiter.available_tokens == 0
            with trio.fail_after(30):
                async with open_manager(config_of(bench, health=UNHEALTHY), data_path=bench.data_path) as manager:
                    await manager.wait_ready()
                    await manager.refresh()
                    record = await manager.upgrade("app")
                    assert record.message.endswith("The app is back at v1.0-0.")
                    assert (await manager.recover("app", hard=True)).outcome is Outcome.FAILED
                    assert (await manager.plan("app"))[0].refusals == ()
            release.set()
    finally:
        release.set()
    bench.expect_whole(before)
    bench.expect_tidy()
    assert os.listdir(bench.data_path / "trio_update" / "journal") == []
