"""Web, zip and executable apps that are not installed yet: an upgrade installs them as a whole, or leaves nothing."""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from tests.support.mounts import MOUNTS, tmpfs
from tests.support.releases import PROGRAM, ReleaseSite, make_zip, photo, program_of, said, status_of, tree, write_files
from tests.support.somebody import SOMEBODY
from trio_update.config import HealthCheck
from trio_update.demo.github.server import Fault, FaultKind, SimAsset
from trio_update.errors import OperationFailed, Reason, Refused
from trio_update.model import AppName, Outcome, Step, Unknown
from trio_update.versions import ABSENT_VERSION


@pytest.fixture
def fresh(site: ReleaseSite) -> ReleaseSite:
    """Published and configured, but not installed; an asset called like the app is its program."""
    return not_installed(site)


@pytest.fixture
def fresh_web(web: ReleaseSite) -> ReleaseSite:
    return not_installed(web)


def not_installed(site: ReleaseSite) -> ReleaseSite:
    shutil.rmtree(site.path)
    return site


def expect_absent(site: ReleaseSite) -> None:
    """Neither the app nor anything of a job, and the folder above is as it was."""
    assert list((site.folder / "apps").iterdir()) == []
    site.expect_tidy()


async def test_an_app_that_is_not_there_is_shown_planned_and_installed(fresh: ReleaseSite) -> None:
    async with fresh.manager() as (manager, _):
        status = status_of(manager)
        assert (status.installed, status.is_valid, status.warnings) == (False, True, ())
        assert (status.version, status.remote_version) == (ABSENT_VERSION, "v2.0.0")
        assert isinstance(status.rollback_version, Unknown)
        told = f"app is not installed: an update of it, or of everything, installs it in {fresh.path}"
        assert status.anomalies == (told,)
        (plan,) = await manager.plan("app")
        assert (plan.from_version, plan.to_version, plan.up_to_date, plan.refusals) == (
            *("not installed", "v2.0.0", False),
            (),
        )
        content = fresh.asset_of("v2.0.0").content
        assert isinstance(content, bytes)
        assert plan.download_bytes == len(content)
        assert isinstance(plan.disk_needed, int)
        assert plan.disk_needed >= len(content)
        assert (plan.release_notes, plan.warnings) == ("Better.", (told,))
        record = await manager.upgrade("app", plan_id=plan.plan_id, who="test")
        fresh.expect("v2.0.0")
        (outcome,) = record.apps
        assert (outcome.from_version, outcome.to_version) == ("not installed", "v2.0.0")
        status = status_of(manager)
        assert (status.installed, status.is_valid, status.version, status.anomalies) == (True, True, "v2.0.0", ())
        assert (status.rollback_version, status.kept_versions) == ("v2.0.0", ())
        with pytest.raises(Refused, match="no earlier version"):
            await manager.rollback("app", who="test")
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (fresh.path, *fresh.path.glob("*")) if path.is_dir()}
    assert modes == {0o755}


async def test_everything_includes_what_is_not_installed_and_the_next_update_works(fresh: ReleaseSite) -> None:
    async with fresh.manager() as (manager, _):
        await manager.upgrade(None, who="test")
        fresh.expect("v2.0.0")
        fresh.publish("v3.0.0")
        await manager.refresh(None)
        await manager.upgrade("app", who="test")
        fresh.expect("v3.0.0")
        await manager.rollback("app", who="test")
        fresh.expect("v2.0.0")


async def test_a_rollback_to_nothing_is_not_offered(fresh: ReleaseSite) -> None:
    async with fresh.manager() as (manager, _):
        with pytest.raises(Refused, match="app is not installed, so that there is nothing to go back from") as caught:
            await manager.rollback("app", who="test")
        assert caught.value.reason is Reason.BAD_VERSION
        expect_absent(fresh)


@pytest.mark.parametrize("hard", [False, True])
async def test_a_recovery_installs_it_too(fresh: ReleaseSite, hard: bool) -> None:
    async with fresh.manager() as (manager, _):
        await manager.recover("app", hard=hard, who="test")
        fresh.expect("v2.0.0")


async def test_folders_that_lead_there_are_made(fresh: ReleaseSite) -> None:
    fresh.path.parent.rmdir()
    before = os.umask(0o077)
    try:
        async with fresh.manager() as (manager, _):
            await manager.upgrade("app", who="test")
    finally:
        os.umask(before)
    fresh.expect("v2.0.0")
    assert stat.S_IMODE(fresh.path.parent.stat().st_mode) == 0o755, "the web server is somebody else"


FAILING = HealthCheck(command=("/bin/false",))


@pytest.mark.parametrize("parents", [0, 1, 2])
async def test_the_undo_is_absence(fresh: ReleaseSite, parents: int) -> None:
    path = fresh.folder / "apps" / "/".join(["one", "two", "app"][2 - parents :])
    before = photo(fresh.folder / "apps")
    async with fresh.manager(path=path, health=FAILING) as (manager, listener):
        with pytest.raises(OperationFailed, match=r"The app is not installed, as before\."):
            await manager.upgrade("app", who="test")
        assert "Checking the app's health" in said(listener)
        assert not status_of(manager).installed
    assert photo(fresh.folder / "apps") == before
    expect_absent(fresh)


async def test_folders_that_somebody_used_meanwhile_stay(fresh_web: ReleaseSite) -> None:
    path = fresh_web.folder / "apps" / "one" / "two" / "app"
    note = path.parent.parent / "note"
    check = HealthCheck(command=("/bin/sh", "-c", f"echo mine >{note}; exit 1"))
    async with fresh_web.manager(path=path, health=check) as (manager, listener):
        with pytest.raises(OperationFailed, match="as before"):
            await manager.upgrade("app", who="test")
        assert "stays, because somebody has put something into it" in said(listener)
    assert tree(fresh_web.folder / "apps") == {"one/note": b"mine\n"}
    assert not path.parent.exists()


async def test_an_empty_folder_is_no_app_and_keeps_what_it_is(fresh: ReleaseSite) -> None:
    fresh.path.mkdir()
    if os.geteuid() == 0:
        os.chown(fresh.path, SOMEBODY, SOMEBODY)
    fresh.path.chmod(0o2750)
    owner = fresh.path.stat().st_uid
    before = photo(fresh.folder / "apps")
    async with fresh.manager(health=FAILING) as (manager, _):
        assert (status_of(manager).installed, status_of(manager).is_valid) == (False, True)
        with pytest.raises(OperationFailed, match="as before"):
            await manager.upgrade("app", who="test")
    assert photo(fresh.folder / "apps") == before
    async with fresh.manager() as (manager, _):
        await manager.upgrade("app", who="test")
    fresh.expect("v2.0.0")
    assert stat.S_IMODE(fresh.path.stat().st_mode) == 0o2750
    assert {path.stat().st_uid for path in (fresh.path, *fresh.path.glob("[a-z]*"))} == {owner}


def a_file(path: Path) -> None:
    path.write_bytes(b"mine")


def a_link_to_nothing(path: Path) -> None:
    path.symlink_to("/media/stick/app")


def a_file_above(path: Path) -> None:
    path.parent.rmdir()
    path.parent.write_bytes(b"mine")


def a_link_above(path: Path) -> None:
    path.parent.rmdir()
    path.parent.symlink_to("/media/stick")


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (a_file, "is not a folder: move the file away"),
        (a_link_to_nothing, "is a symbolic link to /media/stick/app, which is not there: mount or make that"),
        (a_file_above, "app cannot be made, because"),
        (a_link_above, "is a symbolic link to /media/stick, which is not there"),
    ],
)
async def test_what_is_in_the_way_is_refused(fresh: ReleaseSite, make: Callable[[Path], None], why: str) -> None:
    make(fresh.path)
    async with fresh.manager() as (manager, _):
        status = status_of(manager)
        assert (status.installed, status.is_valid) == (False, False)
        (warning,) = status.warnings
        assert why in warning
        (plan,) = await manager.plan("app")
        assert plan.refusals == (f"app cannot be updated: {warning}",)
        for recover in (False, True):
            await fresh.expect_failure(manager, why, recover=recover)


async def test_a_link_to_an_empty_folder_leads_there(fresh_web: ReleaseSite) -> None:
    real = fresh_web.folder / "apps" / "real"
    real.mkdir()
    fresh_web.path.symlink_to(real)
    async with fresh_web.manager() as (manager, _):
        await manager.upgrade("app", who="test")
    assert fresh_web.path.is_symlink()
    fresh_web.expect("v2.0.0")


async def test_what_has_come_meanwhile_is_never_overwritten(fresh: ReleaseSite) -> None:
    hang = Fault("assets", FaultKind.STALL, times=1, at=10, seconds=3)
    fresh.github.faults.append(hang)
    async with fresh.manager() as (manager, _):
        job = await manager.start_upgrade("app", who="test")
        while not list((fresh.folder / "apps").glob(".*")):  # noqa: ASYNC110 - the disk is looked at, as a user would
            await trio.sleep(0.01)
        fresh.path.mkdir()
        (fresh.path / "mine").write_bytes(b"mine")
        record = await job.wait()
        assert record.outcome is Outcome.FAILED
        assert "has come into being" in record.message
    assert tree(fresh.folder / "apps") == {"app/mine": b"mine"}
    fresh.expect_tidy()


@pytest.mark.parametrize("empty", [True, False])
async def test_what_comes_at_the_last_moment_is_not_overwritten_either(fresh_web: ReleaseSite, empty: bool) -> None:
    path = fresh_web.path
    if empty:
        path.mkdir()

    async def come(app: AppName | None, step: Step) -> None:
        if step is Step.SWITCH:
            write_files(path, {"mine": b"mine"})

    async with fresh_web.manager(may_update=come) as (manager, _):
        with pytest.raises(OperationFailed, match="has come into being"):
            await manager.upgrade("app", who="test")
    assert tree(path.parent) == {"app/mine": b"mine"}
    fresh_web.expect_tidy()


async def test_an_abort_leaves_nothing(fresh: ReleaseSite) -> None:
    fresh.path.parent.rmdir()
    fresh.github.faults.append(Fault("assets", FaultKind.STALL, times=1, at=10, seconds=30))
    async with fresh.manager() as (manager, _):
        job = await manager.start_upgrade("app", who="test")
        while not list(fresh.folder.glob(".*")):  # noqa: ASYNC110 - the disk is looked at, as a user would
            await trio.sleep(0.01)
        await manager.abort()
        assert (await job.wait()).outcome is Outcome.ABORTED
        assert not status_of(manager).installed
    assert not fresh.path.parent.exists()
    fresh.expect_tidy()


async def test_a_held_app_is_not_installed(fresh_web: ReleaseSite) -> None:
    async with fresh_web.manager(hold="wait") as (manager, _):
        with pytest.raises(Refused) as caught:
            await manager.upgrade("app", who="test")
        assert caught.value.reason is Reason.HELD
        expect_absent(fresh_web)


async def test_a_damaged_asset_installs_nothing(fresh_web: ReleaseSite) -> None:
    fresh_web.publish("v3.0.0", SimAsset(name="app.zip", content=make_zip({"index.html": b"no info"})))
    async with fresh_web.manager() as (manager, _):
        with pytest.raises(OperationFailed, match="cannot be installed"):
            await manager.upgrade("app", who="test")
    expect_absent(fresh_web)


async def test_needed_packages_are_told(web: ReleaseSite) -> None:
    web.kind = "zip"
    not_installed(web)
    async with web.manager(requirements="requirements.txt") as (manager, _):
        (plan,) = await manager.plan("app")
        assert any("requirements.txt" in warning for warning in plan.warnings)
        await manager.upgrade("app", who="test")
        web.expect("v2.0.0")


def asset(name: str, content: bytes = b"") -> SimAsset:
    return SimAsset(name=name, content=content or program_of("v3.0.0"), content_type="application/octet-stream")


async def test_the_program_for_this_machine_is_found_among_others(executable: ReleaseSite) -> None:
    not_installed(executable)
    machine = os.uname().machine
    names = ["tool-linux-riscv64", f"tool-linux-{machine}", "tool-windows-x86_64.exe", f"tool-{machine}.sha256"]
    executable.publish("v3.0.0", *map(asset, names))
    async with executable.manager() as (manager, _):
        await manager.upgrade("app", who="test")
    name = f"tool-linux-{machine}"
    info = json.loads((executable.path / "release_info.json").read_bytes())
    wanted = {"project_owner": "ada", "project_name": "app", "version": "v3.0.0", "asset_name": name}
    assert info == wanted
    assert (executable.path / name).read_bytes() == program_of("v3.0.0")
    assert stat.S_IMODE((executable.path / name).stat().st_mode) == 0o755


async def test_several_programs_that_may_be_meant_are_told_with_what_to_do(executable: ReleaseSite) -> None:
    not_installed(executable)
    executable.publish("v3.0.0", asset("one"), asset("two"))
    async with executable.manager() as (manager, _):
        (plan,) = await manager.plan("app")
        (refusal,) = plan.refusals
        assert "one, two" in refusal
        assert "asset_name" in refusal
        with pytest.raises(Refused, match="which of its assets"):
            await manager.upgrade("app", who="test")
        # What the message says helps.
        executable.path.mkdir()
        info = {"project_owner": "ada", "project_name": "app", "version": "0", "asset_name": "two"}
        (executable.path / "release_info.json").write_text(json.dumps(info))
        await manager.refresh(None)
        await manager.upgrade("app", who="test")
    assert (executable.path / "two").read_bytes() == program_of("v3.0.0")


async def test_a_program_called_otherwise_is_the_only_one(executable: ReleaseSite) -> None:
    not_installed(executable)
    async with executable.manager() as (manager, _):
        await manager.upgrade("app", who="test")
    assert (executable.path / PROGRAM).read_bytes() == program_of("v2.0.0")


@pytest.mark.skipif("tmpfs" not in MOUNTS, reason="nothing can be mounted here")
@pytest.mark.parametrize("healthy", [True, False])
async def test_an_empty_disk_is_filled_and_emptied_again(fresh_web: ReleaseSite, healthy: bool) -> None:
    with tmpfs(fresh_web.path):
        async with fresh_web.manager(health=HealthCheck() if healthy else FAILING) as (manager, _):
            record = await (await manager.start_upgrade("app", who="test")).wait()
            assert (record.outcome is Outcome.SUCCEEDED) is healthy, record.message
        if healthy:
            fresh_web.expect("v2.0.0")
        else:
            assert list(fresh_web.path.iterdir()) == []
            fresh_web.expect_tidy()


async def test_what_is_known_is_installed_when_only_the_forge_does_not_answer(fresh_web: ReleaseSite) -> None:
    async with fresh_web.manager() as (manager, listener):
        fresh_web.github.faults.append(Fault("api", FaultKind.STATUS, times=None, code=500))
        fresh_web.github.faults.append(Fault("web", FaultKind.STATUS, times=None, path="/latest", code=500))
        await manager.upgrade("app", who="test")
        assert "Going on with what is known: v2.0.0" in said(listener)
    fresh_web.expect("v2.0.0")
