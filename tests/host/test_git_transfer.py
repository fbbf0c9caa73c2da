"""Everything that is brought into a clone takes its turn, and gets past locks that nobody holds."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio

from tests.support.upstream import Upstream, git
from trio_update.host.git.folder import survey
from trio_update.host.git.lanes import alone
from trio_update.host.git.refs import Followed
from trio_update.host.git.remote import ask, deepen
from trio_update.host.git.repair import repair
from trio_update.host.git.repository import Repository
from trio_update.host.git.submodules import Module, bring_commit
from trio_update.host.git.transfer import bring_blobs, delete_refs, fetch
from trio_update.host.processes.runner import Runner

Way = Callable[[Path], Awaitable[object]]
ORIGIN = Followed("origin", "master")


def nothing(_: str) -> None:
    pass


def of(path: Path) -> Repository:
    return Repository(path, Runner("test"))


async def ask_origin(path: Path) -> None:
    folder = survey(path)
    assert folder is not None
    await ask(of(path), folder, ORIGIN, await of(path).settings(folder), nothing)


async def bring_by_id(path: Path) -> None:
    module = Module(path, Runner("test"), path / ".git")
    wanted, url = git(path, "ls-remote", "origin", "master").split()[0], git(path, "config", "remote.origin.url")
    await bring_commit(module, wanted, url, nothing)


async def mend(path: Path) -> None:
    url = git(path, "config", "remote.origin.url")
    stage = path.with_name("stage")
    await repair(of(path), url=url, primary_branch="master", stage=stage, known_head=None, report=nothing)


WAYS: dict[str, Way] = {
    "fetch": lambda path: fetch(of(path), "origin"),
    "ask": ask_origin,
    "deepen": lambda path: deepen(of(path), ORIGIN, 1, nothing),
    "blobs": lambda path: bring_blobs(of(path), "origin", "HEAD~1", "HEAD", None),
    "submodule": bring_by_id,
    "refs": lambda path: delete_refs(of(path), "refs/remotes/origin/HEAD"),
    "repair": mend,
}


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    # git forbids local paths where a commit names them, as in `.gitmodules`.
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "protocol.file.allow")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "always")
    upstream = Upstream(tmp_path / "upstream")
    upstream.commits(4)
    git(upstream.path, "config", "uploadpack.allowFilter", "true")
    path = upstream.clone(tmp_path / "app", "--depth=2")
    upstream.commits(1)
    return path


@pytest.mark.parametrize("way", WAYS)
async def test_nothing_is_brought_while_another_works_on_the_store(clone: Path, way: str) -> None:
    ended = trio.Event()

    async def work() -> None:
        await WAYS[way](clone)
        ended.set()

    async with trio.open_nursery() as nursery:
        async with alone(clone / ".git"):
            nursery.start_soon(work)
            with trio.move_on_after(0.7):
                await ended.wait()
            assert not ended.is_set()
        with trio.fail_after(30):
            await ended.wait()


async def test_a_dead_lock_does_not_keep_a_shallow_clone_from_being_deepened(clone: Path) -> None:
    (clone / ".git" / "shallow.lock").touch()
    await deepen(of(clone), ORIGIN, 1, nothing)
    assert git(clone, "rev-list", "--count", "HEAD") == "3"
    assert not (clone / ".git" / "shallow.lock").exists()


async def test_a_dead_lock_does_not_keep_a_submodule_from_its_commit(clone: Path, tmp_path: Path) -> None:
    apart = tmp_path / "modules" / "part"
    apart.parent.mkdir()
    (clone / ".git").rename(apart)
    (apart / "shallow.lock").touch()
    module = Module(tmp_path / "not checked out", Runner("test"), apart)
    wanted = git(tmp_path / "upstream", "rev-parse", "HEAD")
    await bring_commit(module, wanted, f"file://{tmp_path}/upstream", nothing)
    assert await module.resolve(wanted) == wanted
