"""What a clone learns of its remote, whatever refspecs, refs and depth it was made with."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.support.upstream import Bench, git, status_of
from trio_update.host.git.output import Settings
from trio_update.host.git.refs import Followed
from trio_update.model import Channel, Outcome
from trio_update.updaters.git.kind import GitStatus

SPACE = "refs/trio-update/origin"


async def look(bench: Bench, *, debug: bool = False, **options: object) -> GitStatus:
    async with bench.manager(debug=debug, **options) as manager:
        await manager.wait_ready()
        await manager.refresh(None)
        return status_of(manager)


async def upgrade(bench: Bench, *, debug: bool = False, **options: object) -> GitStatus:
    async with bench.manager(debug=debug, **options) as manager:
        await manager.wait_ready()
        await manager.refresh(None)
        record = await manager.upgrade("app", who="test")
        assert record.outcome is Outcome.SUCCEEDED
        return status_of(manager)


def reclone(bench: Bench, *arguments: str) -> None:
    shutil.rmtree(bench.path)
    bench.upstream.clone(bench.path, *arguments)


def own_tags(bench: Bench) -> dict[str, str]:
    lines = bench.git("for-each-ref", "--format=%(refname:strip=2) %(objectname)", "refs/tags").splitlines()
    return {line.split(" ")[0]: line.split(" ")[1] for line in lines}


@pytest.mark.parametrize("channel", [Channel.STABLE, Channel.DEV])
async def test_a_shallow_clone_of_a_tag_is_offered_what_came_after_it(bench: Bench, channel: Channel) -> None:
    reclone(bench, "--depth=1", "--branch=v0.1.0")
    bench.upstream.commit(tag="v0.2.0")
    bench.upstream.commit()
    bench.upstream.commits(2)
    status = await look(bench, debug=True, channel=channel)
    assert (status.current_hash, status.version) == (bench.head, "v0.1.0-0")
    assert status.remote_version == ("v0.2.0-0" if channel is Channel.STABLE else "v0.2.0-3")
    assert status.commits_behind_count == (6 if channel is Channel.STABLE else 9)
    assert status.is_valid
    assert (bench.path / ".git/shallow").read_text().split() == [bench.head], "it stays as shallow as it was"
    bench.expect_whole(git(bench.upstream.path, "rev-parse", "v0.1.0^{commit}"))


async def test_a_shallow_clone_of_a_tag_is_upgraded_and_stays_shallow(bench: Bench) -> None:
    reclone(bench, "--depth=1", "--branch=v0.1.0")
    bench.upstream.commit(tag="v0.2.0")
    status = await upgrade(bench, debug=True, channel=Channel.STABLE)
    assert status.version == "v0.2.0-0"
    bench.expect_whole(bench.upstream.head)
    assert (bench.path / ".git/shallow").exists()


async def test_a_shallow_clone_brings_no_old_history_for_old_tags(bench: Bench) -> None:
    for number in range(2, 6):
        bench.upstream.commit(tag=f"v0.{number}.0")
    reclone(bench, "--depth=1")
    bench.upstream.commit(tag="v0.6.0")
    status = await look(bench, channel=Channel.STABLE)
    assert status.remote_version == "v0.6.0-0"
    assert bench.git("rev-list", "--count", "HEAD") == "1"
    assert bench.git("for-each-ref", "--format=%(refname)", f"{SPACE}/tags").splitlines() == [
        f"{SPACE}/tags/v0.5.0",
        f"{SPACE}/tags/v0.6.0",
    ]
    old = git(bench.upstream.path, "rev-parse", "v0.2.0^{tree}")
    assert "fatal" in bench.git("cat-file", "-t", old, check=False)
    # Of a tag that was withdrawn, and one that was moved, too.
    git(bench.upstream.path, "tag", "-d", "v0.6.0")
    git(bench.upstream.path, "tag", "-f", "v0.5.0", "HEAD")
    assert (await look(bench, channel=Channel.STABLE)).remote_version == "v0.5.0-0"


async def test_a_shallow_clone_is_deepened_when_nothing_relates_it_to_the_branch(bench: Bench) -> None:
    git(bench.upstream.path, "checkout", "-qb", "side", "HEAD~1")
    bench.upstream.commit({"side.txt": "x"}, tag="v0.1.1")
    git(bench.upstream.path, "checkout", "-q", "master")
    reclone(bench, "--depth=1", "--branch=v0.1.1")
    status = await look(bench, debug=True)
    assert "1 local and 1 remote commits. Recover" in status.warnings[0]


@pytest.mark.parametrize("channel", [Channel.STABLE, Channel.DEV])
async def test_a_clone_of_another_branch_alone_is_followed(bench: Bench, channel: Channel) -> None:
    git(bench.upstream.path, "branch", "other", "HEAD~3")
    reclone(bench, "--single-branch", "--branch=other")
    bench.git("checkout", "-q", "--detach")
    bench.upstream.commit(tag="v0.2.0")
    status = await look(bench, debug=True, channel=channel)
    assert (status.remote_hash, status.remote_version) == (bench.upstream.head, "v0.2.0-0")


@pytest.mark.parametrize(
    "refspecs",
    [
        (),
        ("",),
        ("+refs/heads/other:refs/remotes/origin/other",),
        ("+refs/heads/*:refs/remotes/elsewhere/*",),
        ("+refs/heads/*:refs/remotes/origin/*", "^refs/heads/master"),
        ("+refs/*:refs/*",),
        ("+refs/heads/*:refs/heads/*",),
        ("refs/heads/master",),
    ],
)
async def test_what_is_offered_does_not_depend_on_the_refspec(bench: Bench, refspecs: tuple[str, ...]) -> None:
    git(bench.upstream.path, "branch", "other")
    bench.git("config", "--unset-all", "remote.origin.fetch")
    for refspec in refspecs:
        bench.git("config", "--add", "remote.origin.fetch", refspec)
    bench.git("config", "remote.origin.tagOpt", "--no-tags")
    if refspecs == ("+refs/*:refs/*",):
        bench.git("config", "remote.origin.mirror", "true")
    before = bench.head
    bench.upstream.commit(tag="v0.2.0")
    for channel in (Channel.DEV, Channel.STABLE):
        status = await look(bench, channel=channel)
        assert status.is_valid, status.warnings
        assert (status.remote_hash, status.remote_version) == (bench.upstream.head, "v0.2.0-0")
        assert status.commits_behind_count == 4
    assert bench.head == before
    assert (await upgrade(bench, channel=Channel.STABLE)).version == "v0.2.0-0"
    bench.expect_whole(bench.upstream.head)


async def test_the_users_own_refs_are_kept_as_git_would(bench: Bench) -> None:
    bench.git("tag", "mine", "HEAD~1")
    moved = bench.git("rev-parse", "v0.1.0")
    bench.git("update-ref", "refs/remotes/origin/old", "HEAD")
    git(bench.upstream.path, "tag", "-f", "v0.1.0", "HEAD")
    bench.upstream.commit(tag="v0.2.0")
    status = await look(bench)
    assert status.remote_version == "v0.2.0-0"
    tags = own_tags(bench)
    assert (tags["v0.1.0"], tags["mine"]) == (moved, bench.git("rev-parse", "HEAD~1"))
    assert tags["v0.2.0"], "the app's own git-describe goes on telling its version"
    assert bench.git("rev-parse", "origin/master") == bench.upstream.head
    assert bench.git("rev-parse", "origin/old") == bench.head
    assert "behind 'origin/master' by 4" in bench.git("status")


async def test_a_tag_that_was_moved_upstream_leads_where_it_leads_now(bench: Bench) -> None:
    withdrawn = bench.upstream.commit(tag="v0.2.0")
    assert (await look(bench, channel=Channel.STABLE)).remote_hash == withdrawn
    mended = bench.upstream.commit()
    git(bench.upstream.path, "tag", "-fam", "again", "v0.2.0")
    status = await upgrade(bench, channel=Channel.STABLE)
    assert (status.current_hash, status.version) == (mended, "v0.2.0-0")
    bench.expect_whole(mended)


@pytest.mark.parametrize("channel", [Channel.STABLE, Channel.DEV])
async def test_a_tag_that_was_withdrawn_is_not_offered(bench: Bench, channel: Channel) -> None:
    bench.upstream.commit(tag="v0.2.0")
    bench.git("fetch", "-q", "--tags")
    git(bench.upstream.path, "tag", "-d", "v0.2.0")
    status = await look(bench, channel=channel)
    assert status.remote_version == ("v0.1.0-2" if channel is Channel.STABLE else "v0.1.0-6")
    assert [commit.tag for commit in status.commits_behind if commit.tag] == []


async def test_a_clone_that_was_never_asked_goes_by_what_it_has(bench: Bench) -> None:
    bench.upstream.commit(tag="v0.2.0")
    bench.git("fetch", "-q", "--tags")
    bench.upstream.path.rename(bench.folder / "away")
    for channel, version in ((Channel.STABLE, "v0.2.0-0"), (Channel.DEV, "v0.2.0-0")):
        status = await look(bench, channel=channel)
        assert (status.version, status.remote_version) == ("v0.1.0-2", version)
        assert status.is_valid


@pytest.mark.parametrize("kind", ["tag", "branch"])
async def test_a_name_that_became_a_folder_of_names_blocks_nothing(bench: Bench, kind: str) -> None:
    """A ``release`` of before, and a ``release/1.1`` of now: refs are files, and one cannot be both."""
    upstream = bench.upstream.path
    if kind == "tag":
        git(upstream, "tag", "release")
        assert (await look(bench)).is_valid
        git(upstream, "tag", "-d", "release")
        bench.upstream.commit(tag="release/1.1")
        status = await upgrade(bench, channel=Channel.STABLE)
        assert status.version == "release/1.1-0"
        assert "release" in own_tags(bench), "the user's tag stays"
        git(upstream, "tag", "-d", "release/1.1")
        bench.upstream.commit(tag="release")
    else:
        git(upstream, "checkout", "-qb", "release")
        bench.git("fetch", "-q")
        bench.git("checkout", "-q", "release")
        assert (await look(bench)).is_valid
        git(upstream, "branch", "-m", "release", "release/1.1")
        bench.git("branch", "-m", "release", "mine")
        bench.git("config", "branch.mine.merge", "refs/heads/release/1.1")
        bench.upstream.commit()
    status = await upgrade(bench)
    assert status.is_valid
    bench.expect_whole(bench.upstream.head)
    if kind == "branch":
        assert bench.git("rev-parse", "origin/release/1.1") == bench.upstream.head
        # And back again.
        git(upstream, "branch", "-m", "release/1.1", "release")
        bench.git("config", "branch.mine.merge", "refs/heads/release")
        bench.upstream.commit()
        assert (await upgrade(bench)).is_valid
        bench.expect_whole(bench.upstream.head)


async def test_a_history_that_was_made_anew_is_offered_and_says_how_to_get_there(bench: Bench) -> None:
    upstream = bench.upstream.path
    git(upstream, "checkout", "-q", "--orphan", "fresh")
    git(upstream, "tag", "-d", "v0.1.0")
    bench.upstream.commit(tag="v1.0.0")
    git(upstream, "branch", "-M", "fresh", "master")
    for channel in (Channel.STABLE, Channel.DEV):
        status = await look(bench, channel=channel)
        assert not status.is_valid
        assert (status.remote_hash, status.remote_version) == (bench.upstream.head, "v1.0.0-0")
        (warning,) = status.warnings
        assert warning.startswith("Repo has diverged from remote: 3 local and 1 remote commits. ")
        assert "no commit in common" in warning
        assert "recover the app" in warning
    async with bench.manager(channel=Channel.STABLE) as manager:
        await manager.wait_ready()
        await manager.recover("app", hard=False)
        assert status_of(manager).version == "v1.0.0-0"
        assert status_of(manager).is_valid
    bench.expect_whole(bench.upstream.head)


async def test_local_commits_above_the_newest_tag_are_no_reason_to_go_back(bench: Bench) -> None:
    bench.upstream.commit(tag="v0.2.0")
    bench.git("pull", "-q", "--ff-only")
    (bench.path / "main.py").write_text("mine\n")
    bench.git("commit", "-qam", "mine")
    bench.upstream.commit()
    status = await look(bench, channel=Channel.STABLE)
    assert status.remote_hash == bench.head
    assert "1 local and 1 remote commits" in status.warnings[0]


@pytest.mark.parametrize("primary", ["master", "main"])
async def test_a_branch_that_is_gone_is_told_with_the_default_one(bench: Bench, primary: str) -> None:
    upstream = bench.upstream.path
    git(upstream, "branch", "-m", "main")
    async with bench.manager(primary_branch=primary) as manager:
        await manager.wait_ready()
        for _ in range(2):
            await manager.refresh("app")
            status = status_of(manager)
            assert status.anomalies == () or primary == "main"
            (warning,) = status.warnings
            assert warning.startswith("Branch 'master' not found on remote 'origin', its default branch is 'main'")
            assert ("primary_branch: main" in warning) == (primary == "master")
    if primary == "main":
        async with bench.manager(primary_branch=primary) as manager:
            await manager.wait_ready()
            assert status_of(manager).warnings[0].startswith("Branch 'master' not found on remote 'origin'")
            await manager.recover("app", hard=False)
            assert status_of(manager).is_valid
        bench.expect_whole(bench.head)
    # It comes back.
    git(upstream, "branch", "-m", "master")
    if primary == "master":
        assert (await look(bench)).is_valid


async def test_a_remote_without_any_branch_is_told(bench: Bench) -> None:
    shutil.rmtree(bench.upstream.path)
    bench.upstream.path.mkdir()
    git(bench.upstream.path, "init", "-q", "-b", "master")
    status = await look(bench)
    assert status.warnings == ("Branch 'master' not found on remote 'origin'",)


async def test_a_detached_clone_with_a_bare_commit_is_offered_the_primary_branch(bench: Bench) -> None:
    old = bench.git("rev-parse", "HEAD~1")
    shutil.rmtree(bench.path)
    git(bench.folder, "init", "-q", str(bench.path))
    bench.git("remote", "add", "origin", bench.upstream.url)
    bench.git("fetch", "-q", bench.upstream.url, "master")
    bench.git("checkout", "-q", "--detach", old)
    status = await look(bench)
    assert status.detached
    assert (status.current_hash, status.version) == (old, "v0.1.0-1")
    assert (status.remote_hash, status.commits_behind_count) == (bench.upstream.head, 4)


async def test_gc_of_a_user_takes_nothing_that_is_offered(bench: Bench) -> None:
    reclone(bench, "--single-branch", "--branch=v0.1.0")
    bench.upstream.commit(tag="v0.2.0")
    expected = await look(bench, debug=True, channel=Channel.STABLE)
    bench.git("reflog", "expire", "--all", "--expire=now")
    bench.git("gc", "-q", "--prune=now")
    bench.upstream.path.rename(bench.folder / "away")
    status = await look(bench, debug=True, channel=Channel.STABLE)
    assert status.remote_version == expected.remote_version == "v0.2.0-0"
    assert status.remote_hash == expected.remote_hash


async def test_a_pin_on_a_branch_that_is_not_followed_is_found(bench: Bench) -> None:
    git(bench.upstream.path, "checkout", "-qb", "side")
    pin = bench.upstream.commit({"side.txt": "x"})
    git(bench.upstream.path, "checkout", "-q", "master")
    reclone(bench, "--single-branch")
    bench.upstream.commit()
    status = await upgrade(bench, pinned_commit=pin[:12])
    assert status.current_hash == pin


async def test_a_partial_clone_stays_one(bench: Bench) -> None:
    git(bench.upstream.path, "config", "uploadpack.allowFilter", "true")
    reclone(bench, "--filter=blob:none", "--single-branch", "--branch=v0.1.0")
    blob = bench.upstream.commit({"big.txt": "x" * 1000}, tag="v0.2.0")
    status = await look(bench, debug=True, channel=Channel.STABLE)
    assert status.remote_version == "v0.2.0-0"
    missing = bench.git("rev-list", "--objects", "--missing=print", f"{SPACE}/heads/master").splitlines()
    assert any(line.startswith("?") for line in missing)
    assert (await upgrade(bench, debug=True, channel=Channel.STABLE)).current_hash == blob


@pytest.mark.parametrize("name", ["fork", "my.fork", "a b", "..", "x.lock"])
async def test_a_remote_of_any_name_is_followed(bench: Bench, name: str) -> None:
    for key, value in (("url", bench.upstream.url), ("fetch", "+refs/heads/*:refs/remotes/fork/*")):
        bench.git("config", f"remote.{name}.{key}", value)
    bench.git("config", "branch.master.remote", name)
    status = await look(bench)
    assert (status.remote_alias, status.remote_hash) == (name, bench.upstream.head)


@pytest.mark.parametrize(
    ("specs", "expected"),
    [
        (("+refs/heads/*:refs/remotes/origin/*",), "refs/remotes/origin/x/y"),
        (("refs/heads/x/y:refs/remotes/origin/z",), "refs/remotes/origin/z"),
        (("+refs/heads/x/*:refs/remotes/x/*",), "refs/remotes/x/y"),
        (("+refs/heads/*:refs/remotes/origin/*", "^refs/heads/x/*"), None),
        (("^refs/heads/other", "+refs/heads/*:refs/remotes/origin/*"), "refs/remotes/origin/x/y"),
        (("+refs/heads/other:refs/remotes/origin/other",), None),
        (("+refs/*:refs/*",), None),
        (("",), None),
        ((), None),
    ],
)
def test_the_ref_that_a_clones_refspecs_give_a_branch(specs: Any, expected: str | None) -> None:
    assert Followed("origin", "x/y").own_ref(Settings({"remote.origin.fetch": specs})) == expected


async def test_a_view_leaves_nothing_behind(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(place))
    await look(bench)
    assert not list(place.iterdir())
