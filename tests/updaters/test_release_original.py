"""What is the user's in a folder that somebody else installed: told by what its release brought."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from tests.engine.conftest import Listener
from tests.support.releases import NAME, REPO, ReleaseSite, content_of, said, write_files
from trio_update.demo.github.server import Fault, FaultKind
from trio_update.engine.manager import Manager
from trio_update.errors import Aborted, FileTrouble
from trio_update.host.forge.base import Forge
from trio_update.host.forge.forges import open_forges
from trio_update.host.http.client import Web, open_web
from trio_update.host.processes.runner import Runner
from trio_update.host.store import open_store
from trio_update.updaters.release.compare import users_own
from trio_update.updaters.release.original import Installed, Original, fetch_original

MARKS = (b"release_info.json",)


@asynccontextmanager
async def asking(site: ReleaseSite) -> AsyncIterator[tuple[Forge, Web]]:
    api, pages = site.github.api_url, site.github.web_url
    async with (
        open_store(site.folder / "forge.db") as (store, _),
        open_web() as web,
        open_forges(store, web, Runner("test"), github_api_url=api, github_url=pages) as forges,
    ):
        yield forges.forge(""), web


async def fetch(
    site: ReleaseSite, version: str = "v1.0.0", *, limit: int = 1 << 20, folder: Path | None = None
) -> tuple[Original | None, str]:
    told: list[str] = []
    async with asking(site) as (forge, web):
        found = await fetch_original(
            Installed(NAME, REPO, version), forge, web, folder or site.folder / "stage" / "original", limit=limit,
            report=told.append,
        )  # fmt: skip
    return found, "\n".join(told)


@pytest.mark.parametrize("version", ["v1.0.0", "1.0.0"])
async def test_the_users_files_are_those_that_the_release_did_not_bring(web: ReleaseSite, version: str) -> None:
    write_files(web.path, {"mine.txt": b"mine", "assets/mine": b"mine", "index.html": b"edited"})
    (web.path / "link").symlink_to("/etc/passwd")
    found, told = await fetch(web, version)
    assert found is not None
    assert found.archive is not None
    assert (found.release.tag, found.asset.name, found.archive.name) == ("v1.0.0", "app.zip", "app.zip")
    assert "what v1.0.0 brought" in told
    assert users_own(web.path, found.archive, leave_out=MARKS) == (b"assets/mine", b"index.html", b"link", b"mine.txt")


async def test_in_a_folder_as_it_was_brought_nothing_is_the_users(web: ReleaseSite) -> None:
    found, _ = await fetch(web)
    assert found is not None
    assert found.archive is not None
    assert users_own(web.path, found.archive, leave_out=()) == ()
    # Of another version everything that differs is.
    write_files(web.path, dict(content_of("v2.0.0")))
    assert b"assets/only-2.css" in users_own(web.path, found.archive, leave_out=())


@pytest.mark.parametrize("case", ["no such release", "no assets", "no network", "no archive", "no room", "damaged"])
async def test_what_cannot_be_had_is_told(web: ReleaseSite, case: str) -> None:
    limit, version = 1 << 20, "v1.0.0"
    match case:
        case "no such release":
            version = "v0.1"
        case "no assets":
            web.github.repos[REPO].releases[0].assets.clear()
        case "no network":
            web.github.faults.append(Fault("api", FaultKind.STATUS, code=404, times=None))
        case "no archive":
            web.github.repos[REPO].releases[0].assets[0].content = b"<!doctype html>"
        case "no room":
            limit = 10
        case _:
            web.github.faults.append(Fault("assets", FaultKind.CORRUPT, at=40))
    found, told = await fetch(web, version, limit=limit)
    assert found is None
    assert f"What {version} brought cannot be had, so that everything in the folder is kept: " in told


async def test_a_stage_that_cannot_be_made_is_told(web: ReleaseSite) -> None:
    (web.folder / "stage").write_bytes(b"")
    with pytest.raises(FileTrouble):
        await fetch(web)


async def test_an_update_that_waits_for_what_was_brought_can_be_aborted(site: ReleaseSite) -> None:
    async with site.manager() as (manager, listener), trio.open_nursery() as nursery:
        # The new version comes first.
        await manager.refresh(None)
        stalled = Fault("web", FaultKind.STALL, path="/v1.0.0/", times=None)
        site.github.faults.append(stalled)
        nursery.start_soon(aborted_when, manager, listener, "Fetching what v1.0.0 brought")
        with site.untouched(), pytest.raises(Aborted):
            await manager.upgrade("app", who="test")
        site.github.faults.remove(stalled)
        await manager.upgrade("app", who="test")
        site.expect("v2.0.0")
    assert not site.saved()


async def aborted_when(manager: Manager, listener: Listener, words: str) -> None:
    await listener.until(words)
    await manager.abort()


@pytest.mark.parametrize("after", ["another tool updated it", "the shelf was removed", "the data was removed"])
async def test_whoever_installed_a_version_its_release_is_asked(web: ReleaseSite, after: str) -> None:
    async with web.manager() as (manager, _):
        await manager.upgrade("app", who="test")
    web.publish("v3.0.0")
    installed = "v2.0.0"
    if after == "another tool updated it":
        shutil.rmtree(web.path)
        web.install("v3.0.0")
        installed = "v3.0.0"
    else:
        shutil.rmtree(web.shelf if "shelf" in after else web.data_path)
    write_files(web.path, {"mine.txt": b"mine", "index.html": b"changed"})
    web.publish("v4.0.0")
    async with web.manager() as (manager, listener):
        await manager.upgrade("app", who="test")
        web.expect("v4.0.0")
        assert web.saved() == {"files/mine.txt": b"mine", "files/index.html": b"changed"}
        assert (f"Fetching what {installed} brought" in said(listener)) == ("data" not in after)
