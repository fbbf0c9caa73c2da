"""What a plan shows is what its job does: the same refusals in the same words, the same change or none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.mounts import MOUNTS, mounted, tmpfs
from tests.support.releases import ReleaseSite, behind, content_of, make_zip, write_files
from tests.support.somebody import AS_A_USER, SOMEBODY, WHY_NO_USER
from tests.support.upstream import NAME, Bench, Upstream, git, status_of
from trio_update.demo.github.server import GitHub, SimAsset
from trio_update.engine.manager import Manager
from trio_update.errors import Reason, Refused
from trio_update.host.files import durable
from trio_update.model import Channel, Outcome, Plan, Unknown

MIB = 1 << 20


@asynccontextmanager
async def ready(bench: Bench, **options: Any) -> AsyncIterator[Manager]:
    """A manager that has asked the remote once."""
    async with bench.manager(**options) as manager:
        await manager.wait_ready()
        await manager.refresh(None)
        yield manager


def joined(refusals: tuple[str, ...]) -> str:
    """How a job says several reasons."""
    return ". ".join([*(one.rstrip(".") for one in refusals[:-1]), refusals[-1]])


async def expect_refusals(manager: Manager, reason: Reason, *words: str) -> Plan:
    """The plan shows one refusal for each of the ``words``, and the job is refused with these."""
    (plan,) = await manager.plan(NAME)
    assert len(plan.refusals) == len(words), plan.refusals
    for word, refusal in zip(words, plan.refusals, strict=True):
        assert word in refusal
    with pytest.raises(Refused) as caught:
        await manager.upgrade(NAME, who="test")
    assert (caught.value.reason, str(caught.value)) == (reason, joined(plan.refusals))
    return plan


def collide(bench: Bench) -> None:
    (bench.path / "lib/two.py").write_text("mine")


def make_dirty(bench: Bench) -> None:
    (bench.path / "main.py").write_text("mine\n")


def hide(bench: Bench) -> None:
    bench.git("update-index", "--assume-unchanged", "main.py")


def hide_and_change(bench: Bench) -> None:
    hide(bench)
    make_dirty(bench)


def need_packages(bench: Bench) -> None:
    bench.upstream.commit({"requirements.txt": "trio\n"})


def detach(bench: Bench) -> None:
    bench.git("checkout", "-q", "--detach")


def leave(bench: Bench) -> None:
    """Nothing is done to the clone."""


def dirty_and_in_the_way(bench: Bench) -> None:
    make_dirty(bench)
    collide(bench)


def packages_and_in_the_way(bench: Bench) -> None:
    need_packages(bench)
    collide(bench)


Scene = tuple[Callable[[Bench], object], dict[str, Any], Reason, tuple[str, ...]]
LISTED = {"requirements": "requirements.txt"}
SCENES: dict[str, Scene] = {
    "held": (leave, {"hold": "not now"}, Reason.HELD, ("app is held back: not now",)),
    "dirty": (make_dirty, {}, Reason.INVALID, ("dirty, modified files: main.py. Recover it first.",)),
    "held and dirty": (make_dirty, {"hold": "not now"}, Reason.HELD, ("held back", "dirty")),
    "detached": (detach, {}, Reason.INVALID, ("Detached HEAD",)),
    "a file in the way": (
        collide,
        {},
        Reason.INVALID,
        ("app cannot go to v0.1.0-5: untracked files are in the place",),
    ),
    "dirty, and a file in the way": (
        dirty_and_in_the_way,
        {},
        Reason.INVALID,
        ("dirty", "untracked files"),
    ),
    "hidden files": (hide, {}, Reason.INVALID, ("hidden from git (assume-unchanged, skip-worktree) change: main.py",)),
    "changed hidden files": (hide_and_change, {}, Reason.INVALID, ("you changed files that are hidden from git",)),
    "packages": (need_packages, LISTED, Reason.INVALID, ("Python requirements change (requirements.txt)",)),
    "packages, and a file in the way": (
        packages_and_in_the_way,
        LISTED,
        Reason.INVALID,
        ("untracked files", "Python requirements"),
    ),
}


@pytest.mark.parametrize("scene", SCENES)
async def test_what_the_plan_of_a_clone_refuses_its_job_refuses(bench: Bench, scene: str) -> None:
    arrange, options, reason, words = SCENES[scene]
    arrange(bench)
    before = bench.head
    async with ready(bench, **options) as manager:
        plan = await expect_refusals(manager, reason, *words)
        assert (plan.up_to_date, plan.from_version) == (False, "v0.1.0-2")
    assert bench.head == before
    bench.expect_tidy()


async def test_a_clone_that_git_cannot_read_is_refused_in_both(bench: Bench) -> None:
    async with ready(bench) as manager:
        (bench.path / ".git/HEAD").write_bytes(b"")
        await expect_refusals(manager, Reason.INVALID, "app cannot be updated: git cannot read the clone. Recover it")


async def test_a_lack_of_space_is_told_with_numbers_in_both(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.upstream.commit({"big.bin": "x" * 3 * MIB})
    async with ready(bench) as manager:
        monkeypatch.setattr(durable, "free_bytes", lambda _: 10 * MIB)
        plan = await expect_refusals(manager, Reason.NO_SPACE, "going to v0.1.0-6: 11.0 MiB needed, 10.0 MiB free")
        assert plan.disk_free == 10 * MIB
        assert isinstance(plan.disk_needed, int)
        monkeypatch.setattr(durable, "free_bytes", lambda _: plan.disk_needed + 8 * MIB)
        await manager.upgrade(NAME, who="test")


@pytest.mark.skipif("bind" not in MOUNTS, reason="nothing can be mounted here")
async def test_a_mount_on_a_file_that_changes_is_refused_in_both(bench: Bench, tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    bench.upstream.commit({"data/file": "1\n"})
    bench.git("pull", "-q")
    target.write_text((bench.path / "main.py").read_text())
    bench.upstream.commit()
    subprocess.run(["mount", "--bind", target, bench.path / "main.py"], check=True)
    try:
        async with ready(bench) as manager:
            await expect_refusals(manager, Reason.INVALID, "something is mounted on files that change: main.py")
    finally:
        subprocess.run(["umount", bench.path / "main.py"], check=True)


@pytest.mark.skipif(bool(WHY_NO_USER), reason=WHY_NO_USER)
def test_a_folder_of_root_in_the_clone_is_refused_in_both(bench: Bench) -> None:
    os.chown(bench.path / "lib", SOMEBODY, SOMEBODY)
    before = bench.head
    command = [*AS_A_USER, sys.executable, "-m", "tests.support.plan_and_upgrade", str(bench.folder)]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True)
    told = json.loads(done.stdout)
    assert told["plan"] == [told["job"]]
    assert "folders or files in the clone that cannot be written to: lib. Give them to the user" in told["job"]
    assert bench.head == before


async def test_a_current_clone_is_refused_nothing(bench: Bench) -> None:
    bench.git("pull", "-q", "--ff-only")
    (bench.path / "notes").write_text("mine")
    async with ready(bench) as manager:
        (plan,) = await manager.plan(NAME)
        assert (plan.up_to_date, plan.refusals, plan.disk_needed, plan.download_bytes) == (True, (), 0, 0)
        await manager.upgrade(NAME, who="test", plan_id=plan.plan_id)
        assert manager.job().outcome is Outcome.UNCHANGED


async def test_the_bytes_that_a_clone_needs_are_an_upper_bound(bench: Bench) -> None:
    files: dict[str, str | None] = {f"many/{number}": "x" for number in range(50)}
    bench.upstream.commit(files | {"big.bin": "x" * 100_000})
    async with ready(bench) as manager:
        (plan,) = await manager.plan(NAME)
        assert plan.download_bytes == 0, "the refresh has brought it"
        before = space_of(bench.path)
        await manager.upgrade(NAME, who="test")
        used = space_of(bench.path) - before
        assert isinstance(plan.disk_needed, int)
        # The folder `many` takes a block, too.
        assert 100_000 + 50 * 4096 <= used <= plan.disk_needed + 4096
        assert plan.disk_needed < 2 * used


def space_of(folder: Path) -> int:
    """Bytes on the disk of everything in the work tree."""
    files = [path for path in folder.rglob("*") if ".git" not in path.relative_to(folder).parts]
    return sum(path.lstat().st_blocks * 512 for path in files)


async def test_of_a_partial_clone_it_is_told_why_nobody_knows(bench: Bench) -> None:
    git(bench.upstream.path, "config", "uploadpack.allowFilter", "true")
    bench.path.rename(bench.folder / "full")
    bench.upstream.clone(bench.path, "--filter=blob:none")
    bench.upstream.commit({"big.txt": "x" * 1000})
    async with ready(bench) as manager:
        (plan,) = await manager.plan(NAME)
        why = Unknown("a partial clone gets its files only when they are needed")
        assert (plan.disk_needed, plan.download_bytes, plan.refusals) == (why, why, ())
        assert bench.git("rev-list", "--objects", "--missing=print", "origin/master").count("?"), "nothing was fetched"


# Releases


async def test_what_the_plan_of_a_release_app_refuses_its_job_refuses(site: ReleaseSite) -> None:
    async with site.manager(hold="v2 eats filament") as (manager, _):
        (site.path / "release_info.json").write_text("{")
        with site.untouched():
            await expect_refusals(manager, Reason.HELD, "held back: v2 eats filament", "is not JSON")
    async with site.manager() as (manager, _):
        plan = await expect_refusals(manager, Reason.INVALID, "is not JSON")
        assert plan.refusals[0].endswith(". Recover it first.")


async def test_a_release_without_a_fitting_asset_is_refused_in_both(site: ReleaseSite) -> None:
    site.publish("v3.0.0").assets[:] = []
    async with site.manager() as (manager, _):
        await expect_refusals(manager, Reason.INVALID, "release v3.0.0 of ada/app has no assets yet")


@pytest.mark.skipif("bind" not in MOUNTS, reason="nothing can be mounted here")
async def test_a_mount_inside_a_release_is_refused_in_both(web: ReleaseSite) -> None:
    with mounted(web.path / "assets", "--bind", web.path / "assets"):
        async with web.manager() as (manager, _):
            await expect_refusals(manager, Reason.INVALID, "something is mounted inside the folder, at")
    assert not web.github.asked("assets")


async def test_other_packages_of_a_kept_version_are_refused_in_both(tmp_path: Path, github: GitHub) -> None:
    site = behind(tmp_path, github, "zip")
    write_files(site.path, {"requirements.txt": b"one\n"})
    wanted = SimAsset(name="app.zip", content=make_zip(content_of("v3.0.0") | {"requirements.txt": b"two\n"}))
    site.publish("v3.0.0", wanted)
    async with site.manager() as (manager, _):
        await manager.upgrade(NAME, who="test")
        await manager.rollback(NAME, who="test")
    async with site.manager(requirements="requirements.txt") as (manager, _):
        words = "app cannot go to v3.0.0: it needs other packages (requirements.txt changed)"
        await expect_refusals(manager, Reason.INVALID, words)


async def test_what_an_archive_will_need_is_told_as_not_known(tmp_path: Path, github: GitHub) -> None:
    site = behind(tmp_path, github, "zip")
    async with site.manager(requirements="requirements.txt") as (manager, _):
        (plan,) = await manager.plan(NAME)
        assert plan.refusals == ()
        assert plan.warnings == ("whether v2.0.0 needs other packages shows only when it has been downloaded",)


@pytest.mark.skipif("tmpfs" not in MOUNTS, reason="no small disk can be mounted here")
async def test_a_release_for_which_there_is_no_room_is_refused_in_both(tmp_path: Path, github: GitHub) -> None:
    with tmpfs(tmp_path / "apps", 32 * MIB):
        site = behind(tmp_path, github, "web")
        site.publish("v3.0.0", SimAsset(name="app.zip", content=os.urandom(25 * MIB)))
        async with site.manager() as (manager, _):
            await expect_refusals(manager, Reason.NO_SPACE, "downloading app.zip: 33.0 MiB needed")


@pytest.mark.skipif("tmpfs" not in MOUNTS, reason="no small disk can be mounted here")
async def test_what_only_may_be_too_much_is_a_warning_and_is_tried(tmp_path: Path, github: GitHub) -> None:
    with tmpfs(tmp_path / "apps", 32 * MIB):
        site = behind(tmp_path, github, "web")
        content = content_of("v3.0.0") | {"media.bin": os.urandom(7 * MIB)}
        site.publish("v3.0.0", SimAsset(name="app.zip", content=make_zip(content)))
        async with site.manager() as (manager, _):
            (plan,) = await manager.plan(NAME)
            assert plan.refusals == ()
            assert "may not suffice" in plan.warnings[0]
            await manager.upgrade(NAME, who="test")
            site.expect("v3.0.0", {"media.bin": content["media.bin"]})


async def test_the_bytes_that_a_release_needs_are_an_upper_bound(site: ReleaseSite) -> None:
    async with site.manager() as (manager, _):
        (plan,) = await manager.plan(NAME)
        files = sum(len(content) for content in site.files_of("v2.0.0").values())
        kept = sum(path.stat().st_size for path in site.path.rglob("*") if path.is_file())
        asset = site.asset_of("v2.0.0").content
        assert isinstance(asset, bytes)
        assert isinstance(plan.disk_needed, int)
        if site.kind == "executable":
            kept, files = len(site.files_of("v1.0.0")["tool"]), len(asset)
            assert plan.disk_needed == len(asset) + files + kept
        else:
            assert len(asset) + files + kept <= plan.disk_needed <= len(asset) + 3 * files + kept
        await manager.upgrade(NAME, who="test")
        (plan,) = await manager.plan(NAME)
        assert (plan.up_to_date, plan.disk_needed) == (True, 0)
        await manager.rollback(NAME, who="test")
        (plan,) = await manager.plan(NAME)
        if site.kind != "executable":
            # Both are on the shelf: of v1.0.0, which somebody else installed, what its release brought.
            assert (plan.download_bytes, plan.disk_needed) == (0, sum(map(len, content_of("v2.0.0").values())))


# The id of a plan


async def test_the_id_of_a_plan_stays_while_the_same_would_be_done(bench: Bench) -> None:
    async with ready(bench) as manager:
        (first,) = await manager.plan(NAME)
        await manager.refresh(NAME)
        make_dirty(bench)
        (dirty,) = await manager.plan(NAME)
    bench.git("checkout", "-q", "main.py")
    async with bench.manager() as manager:
        await manager.wait_ready()
        (restarted,) = await manager.plan(NAME)
        bench.upstream.commit()
        (unasked,) = await manager.plan(NAME)
        await manager.refresh(NAME)
        (other,) = await manager.plan(NAME)
    assert len(first.plan_id) == 16
    assert first.plan_id == dirty.plan_id == restarted.plan_id == unasked.plan_id != other.plan_id


async def test_an_upgrade_by_a_plan_does_that(bench: Bench) -> None:
    async with ready(bench) as manager:
        (plan,) = await manager.plan(NAME)
        await manager.upgrade(NAME, who="test", plan_id=plan.plan_id)
        assert status_of(manager).current_hash == plan.to_hash
        (record, *_) = await manager.history()
        assert (record.apps[0].from_hash, record.apps[0].to_hash) == (plan.from_hash, plan.to_hash)


async def test_an_upgrade_by_a_plan_that_has_changed_says_how(bench: Bench) -> None:
    before = bench.head
    async with ready(bench) as manager:
        (plan,) = await manager.plan(NAME)
        wanted = bench.upstream.commit()
        with pytest.raises(Refused) as caught:
            await manager.upgrade(NAME, who="test", plan_id=plan.plan_id)
        assert (caught.value.reason, bench.head) == (Reason.PLAN_CHANGED, before)
        assert str(caught.value) == (
            "The plan has changed: it was v0.1.0-2 → v0.1.0-5, now it is v0.1.0-2 → v0.1.0-6; to commit "
            f"{wanted[:8]} instead of {str(plan.to_hash)[:8]}; 4 commits instead of 3. "
            "Look at the new plan, and upgrade by that if it suits"
        )
        # What would be done now has been fetched: the next plan knows it.
        (plan,) = await manager.plan(NAME)
        await manager.upgrade(NAME, who="test", plan_id=plan.plan_id)
        bench.expect_whole(wanted)
        with pytest.raises(Refused, match=r"now it is nothing to do at v0\.1\.0-6"):
            await manager.upgrade(NAME, who="test", plan_id=plan.plan_id)


async def test_of_a_plan_that_was_forgotten_only_the_id_is_told(bench: Bench) -> None:
    async with ready(bench) as manager:
        (plan,) = await manager.plan(NAME)
    bench.upstream.commit()
    async with ready(bench) as manager:
        with pytest.raises(Refused, match=f"plan {plan.plan_id} is not known here any more, now it is v0.1.0-2 → v0.1"):
            await manager.upgrade(NAME, who="test", plan_id=plan.plan_id)


async def test_a_plan_is_never_taken_for_leave_to_upgrade_everything(bench: Bench) -> None:
    before = bench.head
    async with ready(bench) as manager:
        (plan,) = await manager.plan(NAME)
        with pytest.raises(ValueError, match="of one app"):
            await manager.upgrade(None, who="test", plan_id=plan.plan_id)
    assert bench.head == before


async def test_a_refusal_is_told_before_a_change_of_plans(bench: Bench) -> None:
    async with ready(bench) as manager:
        make_dirty(bench)
        with pytest.raises(Refused, match="dirty") as caught:
            await manager.upgrade(NAME, who="test", plan_id="0123456789abcdef")
        assert caught.value.reason is Reason.INVALID


async def test_the_plan_of_a_release_changes_with_its_asset(site: ReleaseSite) -> None:
    async with site.manager() as (manager, _):
        (plan,) = await manager.plan(NAME)
        assert plan.asset_name in {"app.zip", "tool"}
        assert plan.asset_digest.startswith("sha256:")
        await manager.refresh(None)
        (again,) = await manager.plan(NAME)
        assert again.plan_id == plan.plan_id
        # The same version, published anew with another content.
        asset = site.github.repos["ada/app"].releases[-1].assets[0]
        content = make_zip(content_of("v2.0.0") | {"index.html": b"mended"})
        if site.kind == "executable":
            content = b"#!/bin/sh\necho mended\n"
        site.github.repos["ada/app"].releases[-1].assets[:] = [SimAsset(name=asset.name, content=content)]
        await manager.refresh(None)
        with site.untouched(), pytest.raises(Refused, match="has another content") as caught:
            await manager.upgrade(NAME, who="test", plan_id=plan.plan_id)
        assert caught.value.reason is Reason.PLAN_CHANGED
        (plan,) = await manager.plan(NAME)
        await manager.upgrade(NAME, who="test", plan_id=plan.plan_id)


async def test_another_channel_is_another_plan(tmp_path: Path) -> None:
    upstream = Upstream(tmp_path / "upstream")
    upstream.commit(tag="v1.0.0")
    bench = Bench(tmp_path, upstream, upstream.clone(tmp_path / "app"))
    upstream.commit(tag="v1.1.0")
    upstream.commit()
    ids = set()
    for channel in (Channel.STABLE, Channel.DEV):
        async with ready(bench, channel=channel) as manager:
            ids.add((await manager.plan(NAME))[0].plan_id)
    assert len(ids) == 2
