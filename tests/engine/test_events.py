"""What happens, as those who embed the engine read it."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from tests.engine.conftest import Printer, Site
from tests.support.releases import behind
from trio_update.demo.github.server import GitHub, serve_github
from trio_update.engine.hub import Events
from trio_update.errors import EventsMissed, ManagerClosed, Reason, Refused
from trio_update.events import Event, JobEnded, JobProgress, JobStarted, StatusChanged
from trio_update.model import JobState, Outcome


async def until_ended(events: Events) -> list[Event]:
    """Up to the status behind the end of a job."""
    found: list[Event] = []
    with trio.fail_after(20):
        async for event in events:
            found.append(event)
            if isinstance(event, StatusChanged) and any(isinstance(one, JobEnded) for one in found):
                return found
    raise AssertionError(found)


async def test_the_present_status_then_a_job_from_start_to_end_then_the_status(site: Site) -> None:
    await site.add("one")
    async with site.manager() as (manager, _), manager.events() as events:
        job = await manager.start_upgrade("one", who="Ada")
        first, started, *told, ended, last = await until_ended(events)
        assert first == StatusChanged(status=first.status) if isinstance(first, StatusChanged) else False
        assert isinstance(started, JobStarted)
        assert (started.job.proc_id, started.job.requested_by, started.job.state) == (job.id, "Ada", JobState.WAITING)
        assert told
        assert all(isinstance(event, JobProgress) and not event.line.complete for event in told)
        phases = [event.phase for event in told if isinstance(event, JobProgress)]
        assert phases == sorted(phases, key=list(JobState).index)
        assert isinstance(ended, JobEnded)
        assert ended.line.complete
        assert ended.record == await job.wait() == (await manager.history())[0]
        assert ended.record.log[-1] == ended.line.message
        assert isinstance(last, StatusChanged)
        assert last.status is manager.status()


async def test_progress_of_a_download_in_bytes(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        github: GitHub = await nursery.start(serve_github, GitHub())
        async with behind(tmp_path, github, "web").manager() as (manager, _), manager.events() as events:
            await manager.upgrade("app")
            shown = [one for one in await until_ended(events) if isinstance(one, JobProgress) and one.total is not None]
            assert shown
            last = shown[-1]
            assert last.what.startswith("Downloading ")
            assert (last.phase, last.percent, last.done) == (JobState.PREPARING, 100, last.total)
            assert last.total is not None
            assert last.total % 1024 == 0
        nursery.cancel_scope.cancel()


async def test_a_request_that_was_refused_is_told_with_its_reason(site: Site) -> None:
    await site.add("one")
    printer = Printer(printing=True)
    async with site.manager(may_update=printer, refresh=False) as (manager, _), manager.events() as events:
        with pytest.raises(Refused):
            await manager.start_upgrade("one")
        *_, said, ended, _ = await until_ended(events)
        assert isinstance(said, JobProgress)
        assert isinstance(ended, JobEnded)
        assert not manager.status().busy
        assert (ended.record.outcome, ended.record.reason) == (Outcome.FAILED, Reason.NOT_NOW)


async def test_a_reader_that_is_too_slow_is_told_so_and_can_begin_anew(site: Site) -> None:
    await site.add("one")
    async with site.manager() as (manager, _):
        async with manager.events(buffer=4) as events:
            await manager.upgrade("one")
            for _ in range(4):  # what was kept comes first
                await anext(events)
            for _ in range(2):
                with pytest.raises(EventsMissed, match="read anew"):
                    await anext(events)
        async with manager.events() as events:
            assert await anext(events) == StatusChanged(status=manager.status())


async def test_events_end_with_the_manager_after_the_last_one(site: Site) -> None:
    await site.add("one")
    site.behave("one", hang=True)
    found: list[Event] = []

    async def read(events: Events) -> None:
        found.extend([event async for event in events])

    async with trio.open_nursery() as nursery:
        async with site.manager(refresh=False) as (manager, _):
            context = manager.events()
            events = await context.__aenter__()
            nursery.start_soon(read, events)
            job = await manager.start_upgrade("one")
        with trio.fail_after(5):
            record = await job.wait()
    assert [event.record for event in found if isinstance(event, JobEnded)] == [record]
    assert isinstance(found[-1], StatusChanged)
    await context.__aexit__(None, None, None)
    with pytest.raises(ManagerClosed):
        async with manager.events():
            raise AssertionError("there is nothing to read any more")
