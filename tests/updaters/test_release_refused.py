"""What a forge has against one repository, or against the token: told where it belongs, and nobody else's trouble."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.support.raising import Raising
from tests.support.releases import NAME, ReleaseSite, behind, content_of, make_zip, release_info, status_of
from trio_update.config import Config, ServerConfig
from trio_update.demo.github.server import Fault, FaultKind, GitHub, SimAsset
from trio_update.engine.manager import Manager
from trio_update.engine.opening import open_manager
from trio_update.errors import OperationFailed
from trio_update.model import AppName, Outcome

OTHER = AppName("other")
ADDRESSES = (
    "Although you appear to have the correct authorization credentials, the `ada` organization has an IP allow list"
)


class Other(ReleaseSite):
    """Of another repository."""

    def files_of(self, version: str) -> dict[str, bytes]:
        return content_of(version) | {"release_info.json": release_info(version, owner="bob", name="other")}

    def asset_of(self, version: str) -> SimAsset:
        return SimAsset(name="other.zip", content=make_zip(self.files_of(version)))


@pytest.fixture
def two(tmp_path: Path, github: GitHub) -> tuple[ReleaseSite, ReleaseSite]:
    """Two apps of two repositories, each a release behind."""
    other = Other(tmp_path, github, "zip", name=OTHER)
    other.install("v1.0.0")
    for version in ("v1.0.0", "v2.0.0"):
        other.publish(version, repo="bob/other")
    return behind(tmp_path, github, "web"), other


@asynccontextmanager
async def managed(two: tuple[ReleaseSite, ReleaseSite]) -> AsyncIterator[Manager]:
    first, other = two
    server = ServerConfig(github_api_url=first.github.api_url, github_url=first.github.web_url)
    apps = (first.config(), other.config(repo="bob/other"))
    config = Config(source=first.folder / "moonraker.conf", apps=apps, server=server)
    async with open_manager(config, data_path=first.data_path) as manager:
        await manager.wait_ready()
        await manager.refresh(None)
        yield Raising(manager)


@pytest.mark.parametrize("when", ["ever", "at the download"])
async def test_a_repository_that_is_shut_stops_no_other(two: tuple[ReleaseSite, ReleaseSite], when: str) -> None:
    first, other = two
    if when == "ever":
        first.github.repos["ada/app"].refuses["anonymous"] = (403, ADDRESSES)
    else:
        first.github.faults.append(Fault("web", FaultKind.STATUS, code=403, times=None, path="/ada/app/releases/down"))
    async with managed(two) as manager:
        error = status_of(manager).last_error
        assert ("IP allow list" in error, "not asked again" in error) == (when == "ever", False)
        assert (status_of(manager, OTHER).remote_version, status_of(manager, OTHER).last_error) == ("v2.0.0", "")
        with pytest.raises(OperationFailed, match=r"1 of 2 apps were not updated: .*403"):
            await manager.upgrade(None, who="test")
        first.expect("v1.0.0")
        other.expect("v2.0.0")
        (record, *_) = await manager.history()
        assert {app.name: app.outcome for app in record.apps} == {NAME: Outcome.FAILED, OTHER: Outcome.SUCCEEDED}


async def test_who_is_shut_out_between_two_refreshes_keeps_what_is_known(two: tuple[ReleaseSite, ReleaseSite]) -> None:
    first, other = two
    async with managed(two) as manager:
        first.publish("v3.0.0")
        first.github.repos["ada/app"].refuses["anonymous"] = (403, ADDRESSES)
        await manager.refresh(None)
        assert status_of(manager).remote_version == "v2.0.0"
        assert "IP allow list" in status_of(manager).last_error
        assert status_of(manager, OTHER).last_error == ""
        await manager.upgrade(None, who="test")
        first.expect("v2.0.0")
        other.expect("v2.0.0")


async def test_a_token_that_is_not_accepted_is_told_with_the_apps(web: ReleaseSite) -> None:
    """They are asked for without it, and well."""
    token = web.folder / "data" / "token"
    token.parent.mkdir()
    token.write_text("expired")
    token.chmod(0o600)
    web.github.token = "another"
    async with web.manager(server={"github_token_file": token}) as (manager, _):
        status = status_of(manager)
        assert (status.version, status.remote_version, status.is_valid) == ("v1.0.0", "v2.0.0", True)
        assert (status.warnings, len(status.anomalies)) == ((), 1)
        words = f"does not accept the token of `github_token_file` {token}: it may have expired or been revoked"
        assert status.anomalies[0].startswith("The releases are asked for without a token: ")
        assert words in status.anomalies[0]
        assert words in (await manager.plan("app"))[0].warnings[0]
        await manager.upgrade("app", who="test")
        web.expect("v2.0.0")
        assert len(status_of(manager).anomalies) == 1, "it is so still"
        token.write_text("another")
        await manager.refresh(None)
        assert status_of(manager).anomalies == ()
        assert "expired" not in str(manager.status()).replace("may have expired", "")


async def test_apps_of_other_forges_are_not_told_of_githubs_token(web: ReleaseSite) -> None:
    token = web.folder / "token"
    token.write_text("expired")
    token.chmod(0o600)
    web.github.token = "another"
    async with web.manager(server={"github_token_file": token}, forge_url=f"{web.github.web_url}/x") as (manager, _):
        assert not any("token" in anomaly for anomaly in status_of(manager).anomalies)
