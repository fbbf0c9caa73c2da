"""Clones that are not there yet: an upgrade makes them as a whole, or leaves nothing."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.support.mounts import MOUNTS, tmpfs
from tests.support.somebody import AS_A_USER, SOMEBODY, WHY_NO_USER
from tests.support.upstream import NAME, Bench, Upstream, git, status_of
from trio_update.config import Config, HealthCheck
from trio_update.engine.manager import Manager
from trio_update.engine.opening import open_manager
from trio_update.errors import OperationFailed, Reason, Refused
from trio_update.model import AppName, Channel, Outcome, Step, Unknown
from trio_update.versions import ABSENT_VERSION

FAILING = HealthCheck(command=("/bin/false",))


@pytest.fixture
def fresh(bench: Bench) -> Bench:
    """An upstream with one release and commits behind it, and no clone; the place is in a folder of its own."""
    shutil.rmtree(bench.path)
    bench.path = bench.folder / "apps" / "app"
    bench.path.parent.mkdir()
    return bench


@asynccontextmanager
async def ready(bench: Bench, **options: Any) -> AsyncIterator[Manager]:
    async with bench.manager(**options) as manager:
        await manager.wait_ready()
        await manager.refresh(None)
        yield manager


def expect_absent(bench: Bench) -> None:
    assert list((bench.folder / "apps").iterdir()) == []
    bench.expect_tidy()


async def test_a_clone_that_is_not_there_is_shown_planned_and_made(fresh: Bench) -> None:
    head = fresh.upstream.head
    async with ready(fresh) as manager:
        status = status_of(manager)
        assert (status.installed, status.is_valid, status.warnings) == (False, True, ())
        assert (status.version, status.full_version_string) == (ABSENT_VERSION, "not installed")
        assert (status.remote_version, status.remote_hash) == (f"0.0.0-g{head[:8]}", head)
        assert isinstance(status.current_hash, Unknown)
        assert [commit.sha for commit in status.commits_behind] == [head]
        assert not (status.corrupt or status.detached or status.is_dirty)
        told = f"app is not installed: an update of it, or of everything, installs it in {fresh.path}"
        assert status.anomalies == (told,)
        (plan,) = await manager.plan(NAME)
        assert (plan.from_version, plan.to_version, plan.to_hash) == ("not installed", status.remote_version, head)
        assert (plan.up_to_date, plan.refusals, plan.warnings) == (False, (), (told,))
        assert isinstance(plan.disk_free, int)
        record = await manager.upgrade(NAME, plan_id=plan.plan_id, who="test")
        fresh.expect_whole(head)
        assert fresh.git("symbolic-ref", "HEAD") == "refs/heads/master"
        (outcome,) = record.apps
        assert (outcome.from_version, outcome.to_version, outcome.to_hash) == ("not installed", "v0.1.0-5", head)
        status = status_of(manager)
        assert (status.installed, status.is_valid, status.version) == (True, True, "v0.1.0-5")
        assert (status.commits_behind, status.anomalies) == ((), ())
        with pytest.raises(Refused, match="no earlier version"):
            await manager.rollback(NAME, who="test")
        fresh.upstream.commit()
        await manager.upgrade(None, who="test")
        fresh.expect_whole(fresh.upstream.head)
    fresh.expect_tidy()


async def test_a_channel_takes_its_release_and_no_other(fresh: Bench) -> None:
    wanted = fresh.upstream.commit(tag="v0.2.0")
    fresh.upstream.commit(tag="v0.3.0-beta1")
    git(fresh.upstream.path, "checkout", "-qb", "other")
    fresh.upstream.commit(tag="v9.0.0")
    git(fresh.upstream.path, "checkout", "-q", "master")
    async with ready(fresh, channel=Channel.STABLE) as manager:
        await manager.upgrade(NAME, who="test")
        fresh.expect_whole(wanted)
        assert status_of(manager).version == "v0.2.0-0"


async def test_the_plan_names_the_release(fresh: Bench) -> None:
    wanted = fresh.upstream.commit(tag="v0.2.0")
    fresh.upstream.commit()
    async with ready(fresh, channel=Channel.STABLE) as manager:
        (plan,) = await manager.plan(NAME)
        assert (plan.to_version, plan.to_hash) == ("v0.2.0-0", wanted)


async def test_a_pinned_commit_is_what_is_installed(fresh: Bench) -> None:
    pinned = git(fresh.upstream.path, "rev-parse", "HEAD~2")
    async with ready(fresh, pinned_commit=pinned[:12]) as manager:
        await manager.upgrade(NAME, who="test")
        fresh.expect_whole(pinned)


async def test_submodules_are_part_of_it(fresh: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in (("COUNT", "1"), ("KEY_0", "protocol.file.allow"), ("VALUE_0", "always")):
        monkeypatch.setenv(f"GIT_CONFIG_{key}", value)
    part = Upstream(fresh.folder / "part")
    part.commit()
    git(fresh.upstream.path, "submodule", "add", "-q", part.url, "part")
    head = fresh.upstream.commit()
    async with ready(fresh) as manager:
        await manager.upgrade(NAME, who="test")
        assert fresh.head == head
        assert (fresh.path / "part/main.py").is_file()
        assert status_of(manager).is_valid


@pytest.mark.parametrize("parents", [0, 1, 2])
async def test_the_undo_is_absence(fresh: Bench, parents: int) -> None:
    path = fresh.folder / "apps" / "/".join(["one", "two", "app"][2 - parents :])
    async with ready(fresh, path=path, health=FAILING) as manager:
        with pytest.raises(OperationFailed, match=r"The app is not installed, as before\."):
            await manager.upgrade(NAME, who="test")
        assert not status_of(manager).installed
    expect_absent(fresh)
    async with ready(fresh, path=path) as manager:
        await manager.upgrade(NAME, who="test")
    fresh.path = path
    fresh.expect_whole(fresh.upstream.head)


async def test_an_empty_folder_is_no_app_and_keeps_what_it_is(fresh: Bench) -> None:
    fresh.path.mkdir()
    fresh.path.chmod(0o2750)
    before = fresh.path.stat()
    async with ready(fresh, health=FAILING) as manager:
        assert (status_of(manager).installed, status_of(manager).is_valid) == (False, True)
        with pytest.raises(OperationFailed, match="as before"):
            await manager.upgrade(NAME, who="test")
    assert list(fresh.path.iterdir()) == []
    assert fresh.path.stat().st_ino == before.st_ino
    async with ready(fresh) as manager:
        await manager.upgrade(NAME, who="test")
        assert status_of(manager).is_valid, status_of(manager).warnings
    assert fresh.path.stat().st_mode == before.st_mode
    assert [path.name for path in fresh.path.parent.iterdir()] == ["app"]


async def test_without_an_origin_it_says_what_to_do(fresh: Bench) -> None:
    async with ready(fresh, origin="") as manager:
        (warning,) = status_of(manager).warnings
        assert "not installed" in warning
        assert "set 'origin'" in warning
        (plan,) = await manager.plan(NAME)
        assert plan.refusals == (f"app cannot be updated: {warning}",)
        with pytest.raises(Refused, match="set 'origin'"):
            await manager.upgrade(NAME, who="test")


async def test_a_branch_that_the_remote_lacks_is_told_with_the_one_it_has(fresh: Bench) -> None:
    async with ready(fresh, primary_branch="main") as manager:
        (warning,) = status_of(manager).warnings
        assert "set 'primary_branch: master'" in warning
        with pytest.raises(Refused, match="set 'primary_branch: master'"):
            await manager.upgrade(NAME, who="test")
    expect_absent(fresh)


async def test_a_remote_that_does_not_answer_is_told_and_what_was_known_stays(fresh: Bench) -> None:
    async with ready(fresh) as manager:
        fresh.upstream.path.rename(fresh.folder / "away")
        await manager.refresh(None)
        status = status_of(manager)
        assert (status.installed, status.is_valid) == (False, True)
        assert any("Remote not reached since" in anomaly for anomaly in status.anomalies)
        with pytest.raises(OperationFailed, match=str(fresh.path)):
            await manager.upgrade(NAME, who="test")
        expect_absent(fresh)
        (fresh.folder / "away").rename(fresh.upstream.path)
        await manager.refresh(None)
        assert status_of(manager).unreachable_since is None
        await manager.upgrade(NAME, who="test")


async def test_rollbacks_and_soft_recoveries_are_refused_and_a_hard_one_installs(fresh: Bench) -> None:
    async with ready(fresh) as manager:
        with pytest.raises(Refused, match="nothing to go back from") as caught:
            await manager.rollback(NAME, who="test")
        assert caught.value.reason is Reason.BAD_VERSION
        with pytest.raises(Refused, match="use an upgrade or a hard recovery"):
            await manager.recover(NAME, hard=False, who="test")
        expect_absent(fresh)
        await manager.recover(NAME, hard=True, who="test")
        fresh.expect_whole(fresh.upstream.head)


def a_file(path: Path) -> None:
    path.write_bytes(b"mine")


def a_link_to_nothing(path: Path) -> None:
    path.symlink_to("/media/stick/app")


def a_file_above(path: Path) -> None:
    path.parent.rmdir()
    path.parent.write_bytes(b"mine")


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (a_file, "is not a folder: move the file away"),
        (a_link_to_nothing, "is a symbolic link to /media/stick/app, which is not there: mount or make that"),
        (a_file_above, "app cannot be made, because"),
    ],
)
async def test_what_is_in_the_way_is_refused(fresh: Bench, make: Callable[[Path], None], why: str) -> None:
    make(fresh.path)
    async with ready(fresh) as manager:
        status = status_of(manager)
        assert (status.installed, status.is_valid) == (False, False)
        (warning,) = status.warnings
        assert why in warning
        (plan,) = await manager.plan(NAME)
        assert plan.refusals == (f"app cannot be updated: {warning}",)
        for hard in (False, True):
            with pytest.raises(Refused, match=why if hard else "nothing to mend"):
                await manager.recover(NAME, hard=hard, who="test")
        with pytest.raises(Refused, match=why):
            await manager.upgrade(NAME, who="test")


@pytest.mark.skipif(bool(WHY_NO_USER), reason=WHY_NO_USER)
def test_a_parent_that_cannot_be_written_is_refused_in_both(bench: Bench) -> None:
    shutil.rmtree(bench.path)
    (bench.folder / "data").mkdir()
    os.chown(bench.folder, SOMEBODY, SOMEBODY)
    bench.folder.chmod(0o755)
    command = [*AS_A_USER, sys.executable, "-m", "tests.support.plan_and_upgrade", str(bench.folder)]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], check=True, capture_output=True, text=True)
    told = json.loads(done.stdout)
    assert told["plan"] == [told["job"]]
    assert f"{bench.path} cannot be made, because {bench.folder} is not writable" in told["job"]
    assert "sudo chown" in told["job"]


async def test_what_has_come_meanwhile_is_never_overwritten(fresh: Bench) -> None:
    """The user loses patience and clones by hand, into an empty folder that was there, or into none."""
    fresh.path.mkdir()
    async with ready(fresh) as manager:
        job = await manager.start_upgrade(NAME, who="test")
        while not list(fresh.path.parent.glob(".*")):  # noqa: ASYNC110 - the disk is looked at, as a user would
            await trio.sleep(0.001)
        fresh.upstream.clone(fresh.path)
        (fresh.path / "mine").write_text("mine")
        record = await job.wait()
        assert record.outcome is Outcome.FAILED, record
        assert "has come into being" in record.message
        assert (fresh.path / "mine").read_text() == "mine"
        await manager.refresh(None)
        assert (status_of(manager).installed, status_of(manager).is_valid) == (True, True)
    assert [path.name for path in fresh.path.parent.iterdir()] == ["app"]


@pytest.mark.parametrize("empty", [True, False])
async def test_what_comes_at_the_last_moment_is_not_overwritten_either(fresh: Bench, empty: bool) -> None:
    if empty:
        fresh.path.mkdir()

    async def come(app: AppName | None, step: Step) -> None:
        if step is Step.SWITCH:
            fresh.path.mkdir(exist_ok=True)
            (fresh.path / "mine").write_text("mine")

    config = Config(source=fresh.folder / "moonraker.conf", apps=(fresh.config(),))
    async with open_manager(config, data_path=fresh.data_path, may_update=come) as manager:
        await manager.wait_ready()
        record = await manager.upgrade(NAME, who="test")
    assert "has come into being" in record.message
    assert [path.name for path in fresh.path.iterdir()] == ["mine"]
    assert [path.name for path in fresh.path.parent.iterdir()] == ["app"]


async def test_needed_packages_are_told(fresh: Bench) -> None:
    async with ready(fresh, requirements="requirements.txt") as manager:
        (plan,) = await manager.plan(NAME)
        assert any("requirements.txt" in warning for warning in plan.warnings)


async def test_a_folder_that_goes_and_comes_by_hand_is_seen(fresh: Bench) -> None:
    async with ready(fresh) as manager:
        await manager.upgrade(NAME, who="test")
        shutil.rmtree(fresh.path)
        await manager.refresh(None)
        assert not status_of(manager).installed
        fresh.upstream.clone(fresh.path)
        await manager.refresh(None)
        assert (status_of(manager).installed, status_of(manager).is_valid) == (True, True)
    assert stat.S_ISDIR(fresh.path.stat().st_mode)


@pytest.mark.skipif("tmpfs" not in MOUNTS, reason="nothing can be mounted here")
async def test_an_empty_disk_is_no_place_for_a_clone(fresh: Bench) -> None:
    with tmpfs(fresh.path):
        async with ready(fresh) as manager:
            (plan,) = await manager.plan(NAME)
            assert "is a mount point, which cannot be exchanged: set 'path' to a folder in it" in plan.refusals[0]
            with pytest.raises(Refused, match="mount point"):
                await manager.upgrade(NAME, who="test")
