"""Apps in folders that cannot change places with others: mount points, and what lies on a lower layer."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.mounts import MOUNTS, mounted, overlay, tmpfs
from tests.support.releases import ReleaseSite, behind, photo, said, tree
from trio_update.config import HealthCheck
from trio_update.demo.github.server import GitHub
from trio_update.errors import OperationFailed
from trio_update.host.files import durable

pytestmark = pytest.mark.skipif(not MOUNTS, reason="nothing can be mounted here")

LONG_AGO = 1_000_000_000_123_456_789
BROKEN = HealthCheck(command=("false",))
CANNOT = "cannot be exchanged at once"
WANTED = ("config.json", "db/deep", "late/first")
MINE = ("config.json", "db/deep/data", "db/deep/link")


def make_mine(folder: Path) -> None:
    (folder / "config.json").write_bytes(b"mine")
    (folder / "config.json").chmod(0o600)
    (folder / "db" / "deep").mkdir(parents=True)
    (folder / "db" / "deep" / "data").write_bytes(b"\0data")
    (folder / "db" / "deep" / "link").symlink_to("../../index.html")
    for name in ("config.json", "db/deep/data", "db/deep"):
        os.utime(folder / name, ns=(LONG_AGO, LONG_AGO))


@pytest.fixture(params=MOUNTS)
def fixed(
    request: pytest.FixtureRequest, tmp_path: Path, github: GitHub, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ReleaseSite]:
    """An app with files of the user's, in a folder that cannot be exchanged."""
    site = behind(tmp_path, github, "web")
    with ExitStack() as stack:
        match request.param:
            case "bind":
                stack.enter_context(mounted(site.path, "--bind", site.path))
            case "tmpfs":
                stack.enter_context(tmpfs(site.path))
                site.install("v1.0.0")
            case _:
                lower = tmp_path_factory.mktemp("layers") / "lower"
                shutil.copytree(site.path.parent, lower)
                stack.enter_context(overlay(site.path.parent, lower))
        make_mine(site.path)
        yield site


def mine(folder: Path) -> dict[str, tuple[object, ...]]:
    """The persistent files, bit for bit and with their inodes."""
    return {name: marks for name, marks in photo(folder).items() if name in MINE}


def marks(folder: Path) -> dict[str, tuple[object, ...]]:
    """Everything below but the numbers of the inodes and of their names."""
    found = {name: (*seen[:3], *seen[5:]) for name, seen in photo(folder).items()}
    return {name: (*seen, (folder / name).lstat().st_mtime_ns) for name, seen in found.items()}


def expect(site: ReleaseSite, version: str) -> None:
    site.expect(version, {"config.json": b"mine", "db/deep/data": b"\0data", "db/deep/link": b"../../index.html"})


async def test_a_folder_that_cannot_be_exchanged_is_filled_anew(fixed: ReleaseSite) -> None:
    (fixed.path / "index.html").chmod(0o640)
    (fixed.path / "assets").chmod(0o750)
    before, inode = mine(fixed.path), fixed.path.stat().st_ino
    first = marks(fixed.path)
    async with fixed.manager(persistent_files=WANTED) as (manager, listener):
        await manager.upgrade("app", who="test")
        assert CANNOT in said(listener)
        expect(fixed, "v2.0.0")
        await manager.rollback("app", who="test")
        expect(fixed, "v1.0.0")
        (fixed.path / "index.html").unlink()
        await manager.recover("app", hard=False, who="test")
        await manager.recover("app", hard=True, who="test")
        expect(fixed, "v1.0.0")
        assert not fixed.saved(), "nothing of it was in anybody's way"
    assert set(marks(fixed.path)) == set(first)
    assert (mine(fixed.path), fixed.path.stat().st_ino) == (before, inode)
    assert not (fixed.shelf / "replaced").exists(), "there is no former folder"


async def test_one_that_is_undone_is_as_it_was(fixed: ReleaseSite) -> None:
    (fixed.path / "own").mkdir(mode=0o700)
    (fixed.path / "own" / "link").symlink_to("/nowhere")
    (fixed.path / "index.html").chmod(0o640)
    os.utime(fixed.path / "index.html", ns=(LONG_AGO, LONG_AGO))
    os.utime(fixed.path / "own", ns=(LONG_AGO, LONG_AGO))
    before, kept, inode = marks(fixed.path), mine(fixed.path), fixed.path.stat().st_ino
    async with fixed.manager(persistent_files=WANTED, health=BROKEN) as (manager, listener):
        with pytest.raises(OperationFailed, match=r"The app is back at v1\.0\.0"):
            await manager.upgrade("app", who="test")
        assert CANNOT in said(listener)
    assert (marks(fixed.path), mine(fixed.path), fixed.path.stat().st_ino) == (before, kept, inode)
    fixed.expect_tidy()


def change(folder: Path) -> None:
    """What a program does to files that are persistent: one written to, one put anew, one that was not there."""
    (folder / "db" / "deep" / "data").write_bytes(b"written to")
    (folder / "new").write_bytes(b"put anew")
    (folder / "new").rename(folder / "config.json")
    (folder / "late").mkdir()
    (folder / "late" / "first").write_bytes(b"the first")


CHANGED = {"db/deep/data": b"written to", "config.json": b"put anew", "late/first": b"the first"}


def when_the_old_content_is_copied(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Have ``act`` called at the last moment before the new content comes."""
    write = durable.write_atomically

    def hooked(path: Path, data: bytes, mode: int = 0o644) -> None:
        if path.name == "refilling":
            act()
        write(path, data, mode)

    monkeypatch.setattr(durable, "write_atomically", hooked)


@pytest.mark.parametrize("healthy", [True, False])
async def test_what_changes_at_the_last_moment_is_kept(
    fixed: ReleaseSite, monkeypatch: pytest.MonkeyPatch, healthy: bool
) -> None:
    health = HealthCheck() if healthy else BROKEN
    async with fixed.manager(persistent_files=WANTED, health=health) as (manager, _):
        when_the_old_content_is_copied(monkeypatch, lambda: change(fixed.path))
        if healthy:
            await manager.upgrade("app", who="test")
            fixed.expect("v2.0.0", CHANGED | {"db/deep/link": b"../../index.html"})
            return
        with pytest.raises(OperationFailed, match=r"The app is back at v1\.0\.0"):
            await manager.upgrade("app", who="test")
    found = {*tree(fixed.path).values(), *fixed.saved().values()}
    assert found >= {*CHANGED.values()}


async def test_what_the_new_version_wrote_before_it_was_undone_is_saved(fixed: ReleaseSite) -> None:
    script = "mkdir late; echo x > late/first; echo x > new; mv new config.json; echo x > db/deep/data; exit 3"
    health = HealthCheck(command=("sh", "-c", f"cd {fixed.path}; {script}"))
    before = marks(fixed.path)
    async with fixed.manager(persistent_files=WANTED, health=health) as (manager, listener):
        with pytest.raises(OperationFailed, match=r"The app is back at v1\.0\.0"):
            await manager.upgrade("app", who="test")
        assert said(listener).count("What was written during the update was saved in") == 1
    assert fixed.saved() == {f"late/{name}": b"x\n" for name in CHANGED}
    assert marks(fixed.path) == before
    fixed.expect_tidy()


async def test_an_undo_does_not_follow_a_link_that_the_new_version_made(fixed: ReleaseSite) -> None:
    elsewhere = fixed.folder / "elsewhere"
    script = f"cp -a db/deep {elsewhere}; echo x > {elsewhere}/more; rm -r db/deep; ln -s {elsewhere} db/deep; exit 3"
    health = HealthCheck(command=("sh", "-c", f"cd {fixed.path}; {script}"))
    before = marks(fixed.path)
    async with fixed.manager(persistent_files=WANTED, health=health) as (manager, _):
        with pytest.raises(OperationFailed, match=r"The app is back at v1\.0\.0"):
            await manager.upgrade("app", who="test")
    assert tree(elsewhere) == {"data": b"\0data", "link": b"../../index.html", "more": b"x\n"}
    assert marks(fixed.path) == before
