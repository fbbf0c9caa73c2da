"""Files in an app's folder that are neither the release's nor persistent: saved, or kept with their version."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import zipfile
from pathlib import Path

import pytest

from tests.support.releases import ACTIONS, ReleaseSite, behind, content_of, photo, program_of, said, status_of, tree
from trio_update.config import HealthCheck
from trio_update.demo.github.server import GitHub, SimAsset
from trio_update.errors import OperationFailed
from trio_update.updaters.release.shelf import Record, Shelf, write_record

LONG_AGO = 1_000_000_000
ODD = os.fsdecode(b"caf\xe9.txt")


@pytest.fixture(params=["web", "zip"])
def app(request: pytest.FixtureRequest, tmp_path: Path, github: GitHub) -> ReleaseSite:
    return behind(tmp_path, github, request.param)


def leave_things(folder: Path) -> dict[str, bytes]:
    """What people leave in the folders of apps; returns what is worth keeping."""
    made = {
        "mine.txt": b"mine",
        "assets/own.js": b"own",
        "a folder/of/mine": b"deep",
        ".hidden": b"hidden",
        ODD: b"odd name",
        "index.html": b"<p>changed",
        "config.json": b'{"release": "changed"}\n',
    }
    for name, content in made.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    (folder / "mine.txt").chmod(0o750)
    os.utime(folder / "mine.txt", (LONG_AGO, LONG_AGO))
    (folder / "link").symlink_to("index.html")
    (folder / "dangling").symlink_to("/nowhere")
    (folder / "to-folder").symlink_to("assets")
    return {**made, "link": b"index.html", "dangling": b"/nowhere", "to-folder": b"assets"}


@pytest.mark.parametrize("act", ACTIONS)
async def test_what_was_added_or_changed_is_saved_and_told(app: ReleaseSite, act: str) -> None:
    async with app.manager() as (manager, listener):
        await manager.upgrade("app", who="test")
        app.publish("v3.0.0")
        await manager.refresh(None)
        left = leave_things(app.path)
        for name in ("__pycache__/x.pyc", "assets/__pycache__/y.pyc"):
            (app.path / name).parent.mkdir()
            (app.path / name).write_bytes(b"\0")
        said(listener)
        await ACTIONS[act](manager)
        app.expect({"upgrade": "v3.0.0", "rollback": "v1.0.0"}.get(act, "v2.0.0"))
        assert app.saved() == {f"files/{name}": content for name, content in left.items()}
        (saved,) = (app.data_path / "trio_update" / "saved").glob("*/files/mine.txt")
        assert (stat.S_IMODE(saved.stat().st_mode), saved.stat().st_mtime) == (0o750, LONG_AGO)
        told = said(listener)
    assert f"What you added or changed in {app.path} was saved in {saved.parent}: " in told


async def test_nothing_is_saved_where_nothing_was_left(app: ReleaseSite) -> None:
    async with app.manager() as (manager, _):
        await manager.upgrade("app", who="test")
        await manager.recover("app", hard=False, who="test")
        for path in app.path.rglob("*"):
            if path.is_file():
                os.utime(path)
        (app.path / "assets/same.svg").unlink()
        await manager.recover("app", hard=True, who="test")
        await manager.rollback("app", who="test")
    assert not app.saved()
    app.expect("v1.0.0")


async def test_what_is_brought_back_is_the_release_and_what_was_added_is_saved(app: ReleaseSite) -> None:
    """Of a folder that somebody else installed: now it is known which files are the release's."""
    (app.path / "mine.txt").write_bytes(b"mine")
    (app.path / "index.html").write_bytes(b"changed")
    async with app.manager() as (manager, _):
        await manager.recover("app", hard=False, who="test")
    app.expect("v1.0.0")
    assert app.saved() == {"files/mine.txt": b"mine", "files/index.html": b"changed"}
    kept = Shelf(app.shelf).find("v1.0.0")
    assert kept is not None
    assert not kept.record.packed


async def test_what_took_the_place_of_a_folder_is_saved(app: ReleaseSite) -> None:
    """Archives may list their folders, which are no files for all that."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for folder in ("assets/", "one/", "two/"):
            archive.writestr(zipfile.ZipInfo(folder, (2026, 1, 2, 3, 4, 6)), b"")
        for name, content in content_of("v3.0.0").items():
            archive.writestr(zipfile.ZipInfo(name, (2026, 1, 2, 3, 4, 6)), content)
    app.publish("v3.0.0", SimAsset(name="app.zip", content=buffer.getvalue()))
    async with app.manager() as (manager, _):
        await manager.upgrade("app", who="test")
        for path in (app.path / "assets").iterdir():
            path.unlink()
        for name in ("assets", "one", "two"):
            (app.path / name).rmdir()
        (app.path / "assets").symlink_to("/elsewhere")
        (app.path / "one").write_text("a file")
        (app.path / "index.html").unlink()
        (app.path / "index.html").mkdir()
        (app.path / "index.html" / "in it").write_text("a folder")
        await manager.recover("app", hard=False, who="test")
    assert app.saved() == {
        "files/assets": b"/elsewhere",
        "files/one": b"a file",
        "files/index.html/in it": b"a folder",
    }
    assert (app.path / "assets" / "same.svg").is_file()


@pytest.mark.parametrize("known", ["packed before", "not packed"])
async def test_of_a_folder_that_somebody_else_installed_what_is_the_users_is_saved(
    app: ReleaseSite, known: str
) -> None:
    """By what the release brought, which is the version to go back to."""
    left = leave_things(app.path)
    async with app.manager(keep_versions=1) as (manager, listener):
        if known == "packed before":
            pack_only_copy(app)
        await manager.upgrade("app", who="test")
        app.expect("v2.0.0")
        assert app.saved() == {f"files/{name}": content for name, content in left.items()}
        told = said(listener)
        assert "Fetching what v1.0.0 brought, to tell apart what you added" in told
        assert f"What you added or changed in {app.path} was saved in " in told
        asked = len(app.github.requests)
        await manager.rollback("app", who="test")
        app.expect("v1.0.0")
        assert len(app.github.requests) == asked
        kept = Shelf(app.shelf).find("v1.0.0")
        assert kept is not None
        assert (kept.asset.read_bytes(), kept.record.packed) == (app.asset_of("v1.0.0").content, False)
        assert len(list(app.shelf.glob("yours-*/asset"))) == (known == "packed before")
        # And so for ever.
        for version in ("v3.0.0", "v4.0.0", "v5.0.0"):
            app.publish(version)
            await manager.refresh(None)
            await manager.upgrade("app", who="test")
        app.expect("v5.0.0")
        assert status_of(manager).kept_versions == ("v4.0.0",)
    assert app.saved() == {f"files/{name}": content for name, content in left.items()}


def pack_only_copy(app: ReleaseSite) -> None:
    """As versions before this one packed a folder that somebody else had installed, and saved nothing of it."""
    folder = app.folder / "packed"
    folder.mkdir()
    (folder / "asset").write_bytes(b"PK")
    digest = hashlib.sha256(b"PK").hexdigest()
    write_record(folder, Record(version="v1.0.0", asset_name="app.zip", sha256=digest, size=2, used=0, packed=True))
    Shelf(app.shelf).put(folder, "v1.0.0")


async def test_the_folder_that_somebody_else_installed_comes_back_whole(app: ReleaseSite) -> None:
    """Nobody knows what of it is the release's: all of it is saved, and kept with modes, times and empty folders."""
    app.forget("v1.0.0")
    left = leave_things(app.path)
    (app.path / "script").write_bytes(b"#!/bin/sh\n")
    (app.path / "script").chmod(0o755)
    (app.path / "plain").write_bytes(b"")
    (app.path / "plain").chmod(0o644)
    (app.path / "empty" / "below").mkdir(parents=True)
    (app.path / "__pycache__").mkdir()
    for name in ("script", "plain", "run.sh"):
        os.utime(app.path / name, (LONG_AGO, LONG_AGO))
    whole = tree(app.path)
    before = dict(whole)
    # What no archive can hold.
    aside = {name: before.pop(name) for name in (ODD, "link", "dangling", "to-folder")}
    async with app.manager(keep_versions=0) as (manager, listener):
        await manager.upgrade("app", who="test")
        app.expect("v2.0.0")
        assert app.saved() == {f"files/{name}": content for name, content in whole.items()}
        (saved,) = (app.data_path / "trio_update" / "saved").glob("*/files/script")
        assert (stat.S_IMODE(saved.stat().st_mode), saved.stat().st_mtime) == (0o755, LONG_AGO)
        told = said(listener)
        assert "What v1.0.0 brought cannot be had, so that everything in the folder is kept: " in told
        assert f"all of it, as it was before this update, was saved in {saved.parent}, and stays there" in told
        asked = len(app.github.requests)
        await manager.rollback("app", who="test")
        assert len(app.github.requests) == asked
    assert tree(app.path) == before
    assert left.items() <= (before | aside).items()
    assert (app.path / "empty" / "below").is_dir()
    modes = {name: stat.S_IMODE((app.path / name).stat().st_mode) for name in ("script", "plain", "run.sh", "mine.txt")}
    assert modes == {"script": 0o755, "plain": 0o644, "run.sh": 0o755, "mine.txt": 0o755}
    assert {(app.path / name).stat().st_mtime for name in ("script", "plain", "run.sh", "mine.txt")} == {LONG_AGO}


async def test_what_is_saved_outlives_all_that_is_kept(app: ReleaseSite) -> None:
    """The third update removes the version that was packed, and an hour of a full disk whatever is left."""
    app.forget("v1.0.0")
    left = leave_things(app.path)
    async with app.manager(keep_versions=1) as (manager, _):
        for version in ("v2.0.0", "v3.0.0", "v4.0.0"):
            app.publish(version)
            await manager.refresh(None)
            await manager.upgrade("app", who="test")
        assert status_of(manager).kept_versions == ("v3.0.0",)
    assert not list(app.shelf.glob("yours-*"))
    Shelf(app.shelf).make_room(app.shelf, 1 << 62, frozenset())
    assert not list(app.shelf.glob("version-*"))
    assert {f"files/{name}": content for name, content in left.items()}.items() <= app.saved().items()


async def test_what_cannot_be_saved_is_not_replaced(app: ReleaseSite) -> None:
    app.forget("v1.0.0")
    leave_things(app.path)
    async with app.manager() as (manager, _):
        (app.data_path / "trio_update" / "saved").write_bytes(b"in the way")
        await app.expect_failure(manager, "trio_update/saved")


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("changed", [True, False])
async def test_a_program_that_somebody_else_installed_is_known_by_its_release(
    executable: ReleaseSite, known: bool, changed: bool
) -> None:
    mine = b"#!/bin/sh\necho mine\n" if changed else program_of("v1.0.0")
    (executable.path / "tool").write_bytes(mine)
    if not known:
        executable.forget("v1.0.0")
    async with executable.manager() as (manager, _):
        await manager.upgrade("app", who="test")
        executable.expect("v2.0.0")
        assert executable.saved() == ({} if known and not changed else {"files/tool": mine})
        await manager.rollback("app", who="test")
        assert (executable.path / "tool").read_bytes() == (program_of("v1.0.0") if known else mine)
    kept = Shelf(executable.shelf).find("v1.0.0")
    assert kept is not None
    assert (kept.record.packed, kept.record.saved) == (not known, not known)


@pytest.mark.parametrize("act", ACTIONS)
async def test_a_program_that_was_changed_is_saved_and_told(executable: ReleaseSite, act: str) -> None:
    async with executable.manager() as (manager, listener):
        await manager.upgrade("app", who="test")
        executable.publish("v3.0.0")
        assert not executable.saved()
        (executable.path / "tool").write_bytes(b"#!/bin/sh\necho mine\n")
        said(listener)
        await ACTIONS[act](manager)
        executable.expect({"upgrade": "v3.0.0", "rollback": "v1.0.0"}.get(act, "v2.0.0"))
    assert executable.saved() == {"files/tool": b"#!/bin/sh\necho mine\n"}
    assert f"What you added or changed in {executable.path} was saved in " in said(listener)


async def test_a_program_that_somebody_else_installed_and_changed_is_saved_by_a_recovery(
    executable: ReleaseSite,
) -> None:
    async with executable.manager() as (manager, _):
        (executable.path / "tool").write_bytes(b"mine")
        await manager.recover("app", hard=False, who="test")
        executable.expect("v1.0.0")
        assert executable.saved() == {"files/tool": b"mine"}
        await manager.recover("app", hard=True, who="test")
    assert executable.saved() == {"files/tool": b"mine"}


async def test_it_comes_back_as_it_was_left_the_last_time(app: ReleaseSite) -> None:
    app.forget("v1.0.0")
    (app.path / "mine.txt").write_bytes(b"first")
    async with app.manager() as (manager, _):
        for content in (b"second", b"third"):
            await manager.upgrade("app", who="test")
            await manager.rollback("app", who="test")
            (app.path / "mine.txt").write_bytes(content)
        await manager.upgrade("app", who="test")
        await manager.rollback("app", who="test")
    app.expect("v1.0.0", {"mine.txt": b"third"})
    saved = (app.data_path / "trio_update" / "saved").glob("*/files/mine.txt")
    assert sorted(path.read_bytes() for path in saved) == [b"first", b"second", b"third"]


@pytest.mark.parametrize("known", [True, False])
async def test_a_damaged_archive_tells_nothing_about_the_folder(app: ReleaseSite, known: bool) -> None:
    """Then it is as one that somebody else installed: the archive is fetched again, or all of it is kept."""
    async with app.manager() as (manager, _):
        await manager.upgrade("app", who="test")
        (app.path / "mine.txt").write_bytes(b"mine")
        kept = Shelf(app.shelf).find("v2.0.0")
        assert kept is not None
        kept.asset.write_bytes(b"damaged")
        app.publish("v3.0.0")
        await manager.refresh(None)
        if not known:
            app.forget("v2.0.0")
        await manager.upgrade("app", who="test")
        app.expect("v3.0.0")
        assert app.saved()["files/mine.txt"] == b"mine"
        assert len(app.saved()) == (1 if known else 1 + len(content_of("v2.0.0")))
        await manager.rollback("app", who="test")
    app.expect("v2.0.0", {} if known else {"mine.txt": b"mine"})


async def test_a_link_of_the_same_length_is_no_file_of_the_release(app: ReleaseSite) -> None:
    async with app.manager() as (manager, _):
        await manager.upgrade("app", who="test")
        (app.path / "assets" / "same.svg").unlink()
        (app.path / "assets" / "same.svg").symlink_to("nowhere")
        await manager.recover("app", hard=False, who="test")
    app.expect("v2.0.0")
    assert app.saved() == {"files/assets/same.svg": b"nowhere"}


async def test_an_executables_neighbours_are_not_touched(executable: ReleaseSite) -> None:
    leave_things(executable.path)
    before = photo(executable.path)
    async with executable.manager() as (manager, _):
        await manager.upgrade("app", who="test")
        await manager.recover("app", hard=True, who="test")
        await manager.rollback("app", who="test")
    after = {name: marks for name, marks in photo(executable.path).items() if not name.startswith(".trio-update")}
    ours = ("tool", "release_info.json")
    assert {name: marks for name, marks in after.items() if name not in ours} == {
        name: marks for name, marks in before.items() if name not in ours
    }
    assert not executable.saved()


@pytest.mark.parametrize("known", [True, False])
async def test_after_a_failure_they_are_where_they_were(app: ReleaseSite, known: bool) -> None:
    async with app.manager() as (manager, _):
        if known:
            await manager.upgrade("app", who="test")
            app.publish("v3.0.0")
    broken = HealthCheck(command=("false",))
    left = leave_things(app.path)
    async with app.manager(health=broken) as (manager, _):
        shelf = photo(app.shelf) if known else {}
        before = tree(app.path)
        with pytest.raises(OperationFailed, match="is back at"):
            await manager.upgrade("app", who="test")
        assert tree(app.path) == before
        assert left.items() <= before.items()
        assert (photo(app.shelf) if app.shelf.exists() else {}) == shelf
    app.expect_tidy()


async def test_the_former_folder_stays_whole_until_the_next_update(app: ReleaseSite) -> None:
    leave_things(app.path)
    async with app.manager() as (manager, _):
        for version in ("v2.0.0", "v3.0.0"):
            before = tree(app.path)
            inode = app.path.stat().st_ino
            await manager.upgrade("app", who="test")
            assert (app.shelf / "replaced").stat().st_ino == inode
            assert tree(app.shelf / "replaced") == before
            (app.path / "mine.txt").write_text(version)
            app.publish("v3.0.0")
            await manager.refresh(None)
