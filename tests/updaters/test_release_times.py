"""Files are of the time of their installation: what that means for web servers, for comparisons and for late files."""

from __future__ import annotations

import io
import os
import time
import zipfile
from pathlib import Path

import pytest

from tests.support.releases import ReleaseSite, release_info, said, tree
from tests.support.zips import Item, build
from trio_update.config import HealthCheck
from trio_update.demo.github.server import SimAsset
from trio_update.errors import OperationFailed
from trio_update.host.archive.extract import read_archive
from trio_update.updaters.release.compare import Differences, compare
from trio_update.updaters.release.persistent import brought_files, carry_late

BROKEN = HealthCheck(command=("false",))
LONG_AGO = 315532800


def reproducible(version: str, **more: bytes) -> SimAsset:
    """As build tools make them that want the same bytes each time: every file is of 1980-01-01."""
    files = {
        "index.html": f"<script src=x-{version}.js>".encode(),
        "release_info.json": release_info(version),
        **{name.replace("_", "."): content for name, content in more.items()},
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content)
    return SimAsset(name="app.zip", content=buffer.getvalue())


def etag(path: Path) -> str:
    """nginx's."""
    seen = path.stat()
    return f"{int(seen.st_mtime):x}-{seen.st_size:x}"


async def test_a_web_server_sees_that_a_page_of_the_same_size_is_another(web: ReleaseSite) -> None:
    web.github.repos["ada/app"].releases.clear()
    web.publish("v1.0.0")
    web.publish("v2.0.0", reproducible("v2.0.0"))
    page, tags, before = web.path / "index.html", [], time.time()
    async with web.manager() as (manager, _):
        await manager.upgrade("app", who="test")
        assert before - 1 <= page.stat().st_mtime <= time.time()
        tags.append(etag(page))
        # Installed an hour ago.
        for path in web.path.iterdir():
            os.utime(path, (before - 3600, before - 3600))
        first = etag(page)
        web.publish("v3.0.0", reproducible("v3.0.0"))
        await manager.refresh("app")
        await manager.upgrade("app", who="test")
        assert b"v3.0.0" in page.read_bytes()
        assert etag(page) != first
        assert page.stat().st_mtime >= before - 1
        assert not any(name.startswith("files/index") for name in web.saved()), "that is the release's"


async def test_a_file_that_the_user_changed_is_known_whatever_its_time_says(web: ReleaseSite) -> None:
    """Edited, and brought to the time that the archive tells, as those do who copy from another archive."""
    web.publish("v3.0.0", reproducible("v3.0.0"))
    async with web.manager() as (manager, _):
        await manager.upgrade("app", who="test")
        page = web.path / "index.html"
        mine = page.read_bytes().replace(b"x-", b"y-")
        page.write_bytes(mine)
        os.utime(page, (LONG_AGO, LONG_AGO))
        web.publish("v4.0.0", reproducible("v4.0.0"))
        await manager.refresh("app")
        await manager.upgrade("app", who="test")
    assert web.saved()["files/index.html"] == mine


def test_a_comparison_reads_files_and_not_their_times(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(build(Item(b"same", b"1234"), Item(b"other", b"1234")))
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, content in (("same", b"1234"), ("other", b"4321")):
        (folder / name).write_bytes(content)
        os.utime(folder / name, (LONG_AGO, LONG_AGO))
    assert compare(folder, read_archive(tmp_path / "a.zip"), leave_out=()) == Differences(changed=(b"other",))


async def test_what_the_release_brings_in_a_users_place_is_not_saved_as_written_late(web: ReleaseSite) -> None:
    """The user has no such file yet; the new version, whose default this is, does not work and is put back."""
    web.publish("v3.0.0", reproducible("v3.0.0", mine_json=b"{}"))
    before = tree(web.path)
    async with web.manager(persistent_files=("mine.json",), health=BROKEN) as (manager, listener):
        with pytest.raises(OperationFailed):
            await manager.upgrade("app", who="test")
        assert "written during the update" not in said(listener)
    assert tree(web.path) == before
    assert web.saved().get("late/mine.json") is None


async def test_what_the_user_makes_of_it_meanwhile_is_saved(web: ReleaseSite) -> None:
    web.publish("v3.0.0", reproducible("v3.0.0", mine_json=b"{}"))
    script = HealthCheck(command=("sh", "-c", f"echo mine >{web.path}/mine.json; exit 1"))
    async with web.manager(persistent_files=("mine.json",), health=script) as (manager, listener):
        with pytest.raises(OperationFailed):
            await manager.upgrade("app", who="test")
        assert "written during the update" in said(listener)
    assert web.saved()["late/mine.json"] == b"mine\n"


def test_a_late_file_of_the_user_takes_the_place_of_the_releases_whatever_its_time(tmp_path: Path) -> None:
    """Moved there during the update, from a backup of years ago."""
    old, new, aside = (tmp_path / name for name in ("old", "new", "aside"))
    for folder in (old, new):
        folder.mkdir()
    (new / "mine.json").write_bytes(b"default")
    (new / "kept").write_bytes(b"carried")
    brought = brought_files(new, ("mine.json", "kept"), (b"kept",))
    assert [path for path, _ in brought] == [b"mine.json"]
    (old / "mine.json").write_bytes(b"mine")
    os.utime(old / "mine.json", (LONG_AGO, LONG_AGO))
    for _ in range(2):
        found = carry_late(old, new, (b"mine.json",), since=None, aside=aside, wins=True, brought=dict(brought))
        assert found == ()
    assert (new / "mine.json").read_bytes() == b"mine"
    assert not aside.exists()
