"""Disks that are too small: told before anything is written, and what is kept of older versions makes room."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import msgspec
import pytest

from tests.support.mounts import MOUNTS, tmpfs
from tests.support.releases import PROGRAM, ReleaseSite, behind, content_of, make_zip, said, status_of, tree
from trio_update.demo.github.server import GitHub, SimAsset
from trio_update.errors import Reason, Refused
from trio_update.host.files import durable
from trio_update.host.forge import github as forge

pytestmark = pytest.mark.skipif("tmpfs" not in MOUNTS, reason="no small disk can be mounted here")

MIB = 1 << 20
Small = Callable[[str], ReleaseSite]


@pytest.fixture
def small(tmp_path: Path, github: GitHub) -> Iterator[Small]:
    """An app on a disk of 32 MiB."""
    with ExitStack() as stack:

        def make(kind: str) -> ReleaseSite:
            stack.enter_context(tmpfs(tmp_path / "apps", 32 * MIB))
            return behind(tmp_path, github, kind)

        yield make


def with_media(version: str, size: int) -> dict[str, bytes]:
    return content_of(version) | {"media.bin": os.urandom(size)}


async def test_a_download_that_does_not_fit_is_not_begun(small: Small) -> None:
    site = small("web")
    site.publish("v3.0.0", SimAsset(name="app.zip", content=os.urandom(25 * MIB)))
    async with site.manager() as (manager, _):
        await site.expect_failure(manager, "not enough space", "for downloading app.zip: 33.0 MiB needed", "free")
    assert not site.github.asked("assets")


async def test_a_download_of_which_nobody_tells_the_size_leaves_room_too(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As GitLab's are, and those of old Giteas."""
    tell = forge._asset
    monkeypatch.setattr(forge, "_asset", lambda found: msgspec.structs.replace(tell(found), size=None))
    site = small("web")
    site.publish("v3.0.0", SimAsset(name="app.zip", content=os.urandom(28 * MIB)))
    async with site.manager() as (manager, _):
        await site.expect_failure(
            manager, "app.zip is larger than it may be: expected at most ", f"got at least {28 * MIB}"
        )


async def test_an_archive_that_would_not_fit_is_not_unpacked(small: Small) -> None:
    site = small("zip")
    content = content_of("v3.0.0") | {"media.bin": os.urandom(MIB // 64) * 64 * 25}
    site.publish("v3.0.0", SimAsset(name="app.zip", content=make_zip(content)))
    async with site.manager() as (manager, listener):
        await site.expect_failure(manager, "not enough space", "for unpacking app.zip: 33.0 MiB needed")
        assert "Unpacking" not in said(listener)


async def test_a_program_that_would_not_fit_twice_is_not_copied(small: Small) -> None:
    site = small("executable")
    site.publish("v3.0.0", SimAsset(name=PROGRAM, content=os.urandom(14 * MIB)))
    async with site.manager() as (manager, _):
        await site.expect_failure(manager, "not enough space", "for unpacking tool: 36.0 MiB needed")
    assert not site.github.asked("assets"), "it is known before the download"


async def test_an_installed_version_that_could_not_be_kept_stays(small: Small) -> None:
    site = small("web")
    (site.path / "media.bin").write_bytes(os.urandom(15 * MIB))
    releases = site.github.repos["ada/app"].releases
    first = releases.pop(0)
    async with site.manager() as (manager, _):
        await site.expect_failure(manager, "not enough space", "for keeping v1.0.0: 23.0 MiB needed")
        releases.insert(0, first)
        # What its release brought has room, and the user's file is saved on the other disk.
        await manager.upgrade("app", who="test")
        site.expect("v2.0.0")
        assert len(site.saved()["files/media.bin"]) == 15 * MIB


@pytest.mark.parametrize("known", [True, False])
async def test_files_that_could_not_be_saved_stay(tmp_path: Path, github: GitHub, known: bool) -> None:
    """A copy on another disk is not begun, which would fill that."""
    site = behind(tmp_path, github, "web")
    (site.path / "media.bin").write_bytes(os.urandom(15 * MIB))
    if not known:
        site.forget("v1.0.0")
    with tmpfs(tmp_path / "data", 16 * MIB):
        async with site.manager() as (manager, _):
            await site.expect_failure(manager, "not enough space", "for saving what is yours in ", ": 23.0 MiB needed")
            assert not site.saved()
        async with site.manager(persistent_files=("media.bin",)) as (manager, _):
            await manager.upgrade("app", who="test")
            assert (len(site.saved()) > 0) == (not known)


@pytest.mark.parametrize("persistent", ["media", "media/film"])
async def test_files_of_the_user_are_not_kept_twice(small: Small, persistent: str) -> None:
    site = small("web")
    (site.path / "media").mkdir()
    (site.path / "media" / "film").write_bytes(os.urandom(15 * MIB))
    async with site.manager(persistent_files=(persistent,)) as (manager, _):
        await manager.upgrade("app", who="test")
    assert (site.path / "media" / "film").stat().st_size == 15 * MIB


async def test_what_is_kept_of_older_versions_makes_room(small: Small) -> None:
    site = small("web")
    async with site.manager(keep_versions=5) as (manager, listener):
        for version in ("v3.0.0", "v4.0.0", "v5.0.0"):
            site.publish(version, SimAsset(name="app.zip", content=make_zip(with_media(version, 5 * MIB))))
            await manager.refresh(None)
            await manager.upgrade("app", who="test")
        assert "Space is short: removed what was kept of v1.0.0, v3.0.0" in said(listener)
        assert status_of(manager).kept_versions == ("v4.0.0",)
        asked = len(site.github.requests)
        await manager.rollback("app", who="test")
        assert (status_of(manager).version, len(site.github.requests)) == ("v4.0.0", asked)


async def test_what_is_installed_and_what_is_wanted_makes_no_room(small: Small) -> None:
    site = small("web")
    async with site.manager(keep_versions=5) as (manager, _):
        for version in ("v3.0.0", "v4.0.0"):
            site.publish(version, SimAsset(name="app.zip", content=make_zip(with_media(version, 5 * MIB))))
            await manager.refresh(None)
            await manager.upgrade("app", who="test")
        durable.remove_tree(site.shelf / "replaced")
        (site.path.parent / "filler").write_bytes(bytes(durable.free_bytes(site.path) - 10 * MIB))
        before = tree(site.path)
        with pytest.raises(Refused, match=r"not enough space .* for unpacking app\.zip") as caught:
            await manager.rollback("app", version="v3.0.0", who="test")
        assert caught.value.reason is Reason.NO_SPACE
        # Not even what could have gone has been removed, for it would not have helped.
        assert status_of(manager).kept_versions == ("v1.0.0", "v3.0.0")
        assert tree(site.path) == before
        kept = {path.name for path in site.shelf.iterdir()}
        assert kept == {"version-v1.0.0", "version-v3.0.0", "version-v4.0.0"}
