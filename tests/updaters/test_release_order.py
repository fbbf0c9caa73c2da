"""An upgrade never goes back, whatever the versions are called."""

from __future__ import annotations

import pytest

from tests.support.releases import ReleaseSite, status_of


@pytest.mark.parametrize(
    ("installed", "newest"),
    [("release-1.10", "release-1.9"), ("app-v2.1.0", "app-v2.0.9"), ("2.1.0", "app-v2.0.9"), ("v1.2-hotfix1", "v1.2")],
)
async def test_what_names_order_is_never_gone_back_from(web: ReleaseSite, installed: str, newest: str) -> None:
    web.publish(installed)
    web.publish(newest)
    web.install(installed)
    async with web.manager() as (manager, _):
        assert status_of(manager).remote_version == installed
        with web.untouched():
            await manager.upgrade("app", who="test")


@pytest.mark.parametrize("later", [True, False])
async def test_where_names_say_nothing_the_dates_decide(web: ReleaseSite, later: bool) -> None:
    newest = "v1.3.0-lts"
    days = ("2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z")
    web.publish("v1.3.0", published=days[not later])
    web.publish(newest, published=days[later])
    web.install("v1.3.0")
    async with web.manager() as (manager, _):
        assert status_of(manager).remote_version == (newest if later else "v1.3.0")
        await manager.upgrade("app", who="test")
    web.expect(newest if later else "v1.3.0")
