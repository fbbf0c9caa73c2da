"""Files of a release that are missing or cut: a refresh tells, and a recovery brings them back."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.releases import PROGRAM, ReleaseSite, behind, program_of, status_of
from trio_update.demo.github.server import GitHub
from trio_update.updaters.release.shelf import Shelf

DAMAGE = "Files are missing or changed, a recovery brings them back: "


@pytest.fixture(params=["web", "zip"])
def app(request: pytest.FixtureRequest, tmp_path: Path, github: GitHub) -> ReleaseSite:
    return behind(tmp_path, github, request.param)


def remove(folder: Path) -> None:
    (folder / "index.html").unlink()


def cut(folder: Path) -> None:
    os.truncate(folder / "index.html", 100)


def put_a_folder_there(folder: Path) -> None:
    (folder / "index.html").unlink()
    (folder / "index.html").mkdir()


def put_a_link_there(folder: Path) -> None:
    (folder / "index.html").rename(folder / "other")
    (folder / "index.html").symlink_to("other")


def put_a_file_in_the_place_of_a_folder(folder: Path) -> None:
    shutil.rmtree(folder / "assets")
    (folder / "assets").write_bytes(b"")


INDEX = "index.html"
ASSETS = "assets/index-2.js, assets/only-2.css, assets/same.svg"


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (remove, INDEX),
        (cut, INDEX),
        (put_a_folder_there, INDEX),
        (put_a_link_there, INDEX),
        (put_a_file_in_the_place_of_a_folder, ASSETS),
    ],
)
async def test_what_is_missing_or_cut_is_told_and_brought_back(
    app: ReleaseSite, harm: Callable[[Path], None], told: str
) -> None:
    async with app.manager() as (manager, _):
        await manager.upgrade("app", who="test")
        harm(app.path)
        await manager.refresh(None)
        status = status_of(manager)
        assert (status.warnings, status.anomalies) == ((), (DAMAGE + told,))
        await manager.recover("app", hard=False, who="test")
        assert status_of(manager).anomalies == ()
        app.expect("v2.0.0")


@pytest.mark.parametrize("harm", [Path.unlink, lambda program: os.truncate(program, 3)], ids=["gone", "cut"])
async def test_a_program_that_is_missing_or_cut_is_told_and_brought_back(
    executable: ReleaseSite, harm: Callable[[Path], None]
) -> None:
    async with executable.manager() as (manager, _):
        await manager.upgrade("app", who="test")
        harm(executable.path / PROGRAM)
        await manager.refresh(None)
        assert status_of(manager).anomalies == (DAMAGE + PROGRAM,)
        await manager.recover("app", hard=False, who="test")
        assert status_of(manager).anomalies == ()
        executable.expect("v2.0.0")


async def test_what_is_the_users_is_no_damage(app: ReleaseSite) -> None:
    mine = {"config.json": b"mine", "assets/same.svg": b"mine as well"}
    for name, content in mine.items():
        (app.path / name).write_bytes(content)
    async with app.manager(persistent_files=("config.json", "assets/same.svg")) as (manager, _):
        await manager.upgrade("app", who="test")
        await manager.refresh(None)
        assert (status_of(manager).warnings, status_of(manager).anomalies) == ((), ())
        (app.path / "assets" / "same.svg").unlink()
        await manager.refresh(None)
        assert status_of(manager).anomalies == (f"{DAMAGE}assets/same.svg",)


async def test_a_file_of_the_users_does_not_stand_for_one_with_a_longer_name(app: ReleaseSite) -> None:
    (app.path / "index").write_bytes(b"mine")
    async with app.manager(persistent_files=("index",)) as (manager, _):
        await manager.upgrade("app", who="test")
        (app.path / "index.html").write_bytes(b"changed")
        await manager.refresh(None)
        assert status_of(manager).anomalies == (f"{DAMAGE}index.html",)
        await manager.recover("app", hard=False, who="test")
        app.expect("v2.0.0", {"index": b"mine"})
    assert app.saved() == {"files/index.html": b"changed"}


async def test_a_damaged_archive_is_not_taken_for_a_damaged_folder(app: ReleaseSite) -> None:
    async with app.manager() as (manager, _):
        await manager.upgrade("app", who="test")
    kept = Shelf(app.shelf).find("v2.0.0")
    assert kept is not None
    kept.asset.write_bytes(b"damaged")
    app.publish("v3.0.0")
    async with app.manager() as (manager, _):
        status = status_of(manager)
        assert (status.version, status.is_valid, status.last_error) == ("v2.0.0", True, "")
        assert status.remote_version == "v3.0.0"
        assert (status.warnings, status.anomalies) == ((), ())


async def test_a_folder_of_the_users_lacks_nothing_of_the_release(app: ReleaseSite) -> None:
    async with app.manager(persistent_files=("assets",)) as (manager, _):
        await manager.upgrade("app", who="test")
        await manager.refresh(None)
        assert not (app.path / "assets" / "index-2.js").exists()
        assert (status_of(manager).warnings, status_of(manager).anomalies) == ((), ())


@contextmanager
def strict_umask() -> Iterator[None]:
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


async def test_a_folder_that_is_gone_comes_back_for_everybody_to_read(app: ReleaseSite) -> None:
    """The web server is another user, whatever the umask of this one."""
    async with app.manager() as (manager, _):
        await manager.upgrade("app", who="test")
        shutil.rmtree(app.path)
        with strict_umask():
            await manager.recover("app", hard=False, who="test")
        app.expect("v2.0.0")
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (app.path, *app.path.rglob("*"))}
    assert modes == {0o755, 0o644}


async def test_a_program_that_is_written_to_does_not_change_what_is_kept_of_it(executable: ReleaseSite) -> None:
    async with executable.manager() as (manager, _):
        with (executable.path / PROGRAM).open("r+b") as program:
            await manager.upgrade("app", who="test")
            program.write(b"changed by who had it open")
        kept = Shelf(executable.shelf).find("v1.0.0")
        assert kept is not None
        assert kept.asset.read_bytes() == program_of("v1.0.0")
