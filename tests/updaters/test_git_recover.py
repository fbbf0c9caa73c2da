"""Soft and hard recovery, and the repair of what a power cut leaves."""

from __future__ import annotations

import os
import random
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.upstream import NAME, Bench, Upstream, git, status_of
from tests.updaters.test_git_update import ready
from trio_update.config import HealthCheck
from trio_update.errors import CommandFailed, OperationFailed, Reason, Refused


def saved(bench: Bench, name: str) -> Path:
    (found,) = (bench.data_path / "trio_update" / "saved").rglob(name)
    return found


async def test_a_soft_recovery_saves_local_changes_and_restores_the_commit(bench: Bench) -> None:
    before = bench.head
    (bench.path / "main.py").write_text("mine\n")
    (bench.path / "lib/one.py").unlink()
    (bench.path / "notes").write_text("keep")
    async with ready(bench) as manager:
        await manager.recover(NAME, hard=False, who="test")
        bench.expect_whole(before)
        assert status_of(manager).is_valid
        assert (bench.path / "notes").read_text() == "keep"
        patch = saved(bench, "changes.patch")
        assert any(str(patch) in line for line in manager.job().log)
        bench.git("apply", str(patch))
        assert (bench.path / "main.py").read_text() == "mine\n"
        assert not (bench.path / "lib/one.py").exists()
    bench.expect_tidy()


async def test_a_soft_recovery_of_a_diverged_clone_saves_its_commits(bench: Bench) -> None:
    (bench.path / "main.py").write_text("mine\n")
    bench.git("commit", "-qam", "my own")
    async with ready(bench) as manager:
        await manager.recover(NAME, hard=False, who="test")
        bench.expect_whole(bench.upstream.head)
        assert status_of(manager).is_valid
    assert "my own" in saved(bench, "commits.txt").read_text()
    bench.git("fetch", "-q", str(saved(bench, "commits.bundle")), "HEAD")
    assert bench.git("log", "-1", "--format=%s", "FETCH_HEAD") == "my own"


async def test_a_soft_recovery_brings_a_detached_head_or_another_branch_back_to_the_primary_one(bench: Bench) -> None:
    git(bench.upstream.path, "branch", "feature", "HEAD~2")
    before = bench.head
    bench.git("fetch", "-q")
    for state in (["--detach"], ["--track", "origin/feature"]):
        bench.git("checkout", "-q", *state)
        async with ready(bench) as manager:
            await manager.recover(NAME, hard=False, who="test")
            assert bench.git("symbolic-ref", "HEAD") == "refs/heads/master"
            assert status_of(manager).warnings == ()
            assert status_of(manager).anomalies == ()
    assert before != bench.head  # the other branch's commit is on the primary one, so it stays


async def test_a_clone_that_was_made_without_the_primary_branch_recovers(bench: Bench) -> None:
    git(bench.upstream.path, "branch", "feature", "HEAD~1")
    shutil.rmtree(bench.path)
    bench.upstream.clone(bench.path, "--single-branch", "--branch=feature")
    (bench.path / "main.py").write_text("mine\n")
    async with ready(bench) as manager:
        await manager.recover(NAME, hard=False, who="test")
        assert status_of(manager).is_valid, status_of(manager).warnings
        assert bench.git("symbolic-ref", "HEAD") == "refs/heads/master"


async def test_an_unfinished_merge_is_ended_by_a_soft_recovery(bench: Bench) -> None:
    (bench.path / "main.py").write_text("mine\n")
    bench.git("commit", "-qam", "mine")
    bench.git("pull", "-q", "--no-rebase", check=False)
    async with ready(bench) as manager:
        assert any("MERGE_HEAD" in warning for warning in status_of(manager).warnings)
        await manager.recover(NAME, hard=False, who="test")
        assert status_of(manager).is_valid, status_of(manager).warnings


async def test_a_soft_recovery_saves_what_comes_back_whatever_git_is_told_to_print(bench: Bench) -> None:
    for key, value in (("color.ui", "always"), ("diff.noprefix", "true"), ("diff.context", "0")):
        bench.git("config", key, value)
    (bench.path / "lib/one.py").write_text("committed\n")
    bench.git("commit", "-qam", "my own")
    (bench.path / "README").write_text("mine\n")
    async with ready(bench) as manager:
        await manager.recover(NAME, hard=False, who="test")
    bench.git("-c", "apply.whitespace=nowarn", "apply", str(saved(bench, "changes.patch")))
    assert (bench.path / "README").read_text() == "mine\n"
    bench.git("fetch", "-q", str(saved(bench, "commits.bundle")), "HEAD")
    assert bench.git("show", "FETCH_HEAD:lib/one.py", "--no-color") == "committed"


async def test_a_soft_recovery_saves_a_big_changed_file(bench: Bench) -> None:
    content = random.Random(1).randbytes(60_000_000)
    (bench.path / "README").write_bytes(content)
    async with ready(bench) as manager:
        await manager.recover(NAME, hard=False, who="test")
    bench.git("apply", str(saved(bench, "changes.patch")))
    assert (bench.path / "README").read_bytes() == content


async def test_a_soft_recovery_from_another_branch_saves_the_commits_of_the_primary_one(bench: Bench) -> None:
    (bench.path / "main.py").write_text("mine\n")
    bench.git("commit", "-qam", "my own")
    mine = bench.head
    bench.git("checkout", "-q", "-b", "other", "HEAD~1")
    async with ready(bench) as manager:
        await manager.recover(NAME, hard=False, who="test")
    assert f"{mine} refs/heads/master" in bench.git("bundle", "list-heads", str(saved(bench, "commits.bundle")))


async def test_a_file_that_git_was_told_to_forget_survives_a_soft_recovery(bench: Bench) -> None:
    bench.git("rm", "-q", "--cached", "main.py")
    (bench.path / "main.py").write_text("mine\n")
    async with ready(bench) as manager:
        await manager.recover(NAME, hard=False, who="test")
    assert "+mine" in saved(bench, "changes.patch").read_text()


async def test_work_that_cannot_be_saved_stops_the_recovery(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_: object, **__: object) -> bool:
        return False

    bench.git("commit", "-q", "--allow-empty", "-m", "mine")
    (bench.path / "main.py").write_text("staged\n")
    bench.git("add", "main.py")
    (bench.path / "main.py").write_text("mine\n")
    before = bench.head
    async with ready(bench) as manager:
        monkeypatch.setattr("trio_update.host.git.patches.Scratch.applies_backwards", refuse)
        with pytest.raises(OperationFailed, match="could not be saved"):
            await manager.recover(NAME, hard=False, who="test")
    assert bench.head == before
    assert (bench.path / "main.py").read_text() == "mine\n"


async def test_an_untracked_file_in_the_way_of_a_soft_recovery_is_saved(bench: Bench) -> None:
    bench.git("checkout", "-qb", "old", "HEAD~2")
    bench.git("rm", "-q", "README")
    bench.git("commit", "-qm", "without it")
    (bench.path / "README").write_text("mine")
    async with ready(bench) as manager:
        await manager.recover(NAME, hard=False, who="test")
    bench.expect_whole(bench.upstream.head)
    assert saved(bench, "README").read_text() == "mine"


async def test_a_soft_recovery_works_offline_when_the_branch_is_known(bench: Bench) -> None:
    before = bench.head
    (bench.path / "main.py").write_text("mine\n")
    bench.upstream.path.rename(bench.folder / "away")
    async with ready(bench) as manager:
        await manager.recover(NAME, hard=False, who="test")
    (bench.folder / "away").rename(bench.upstream.path)
    bench.expect_whole(before)


async def test_a_hard_recovery_makes_a_new_clone_and_carries_everything_of_the_user_over(bench: Bench) -> None:
    before = bench.head
    old_inode = bench.path.stat().st_ino
    (bench.path / "main.py").write_text("mine\n")
    (bench.path / ".git/info/exclude").write_text("*.cfg\n")
    (bench.path / "printer.cfg").write_text("precious")
    (bench.path / "printer.cfg").chmod(0o600)
    (bench.path / "logs/empty").mkdir(parents=True)
    (bench.path / "link").symlink_to("/nowhere")
    git(bench.path, "init", "-q", "nested")
    (bench.path / "nested/inner").write_text("inner")
    bench.git("stash")
    (bench.path / "README").write_text("a second stash\n")
    bench.git("stash")
    (bench.path / "main.py").write_text("mine again\n")
    async with ready(bench) as manager:
        await manager.recover(NAME, hard=True, who="test")
        bench.expect_whole(before)
        assert status_of(manager).is_valid
    assert bench.path.stat().st_ino != old_inode
    assert (bench.path / "printer.cfg").read_text() == "precious"
    assert stat.S_IMODE((bench.path / "printer.cfg").stat().st_mode) == 0o600
    assert (bench.path / "logs/empty").is_dir()
    assert os.readlink(bench.path / "link") == "/nowhere"
    assert git(bench.path / "nested", "rev-parse", "--git-dir") == ".git"
    assert (bench.path / "nested/inner").read_text() == "inner"
    assert (bench.path / ".git/info/exclude").read_text() == "*.cfg\n"
    assert "mine again" in saved(bench, "changes.patch").read_text()
    assert "a second stash" in saved(bench, "stash-0.patch").read_text()
    assert "+mine\n" in saved(bench, "stash-1.patch").read_text()
    bench.expect_tidy()


@pytest.mark.parametrize("arguments", [["--depth=1"], ["--filter=blob:none"]])
async def test_a_hard_recovery_keeps_a_clone_shallow_or_partial(bench: Bench, arguments: list[str]) -> None:
    git(bench.upstream.path, "config", "uploadpack.allowFilter", "true")
    shutil.rmtree(bench.path)
    bench.upstream.commits(25)
    bench.upstream.clone(bench.path, *arguments)
    before = bench.head
    bench.upstream.commits(2)
    async with ready(bench) as manager:
        await manager.refresh(NAME)
        await manager.recover(NAME, hard=True, who="test")
        bench.expect_whole(before)
        assert status_of(manager).is_valid
        assert status_of(manager).commits_behind_count == 2
    assert (bench.path / ".git/shallow").exists() == (arguments == ["--depth=1"])
    assert bool(bench.git("config", "remote.origin.promisor", check=False)) == (arguments != ["--depth=1"])


async def test_a_corrupt_clone_that_was_never_seen_healthy_recovers_from_the_configured_origin(bench: Bench) -> None:
    (bench.path / "printer.cfg").write_text("precious")
    shutil.rmtree(bench.path / ".git/objects")
    (bench.path / ".git/config").write_text("")
    (bench.path / ".git/HEAD").write_text("")
    async with ready(bench) as manager:
        assert status_of(manager).corrupt
        await manager.recover(NAME, hard=True, who="test")
        assert status_of(manager).is_valid
        bench.expect_whole(bench.upstream.head)
        assert (bench.path / "printer.cfg").read_text() == "precious"
    bench.expect_tidy()


async def test_a_missing_clone_is_made_anew(bench: Bench) -> None:
    async with ready(bench) as manager:
        before = bench.head
        shutil.rmtree(bench.path)
        await manager.recover(NAME, hard=True, who="test")
        bench.expect_whole(before)


async def test_a_hard_recovery_that_fails_leaves_the_old_clone(bench: Bench) -> None:
    before = bench.head
    (bench.path / "main.py").write_text("mine\n")
    inode = bench.path.stat().st_ino
    bench.upstream.path.rename(bench.folder / "away")
    async with ready(bench) as manager:
        with pytest.raises(OperationFailed, match="Nothing was changed"):
            await manager.recover(NAME, hard=True, who="test")
    assert bench.head == before
    assert bench.path.stat().st_ino == inode
    assert (bench.path / "main.py").read_text() == "mine\n"
    bench.expect_tidy()


async def test_a_worktree_is_never_replaced(bench: Bench) -> None:
    tree = bench.folder / "tree"
    bench.git("worktree", "add", "-q", "-b", "other", str(tree))
    linked = Bench(bench.folder, bench.upstream, tree)
    async with ready(linked) as manager:
        with pytest.raises(Refused) as caught:
            await manager.recover(NAME, hard=True, who="test")
        assert caught.value.reason is Reason.NOT_SUPPORTED


def empty_recent_objects(bench: Bench) -> None:
    """As after a power cut: the objects of the last commit have no content."""
    head = bench.head
    for name in (head, bench.git("rev-parse", "HEAD^{tree}"), bench.git("rev-parse", "HEAD:main.py")):
        loose = bench.path / ".git/objects" / name[:2] / name[2:]
        loose.chmod(0o644)
        loose.write_bytes(b"")


def empty_branch(bench: Bench) -> None:
    (bench.path / ".git/refs/heads/master").write_bytes(b"")


def empty_head(bench: Bench) -> None:
    (bench.path / ".git/HEAD").write_bytes(b"")


def empty_remote_ref(bench: Bench) -> None:
    (bench.path / ".git/refs/remotes/origin/master").write_bytes(b"")


def cut_index(bench: Bench) -> None:
    index = bench.path / ".git/index"
    index.write_bytes(index.read_bytes()[:40])


def empty_index(bench: Bench) -> None:
    (bench.path / ".git/index").write_bytes(b"")


@pytest.mark.parametrize(
    "damage", [empty_recent_objects, empty_branch, empty_head, empty_remote_ref, cut_index, empty_index]
)
async def test_what_a_power_cut_damages_is_repaired_by_a_refresh(bench: Bench, damage: Callable[[Bench], None]) -> None:
    # Loose objects, as an interrupted fetch leaves them: a fresh clone has them all in one pack.
    before = bench.upstream.head
    bench.git("-c", "fetch.unpackLimit=1000", "pull", "-q", "--ff-only")
    (bench.path / "notes").write_text("mine")
    damage(bench)
    async with ready(bench) as manager:
        await manager.refresh(NAME)
        status = status_of(manager)
        assert status.is_valid, (status.warnings, status.git_messages)
        assert not status.corrupt
    bench.expect_whole(before)
    assert (bench.path / "notes").read_text() == "mine"
    assert "error" not in bench.git("fsck", "--connectivity-only")
    bench.expect_tidy()


async def test_damage_that_only_a_fresh_clone_mends_is_told_and_the_remote_is_asked_for_it(tmp_path: Path) -> None:
    upstream = Upstream(tmp_path / "upstream")
    upstream.commit({"a": "1"}, tag="v1.0")
    bench = Bench(tmp_path, upstream, upstream.clone(tmp_path / "app"))
    (bench.path / "a").write_text("mine")
    bench.git("commit", "-qam", "local")
    local = bench.head
    loose = bench.path / ".git/objects" / local[:2] / local[2:]
    loose.chmod(0o644)
    loose.write_bytes(b"")
    async with ready(bench) as manager:
        await manager.refresh(NAME)
        status = status_of(manager)
        assert status.corrupt
        assert status.warnings == ("Repo is corrupt: git cannot read it",)
        assert status.git_messages
        with pytest.raises(Refused, match="use a hard one"):
            await manager.recover(NAME, hard=False, who="test")
        await manager.recover(NAME, hard=True, who="test")
        assert status_of(manager).is_valid
    bench.expect_whole(upstream.head)
    assert "mine" in saved(bench, "changes.patch").read_text()


async def test_a_clone_with_a_mount_inside_is_not_replaced(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    # Mounting takes root; what the kernel's list of mounts looks like is tested with `host/files.py`.
    mounted = os.fsencode(bench.path / "data")
    monkeypatch.setattr("trio_update.host.files.durable.mount_points", lambda: frozenset({b"/", mounted}))
    inode = bench.path.stat().st_ino
    async with ready(bench) as manager:
        with pytest.raises(Refused, match="is mounted inside the clone"):
            await manager.recover(NAME, hard=True, who="test")
    assert bench.path.stat().st_ino == inode


async def test_a_hard_recovery_saves_local_commits_of_every_branch(bench: Bench) -> None:
    bench.git("checkout", "-qb", "mine")
    (bench.path / "main.py").write_text("mine\n")
    bench.git("commit", "-qam", "my own")
    mine = bench.head
    bench.git("checkout", "-q", "master")
    async with ready(bench) as manager:
        await manager.recover(NAME, hard=True, who="test")
    assert f"{mine} refs/heads/mine" in bench.git("bundle", "list-heads", str(saved(bench, "local.bundle")))
    bench.git("fetch", "-q", str(saved(bench, "local.bundle")), "mine:mine")
    assert bench.git("log", "-1", "--format=%s", "mine") == "my own"


async def test_a_hard_recovery_saves_what_only_a_tag_or_a_detached_head_names(bench: Bench) -> None:
    for key, value in (("color.ui", "always"), ("log.date", "iso"), ("diff.noprefix", "true"), ("diff.context", "0")):
        bench.git("config", key, value)
    bench.git("checkout", "-q", "--detach")
    (bench.path / "README").write_text("tagged\n")
    bench.git("commit", "-qam", "tagged")
    bench.git("tag", "keep")
    bench.git("commit", "-q", "--allow-empty", "-m", "detached")
    mine = bench.head
    (bench.path / "README").write_text("stashed\n")
    bench.git("stash", "-q")
    bench.git("checkout", "-q", "master")
    (bench.path / "README").write_text("mine\n")
    bench.git("checkout", "-q", "-m", mine)
    async with ready(bench) as manager:
        await manager.recover(NAME, hard=True, who="test")
    bundle = str(saved(bench, "local.bundle"))
    assert f"{mine} HEAD" in bench.git("bundle", "list-heads", bundle)
    assert "refs/tags/keep" in bench.git("bundle", "list-heads", bundle)
    assert "+stashed" in saved(bench, "stash-0.patch").read_text()
    assert "b/README" in saved(bench, "stash-0.patch").read_text()


async def test_words_of_damage_from_a_whole_clone_do_not_make_it_corrupt(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fetch(*_: object, **__: object) -> None:
        raise CommandFailed(["git", "fetch"], 128, "fatal: remote did not send all necessary objects")

    async with ready(bench) as manager:
        monkeypatch.setattr("trio_update.host.git.remote.fetch", fetch)
        await manager.refresh(NAME)
        status = status_of(manager)
        assert status.is_valid
        assert not status.corrupt
        assert "did not send all necessary objects" in status.last_error


async def test_the_users_files_are_there_when_the_new_clone_is_switched_on(bench: Bench) -> None:
    (bench.path / "printer.cfg").write_text("precious")
    async with ready(bench, health=HealthCheck(command=("grep", "-q", "precious", "printer.cfg"))) as manager:
        await manager.recover(NAME, hard=True, who="test")
