"""When apps are looked at, and that a look never harms anybody."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from typing import Any

import pytest
import trio
import trio.testing
from msgspec.structs import replace

from tests.engine.conftest import Site, git_status
from tests.support.tools import plain_tools
from tests.support.upstream import git
from trio_update.config import RefreshWindow, UpdateManagerConfig
from trio_update.engine.board import Board
from trio_update.engine.opening import open_manager
from trio_update.engine.refresh import Refresher, follow_schedule
from trio_update.errors import Reason, Refused
from trio_update.model import AppName
from trio_update.updaters.git.kind import GitRepoConfig
from trio_update.updaters.git.updater import GitRepo

ONE = AppName("one")


@pytest.mark.parametrize(
    ("window", "inside", "outside"),
    [
        (RefreshWindow(0, 5), (time(0), time(4, 59)), (time(5), time(23))),
        (RefreshWindow(22, 3), (time(22), time(0), time(2, 59)), (time(3), time(21, 59))),
    ],
)
def test_windows(window: RefreshWindow, inside: tuple[time, ...], outside: tuple[time, ...]) -> None:
    assert all(window.contains(moment) for moment in inside)
    assert not any(window.contains(moment) for moment in outside)


async def test_the_schedule_refreshes_inside_the_window_only(autojump_clock: trio.testing.MockClock) -> None:
    start = datetime(2026, 1, 1, 20)
    hours: list[float] = []

    def now() -> datetime:
        return start + timedelta(seconds=trio.current_time() - began)

    async def refresh() -> None:
        hours.append(now().hour)

    began = trio.current_time()
    with trio.move_on_after(24 * 3600):
        await follow_schedule(UpdateManagerConfig(refresh_window=RefreshWindow(23, 2)), refresh, now)
    assert set(hours) == {23, 0, 1}


async def test_the_first_start_asks_the_remotes_and_the_next_one_only_when_due(site: Site) -> None:
    await site.add("one")
    moment = timedelta(microseconds=1)
    for interval, asked in ((timedelta(hours=1), True), (timedelta(hours=1), False), (moment, True)):
        before = site.server.requests["one"]
        update_manager = UpdateManagerConfig(refresh_interval=interval)
        async with site.manager(update_manager=update_manager, refresh=False) as (_, listener):
            with trio.move_on_after(10 if asked else 0.5) as waited:
                await site.server.requests_reach("one", before + 1)
                await listener.until_status()
        assert waited.cancelled_caught != asked
        assert (site.server.requests["one"] > before) == asked


async def test_a_changed_section_is_refreshed_at_once(site: Site) -> None:
    await site.add("one")
    async with site.manager():
        pass
    git(site.folder / "one", "tag", "v1.0", "HEAD~1")
    before = site.server.requests["one"]
    async with site.manager(refresh=False, info_tags=("desc=One",)) as (manager, _):
        with trio.fail_after(10):
            await site.server.requests_reach("one", before + 1)
        assert manager.status().version_info[ONE].info_tags == ("desc=One",)


async def test_one_app_that_hangs_does_not_keep_the_others_waiting(site: Site) -> None:
    await site.add("one")
    await site.add("two")
    async with site.manager() as (manager, _), trio.open_nursery() as nursery:
        site.grow("two")
        site.behave("one", hang=True)
        nursery.start_soon(manager.refresh, None)
        await trio.testing.wait_all_tasks_blocked()
        with trio.fail_after(10):
            await manager.refresh("two")  # joins the one that is under way
        assert git_status(manager, AppName("two")).commits_behind_count == 5
        nursery.cancel_scope.cancel()


async def test_readers_see_the_old_snapshot_then_the_new_one(site: Site) -> None:
    await site.add("one")
    async with site.manager() as (manager, _), trio.open_nursery() as nursery:
        old = manager.status()
        site.grow("one")
        site.behave("one", latency=0.2)
        nursery.start_soon(manager.refresh, None)
        await trio.testing.wait_all_tasks_blocked()
        assert manager.status() is old


async def test_an_unknown_app_cannot_be_refreshed_nor_anything_before_the_first_look(site: Site) -> None:
    await site.add("one")
    async with open_manager(site.config(), data_path=site.folder / "data") as manager:
        with pytest.raises(Refused) as caught:
            await manager.refresh(None)
        assert caught.value.reason is Reason.NOT_READY
        with pytest.raises(Refused) as caught:
            await manager.refresh("two")
        assert caught.value.reason is Reason.UNKNOWN_APP


async def test_a_project_that_moved_is_followed_when_the_old_address_says_so(site: Site) -> None:
    await site.add("one")
    await site.add("new")
    site.behave("one", redirect="new")
    options: dict[str, Any] = {"origin": site.server.url("new"), "moved_origin": site.server.url("one")}
    del site.upstreams["new"]
    async with site.manager(**options) as (manager, _):
        status = git_status(manager, ONE)
        assert status.remote_url == options["origin"]
        assert status.anomalies == ()


async def test_a_project_whose_old_address_does_not_redirect_is_left_alone(site: Site) -> None:
    await site.add("one")
    await site.add("new")
    options: dict[str, Any] = {"origin": site.server.url("new"), "moved_origin": site.server.url("one")}
    del site.upstreams["new"]
    async with site.manager(**options) as (manager, _):
        status = git_status(manager, ONE)
        assert status.remote_url == site.server.url("one")
        assert status.anomalies == (f"Unofficial remote url: {site.server.url('one')}",)


@pytest.mark.parametrize(
    ("refreshed_at", "due"),
    [(None, True), (1000.0 - 10, False), (1000.0 - 50, True), (1000.0 + 3600, True)],
    ids=["never", "lately", "long ago", "under a wrong clock"],
)
async def test_what_is_due(site: Site, refreshed_at: float | None, due: bool) -> None:
    await site.add("one")
    app = site.config().apps[0]
    assert isinstance(app, GitRepoConfig)
    updater = GitRepo(app, plain_tools())
    board = Board({ONE: app}, ())
    board.put(ONE, replace(updater.initial(), refreshed_at=refreshed_at))

    async def save(*_: object) -> None:
        """Nothing is refreshed here."""

    async with trio.open_nursery() as nursery:
        refresher = Refresher({ONE: updater}, board, save, nursery, 1, clock=lambda: 1000.0)
        assert refresher.due({ONE: 50.0}) == ([ONE] if due else [])
