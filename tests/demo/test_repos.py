"""The builders make what they promise: every state is looked at with plain git."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from trio_update.demo.git import git
from trio_update.demo.repos import (
    BEHIND,
    STANDARD_COMMITS,
    STANDARD_TAGS,
    UNTRACKED,
    State,
    Tag,
    Upstream,
    add_commits,
    clone,
    corrupt,
    make_clone,
    make_upstream,
)
from trio_update.errors import CommandFailed


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Upstream:
    return make_upstream(tmp_path_factory.mktemp("upstream") / "app.git")


def behind(path: Path) -> int:
    """Commits that the clone lacks, after asking the remote."""
    git("fetch", "--quiet", "origin", cwd=path)
    return int(git("rev-list", "--count", "HEAD..origin/master", cwd=path))


def ahead(path: Path) -> int:
    return int(git("rev-list", "--count", "origin/master..HEAD", cwd=path))


def changed(path: Path) -> list[str]:
    return git("status", "--porcelain", "--untracked-files=all", cwd=path).splitlines()


def branch(path: Path) -> str:
    return git("rev-parse", "--abbrev-ref", "HEAD", cwd=path)


def missing(path: Path) -> list[str]:
    objects = git("rev-list", "--objects", "--all", "--missing=print", cwd=path).splitlines()
    return [line for line in objects if line.startswith("?")]


def test_a_history_depends_on_its_arguments_alone(
    tmp_path: Path, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile = tmp_path / ".gitconfig"
    hostile.write_text(
        "[user]\nname = Somebody\n[commit]\ngpgSign = true\n[init]\ndefaultBranch = odd\n[core]\nautocrlf = true\n"
    )
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(hostile))
    monkeypatch.setenv("GIT_AUTHOR_NAME", "Somebody")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    again = make_upstream(tmp_path / "again.git")
    assert again.commits() == upstream.commits()
    assert git("for-each-ref", cwd=again.path) == git("for-each-ref", cwd=upstream.path)
    one = make_clone(State.DIVERGED, again, tmp_path / "one")
    monkeypatch.undo()
    other = make_clone(State.DIVERGED, upstream, tmp_path / "other")
    assert git("rev-parse", "HEAD", cwd=one) == git("rev-parse", "HEAD", cwd=other)


def test_an_upstream_has_its_commits_and_tags(upstream: Upstream) -> None:
    commits = upstream.commits()
    assert len(commits) == STANDARD_COMMITS
    git("fsck", "--strict", cwd=upstream.path)
    for tag in STANDARD_TAGS:
        assert git("rev-parse", f"{tag.name}^{{commit}}", cwd=upstream.path) == commits[tag.commit - 1]
        assert git("cat-file", "-t", tag.name, cwd=upstream.path) == ("tag" if tag.annotated else "commit")
    bodies = git("log", "--format=%b%x00", cwd=upstream.path).split("\0")
    assert "" in [body.strip() for body in bodies]
    assert any("Signed-off-by" in body for body in bodies)
    assert len(set(git("log", "--format=%an", cwd=upstream.path).splitlines())) == 3
    dates = [int(line) for line in git("log", "--reverse", "--format=%ct", cwd=upstream.path).split()]
    assert dates == sorted(set(dates))


def test_tags_beyond_the_last_commit_are_left_out(tmp_path: Path) -> None:
    short = make_upstream(tmp_path / "short.git", commits=20)
    assert git("tag", "--list", cwd=short.path).split() == ["v0.9.0", "v1.0.0"]


def test_an_upstream_may_be_empty(tmp_path: Path) -> None:
    empty = make_upstream(tmp_path / "empty.git", commits=0, branch="main")
    with pytest.raises(CommandFailed):
        empty.commits()
    assert len(add_commits(empty_with_commit(empty), 1)) == 1


def empty_with_commit(empty: Upstream) -> Upstream:
    """A first commit pushed by somebody else."""
    work = empty.path.parent / "work"
    git("init", "--quiet", "--initial-branch=main", str(work), cwd=empty.path.parent)
    git("commit", "--quiet", "--allow-empty", "--message=first", cwd=work)
    git("push", "--quiet", str(empty.path), "main", cwd=work)
    return empty


def test_commits_added_later_are_those_made_at_once(tmp_path: Path, upstream: Upstream) -> None:
    grown = make_upstream(tmp_path / "grown.git", commits=10)
    added = add_commits(grown, 8, tags=STANDARD_TAGS[1:2])
    assert grown.commits() == upstream.commits()[:18]
    assert added == upstream.commits()[10:18]
    assert git("rev-parse", "v1.0.0", cwd=grown.path) == git("rev-parse", "v1.0.0", cwd=upstream.path)


def test_files_and_tags_on_commits_of_the_past(tmp_path: Path) -> None:
    made = make_upstream(tmp_path / "made.git", commits=3, tags=(), files={"check.sh": b"exit 0\n"})
    added = add_commits(made, 2, tags=[Tag("old", 2), Tag("new", 5)], files={"check.sh": b"\0\nexit 1\n"})
    assert git("ls-tree", "-r", made.commits()[2], "check.sh", cwd=made.path).startswith("100755 ")
    assert git("cat-file", "-p", f"{added[0]}:check.sh", cwd=made.path) == "exit 0"
    assert git("cat-file", "-p", f"{added[1]}:check.sh", cwd=made.path) == "\0\nexit 1"
    assert git("rev-parse", "old^{commit}", "new^{commit}", cwd=made.path).split() == [made.commits()[1], added[1]]


def test_a_stretch_of_history_adds_changes_and_removes_files(upstream: Upstream) -> None:
    commits = upstream.commits()
    listed = git("diff", "--name-status", "--no-renames", commits[-1 - BEHIND], commits[-1], cwd=upstream.path)
    assert {line[0] for line in listed.splitlines()} == {"A", "M", "D"}


def is_current(path: Path) -> None:
    assert (behind(path), ahead(path), changed(path), branch(path)) == (0, 0, [], "master")


def is_behind(path: Path) -> None:
    assert git("tag", "--list", cwd=path).split() == ["v0.9.0", "v1.0.0"]
    assert git("rev-parse", "HEAD", cwd=path) == git("rev-parse", "origin/master", cwd=path)
    assert (behind(path), ahead(path), changed(path), branch(path)) == (BEHIND, 0, [], "master")
    assert "v1.3.0-alpha1" in git("tag", "--list", cwd=path).split()


def is_on(tag: str) -> Callable[[Path], None]:
    def check(path: Path) -> None:
        assert git("describe", "--tags", "--exact-match", cwd=path) == tag
        assert branch(path) == "master"
        assert behind(path) > 0

    return check


def is_dirty(path: Path) -> None:
    assert changed(path) == ["M src/part_1.py", " D src/part_2.py"]
    assert behind(path) == 0


def is_diverged(path: Path) -> None:
    assert (behind(path), ahead(path), changed(path)) == (2, 1, [])


def is_detached(path: Path) -> None:
    assert (branch(path), behind(path), changed(path)) == ("HEAD", 0, [])


def has_untracked(path: Path) -> None:
    assert sorted(changed(path)) == sorted(f"?? {name}" for name in UNTRACKED)
    assert behind(path) == BEHIND


def is_shallow(path: Path) -> None:
    assert git("rev-parse", "--is-shallow-repository", cwd=path) == "true"
    assert git("rev-list", "--count", "HEAD", cwd=path) == "3"
    assert behind(path) == BEHIND


def is_blobless(path: Path) -> None:
    assert missing(path)
    assert git("config", "remote.origin.partialclonefilter", cwd=path) == "blob:none"
    assert changed(path) == []
    assert behind(path) == BEHIND


def is_corrupt(path: Path) -> None:
    with pytest.raises(CommandFailed, match="is empty"):
        git("status", cwd=path)
    empty = [file for file in (path / ".git" / "objects").glob("??/*") if not file.stat().st_size]
    assert len(empty) == 2


@pytest.mark.parametrize(
    ("state", "check"),
    [
        (State.CURRENT, is_current),
        (State.BEHIND, is_behind),
        (State.PINNED, is_behind),
        (State.STABLE, is_on("v1.0.0")),
        (State.BETA, is_on("v1.1.0")),
        (State.DIRTY, is_dirty),
        (State.DIVERGED, is_diverged),
        (State.DETACHED, is_detached),
        (State.UNTRACKED, has_untracked),
        (State.SHALLOW, is_shallow),
        (State.BLOBLESS, is_blobless),
        (State.CORRUPT, is_corrupt),
    ],
)
def test_a_clone_is_in_its_state(
    tmp_path: Path, upstream: Upstream, state: State, check: Callable[[Path], None]
) -> None:
    path = make_clone(state, upstream, tmp_path / "clone")
    check(path)


def test_a_clone_fetches_from_the_url_it_was_given(tmp_path: Path, upstream: Upstream) -> None:
    link = tmp_path / "link.git"
    link.symlink_to(upstream.path)
    path = clone(upstream, tmp_path / "clone", url=str(link), behind=1)
    assert git("remote", "get-url", "origin", cwd=path) == str(link)
    assert behind(path) == 1


def test_corrupting_a_clone_leaves_its_upstream_whole(tmp_path: Path) -> None:
    small = make_upstream(tmp_path / "small.git", commits=3)
    # A plain path makes git share the object files by hard links.
    git("clone", "--quiet", str(small.path), "linked", cwd=tmp_path)
    corrupt(tmp_path / "linked", ["HEAD", "HEAD:VERSION"])
    with pytest.raises(CommandFailed):
        git("fsck", cwd=tmp_path / "linked")
    git("fsck", "--strict", cwd=small.path)


def test_corrupting_packed_objects_loosens_them(tmp_path: Path, upstream: Upstream) -> None:
    path = clone(upstream, tmp_path / "clone")
    assert list(path.glob(".git/objects/pack/*.pack"))
    assert corrupt(path)[0] == upstream.commits()[-1]
    assert not list(path.glob(".git/objects/pack/*.pack"))
    is_corrupt(path)
