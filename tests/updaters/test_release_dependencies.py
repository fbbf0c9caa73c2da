"""Zip apps that need other packages: not installed here, so that such an update is refused and told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.releases import ReleaseSite, behind, content_of, make_zip, write_files
from trio_update.demo.github.server import GitHub, SimAsset
from trio_update.errors import Reason, Refused

LISTS: dict[str, dict[str, Any]] = {
    "requirements.txt": {"requirements": "requirements.txt"},
    "scripts/packages.json": {"system_dependencies": "scripts/packages.json"},
    "package.json": {"enable_node_updates": True},
    "package-lock.json": {"enable_node_updates": True},
}


@pytest.fixture(params=LISTS)
def listed(request: pytest.FixtureRequest, tmp_path: Path, github: GitHub) -> tuple[ReleaseSite, str]:
    """An app that has a list of what it needs, and the name of that."""
    site = behind(tmp_path, github, "zip")
    write_files(site.path, {request.param: b"one\n"})
    return site, request.param


def publish(site: ReleaseSite, version: str, **files: bytes) -> None:
    site.publish(version, SimAsset(name="app.zip", content=make_zip(content_of(version) | files)))


@pytest.mark.parametrize("content", [b"two\n", None])
async def test_an_update_that_needs_something_else_is_refused(
    listed: tuple[ReleaseSite, str], content: bytes | None
) -> None:
    site, name = listed
    publish(site, "v3.0.0", **({name: content} if content else {}))
    async with site.manager(**LISTS[name]) as (manager, _):
        await site.expect_failure(manager, f"app cannot go to v3.0.0: it needs other packages ({name} changed)")
        with pytest.raises(Refused) as caught:
            await manager.upgrade("app", who="test")
        assert caught.value.reason is Reason.INVALID


async def test_what_needs_the_same_and_what_nobody_asks_about_is_installed(listed: tuple[ReleaseSite, str]) -> None:
    site, name = listed
    publish(site, "v3.0.0", **{name: b"one\n"})
    async with site.manager(**LISTS[name]) as (manager, _):
        await manager.upgrade("app", who="test")
        site.expect("v3.0.0", {name: b"one\n"})
    publish(site, "v4.0.0", **{name: b"two\n"})
    async with site.manager() as (manager, _):
        await manager.upgrade("app", who="test")
        site.expect("v4.0.0", {name: b"two\n"})


@pytest.mark.parametrize("damage", ["changed", "gone"])
async def test_the_same_version_is_brought_back_whatever_it_needs(listed: tuple[ReleaseSite, str], damage: str) -> None:
    site, name = listed
    publish(site, "v3.0.0", **{name: b"one\n"})
    async with site.manager(**LISTS[name]) as (manager, _):
        await manager.upgrade("app", who="test")
        if damage == "changed":
            (site.path / name).write_bytes(b"damaged")
        else:
            site.path.rename(site.folder / "data" / "gone")
        await manager.refresh(None)
        await manager.recover("app", hard=False, who="test")
        site.expect("v3.0.0", {name: b"one\n"})
