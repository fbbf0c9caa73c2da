"""Damage is what the clone itself says when it is asked; what holds nothing is put back from what is known."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.upstream import NAME, Bench, Upstream, git, status_of
from tests.updaters.test_git_update import ready
from trio_update.host.git.repair import is_sound
from trio_update.host.git.repository import Repository
from trio_update.host.processes.runner import Runner


def lose(path: Path, how: str) -> None:
    """As after a power cut."""
    size = path.stat().st_size
    path.chmod(0o644)
    path.write_bytes(b"" if how == "empty" else b"\0" * max(size, 1))


def packed_refs(bench: Bench, how: str) -> None:
    bench.git("pack-refs", "--all")
    lose(bench.path / ".git/packed-refs", how)


def configuration(bench: Bench, how: str) -> None:
    lose(bench.path / ".git/config", how)


def head(bench: Bench, how: str) -> None:
    lose(bench.path / ".git/HEAD", how)


def branch(bench: Bench, how: str) -> None:
    lose(bench.path / ".git/refs/heads/master", how)


def missing_branch(bench: Bench, how: str) -> None:
    (bench.path / ".git/refs/heads/master").unlink()


def missing_branch_and_log(bench: Bench, how: str) -> None:
    (bench.path / ".git/refs/heads/master").unlink()
    lose(bench.path / ".git/logs/refs/heads/master", how)


def index(bench: Bench, how: str) -> None:
    lose(bench.path / ".git/index", how)


def multi_pack_index(bench: Bench, how: str) -> None:
    bench.git("repack", "-q", "-d")
    bench.git("multi-pack-index", "write")
    lose(bench.path / ".git/objects/pack/multi-pack-index", how)


def commit_graph(bench: Bench, how: str) -> None:
    bench.git("commit-graph", "write", "--reachable")
    lose(bench.path / ".git/objects/info/commit-graph", how)


def commit_graph_chain(bench: Bench, how: str) -> None:
    bench.git("commit-graph", "write", "--reachable", "--split")
    for path in (bench.path / ".git/objects/info/commit-graphs").iterdir():
        lose(path, how)


def pack_index(bench: Bench, how: str) -> None:
    bench.git("repack", "-a", "-d", "-q")
    for path in (bench.path / ".git/objects/pack").glob("*.idx"):
        lose(path, how)


def pack(bench: Bench, how: str) -> None:
    bench.git("repack", "-a", "-d", "-q")
    for path in (bench.path / ".git/objects/pack").glob("*.pack"):
        lose(path, how)


def objects(bench: Bench, how: str) -> None:
    for oid in bench.git("rev-parse", "HEAD", "HEAD^{tree}", "HEAD:main.py").split():
        lose(bench.path / ".git/objects" / oid[:2] / oid[2:], how)


def logs(bench: Bench, how: str) -> None:
    for path in (bench.path / ".git/logs").rglob("*"):
        if path.is_file():
            lose(path, how)


def notes(bench: Bench, how: str) -> None:
    for name in ("ORIG_HEAD", "FETCH_HEAD", "MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD"):
        (bench.path / ".git" / name).write_text(f"{bench.head}\n")
        lose(bench.path / ".git" / name, how)


def several(bench: Bench, how: str) -> None:
    packed_refs(bench, how)
    configuration(bench, how)
    head(bench, how)
    index(bench, how)


DAMAGES = [
    *(packed_refs, configuration, head, branch, missing_branch, missing_branch_and_log, index, multi_pack_index),
    *(commit_graph, commit_graph_chain, pack_index, pack, objects, logs, notes, several),
]


@pytest.mark.parametrize("how", ["empty", "zeroed"])
@pytest.mark.parametrize("damage", DAMAGES)
async def test_what_holds_nothing_is_put_back_by_a_refresh(
    bench: Bench, damage: Callable[[Bench, str], None], how: str
) -> None:
    bench.git("-c", "fetch.unpackLimit=1000", "pull", "-q", "--ff-only")
    before = bench.head
    (bench.path / "notes").write_text("mine")
    async with ready(bench) as manager:
        await manager.refresh(NAME)
        damage(bench, how)
        await manager.refresh(NAME)
        status = status_of(manager)
        assert status.is_valid, (status.warnings, status.git_messages)
        assert not status.corrupt
        bench.expect_whole(before)
        assert (bench.path / "notes").read_text() == "mine"
        assert bench.git("describe", "--tags").startswith("v0.1.0-")
        # And it goes on as ever.
        bench.upstream.commit()
        await manager.upgrade(NAME, who="test")
        bench.expect_whole(bench.upstream.head)
    assert "error" not in bench.git("fsck", "--connectivity-only")
    bench.expect_tidy()


@pytest.mark.parametrize("how", ["empty", "zeroed"])
async def test_a_lost_list_of_refs_loses_no_branch_and_no_stash(bench: Bench, how: str) -> None:
    (bench.path / "README").write_text("stashed")
    bench.git("stash", "-q")
    bench.git("branch", "mine", "HEAD~1")
    mine, stash = bench.git("rev-parse", "mine"), bench.git("rev-parse", "stash")
    packed_refs(bench, how)
    async with ready(bench) as manager:
        await manager.refresh(NAME)
        assert status_of(manager).is_valid
    assert (bench.git("rev-parse", "mine"), bench.git("rev-parse", "stash")) == (mine, stash)


@pytest.mark.parametrize("how", ["empty", "zeroed"])
async def test_where_a_shallow_history_begins_is_found_again(bench: Bench, how: str) -> None:
    shutil.rmtree(bench.path)
    bench.upstream.clone(bench.path, "--depth=2")
    before = (bench.path / ".git/shallow").read_bytes()
    lose(bench.path / ".git/shallow", how)
    async with ready(bench) as manager:
        await manager.refresh(NAME)
        assert status_of(manager).is_valid, status_of(manager).git_messages
    assert (bench.path / ".git/shallow").read_bytes() == before


async def test_content_that_was_only_staged_and_got_lost_does_not_stop_a_soft_recovery(bench: Bench) -> None:
    before = bench.head
    (bench.path / "main.py").write_text("staged")
    bench.git("add", "main.py")
    oid = bench.git("rev-parse", ":main.py")
    lose(bench.path / ".git/objects" / oid[:2] / oid[2:], "empty")
    async with ready(bench) as manager:
        await manager.refresh(NAME)
        assert not status_of(manager).corrupt
        await manager.recover(NAME, hard=False, who="test")
        assert status_of(manager).is_valid, status_of(manager).warnings
    bench.expect_whole(before)
    assert "+staged" in next((bench.data_path / "trio_update" / "saved").rglob("changes.patch")).read_text()


async def test_head_is_put_back_on_the_branch_that_it_was_on(bench: Bench) -> None:
    bench.git("checkout", "-q", "-b", "feature")
    bench.git("branch", "-q", "--set-upstream-to=origin/master")
    lose(bench.path / ".git/HEAD", "zeroed")
    async with ready(bench) as manager:
        await manager.refresh(NAME)
        assert status_of(manager).branch == "feature"
    assert bench.git("symbolic-ref", "HEAD") == "refs/heads/feature"


async def test_content_of_the_users_is_never_replaced(bench: Bench) -> None:
    strange = bench.path / ".git/refs/heads/notes of mine"
    strange.write_text("not a ref")
    (bench.path / ".git/config").write_text("not a configuration [[[")
    async with ready(bench) as manager:
        await manager.refresh(NAME)
        assert not status_of(manager).is_valid
    assert strange.read_text() == "not a ref"
    assert (bench.path / ".git/config").read_text() == "not a configuration [[["


async def test_a_pointer_that_leads_nowhere_is_no_damage(bench: Bench) -> None:
    (bench.path / ".git/refs/remotes/origin/HEAD").write_text("ref: refs/remotes/origin/renamed\n")
    assert await is_sound(Repository(bench.path, Runner("test")))
    async with ready(bench) as manager:
        await manager.refresh(NAME)
        assert status_of(manager).is_valid
        bench.upstream.path.rename(bench.folder / "away")
        await manager.refresh(NAME)
        assert not status_of(manager).corrupt
        assert status_of(manager).is_valid
        (bench.folder / "away").rename(bench.upstream.path)
        await manager.upgrade(NAME, who="test")
    bench.expect_whole(bench.upstream.head)
    assert (bench.path / ".git/refs/remotes/origin/HEAD").read_text() == "ref: refs/remotes/origin/renamed\n"


async def test_a_fault_of_the_remotes_is_the_remotes(bench: Bench) -> None:
    upstream = bench.upstream
    head = git(upstream.path, "rev-parse", "HEAD^{tree}")
    loose = upstream.path / ".git/objects" / head[:2] / head[2:]
    loose.chmod(0o644)
    loose.write_bytes(b"")
    async with ready(bench) as manager:
        await manager.refresh(NAME)
        status = status_of(manager)
        assert not status.corrupt
        assert status.is_valid, status.warnings
        assert any("Remote not reached" in anomaly for anomaly in status.anomalies)


async def test_an_upstream_without_commits_is_called_what_it_is(tmp_path: Path) -> None:
    upstream = Upstream(tmp_path / "upstream")
    bench = Bench(tmp_path, upstream, upstream.clone(tmp_path / "app"))
    async with ready(bench) as manager:
        await manager.refresh(NAME)
        status = status_of(manager)
        assert not status.corrupt
        assert "The repository has no commit" in status.warnings
        (bench.path / "README").write_text("mine")
        upstream.commit({"README": "theirs"})
        await manager.recover(NAME, hard=False, who="test")
        assert status_of(manager).is_valid
    bench.expect_whole(upstream.head)
    (found,) = (bench.data_path / "trio_update" / "saved").rglob("README")
    assert found.read_text() == "mine"


@pytest.mark.parametrize("damage", [configuration, objects, head, packed_refs])
async def test_a_repository_of_the_longer_hashes_is_repaired_too(
    tmp_path: Path, damage: Callable[[Bench, str], None]
) -> None:
    upstream = Upstream(tmp_path / "upstream")
    shutil.rmtree(upstream.path / ".git")
    git(upstream.path, "init", "-q", "-b", "master", "--object-format=sha256")
    upstream.commit({"README": "1"}, tag="v0.1.0")
    bench = Bench(tmp_path, upstream, upstream.clone(tmp_path / "app"))
    upstream.commits(2)
    bench.git("-c", "fetch.unpackLimit=1000", "pull", "-q", "--ff-only")
    before = bench.head
    damage(bench, "zeroed")
    async with ready(bench) as manager:
        await manager.refresh(NAME)
        assert status_of(manager).is_valid, status_of(manager).git_messages
        bench.expect_whole(before)
        upstream.commit()
        await manager.upgrade(NAME, who="test")
    bench.expect_whole(upstream.head)


async def test_a_bisection_is_ended_by_a_soft_recovery(bench: Bench) -> None:
    bench.git("pull", "-q")
    bench.git("bisect", "start", "HEAD", "HEAD~4")
    async with ready(bench) as manager:
        assert any("BISECT_LOG" in warning for warning in status_of(manager).warnings)
        await manager.recover(NAME, hard=False, who="test")
        assert status_of(manager).is_valid, status_of(manager).warnings
    assert not list((bench.path / ".git").glob("BISECT_*"))
    assert bench.git("symbolic-ref", "HEAD") == "refs/heads/master"


async def test_a_sequence_that_stopped_is_ended_by_a_soft_recovery(bench: Bench) -> None:
    bench.git("fetch", "-q")
    bench.git("cherry-pick", "origin/master~1", "origin/master", check=False)
    assert os.path.exists(bench.path / ".git/CHERRY_PICK_HEAD")
    async with ready(bench) as manager:
        await manager.recover(NAME, hard=False, who="test")
        assert status_of(manager).is_valid, status_of(manager).warnings
    assert not os.path.exists(bench.path / ".git/sequencer")


@pytest.mark.parametrize("name", ["index", "HEAD", "config"])
async def test_a_clone_that_was_mended_shows_what_is_new(bench: Bench, name: str) -> None:
    (bench.path / ".git" / name).write_bytes(b"")
    async with ready(bench) as manager:
        await manager.refresh()
        status = status_of(manager)
        assert status.is_valid, status.warnings
        assert status.commits_behind_count == 3
        assert status.git_messages[0].startswith("Repaired the repository")


async def test_a_clone_that_was_mended_while_its_remote_is_away_is_not_up_to_date(bench: Bench) -> None:
    (bench.path / ".git" / "index").write_bytes(b"")
    away = bench.folder / "away"
    bench.upstream.path.rename(away)
    async with ready(bench) as manager:
        await manager.refresh()
        status = status_of(manager)
        assert status.is_valid, status.warnings
        assert status.unreachable_since is not None
        assert any("Repaired the repository" in message for message in status.git_messages)
        away.rename(bench.upstream.path)
        await manager.refresh()
        assert status_of(manager).commits_behind_count == 3
