"""Which version it is that an upgrade, a rollback or a recovery is about."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.support.releases import ReleaseSite, make_zip, said, status_of
from trio_update.demo.github.server import SimAsset
from trio_update.engine.manager import Manager
from trio_update.errors import Reason, Refused


@asynccontextmanager
async def upgraded(site: ReleaseSite) -> AsyncIterator[Manager]:
    """At v2.0.0, with v3.0.0 published meanwhile."""
    async with site.manager() as (manager, _):
        await manager.upgrade("app", who="test")
        site.publish("v3.0.0")
        yield manager


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        ("v2.0.0", "app is at v2.0.0 already"),
        ("2.0", "app is at 2.0 already"),
        ("v3.0.0", "'v3.0.0' is no earlier version of app: use an upgrade"),
        ("v9", "'v9' is no earlier version of app: use an upgrade"),
    ],
)
async def test_a_rollback_goes_back(site: ReleaseSite, wanted: str, why: str) -> None:
    async with upgraded(site) as manager:
        with site.untouched(), pytest.raises(Refused) as caught:
            await manager.rollback("app", version=wanted, who="test")
    assert (caught.value.reason, why in str(caught.value)) == (Reason.BAD_VERSION, True), caught.value


async def test_a_kept_version_that_was_published_anew_is_downloaded_anew(web: ReleaseSite) -> None:
    async with web.manager() as (manager, _):
        await manager.upgrade("app", who="test")
        await manager.rollback("app", who="test")
        again = web.files_of("v2.0.0") | {"index.html": b"<p>mended"}
        web.github.repos["ada/app"].releases[-1].assets[:] = [SimAsset(name="app.zip", content=make_zip(again))]
        await manager.refresh(None)
        await manager.upgrade("app", who="test")
    web.expect("v2.0.0", {"index.html": b"<p>mended"})


async def test_a_hard_recovery_downloads_what_is_kept(site: ReleaseSite) -> None:
    async with upgraded(site) as manager:
        for hard, downloads in ((False, 0), (True, 1)):
            asked = len(site.github.asked("assets"))
            await manager.recover("app", hard=hard, who="test")
            assert len(site.github.asked("assets")) - asked == downloads
    site.expect("v2.0.0")


NEWEST = "It is not known which version of app was installed: taking v3.0.0"


@pytest.mark.parametrize("site", ["web", "zip"], indirect=True)
async def test_an_app_that_does_not_say_what_it_is_is_what_was_used_last(site: ReleaseSite) -> None:
    async with upgraded(site):
        pass
    (site.path / "release_info.json").unlink()
    shutil.rmtree(site.data_path)
    async with site.manager() as (manager, listener):
        assert not status_of(manager).is_valid
        await manager.recover("app", hard=False, who="test")
        assert NEWEST not in said(listener)
    site.expect("v2.0.0")


@pytest.mark.parametrize("site", ["web", "zip"], indirect=True)
async def test_an_app_that_does_not_say_any_more_what_it_is_is_what_it_said(site: ReleaseSite) -> None:
    async with upgraded(site) as manager:
        (site.path / "release_info.json").unlink()
        shutil.rmtree(site.shelf)
        await manager.recover("app", hard=False, who="test")
    site.expect("v2.0.0")


@pytest.mark.parametrize("site", ["web", "zip"], indirect=True)
async def test_of_an_app_that_nobody_knows_anything_about_the_newest_is_taken(site: ReleaseSite) -> None:
    (site.path / "release_info.json").unlink()
    async with site.manager() as (manager, listener):
        await manager.recover("app", hard=False, who="test")
        assert NEWEST.replace("v3", "v2") in said(listener)
    site.expect("v2.0.0")
