"""Clones in which something belongs to somebody else: what ``sudo`` leaves behind, and what is read-only."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.mounts import MOUNTS, mounted
from tests.support.somebody import AS_A_USER, SOMEBODY, WHY_NO_USER
from tests.support.upstream import NAME, Bench, git, status_of
from tests.updaters.test_git_update import ready
from trio_update.config import HealthCheck
from trio_update.errors import OperationFailed, Refused

ROOT = Path(__file__).parents[2]
needs_somebody = pytest.mark.skipif(WHY_NO_USER != "", reason=WHY_NO_USER)


def give_away(*paths: Path) -> None:
    for path in paths:
        for below in (path, *path.rglob("*")) if path.is_dir() else (path,):
            os.chown(below, SOMEBODY, SOMEBODY, follow_symlinks=False)


def as_a_user(bench: Bench, action: str) -> dict[str, Any]:
    command = [*AS_A_USER, sys.executable, "-m", "tests.support.git_once", str(bench.folder), action]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return {"said": done.stdout} if action.startswith("settle:") else json.loads(done.stdout.splitlines()[-1])


def with_data(bench: Bench) -> Path:
    """A tracked folder that the next update does not change."""
    bench.upstream.commit({"data/one": "1\n", "data/deep/two": "2\n"})
    bench.git("pull", "-q", "--ff-only")
    bench.upstream.commit({"lib/two.py": "22\n", "README": "read this\n"})
    return bench.path / "data"


@needs_somebody
def test_a_foreign_folder_that_the_update_does_not_meet_is_not_met_by_the_undo_either(bench: Bench) -> None:
    give_away(with_data(bench))
    before = bench.head
    told = as_a_user(bench, "unhealthy")
    assert "The app is back at" in told["said"], told
    assert told["valid"]
    bench.expect_whole(before)
    bench.expect_tidy()


@needs_somebody
def test_a_start_after_a_kill_leaves_a_foreign_folder_alone(bench: Bench) -> None:
    data = with_data(bench)
    before = bench.head
    bench.git("fetch", "-q")
    new = bench.git("rev-parse", "origin/master")
    # New files under the old HEAD and index, one of them cut off.
    bench.git("--work-tree=.", "checkout", new, "--", ".")
    bench.git("read-tree", before)
    (bench.path / "README").write_text("")
    give_away(data)
    inodes = {path: path.stat().st_ino for path in data.rglob("*")}
    as_a_user(bench, f"settle:{before}:{new}")
    assert {path: path.stat().st_ino for path in data.rglob("*")} == inodes
    bench.expect_whole(before)


@needs_somebody
@pytest.mark.parametrize("action", ["upgrade", "rollback", "soft", "hard"])
def test_a_foreign_folder_that_would_be_written_to_is_refused_beforehand(bench: Bench, action: str) -> None:
    bench.git("config", "user.name", "Ada")
    if action == "soft":
        (bench.path / "lib/one.py").write_text("mine\n")
    if action == "rollback":
        bench.git("pull", "-q", "--ff-only")
    give_away(bench.path / "lib")
    before = bench.head
    told = as_a_user(bench, action)
    assert "cannot be written to: lib. Give them to the user" in told["said"]
    assert told["valid"] == (action != "soft")
    assert bench.head == before
    bench.expect_tidy()


@needs_somebody
def test_a_file_of_somebody_else_in_a_sticky_folder_is_refused(bench: Bench) -> None:
    give_away(bench.path / "lib")
    (bench.path / "lib").chmod(0o1777)
    before = bench.head
    for action in ("upgrade", "hard"):
        assert "cannot be written to: lib/one.py. " in as_a_user(bench, action)["said"]
    bench.expect_whole(before)


@needs_somebody
@pytest.mark.parametrize("name", ["logs/HEAD", "logs/refs/heads/master", "refs/heads"])
def test_what_git_writes_to_with_every_move_is_looked_at_too(bench: Bench, name: str) -> None:
    give_away(bench.path / ".git" / name)
    before = bench.head
    told = as_a_user(bench, "upgrade")
    assert f"cannot be written to: .git/{name}. " in told["said"]
    assert told["valid"]
    bench.expect_whole(before)


@needs_somebody
def test_read_only_files_and_files_of_others_in_ones_own_folders_are_no_hindrance(bench: Bench) -> None:
    for name in ("README", "lib/one.py", "main.py"):
        (bench.path / name).chmod(0o444)
    give_away(bench.path / "main.py")
    assert as_a_user(bench, "upgrade") == {"said": "", "valid": True}
    bench.expect_whole(bench.upstream.head)


@needs_somebody
def test_an_empty_folder_of_somebody_else_does_not_stop_a_hard_recovery(bench: Bench) -> None:
    (bench.path / "empty").mkdir()
    give_away(bench.path / "empty")
    assert as_a_user(bench, "hard") == {"said": "", "valid": True}
    bench.expect_tidy()


@pytest.mark.skipif("bind" not in MOUNTS, reason="nothing can be mounted here")
async def test_a_read_only_part_that_changes_is_refused_and_another_one_survives_the_undo(bench: Bench) -> None:
    data = with_data(bench)
    before = bench.head
    with mounted(data, "--bind", data), mounted(data, "-o", "remount,bind,ro"):
        async with ready(bench, health=HealthCheck(command=("false",))) as manager:
            with pytest.raises(OperationFailed, match="The app is back at"):
                await manager.upgrade(NAME, who="test")
            assert status_of(manager).is_valid
        bench.expect_whole(before)
        bench.upstream.commit({"data/one": "11\n"})
        async with ready(bench) as manager:
            with pytest.raises(Refused, match="cannot be written to: data"):
                await manager.upgrade(NAME, who="test")
    bench.expect_whole(before)


async def test_an_immutable_file_is_refused_beforehand(bench: Bench) -> None:
    target = bench.path / "lib/one.py"
    if subprocess.run(["chattr", "+i", str(target)], check=False, capture_output=True).returncode:
        pytest.skip("files cannot be made immutable here")
    before = bench.head
    try:
        async with ready(bench) as manager:
            with pytest.raises(Refused, match="cannot be written to: lib/one"):
                await manager.upgrade(NAME, who="test")
    finally:
        subprocess.run(["chattr", "-i", str(target)], check=True)
    bench.expect_whole(before)


async def test_an_undo_writes_only_what_the_update_changed(bench: Bench) -> None:
    with_data(bench)
    kept = {name: (bench.path / name).stat().st_ino for name in ("data/one", "data/deep/two")}
    before = bench.head
    git(bench.upstream.path, "mv", "lib/two.py", "lib/three.py")
    bench.upstream.commit()
    async with ready(bench, health=HealthCheck(command=("false",))) as manager:
        with pytest.raises(OperationFailed, match="The app is back at"):
            await manager.upgrade(NAME, who="test")
    assert {name: (bench.path / name).stat().st_ino for name in kept} == kept
    assert not (bench.path / "lib/three.py").exists()
    bench.expect_whole(before)
