"""Web, zip and executable apps: upgraded, rolled back and recovered, with what is the user's untouched."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat

import pytest

from tests.support.releases import PROGRAM, REPO, ReleaseSite, program_of, said, status_of
from trio_update.demo.github.server import Fault, FaultKind
from trio_update.errors import OperationFailed, Reason, Refused
from trio_update.updaters.release.shelf import Shelf


async def test_upgrade_and_back_without_a_network(site: ReleaseSite) -> None:
    async with site.manager() as (manager, _):
        before = status_of(manager)
        assert (before.version, before.remote_version, before.rollback_version) == ("v1.0.0", "v2.0.0", "v1.0.0")
        assert (before.owner, before.repo_name, before.is_valid, before.warnings) == ("ada", "app", True, ())
        (plan,) = await manager.plan("app")
        assert (plan.to_version, plan.release_notes, plan.refusals) == ("v2.0.0", "Better.", ())
        content = site.asset_of("v2.0.0").content
        assert isinstance(content, bytes)
        assert plan.download_bytes == len(content)
        await manager.upgrade("app", who="test")
        site.expect("v2.0.0")
        (outcome,) = (await manager.history("app"))[0].apps
        assert (outcome.to_version, outcome.digest) == ("v2.0.0", f"sha256:{hashlib.sha256(content).hexdigest()}")
        after = status_of(manager)
        assert (after.version, after.rollback_version, after.kept_versions) == ("v2.0.0", "v1.0.0", ("v1.0.0",))
        site.publish("v3.0.0")
        await manager.refresh(None)
        await manager.upgrade("app", who="test")
        site.expect("v3.0.0")
        assert status_of(manager).kept_versions == ("v1.0.0", "v2.0.0")
        asked = len(site.github.requests)
        await manager.rollback("app", version="1.0.0", who="test")
        site.expect("v1.0.0")
        assert len(site.github.requests) == asked
        await manager.upgrade("app", who="test")
        site.expect("v3.0.0")
        assert not [one for one in site.github.requests[asked:] if one.host == "assets"], "it was kept"


async def test_recovery_brings_back_the_installed_version_from_the_disk(site: ReleaseSite) -> None:
    async with site.manager() as (manager, _):
        await manager.upgrade("app", who="test")
        site.publish("v9.0.0")
        for path in sorted(site.path.rglob("*")):
            if path.name in {"index.html", "tool", "same.svg"}:
                path.unlink()
        await manager.refresh(None)
        assert "recovery" in status_of(manager).anomalies[0]
        asked = len(site.github.requests)
        await manager.recover("app", hard=False, who="test")
        site.expect("v2.0.0")
        assert len(site.github.requests) == asked
        for asset in site.shelf.glob("*v2.0.0/asset"):
            asset.write_bytes(b"\0" * 10)
        (site.path / "release_info.json").write_text("{")
        if site.kind != "executable":
            await manager.recover("app", hard=False, who="test")
            site.expect("v2.0.0")


async def test_an_app_that_is_current_has_nothing_to_do(site: ReleaseSite) -> None:
    async with site.manager() as (manager, _):
        await manager.upgrade("app", who="test")
        await manager.upgrade("app", who="test")
        site.expect("v2.0.0")
        with pytest.raises(Refused) as caught:
            await manager.rollback("app", version="v2.0.0", who="test")
        assert caught.value.reason is Reason.BAD_VERSION
        with pytest.raises((Refused, OperationFailed), match=r"no version 'v0\.7\.7'"):
            await manager.rollback("app", version="v0.7.7", who="test")


async def test_of_progress_the_log_keeps_the_last_line(site: ReleaseSite) -> None:
    content = site.asset_of("v2.0.0").content
    assert isinstance(content, bytes)
    site.github.faults.append(Fault("assets", FaultKind.DRIP, rate=len(content) / 1.5))
    async with site.manager() as (manager, listener):
        await manager.upgrade("app", who="test")
        assert said(listener).count("Downloading") > 3
        (record, *_) = await manager.history("app")
    told = [line for line in record.log if "Downloading" in line]
    # One is of the installed version, to know what it brought.
    assert (len(told), [line for line in record.log if "100%" in line]) == (2, told)
    assert record.log[0] == "app: v1.0.0 → v2.0.0"


async def test_the_order_of_versions_outlives_the_data(site: ReleaseSite) -> None:
    async with site.manager() as (manager, _):
        await manager.upgrade("app", who="test")
        for version in ("v3.0.0", "v4.0.0"):
            site.publish(version)
            await manager.refresh(None)
            await manager.upgrade("app", who="test")
    shutil.rmtree(site.data_path)
    async with site.manager() as (manager, _):
        for version in ("v5.0.0", "v6.0.0"):
            site.publish(version)
            await manager.refresh(None)
            await manager.upgrade("app", who="test")
        assert status_of(manager).kept_versions == ("v4.0.0", "v5.0.0")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
async def test_an_app_of_another_user_stays_theirs(site: ReleaseSite) -> None:
    for path in (site.path, *site.path.rglob("*")):
        os.chown(path, 1234, 4321)
    async with site.manager() as (manager, _):
        for act in (manager.upgrade, manager.rollback):
            await act("app", who="test")
            theirs = [path for path in (site.path, *site.path.rglob("*")) if ".trio-update" not in str(path)]
            assert {(path.stat().st_uid, path.stat().st_gid) for path in theirs} == {(1234, 4321)}


async def test_the_folder_keeps_its_mode(site: ReleaseSite) -> None:
    site.path.chmod(0o2750)
    async with site.manager() as (manager, _):
        await manager.upgrade("app", who="test")
        assert stat.S_IMODE(site.path.stat().st_mode) == 0o2750


async def test_a_program_and_its_description_keep_their_modes(executable: ReleaseSite) -> None:
    """But for what only the old program was trusted with: the rights of its owner."""
    program, described = executable.path / PROGRAM, executable.path / "release_info.json"
    program.chmod(0o4710)
    described.chmod(0o600)
    async with executable.manager() as (manager, _):
        await manager.upgrade("app", who="test")
        assert (program.read_bytes(), stat.S_IMODE(program.stat().st_mode)) == (program_of("v2.0.0"), 0o710)
        assert stat.S_IMODE(described.stat().st_mode) == 0o600


async def test_a_folder_in_the_place_of_the_program_is_left_alone(executable: ReleaseSite) -> None:
    (executable.path / PROGRAM).unlink()
    (executable.path / PROGRAM).mkdir()
    (executable.path / PROGRAM / "mine").write_bytes(b"mine")
    async with executable.manager() as (manager, _):
        await executable.expect_failure(manager, f"{executable.path / PROGRAM} is no file")


async def test_a_program_that_is_gone_is_brought_back(executable: ReleaseSite) -> None:
    (executable.path / PROGRAM).unlink()
    async with executable.manager() as (manager, _):
        await manager.upgrade("app", who="test")
        executable.expect("v2.0.0")
        assert status_of(manager).kept_versions == ()


async def test_a_rollback_without_a_history_goes_by_what_is_kept(site: ReleaseSite) -> None:
    """As when the database was lost: to the version that was used last of those before this one."""
    async with site.manager(keep_versions=5) as (manager, _):
        with pytest.raises(Refused, match="was not updated yet") as caught:
            await manager.rollback("app", who="test")
        assert caught.value.reason is Reason.BAD_VERSION
        await manager.upgrade("app", who="test")
        site.publish("v3.0.0")
        await manager.refresh(None)
        await manager.upgrade("app", who="test")
    for version in ("v2.0.0", "v1.0.0"):
        shutil.rmtree(site.data_path)
        async with site.manager(keep_versions=5) as (manager, _):
            assert status_of(manager).rollback_version == version
            await manager.rollback("app", who="test")
            site.expect(version)
    shutil.rmtree(site.data_path)
    async with site.manager(keep_versions=5) as (manager, _):
        assert status_of(manager).rollback_version == "v1.0.0"
        with pytest.raises(Refused, match="was not updated yet"):
            await manager.rollback("app", who="test")
        site.expect("v1.0.0")


async def test_a_damaged_program_is_not_kept_in_place_of_its_release(executable: ReleaseSite) -> None:
    (executable.path / PROGRAM).write_bytes(b"damaged")
    async with executable.manager() as (manager, _):
        await manager.recover("app", hard=False, who="test")
        executable.expect("v1.0.0")
        kept = Shelf(executable.shelf).find("v1.0.0")
        assert kept is not None
        assert (kept.asset.read_bytes(), kept.record.packed) == (program_of("v1.0.0"), False)


async def test_what_is_kept_of_a_program_is_its_release_and_not_what_became_of_it(executable: ReleaseSite) -> None:
    async with executable.manager() as (manager, _):
        await manager.upgrade("app", who="test")
        executable.publish("v3.0.0")
        await manager.refresh(None)
        (executable.path / PROGRAM).write_bytes(b"changed")
        await manager.upgrade("app", who="test")
        await manager.rollback("app", who="test")
        executable.expect("v2.0.0")


async def test_a_recovery_does_not_spell_the_version_anew(site: ReleaseSite) -> None:
    """The tag has no `v`, and what was installed by hand says it with one."""
    site.github.repos[REPO].releases.clear()
    site.publish("1.0.0", site.asset_of("v1.0.0"))
    async with site.manager() as (manager, _):
        await manager.recover("app", hard=True, who="test")
        assert status_of(manager).version == "v1.0.0"
        assert status_of(manager).kept_versions == ()
        site.expect("v1.0.0")
