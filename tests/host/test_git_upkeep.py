"""A clone that is updated for years does not grow without end, and loses nothing that anything leads to."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
import trio

from tests.support.upstream import Upstream, git
from trio_update.errors import OperationFailed
from trio_update.host.git.repair import is_sound
from trio_update.host.git.repository import Repository
from trio_update.host.git.transfer import fetch
from trio_update.host.git.upkeep import Limits, Store, maintain, measure
from trio_update.host.processes.runner import Runner

SMALL = Limits(loose=50, packs=3, refs=20)


def nothing(_: str) -> None:
    """Nobody is told."""


def import_commits(upstream: Upstream, count: int, *, tag: str = "") -> None:
    """Many commits at once: some text that hardly changes, and a file that is new each time."""
    parts: list[str] = []
    for _ in range(count):
        upstream.number += 1
        body = "".join(f"line {line}\n" for line in range(200)) + f"{upstream.number}\n"
        parts.append(
            f"commit refs/heads/master\ncommitter Ada <a@b> {1_700_000_000 + upstream.number} +0000\ndata 1\nx\n"
            + ("from refs/heads/master^0\n" if not parts else "")
            + f"M 100644 inline big.txt\ndata {len(body)}\n{body}\n"
            + f"M 100644 inline f/{upstream.number}\ndata {len(str(upstream.number))}\n{upstream.number}\n"
        )
    if tag:
        parts.append(f"reset refs/tags/{tag}\nfrom refs/heads/master^0\n\n")
    argv = ["git", "fast-import", "--quiet", "--force"]
    subprocess.run(argv, cwd=upstream.path, input="".join(parts).encode(), check=True)


@pytest.fixture
def upstream(tmp_path: Path) -> Upstream:
    made = Upstream(tmp_path / "upstream")
    made.commit({"README": "1"}, tag="v1.0.0")
    return made


@pytest.fixture
def clone(tmp_path: Path, upstream: Upstream) -> Path:
    return upstream.clone(tmp_path / "app")


def of(path: Path) -> Repository:
    return Repository(path, Runner("test"))


async def gather(path: Path, upstream: Upstream, times: int = 8) -> None:
    """What a number of updates leaves: loose objects, packs, and refs."""
    for number in range(times):
        import_commits(upstream, 10 if number % 2 else 60, tag=f"t{upstream.number}")
        await fetch(of(path), "origin")


def everything(path: Path) -> set[str]:
    listed = git(path, "cat-file", "--batch-all-objects", "--batch-check=%(objectname)")
    return set(listed.split())


async def test_hundreds_of_updates_do_not_make_it_grow(clone: Path, upstream: Upstream) -> None:
    most = Store(0, 0, 0, 0)
    for number in range(120):
        import_commits(upstream, 3, tag=f"t{number}")
        await fetch(of(clone), "origin")
        if number % 10 == 0:
            await maintain(of(clone), limits=SMALL, report=nothing)
        found = measure(clone / ".git")
        most = Store(*map(max, zip(*((s.loose, s.packs, s.refs, s.size) for s in (most, found)), strict=True)))
    assert most.loose < 300
    assert most.packs <= SMALL.packs + 12
    await maintain(of(clone), limits=SMALL, report=nothing)
    assert git(clone, "rev-parse", "origin/master") == upstream.head
    git(clone, "fsck", "--strict")
    fresh = upstream.clone(clone.parent / "fresh")
    assert measure(clone / ".git").size < 2 * measure(fresh / ".git").size
    assert measure(clone / ".git").refs <= SMALL.refs + 5


async def test_little_is_left_alone(clone: Path, upstream: Upstream) -> None:
    before = sorted((clone / ".git").rglob("*"))
    assert await maintain(of(clone), report=nothing) == ()
    assert sorted((clone / ".git").rglob("*")) == before


async def test_nothing_that_anything_leads_to_is_lost(clone: Path, upstream: Upstream, tmp_path: Path) -> None:
    (clone / "README").write_text("stash 1")
    git(clone, "stash", "-q")
    (clone / "README").write_text("stash 2")
    git(clone, "stash", "-q")
    (clone / "README").write_text("in the log of HEAD only")
    git(clone, "commit", "-qam", "mine")
    git(clone, "reset", "-q", "--hard", "HEAD~1")
    git(clone, "worktree", "add", "-q", "--detach", str(tmp_path / "tree"))
    (tmp_path / "tree/README").write_text("in another work tree")
    git(tmp_path / "tree", "commit", "-qam", "detached")
    (tmp_path / "tree/staged").write_text("staged in another work tree")
    git(tmp_path / "tree", "add", "staged")
    (clone / "staged").write_text("staged")
    git(clone, "add", "staged")
    (tmp_path / "young").write_text("young, and nothing leads to it")
    git(clone, "hash-object", "-w", str(tmp_path / "young"))
    await gather(clone, upstream)
    before = everything(clone)
    stashes = git(clone, "stash", "list")
    (done,) = await maintain(of(clone), limits=SMALL, report=nothing)
    assert "packs became" in done
    assert measure(clone / ".git").packs <= 2
    assert everything(clone) == before
    assert git(clone, "stash", "list") == stashes
    git(clone, "fsck", "--strict")
    assert await is_sound(of(clone))


async def test_what_nothing_leads_to_goes_when_it_is_old(clone: Path, upstream: Upstream, tmp_path: Path) -> None:
    (tmp_path / "old").write_text("old, and nothing leads to it")
    name = git(clone, "hash-object", "-w", str(tmp_path / "old"))
    os.utime(clone / ".git/objects" / name[:2] / name[2:], (time.time() - 100 * 86400,) * 2)
    await gather(clone, upstream)
    await maintain(of(clone), limits=SMALL, report=nothing)
    assert name not in everything(clone)


async def test_an_older_git_packs_too(clone: Path, upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Repository.git

    async def older(self: Repository, *arguments: str, **options: object) -> object:
        changed = tuple("--no-such-option" if item == "--cruft" else item for item in arguments)
        return await run(self, *changed, **options)  # type: ignore[arg-type]

    await gather(clone, upstream)
    before = everything(clone)
    monkeypatch.setattr(Repository, "git", older)
    assert await maintain(of(clone), limits=SMALL, report=nothing)
    assert measure(clone / ".git").packs == 1
    assert everything(clone) == before


@pytest.mark.parametrize("arguments", [["--depth=2"], ["--filter=blob:none"], ["--filter=tree:0"]])
async def test_shallow_and_partial_clones_stay_what_they_are(
    clone: Path, upstream: Upstream, arguments: list[str]
) -> None:
    git(upstream.path, "config", "uploadpack.allowFilter", "true")
    import_commits(upstream, 5)
    shutil.rmtree(clone)
    upstream.clone(clone, *arguments)
    await gather(clone, upstream)
    shallow = (clone / ".git/shallow").read_bytes() if (clone / ".git/shallow").exists() else b""
    await maintain(of(clone), limits=SMALL, report=nothing)
    assert measure(clone / ".git").packs <= 3
    assert await is_sound(of(clone))
    assert ((clone / ".git/shallow").read_bytes() if shallow else b"") == shallow
    git(clone, "reset", "-q", "--hard", "origin/master")


async def test_submodules_are_looked_after(clone: Path, upstream: Upstream, tmp_path: Path) -> None:
    library = Upstream(tmp_path / "library")
    library.commit()
    git(clone, "submodule", "add", "-q", library.url, "deep/library")
    await gather(clone / "deep/library", library)
    module = clone / ".git/modules/deep/library"
    assert measure(module).packs > SMALL.packs
    (done,) = await maintain(of(clone), limits=SMALL, report=nothing)
    assert str(module) in done
    assert measure(module).packs <= 2
    git(clone / "deep/library", "fsck", "--strict")


@pytest.mark.parametrize("seconds", [0.0, 0.02, 0.1])
async def test_it_ends_in_time_and_leaves_a_whole_clone(clone: Path, upstream: Upstream, seconds: float) -> None:
    await gather(clone, upstream)
    before = everything(clone)
    await maintain(of(clone), limits=SMALL, seconds=seconds, report=nothing)
    assert everything(clone) == before
    assert await is_sound(of(clone))
    assert not list((clone / ".git/objects").rglob("tmp_*"))
    await maintain(of(clone), limits=SMALL, report=nothing)
    assert measure(clone / ".git").packs <= 2


async def test_it_can_be_cancelled(clone: Path, upstream: Upstream) -> None:
    await gather(clone, upstream)
    before = everything(clone)
    with trio.move_on_after(0.05) as scope:
        await maintain(of(clone), limits=SMALL, report=nothing)
        await trio.sleep_forever()
    assert scope.cancelled_caught
    assert everything(clone) == before
    assert await is_sound(of(clone))


async def test_too_little_space_is_told(clone: Path, upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    await gather(clone, upstream)
    monkeypatch.setattr("trio_update.host.files.durable.free_bytes", lambda _: 1000)
    with pytest.raises(OperationFailed, match="Free some space"):
        await maintain(of(clone), limits=SMALL, report=nothing)


async def test_packs_that_the_user_keeps_stay(clone: Path, upstream: Upstream) -> None:
    (pack,) = (clone / ".git/objects/pack").glob("*.pack")
    pack.with_suffix(".keep").write_text("mine")
    await gather(clone, upstream)
    await maintain(of(clone), limits=SMALL, report=nothing)
    assert pack.exists()
