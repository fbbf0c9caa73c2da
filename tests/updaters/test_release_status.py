"""What the status and the plan say of release apps, whatever their forge answers."""

from __future__ import annotations

import re

import pytest

from tests.support.releases import REPO, ReleaseSite, content_of, make_zip, release_info, status_of
from tests.support.upstream import Bench
from tests.support.upstream import status_of as git_status_of
from trio_update.demo.github.server import Fault, FaultKind, SimAsset
from trio_update.engine.manager import Manager
from trio_update.errors import OperationFailed, Reason, Refused
from trio_update.model import Channel, Outcome, Unknown


async def test_both_ends_are_told_and_the_title_is_no_version(site: ReleaseSite) -> None:
    site.publish("v2.1.0", title="9.9 The great one", notes="# Much\n<b>better</b>")
    async with site.manager(info_tags=("desc=An app",)) as (manager, _):
        status = status_of(manager)
        assert (status.version, status.remote_version, status.rollback_version) == ("v1.0.0", "v2.1.0", "v1.0.0")
        assert (status.owner, status.repo_name, status.channel) == ("ada", "app", Channel.STABLE)
        assert (status.is_valid, status.warnings, status.anomalies, status.last_error) == (True, (), (), "")
        assert (status.channel_invalid, status.info_tags, status.kept_versions) == (False, ("desc=An app",), ())
        assert status.remote is not None
        assert (status.remote.tag, status.remote.title) == ("v2.1.0", "9.9 The great one")
        assert status.remote.notes == "# Much\n<b>better</b>"
        assert status.refreshed_at is not None


@pytest.mark.parametrize("tag", ["1.0.0", "v1.0", "1.0.0.0"])
async def test_a_tag_that_spells_the_installed_version_differently_is_no_update(web: ReleaseSite, tag: str) -> None:
    web.github.repos[REPO].releases.clear()
    web.publish(tag)
    async with web.manager() as (manager, _):
        assert (status_of(manager).version, status_of(manager).remote_version) == ("v1.0.0", "v1.0.0")
        await manager.upgrade("app", who="test")
        assert (await manager.history("app"))[0].outcome is Outcome.UNCHANGED
        web.expect("v1.0.0")


async def test_a_tag_without_v_of_an_archive_with_it(site: ReleaseSite) -> None:
    site.publish("2.5.0", site.asset_of("v2.5.0"))
    async with site.manager() as (manager, _):
        assert status_of(manager).remote_version == "2.5.0"
        await manager.upgrade("app", who="test")
        status = status_of(manager)
        assert status.version == status.remote_version
        assert str(status.version).removeprefix("v") == "2.5.0"
        (plan,) = await manager.plan("app")
        assert plan.up_to_date


async def test_an_older_release_is_never_an_update(web: ReleaseSite) -> None:
    web.github.remove(REPO, "v2.0.0")
    web.publish("v0.9.0")
    async with web.manager() as (manager, _):
        assert status_of(manager).remote_version == "v1.0.0"
        with web.untouched():
            await manager.upgrade("app", who="test")


@pytest.mark.parametrize(
    ("channel", "newest"), [(Channel.STABLE, "v2.0.0"), (Channel.BETA, "v3.0.0-rc1"), (Channel.DEV, "v2.0.0")]
)
async def test_channels(site: ReleaseSite, channel: Channel, newest: str) -> None:
    site.publish("v3.0.0-rc1", prerelease=True)
    site.publish("v4.0.0", draft=True)
    site.publish("v5.0.0-rc1", draft=True, prerelease=True)
    async with site.manager(channel=channel) as (manager, _):
        status = status_of(manager)
        assert (status.channel, status.remote_version, status.is_valid) == (channel, newest, True)
        assert status.channel_invalid is (channel is Channel.DEV)
        assert len(status.anomalies) == (channel is Channel.DEV)
        if channel is Channel.DEV:
            assert "Channel 'dev' does not exist for this type of app, 'stable' is used" in status.anomalies[0]
        await manager.upgrade("app", who="test")
        site.expect(newest)


async def test_after_a_change_to_stable_a_beta_stays_until_stable_has_passed_it(web: ReleaseSite) -> None:
    web.publish("v3.0.0-rc1", prerelease=True)
    async with web.manager(channel=Channel.BETA) as (manager, _):
        await manager.upgrade("app", who="test")
    async with web.manager() as (manager, _):
        assert status_of(manager).remote_version == "v3.0.0-rc1"
        with web.untouched():
            await manager.upgrade("app", who="test")
        web.publish("v3.0.0")
        await manager.refresh(None)
        assert status_of(manager).remote_version == "v3.0.0"


async def test_the_release_that_is_installed_need_not_have_its_assets_any_more(site: ReleaseSite) -> None:
    site.install("v2.0.0")
    site.github.repos[REPO].releases[-1].assets = []
    async with site.manager() as (manager, _):
        status = status_of(manager)
        assert (status.version, status.remote_version, status.anomalies) == ("v2.0.0", "v2.0.0", ())


async def test_an_asset_that_is_uploaded_after_the_others_is_noticed(web: ReleaseSite) -> None:
    """No probe tells: the tag is the same."""
    assets = web.publish("v3.0.0", SimAsset(name="notes.txt", content=b"notes")).assets
    async with web.manager() as (manager, _):
        assert "cannot be installed" in status_of(manager).anomalies[0]
        assets.append(web.asset_of("v3.0.0"))
        await manager.refresh(None)
        assert status_of(manager).anomalies == ()
        asked = api_requests(web)
        await manager.refresh(None)
        assert api_requests(web) == asked
        await manager.upgrade("app", who="test")
        web.expect("v3.0.0")


async def test_a_project_is_the_same_in_other_letters(site: ReleaseSite) -> None:
    site.github.repos["Ada/App"] = site.github.repos.pop(REPO)
    site.github.moved[REPO] = "Ada/App"
    async with site.manager() as (manager, _):
        assert (status_of(manager).remote_version, status_of(manager).anomalies) == ("v2.0.0", ())


async def test_a_project_that_has_moved_is_followed_and_told(site: ReleaseSite) -> None:
    site.github.repos["eve/new"] = site.github.repos.pop(REPO)
    site.github.moved[REPO] = "eve/new"
    async with site.manager() as (manager, _):
        for _ in range(2):
            status = status_of(manager)
            assert status.anomalies == ("The project has moved from ada/app to eve/new: set 'repo'",)
            assert (status.remote_version, status.is_valid, status.last_error) == ("v2.0.0", True, "")
            await manager.refresh(None)
        await manager.upgrade("app", who="test")
        site.expect("v2.0.0")
    async with site.manager(report_anomalies=False) as (manager, _):
        assert (status_of(manager).anomalies, status_of(manager).is_valid) == ((), True)


def api_requests(site: ReleaseSite) -> int:
    return len(site.github.asked("api"))


async def test_the_last_requests_are_kept_for_an_upgrade(site: ReleaseSite) -> None:
    site.github.used["anonymous"] = 57
    async with site.manager() as (manager, _):
        assert manager.status().github_requests_remaining == 2
        site.publish("v3.0.0")
        asked = api_requests(site)
        for _ in range(2):
            await manager.refresh(None)
            status = status_of(manager)
            assert re.search(r"not asked again until \d\d:\d\d: only 2 of 60 requests", status.last_error)
            assert (status.version, status.remote_version, status.is_valid) == ("v1.0.0", "v2.0.0", True)
            assert len(status.anomalies) == 1
            assert status.last_error in status.anomalies[0]
        assert api_requests(site) == asked
        await manager.upgrade("app", who="test")
        site.expect("v3.0.0")
        # Another one is about the installed version: what of the folder is the user's is told by what that brought.
        assert api_requests(site) == asked + 2
        assert (status_of(manager).version, manager.status().github_requests_remaining) == ("v3.0.0", 0)


async def test_without_a_request_left_what_is_known_can_be_installed(site: ReleaseSite) -> None:
    async with site.manager() as (manager, listener):
        site.github.used["anonymous"] = 60
        await manager.upgrade("app", who="test")
        said = await listener.until(". Going on with what is known: v2.0.0")
        assert re.search(r"not asked again until \d\d:\d\d: its limit of 60 requests an hour is used up", said.message)
        site.expect("v2.0.0")
        asked = api_requests(site)
        site.publish("v3.0.0")
        await manager.refresh(None)
        status = status_of(manager)
        assert "not asked again until" in status.last_error
        assert (status.version, status.remote_version, status.is_valid) == ("v2.0.0", "v2.0.0", True)
        assert manager.status().github_requests_remaining == 0
        assert api_requests(site) == asked
        # Nothing newer is known: then an upgrade cannot say that there is nothing.
        await site.expect_failure(manager, "not asked again until")
    async with site.manager() as (manager, _):
        # Not after a restart either.
        assert "not asked again until" in status_of(manager).last_error
        assert status_of(manager).remote_version == "v2.0.0"
        assert api_requests(site) == asked


async def test_an_unreachable_forge_costs_nothing_that_is_known(site: ReleaseSite) -> None:
    async with site.manager() as (manager, _):
        known = status_of(manager)
    for host in ("api", "web"):
        site.github.faults.append(Fault(host, FaultKind.CLOSE, times=None))
    async with site.manager() as (manager, _):
        first = status_of(manager)
        assert (first.version, first.remote_version, first.remote) == ("v1.0.0", "v2.0.0", known.remote)
        assert (first.is_valid, first.warnings, first.refreshed_at) == (True, (), known.refreshed_at)
        assert first.unreachable_since is not None
        assert first.last_error.startswith("cannot reach http://127.0.0.1")
        (anomaly,) = first.anomalies
        assert re.match(r"The releases could not be asked for since \d{4}-\d\d-\d\d \d\d:\d\d: ", anomaly)
        assert first.last_error in anomaly
        await manager.refresh(None)
        again = status_of(manager)
        assert (again.unreachable_since, len(again.anomalies)) == (first.unreachable_since, 1)
    async with site.manager(refresh=False) as (manager, _):
        kept = status_of(manager)
        assert (kept.unreachable_since, len(kept.anomalies)) == (first.unreachable_since, 1)
        site.github.faults.clear()
        await manager.refresh(None)
        after = status_of(manager)
        assert (after.anomalies, after.last_error, after.unreachable_since) == ((), "", None)
        assert after.refreshed_at is not None and known.refreshed_at is not None
        assert after.refreshed_at > known.refreshed_at


@pytest.mark.parametrize("kind", [FaultKind.HTML, FaultKind.NOT_JSON, FaultKind.STATUS, FaultKind.REDIRECT_LOOP])
async def test_nonsense_of_the_forge_is_told_and_forgotten(web: ReleaseSite, kind: FaultKind) -> None:
    async with web.manager() as (manager, _):
        web.publish("v3.0.0")
        web.github.faults.append(Fault("api", kind, code=500))
        await manager.refresh(None)
        status = status_of(manager)
        assert (status.version, status.remote_version, status.is_valid) == ("v1.0.0", "v2.0.0", True)
        assert len(status.anomalies) == 1
        assert web.github.api_url in status.last_error
        web.github.faults.clear()
        await manager.refresh(None)
        assert (status_of(manager).remote_version, status_of(manager).anomalies) == ("v3.0.0", ())
        assert status_of(manager).last_error == ""


@pytest.mark.parametrize("releases", [True, False])
async def test_a_repo_without_releases_or_none_at_all(web: ReleaseSite, releases: bool) -> None:
    if releases:
        web.github.repos[REPO].releases.clear()
    else:
        web.github.repos.clear()
    async with web.manager() as (manager, _):
        status = status_of(manager)
        assert (status.version, status.is_valid, status.remote) == ("v1.0.0", True, None)
        assert isinstance(status.remote_version, Unknown)
        assert "ada/app" in status.last_error
        assert "`repo`" in status.last_error
        await web.expect_failure(manager, "ada/app", "`repo`")
        (plan,) = await manager.plan("app")
        assert isinstance(plan.to_version, Unknown)
        web.publish("v2.0.0")
        await manager.refresh(None)
        assert (status_of(manager).remote_version, status_of(manager).last_error) == ("v2.0.0", "")


async def test_a_held_app_is_not_upgraded_but_can_be_mended(site: ReleaseSite) -> None:
    async with site.manager() as (manager, _):
        await manager.upgrade("app", who="test")
        site.publish("v3.0.0")
    async with site.manager(hold="v3 eats filament") as (manager, _):
        status = status_of(manager)
        assert (status.hold, status.is_valid, status.remote_version) == ("v3 eats filament", True, "v3.0.0")
        (plan,) = await manager.plan("app")
        assert plan.refusals == ("app is held back: v3 eats filament",)
        with site.untouched(), pytest.raises(Refused, match="held back: v3 eats filament") as caught:
            await manager.upgrade("app", who="test")
        assert caught.value.reason is Reason.HELD
        await manager.recover("app", hard=False, who="test")
        site.expect("v2.0.0")
        await manager.rollback("app", who="test")
        site.expect("v1.0.0")


async def test_anomalies_can_be_silenced_and_nothing_else(web: ReleaseSite) -> None:
    async with web.manager(report_anomalies=False, repo="eve/other", channel=Channel.DEV) as (manager, _):
        status = status_of(manager)
        assert (status.anomalies, status.channel_invalid, status.is_valid) == ((), True, True)
        assert (status.owner, status.remote_version) == ("ada", "v2.0.0")
        (web.path / "release_info.json").write_text("{")
        await manager.refresh(None)
        assert len(status_of(manager).warnings) == 1


async def test_githubs_budget_is_told_once_it_is_known(web: ReleaseSite) -> None:
    def budget(manager: Manager) -> tuple[int | None, ...]:
        status = manager.status()
        return (status.github_rate_limit, status.github_requests_remaining, status.github_limit_reset_time)

    async with web.manager(refresh=False) as (manager, _):
        assert budget(manager) == (None, None, None)
        await manager.refresh(None)
        limit, remaining, reset = budget(manager)
        assert (limit, reset) == (60, web.github.reset)
        assert remaining == 60 - web.github.used["anonymous"]
    async with web.manager(refresh=False) as (manager, _):
        assert budget(manager) == (limit, remaining, reset)


@pytest.mark.parametrize("first", ["git_repo", "web"])
async def test_an_app_that_becomes_another_type_starts_anew(bench: Bench, web: ReleaseSite, first: str) -> None:
    async def as_git() -> None:
        async with bench.manager() as manager:
            await manager.wait_ready()
            await manager.refresh(None)
            assert git_status_of(manager).version == "v0.1.0-2"

    async def as_release(kind: str) -> None:
        web.kind = kind
        async with web.manager() as (manager, _):
            status = status_of(manager)
            assert (status.version, status.remote_version, status.is_valid) == ("v1.0.0", "v2.0.0", True)
            assert status.anomalies == ()
            (plan,) = await manager.plan("app")
            assert plan.to_version == "v2.0.0"

    if first == "git_repo":
        await as_git()
        await as_release("web")
        await as_release("zip")
    else:
        await as_release("web")
        await as_git()


async def test_the_plan_tells_versions_bytes_and_notes(site: ReleaseSite) -> None:
    async with site.manager(managed_services=("app",)) as (manager, _):
        (plan,) = await manager.plan("app")
        content = site.asset_of("v2.0.0").content
        assert isinstance(content, bytes)
        assert (plan.from_version, plan.to_version, plan.up_to_date) == ("v1.0.0", "v2.0.0", False)
        assert (plan.download_bytes, plan.release_notes, plan.services) == (len(content), "Better.", ("app",))
        assert (plan.refusals, plan.warnings) == ((), ())
        assert isinstance(plan.disk_free, int)
        with site.untouched():
            await manager.plan("app")


async def test_the_plan_of_an_app_that_is_current(site: ReleaseSite) -> None:
    async with site.manager() as (manager, _):
        await manager.upgrade("app", who="test")
        (plan,) = await manager.plan("app")
        assert (plan.up_to_date, plan.download_bytes, plan.release_notes) == (True, 0, "")
        assert (plan.from_version, plan.to_version, plan.refusals) == ("v2.0.0", "v2.0.0", ())


async def test_the_history_tells_from_where_to_where(site: ReleaseSite) -> None:
    async with site.manager() as (manager, _):
        await manager.upgrade("app", who="ada")
        await manager.upgrade("app", who="ada")
        await manager.rollback("app", who="eve")
        await manager.recover("app", hard=False, who="eve")
        bad = SimAsset(name=site.asset_of("v9.0.0").name, content=b"x", digest=f"sha256:{'0' * 64}")
        site.publish("v9.0.0", bad)
        with pytest.raises(OperationFailed):
            await manager.upgrade("app", who="eve")
    async with site.manager(refresh=False) as (manager, _):
        found = [
            (record.kind, record.requested_by, record.outcome, record.apps[0].from_version, record.apps[0].to_version)
            for record in await manager.history("app")
        ]
    assert found[1:] == [
        ("recover", "eve", "succeeded", "v1.0.0", "v1.0.0"),
        ("rollback", "eve", "succeeded", "v2.0.0", "v1.0.0"),
        ("upgrade", "ada", "unchanged", "v2.0.0", "v2.0.0"),
        ("upgrade", "ada", "succeeded", "v1.0.0", "v2.0.0"),
    ]
    assert found[0][:3] == ("upgrade", "eve", "failed")


async def test_a_config_that_names_a_repo_in_other_letters_is_no_anomaly(web: ReleaseSite) -> None:
    inside = content_of("v2.5.0") | {"release_info.json": release_info("v2.5.0", owner="Ada", name="App")}
    web.publish("v2.5.0", SimAsset(name="app.zip", content=make_zip(inside)))
    async with web.manager(repo="ADA/app") as (manager, _):
        assert status_of(manager).anomalies == ()
        await manager.upgrade("app", who="test")
        status = status_of(manager)
        assert (status.version, status.anomalies) == ("v2.5.0", ())
