"""What an update replaced cannot always be removed: that is told, and takes nothing from the app."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest
import trio

from tests.support.mounts import MOUNTS, mounted
from tests.support.releases import ReleaseSite, behind, photo, status_of
from tests.support.somebody import AS_A_USER, SOMEBODY, WHY_NO_USER
from trio_update.demo.github.server import GitHub
from trio_update.engine.manager import Manager
from trio_update.model import Outcome


@pytest.fixture
def web(tmp_path: Path, github: GitHub) -> ReleaseSite:
    return behind(tmp_path, github, "web")


@pytest.mark.skipif("bind" not in MOUNTS, reason="nothing can be mounted here")
@pytest.mark.parametrize("keep", [0, 2])
async def test_what_cannot_be_removed_is_told_until_it_is_and_stops_nothing(web: ReleaseSite, keep: int) -> None:
    precious = web.folder / "precious"
    precious.mkdir()
    (precious / "file").write_text("behind the mount")
    async with web.manager(keep_versions=keep) as (manager, _):
        await manager.upgrade("app", who="test")
    with mounted(web.shelf / "replaced" / "assets", "--bind", precious):
        async with web.manager(keep_versions=keep) as (manager, _):
            for version in ("v3.0.0", "v4.0.0"):
                web.publish(version)
                await manager.refresh(None)
                await manager.upgrade("app", who="test")
                await expect_well(manager, version, untidy=True)
        for _ in range(4):
            async with web.manager(keep_versions=keep) as (manager, _):
                await expect_well(manager, "v4.0.0", untidy=True)
        assert (precious / "file").exists()
    async with web.manager(keep_versions=keep) as (manager, _):
        await expect_well(manager, "v4.0.0", untidy=False)
        web.expect("v4.0.0")
        earlier = ("v2.0.0", "v3.0.0")[2 - keep :]
        assert status_of(manager).kept_versions == earlier
        kept = (*earlier, "v4.0.0")
        left = {*(f"version-{version}" for version in kept), "replaced"}
        assert {path.name for path in web.shelf.iterdir()} == left
        for version in reversed(earlier):
            await manager.rollback("app", who="test")
            web.expect(version)


async def expect_well(manager: Manager, version: str, *, untidy: bool) -> None:
    status = status_of(manager)
    assert (status.version, status.is_valid, status.warnings) == (version, True, ())
    assert [("Cleaning up" in anomaly, "mount point" in anomaly) for anomaly in status.anomalies] == [
        (True, True)
    ] * untidy
    newest = (await manager.history("app"))[0]
    assert (newest.outcome, newest.apps[0].to_version) == (Outcome.SUCCEEDED, version)
    assert "stopped in the middle" not in newest.message + newest.apps[0].message


@pytest.mark.skipif(bool(WHY_NO_USER), reason=WHY_NO_USER)
async def test_folders_of_somebody_else_are_named_before_anything_changes(web: ReleaseSite) -> None:
    theirs = web.path / "assets" / "cache"
    (theirs / "deep").mkdir(parents=True)
    (theirs / "deep" / "file").write_text("made with sudo")
    locked = web.path / "locked"
    for path in (locked, web.path / "empty"):
        path.mkdir(0o700)
    (web.path / "empty").chmod(0o755)
    for path in (theirs, theirs / "deep", theirs / "deep" / "file", locked, web.path / "empty"):
        os.chown(path, SOMEBODY, SOMEBODY)
    before = photo(web.path)
    said = await as_a_user("upgrade", web)
    assert ": assets/cache, assets/cache/deep, locked. " in said
    assert "chown" in said
    assert photo(web.path) == before
    web.expect_tidy()
    for path in (theirs, locked):
        shutil.rmtree(path)
    assert "app has succeeded" in await as_a_user("upgrade", web)
    web.expect("v2.0.0")


@pytest.mark.skipif(bool(WHY_NO_USER), reason=WHY_NO_USER)
@pytest.mark.parametrize("installed", ["by somebody else", "by us"])
async def test_what_cannot_be_read_is_not_taken_for_nothing(web: ReleaseSite, installed: str) -> None:
    if installed == "by us":
        assert "app has succeeded" in await as_a_user("upgrade", web)
        web.publish("v3.0.0")
    shut = web.path / "shut"
    shut.mkdir()
    (shut / "file").write_text("the user's own")
    shut.chmod(0)
    said = await as_a_user("upgrade", web)
    assert f"{shut}: Permission denied" in said
    assert "app has failed" in said
    assert (shut / "file").read_text() == "the user's own"
    web.expect_tidy()


@pytest.mark.skipif(bool(WHY_NO_USER), reason=WHY_NO_USER)
async def test_a_user_gets_back_a_folder_that_is_gone(web: ReleaseSite) -> None:
    assert "app has succeeded" in await as_a_user("upgrade", web)
    shutil.rmtree(web.path)
    assert "recover_app has succeeded" in await as_a_user("soft", web)
    web.expect("v2.0.0")


async def as_a_user(action: str, web: ReleaseSite) -> str:
    """What a user who is not root is told."""
    urls = (web.github.api_url, web.github.web_url)
    command = [*AS_A_USER, sys.executable, "-m", "tests.support.act_once", action, str(web.folder), *urls]
    return (await trio.run_process(command, cwd=Path(__file__).parents[2], capture_stdout=True)).stdout.decode()
