"""What a clone keeps when a hard recovery replaces it."""

from __future__ import annotations

import os
import shutil

import pytest

from tests.support.upstream import NAME, Bench, git, status_of
from tests.updaters.test_git_update import ready
from trio_update.host.git.address import read_address
from trio_update.updaters.git.inherit import as_environment


@pytest.mark.parametrize("cone", [True, False])
async def test_a_sparse_clone_stays_sparse(bench: Bench, cone: bool) -> None:
    bench.upstream.commit({"docs/manual": "long\n", "src/a": "a\n"})
    bench.git("pull", "-q", "--ff-only")
    patterns = ["src"] if cone else ["/*", "!/docs/"]
    bench.git("sparse-checkout", "set", "--cone" if cone else "--no-cone", *patterns)
    before = sorted(str(path.relative_to(bench.path)) for path in bench.path.rglob("*") if ".git" not in path.parts)
    async with ready(bench) as manager:
        await manager.recover(NAME, hard=True, who="test")
        assert status_of(manager).is_valid, status_of(manager).warnings
    after = sorted(str(path.relative_to(bench.path)) for path in bench.path.rglob("*") if ".git" not in path.parts)
    assert after == before
    assert not (bench.path / "docs").exists()
    assert bench.git("sparse-checkout", "list").split("\n") == patterns


async def test_settings_of_the_clone_are_kept_and_used_for_the_fetch(bench: Bench) -> None:
    values = {
        "core.sshCommand": 'ssh -i "a key"\t\\ # not a comment',
        f"url.{bench.folder}/up.insteadOf": "my:up",
        "http.https://h/x.y/.extraHeader": "Authorization: secret",
        "credential.helper": "store",
        "remote.mine.url": "https://example.org/me/it.git",
        "remote.mine.fetch": "+refs/heads/*:refs/remotes/mine/*",
        "remote.origin.proxy": "",
        "core.autocrlf": "input",
        "user.email": "me@example.org",
        "alias.st": "status",
        "lfs.concurrenttransfers": "1",
        "core.hooksPath": "/my/hooks",
    }
    for key, value in values.items():
        bench.git("config", key, value)
    bench.git("config", "--add", "credential.helper", "cache")
    bench.git("config", "core.fsmonitor", "true")
    bench.git("remote", "set-url", "origin", "my:upstream")
    for name in ("exclude", "attributes"):
        (bench.path / ".git/info" / name).write_text("*.mine -text\n" if name == "attributes" else "*.mine\n")
    async with ready(bench) as manager:
        await manager.recover(NAME, hard=True, who="test")
        assert status_of(manager).is_valid, status_of(manager).warnings
        assert not any("secret" in line for line in manager.job().log)
    for key, value in values.items():
        assert value in bench.git("config", "--get-all", key).split("\n"), key
    assert bench.git("config", "--get-all", "credential.helper").split("\n") == ["store", "cache"]
    assert bench.git("config", "core.fsmonitor", check=False) == ""
    assert bench.git("config", "--get-all", "remote.origin.url") == "my:upstream"
    assert len(bench.git("config", "--get-all", "remote.origin.fetch").split("\n")) == 1
    assert (bench.path / ".git/info/attributes").read_text() == "*.mine -text\n"


async def test_other_local_branches_are_made_again(bench: Bench) -> None:
    bench.git("checkout", "-qb", "mine")
    (bench.path / "main.py").write_text("mine\n")
    bench.git("commit", "-qam", "my own")
    mine = bench.head
    bench.git("config", "branch.mine.description", "what I do")
    bench.git("checkout", "-q", "master")
    async with ready(bench) as manager:
        await manager.recover(NAME, hard=True, who="test")
        assert status_of(manager).is_valid
    assert bench.git("rev-parse", "mine") == mine
    assert bench.git("config", "branch.mine.description") == "what I do"
    assert bench.git("fsck", "--connectivity-only", "--no-dangling") == ""


def commit_crlf(bench: Bench) -> None:
    """A file with CRLF in the commit, which attributes would commit with LF."""
    up = bench.upstream.path
    (up / "notes.txt").write_bytes(b"one\r\ntwo\r\n")
    os.utime(up / "notes.txt", (1, 1))
    git(up, "add", "notes.txt")
    git(up, "commit", "-qm", "crlf")
    bench.upstream.commit({".gitattributes": "*.txt text eol=lf\n"})


@pytest.mark.parametrize("hard", [True, False])
async def test_a_file_that_attributes_would_renormalise_is_not_dirty_for_ever(bench: Bench, hard: bool) -> None:
    commit_crlf(bench)
    shutil.rmtree(bench.path)
    bench.upstream.clone(bench.path)
    # A touch makes git compare, and see what it would commit.
    os.utime(bench.path / "notes.txt", (1, 1))
    assert "notes.txt" in bench.git("--no-optional-locks", "status", "--porcelain")
    async with ready(bench) as manager:
        assert not status_of(manager).is_dirty
        (bench.path / "main.py").write_text("mine\n")
        await manager.recover(NAME, hard=hard, who="test")
        os.utime(bench.path / "notes.txt", (1, 1))
        await manager.refresh(NAME)
        assert status_of(manager).is_valid, status_of(manager).warnings
        (bench.path / "notes.txt").write_bytes(b"three\r\n")
        await manager.refresh(NAME)
        assert status_of(manager).is_dirty


async def test_a_changed_mode_is_a_change(bench: Bench) -> None:
    (bench.path / "main.py").chmod(0o755)
    async with ready(bench) as manager:
        assert status_of(manager).is_dirty


async def test_byte_code_does_not_keep_a_dead_folder_alive(bench: Bench) -> None:
    bench.upstream.commit({"dead/one.py": "1\n", "dead/deep/two.py": "2\n"})
    bench.git("pull", "-q", "--ff-only")
    # The old clone is on a commit that the branch has no longer, so the new one is another version.
    git(bench.upstream.path, "reset", "-q", "--hard", "HEAD~1")
    for name in ("dead/__pycache__/one.cpython-311.pyc", "dead/one.pyc", "dead/deep/__pycache__/two.cpython-311.pyc"):
        (bench.path / name).parent.mkdir(exist_ok=True)
        (bench.path / name).write_bytes(b"code")
    (bench.path / "lib/__pycache__").mkdir()
    (bench.path / "lib/__pycache__/one.cpython-311.pyc").write_bytes(b"code")
    (bench.path / "dead/notes").write_text("mine")
    (bench.path / "dead/only.pyc").write_bytes(b"mine, without a source")
    async with ready(bench) as manager:
        await manager.recover(NAME, hard=True, who="test")
        assert status_of(manager).is_valid
    left = {str(path.relative_to(bench.path)) for path in (bench.path / "dead").rglob("*")}
    assert left == {"dead/notes", "dead/only.pyc"}
    assert (bench.path / "lib/__pycache__/one.cpython-311.pyc").exists()


@pytest.mark.parametrize(
    "other",
    [
        "git@github.com:o/r",
        "git@github.com:/o/r",
        "https://www.github.com/o/r.git/",
        "https://github.com:443/o/r",
        "ssh://git@GitHub.com:22/O/R.git",
        "https://github.com//o//r",
        "http://github.com:80/o/r",
    ],
)
def test_one_repository_has_many_addresses(other: str) -> None:
    assert read_address("https://github.com/o/r.git").same_as(read_address(other))
    assert not read_address("https://github.com/o/s").same_as(read_address(other))


@pytest.mark.parametrize("url", ["/srv/git/r.git", "file:///srv/git/r", "../r", "host:r", "https://h/r.git", "~/r/"])
def test_the_name_of_a_repository_is_known_from_any_address(url: str) -> None:
    assert read_address(url).repo == "r"


def test_settings_go_behind_those_of_the_environment() -> None:
    given = as_environment([("a.b", None), ("c.d", "e")], {"GIT_CONFIG_COUNT": "1"})
    assert given == {
        "GIT_CONFIG_COUNT": "3",
        "GIT_CONFIG_KEY_1": "a.b",
        "GIT_CONFIG_VALUE_1": "true",
        "GIT_CONFIG_KEY_2": "c.d",
        "GIT_CONFIG_VALUE_2": "e",
    }
