"""What the status says of clones in every state."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.support.somebody import SOMEBODY, WHY_NO_USER
from tests.support.upstream import NAME, Bench, Upstream, git, status_of
from tests.updaters.test_git_update import ready
from trio_update.model import Channel, Unknown
from trio_update.updaters.git.kind import GitStatus


async def look(bench: Bench, *, debug: bool = False, **options: object) -> GitStatus:
    """The status after a start and a refresh."""
    async with bench.manager(debug=debug, **options) as manager:
        await manager.wait_ready()
        await manager.refresh(None)
        return status_of(manager)


async def test_a_clone_behind_tells_both_ends_and_what_lies_between(bench: Bench) -> None:
    status = await look(bench)
    assert status.is_valid
    assert (status.version, status.remote_version) == ("v0.1.0-2", "v0.1.0-5")
    assert (status.current_hash, status.remote_hash) == (bench.head, bench.upstream.head)
    assert status.full_version_string == f"v0.1.0-2-g{bench.head[:8]}"
    assert status.rollback_version == status.version
    assert status.commits_behind_count == 3
    newest = status.commits_behind[0]
    assert (newest.sha, newest.author, newest.subject, newest.message) == (
        bench.upstream.head,
        "Ada",
        "change 6",
        "Why 6.",
    )
    assert newest.date == str(bench.upstream.clock)
    assert (status.branch, status.remote_alias, status.remote_url) == ("master", "origin", bench.upstream.url)
    assert isinstance(status.owner, Unknown)
    assert (status.warnings, status.anomalies, status.git_messages) == ((), (), ())
    assert status.pristine
    assert not status.is_dirty
    assert not status.detached


async def test_thirty_untagged_commits_are_listed_and_every_tagged_one_within_a_hundred(bench: Bench) -> None:
    bench.upstream.commit(tag="v0.2.0")
    bench.upstream.commits(60)
    bench.upstream.commit(tag="v0.3.0", light=True)
    bench.upstream.commits(40)
    status = await look(bench)
    assert status.commits_behind_count == 105
    # v0.2.0 is the hundred and second from the tip.
    assert [commit.tag for commit in status.commits_behind if commit.tag] == ["v0.3.0"]
    assert len([commit for commit in status.commits_behind if commit.tag is None]) == 30
    assert status.remote_version == "v0.3.0-40"


@pytest.mark.parametrize(
    ("channel", "remote_version", "behind"),
    [(Channel.STABLE, "v0.2.0-0", 4), (Channel.BETA, "v0.3.0-rc1-0", 6), (Channel.DEV, "v0.4.0-alpha1-1", 9)],
)
async def test_channels(bench: Bench, channel: Channel, remote_version: str, behind: int) -> None:
    bench.upstream.commit(tag="v0.2.0")
    bench.upstream.commit()
    bench.upstream.commit(tag="v0.3.0-rc1", light=True)
    bench.upstream.commit(tag="nightly")
    bench.upstream.commit(tag="v0.4.0-alpha1")
    bench.upstream.commit()
    status = await look(bench, channel=channel)
    assert (status.channel, status.remote_version) == (channel, remote_version)
    assert status.commits_behind_count == len(status.commits_behind) == behind


async def test_a_channel_without_a_newer_tag_is_current_and_never_goes_back(bench: Bench) -> None:
    status = await look(bench, channel=Channel.STABLE)
    assert status.remote_hash == status.current_hash == bench.head
    assert status.remote_version == status.version == "v0.1.0-2"
    assert status.commits_behind_count == 0


async def test_tags_on_other_branches_and_trees_are_no_targets(bench: Bench) -> None:
    git(bench.upstream.path, "checkout", "-qb", "side")
    bench.upstream.commit(tag="v9.0.0")
    git(bench.upstream.path, "checkout", "-q", "master")
    git(bench.upstream.path, "tag", "v8.0.0", "HEAD^{tree}")
    status = await look(bench, channel=Channel.STABLE)
    assert status.remote_hash == bench.head


async def test_a_pin_ahead_is_the_target(bench: Bench) -> None:
    pin = git(bench.upstream.path, "rev-parse", "HEAD~1")
    status = await look(bench, pinned_commit=pin[:12])
    assert (status.remote_hash, status.commits_behind_count) == (pin, 2)


async def test_a_pin_behind_means_no_update_and_an_unknown_one_is_told(bench: Bench) -> None:
    behind = await look(bench, pinned_commit=bench.git("rev-parse", "HEAD~1"))
    assert (behind.remote_hash, behind.anomalies) == (bench.head, ())
    unknown = await look(bench, pinned_commit="0123456789abcdef")
    assert unknown.remote_hash == bench.head
    assert unknown.anomalies == ("Pinned commit 0123456789abcdef is not known to the repo",)
    assert unknown.is_valid


async def test_without_any_tag_the_version_is_inferred(tmp_path: Path) -> None:
    upstream = Upstream(tmp_path / "upstream")
    upstream.commits(3)
    bench = Bench(tmp_path, upstream, upstream.clone(tmp_path / "app"))
    upstream.commit()
    status = await look(bench)
    assert (status.version, status.remote_version) == ("v0.0.0-3", "v0.0.0-4")
    assert status.full_version_string == f"v0.0.0-3-g{bench.head[:8]}-inferred"


async def test_a_dirty_clone_is_invalid_and_names_its_files(bench: Bench) -> None:
    (bench.path / "main.py").write_text("mine\n")
    (bench.path / "lib/one.py").unlink()
    status = await look(bench)
    assert not status.is_valid
    assert status.is_dirty
    assert not status.pristine
    assert status.warnings == ("Repo is dirty, modified files: lib/one.py, main.py",)
    assert status.full_version_string == f"v0.1.0-2-g{bench.head[:8]}-dirty"


async def test_untracked_sources_are_an_anomaly_and_other_untracked_files_are_none(bench: Bench) -> None:
    (bench.path / "notes.txt").write_text("x")
    (bench.path / "lib/extra.py").write_text("x")
    status = await look(bench)
    assert status.anomalies == ("Repo has untracked source files: lib/extra.py",)
    assert status.is_valid
    assert not status.pristine


async def test_a_diverged_clone_is_invalid(bench: Bench) -> None:
    (bench.path / "main.py").write_text("mine\n")
    bench.git("commit", "-qam", "mine")
    status = await look(bench)
    assert status.warnings == (
        "Repo has diverged from remote: 1 local and 3 remote commits. Recover the app to go to the remote's commits: "
        "your own are saved before",
    )
    assert status.anomalies == ("Repo has diverged from remote: 1 local and 3 remote commits",)


async def test_a_clone_ahead_is_current(bench: Bench) -> None:
    bench.git("pull", "-q", "--ff-only")
    (bench.path / "main.py").write_text("mine\n")
    bench.git("commit", "-qam", "mine")
    status = await look(bench)
    assert status.is_valid
    assert status.remote_hash == status.current_hash == bench.head


@pytest.mark.parametrize("debug", [False, True])
async def test_a_detached_head_tells_its_version_and_is_invalid_but_in_debug_mode(bench: Bench, debug: bool) -> None:
    bench.git("checkout", "-q", "--detach")
    status = await look(bench, debug=debug)
    assert status.detached
    assert (status.version, status.remote_version) == ("v0.1.0-2", "v0.1.0-5")
    assert status.is_valid == debug
    assert (status.anomalies if debug else status.warnings) == ("Detached HEAD detected",)


async def test_another_branch_and_an_unofficial_remote_are_anomalies(bench: Bench) -> None:
    git(bench.upstream.path, "branch", "feature")
    bench.git("fetch", "-q")
    bench.git("checkout", "-q", "--track", "origin/feature")
    status = await look(bench, origin="https://example.org/official/app.git")
    assert status.is_valid
    assert status.branch == "feature"
    assert status.anomalies == (
        f"Unofficial remote url: {bench.upstream.url}",
        "Repo not on official remote/branch, expected: origin/master, detected: origin/feature",
    )


async def test_a_branch_that_tracks_nothing_is_invalid(bench: Bench) -> None:
    bench.git("branch", "--unset-upstream")
    status = await look(bench)
    assert status.warnings == ("No tracking remote for branch 'master'",)
    assert status.version == "v0.1.0-2"
    assert isinstance(status.remote_version, Unknown)


async def test_a_remote_without_a_url_is_invalid(bench: Bench) -> None:
    bench.git("config", "--unset", "remote.origin.url")
    assert (await look(bench)).warnings == ("No URL for remote 'origin'",)


async def test_a_branch_that_is_gone_on_the_remote_is_invalid(bench: Bench) -> None:
    git(bench.upstream.path, "checkout", "-qb", "main")
    git(bench.upstream.path, "branch", "-D", "master")
    status = await look(bench)
    assert status.warnings == (
        "Branch 'master' not found on remote 'origin', its default branch is 'main': set 'primary_branch: main' and "
        "recover the app to go there",
    )


async def test_a_folder_without_a_repository_is_invalid_even_inside_another_one(bench: Bench) -> None:
    shutil.rmtree(bench.path / ".git")
    git(bench.folder, "init", "-q")
    status = await look(bench)
    assert status.warnings == (f"No git repository at {bench.path}",)
    assert not status.corrupt


async def test_shallow_and_partial_clones_are_followed_and_stay_what_they_are(bench: Bench) -> None:
    git(bench.upstream.path, "config", "uploadpack.allowFilter", "true")
    shutil.rmtree(bench.path)
    bench.upstream.clone(bench.path, "--depth=2")
    bench.upstream.commit()
    status = await look(bench)
    assert status.is_valid
    assert status.commits_behind_count == 1
    assert isinstance(status.full_version_string, str)
    assert status.full_version_string.endswith("-shallow")
    assert (bench.path / ".git/shallow").exists()


async def test_a_worktree_is_followed(bench: Bench) -> None:
    tree = bench.folder / "tree"
    bench.git("worktree", "add", "-q", "-b", "other", str(tree))
    git(tree, "branch", "-u", "origin/master")
    status = await look(Bench(bench.folder, bench.upstream, tree))
    assert status.is_valid
    assert (status.branch, status.version, status.remote_version) == ("other", "v0.1.0-2", "v0.1.0-5")


async def test_a_remote_out_of_reach_costs_nothing_that_was_known(bench: Bench) -> None:
    async with bench.manager() as manager:
        await manager.wait_ready()
        await manager.refresh(None)
        before = status_of(manager)
        bench.upstream.path.rename(bench.folder / "away")
        await manager.refresh("app")
        status = status_of(manager)
        assert status.is_valid
        assert (status.version, status.remote_version) == (before.version, before.remote_version)
        assert status.commits_behind == before.commits_behind
        (anomaly,) = status.anomalies
        assert anomaly.startswith("Remote not reached since 20")
        assert "does not appear to be a git repository" in status.last_error
        since = status.unreachable_since
        await manager.refresh("app")
        assert status_of(manager).unreachable_since == since
        (bench.folder / "away").rename(bench.upstream.path)
        await manager.refresh("app")
        assert status_of(manager).anomalies == ()
        assert status_of(manager).last_error == ""


async def test_hidden_anomalies_are_not_shown(bench: Bench) -> None:
    (bench.path / "extra.py").write_text("x")
    status = await look(bench, report_anomalies=False)
    assert status.anomalies == ()


async def test_nothing_that_a_repository_configures_is_run(bench: Bench) -> None:
    trap = bench.folder / "trap.sh"
    trap.write_text(f"#!/bin/sh\ntouch {bench.folder}/sprung\n")
    trap.chmod(0o755)
    hooks = bench.folder / "hooks"
    hooks.mkdir()
    for hook in ("post-checkout", "reference-transaction", "post-index-change", "post-merge", "pre-auto-gc"):
        shutil.copy(trap, hooks / hook)
        shutil.copy(trap, bench.path / ".git/hooks" / hook)
    bench.git("config", "core.fsmonitor", str(trap))
    bench.git("config", "core.hooksPath", str(hooks))
    bench.git("config", "diff.external", str(trap))
    bench.git("config", "core.pager", str(trap))
    async with bench.manager() as manager:
        await manager.wait_ready()
        await manager.refresh(None)
        assert status_of(manager).is_valid
        await manager.upgrade("app", who="test")
    bench.git("config", "--unset", "core.hooksPath")
    assert not (bench.folder / "sprung").exists()


@pytest.mark.parametrize("url", ["ext::sh -c touch% sprung", "--upload-pack=touch sprung"])
async def test_a_remote_that_would_run_a_command_is_not_asked(bench: Bench, url: str) -> None:
    bench.git("config", "remote.origin.url", url)
    bench.git("config", "protocol.ext.allow", "always")
    status = await look(bench)
    assert status.anomalies
    assert not list(bench.folder.rglob("sprung"))
    assert os.path.exists(bench.path / "main.py")


async def test_versions_are_what_git_describes_whatever_comes_between_two_looks(bench: Bench) -> None:
    """Most versions are inferred from the last look; after each kind of change they must still be git's own."""

    def described(commit: str) -> str:
        return bench.git("describe", "--tags", "--long", commit).rpartition("-g")[0]

    async with bench.manager() as manager:
        await manager.wait_ready()
        for change in ("commit", "side branch", "tag behind HEAD", "tag at the tip", "tag on HEAD", "local commit"):
            if change == "side branch":
                git(bench.upstream.path, "checkout", "-qb", "side", "HEAD~2")
                bench.upstream.commit({"side.txt": "x"})
                git(bench.upstream.path, "checkout", "-q", "master")
                git(bench.upstream.path, "merge", "-q", "-X", "ours", "--no-edit", "side")
            elif change == "tag behind HEAD":
                git(bench.upstream.path, "tag", "v0.1.1", bench.git("rev-parse", "HEAD~1"))
            elif change == "tag at the tip":
                bench.upstream.commit(tag="v0.2.0")
            elif change == "tag on HEAD":
                bench.git("tag", "-am", "mine", "v0.1.2")
            elif change == "local commit":
                (bench.path / "main.py").write_text("mine\n")
                bench.git("commit", "-qam", "mine")
            bench.upstream.commit()
            await manager.refresh("app")
            status = status_of(manager)
            assert status.remote_hash == bench.upstream.head, change
            assert (status.version, status.remote_version) == (described("HEAD"), described("origin/master")), change


async def test_a_gutted_repository_inside_another_one_is_not_taken_for_that(bench: Bench) -> None:
    git(bench.folder, "init", "-q")
    git(bench.folder, "commit", "-q", "--allow-empty", "-m", "the outer one")
    outer = git(bench.folder, "rev-parse", "HEAD")
    shutil.rmtree(bench.path / ".git")
    (bench.path / ".git").mkdir()
    status = await look(bench)
    assert status.corrupt
    assert status.current_hash != outer
    assert status.version != "v0.0.0-1"


async def test_a_clone_of_nothing_says_so_until_there_is_something(tmp_path: Path) -> None:
    upstream = Upstream(tmp_path / "upstream")
    bench = Bench(tmp_path, upstream, upstream.clone(tmp_path / "app"))
    async with ready(bench) as manager:
        await manager.refresh()
        assert status_of(manager).warnings == (
            "The repository has no commit",
            "Branch 'master' not found on remote 'origin'",
        )
        upstream.commits(2)
        await manager.refresh()
        assert status_of(manager).warnings == ("The repository has no commit",)
        await manager.recover(NAME, who="test")
        assert status_of(manager).is_valid
    assert bench.head == upstream.head


@pytest.mark.parametrize("process", [False, True])
async def test_a_filter_that_is_not_there_is_named_and_no_recovery_is_promised(bench: Bench, process: bool) -> None:
    bench.upstream.commit({".gitattributes": "*.bin filter=lfs\n", "a.bin": "pointer\n"})
    bench.git("pull", "-q")
    bench.git("config", "filter.lfs.required", "true")
    bench.git("config", "filter.lfs.clean", "git-lfs-is-not-here clean -- %f")
    if process:
        bench.git("config", "filter.lfs.process", "git-lfs-is-not-here filter-process")
    (bench.path / "a.bin").write_text("printer\n")
    async with ready(bench) as manager:
        await manager.refresh()
        status = status_of(manager)
        assert not status.corrupt
        assert "a filter program" in status.warnings[0]
        assert "git-lfs-is-not-here" in status.warnings[0]
        (refusal,) = (await manager.plan(NAME))[0].refusals
        assert "a filter program" in refusal
        assert "Recover it" not in refusal


async def test_the_way_back_is_told_once(bench: Bench) -> None:
    git(bench.upstream.path, "reset", "-q", "--hard", "v0.1.0")
    bench.upstream.commits(2)
    async with ready(bench) as manager:
        await manager.refresh()
        (refusal,) = (await manager.plan(NAME))[0].refusals
        assert refusal.lower().count("recover") == 1


@pytest.mark.skipif(bool(WHY_NO_USER), reason=WHY_NO_USER)
async def test_a_clone_of_somebody_else_is_told_once_and_in_words(bench: Bench) -> None:
    for path in (bench.path, *bench.path.rglob("*")):
        os.chown(path, SOMEBODY, SOMEBODY, follow_symlinks=False)
    async with ready(bench) as manager:
        await manager.refresh()
        status = status_of(manager)
        assert not status.corrupt
        assert [*status.warnings, *status.anomalies] == [*status.warnings]
        assert status.warnings[0].startswith(f"The clone at {bench.path} belongs to another user")
        assert status.warnings[0].endswith(f"chown -R root {bench.path}")


async def test_a_clone_for_a_newer_git_is_not_corrupt(bench: Bench) -> None:
    bench.git("config", "core.repositoryFormatVersion", "1")
    bench.git("config", "extensions.somethingNew", "true")
    async with ready(bench) as manager:
        await manager.refresh()
        status = status_of(manager)
        assert not status.corrupt
        assert "a newer git than the one that is installed here" in status.warnings[0]
        assert status.anomalies == ()
