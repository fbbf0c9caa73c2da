"""What a release says of itself, and what its user says of it: which asset, which repository."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.releases import ReleaseSite, behind, content_of, make_zip, release_info, said, write_files
from trio_update.demo.github.server import GitHub, SimAsset

BOTH = ("app.zip", "app-lite.zip")


def editions(version: str, *, named: str = "") -> list[SimAsset]:
    """A release with two zips; ``named``: the asset that its own description names."""
    made = []
    for name in BOTH:
        info = release_info(version, asset=named)
        files = content_of(version) | {"release_info.json": info, "edition": name.encode()}
        made.append(SimAsset(name=name, content=make_zip(files)))
    return made


@pytest.fixture(params=["web", "zip"])
def app(request: pytest.FixtureRequest, tmp_path: Path, github: GitHub) -> ReleaseSite:
    site = behind(tmp_path, github, request.param)
    site.github.repos["ada/app"].releases.clear()
    return site


def asset_name(app: ReleaseSite) -> str:
    described = json.loads((app.path / "release_info.json").read_bytes()).get("asset_name", "")
    assert isinstance(described, str)
    return described


@pytest.mark.parametrize("named", ["", "app.zip"])
@pytest.mark.parametrize("known", [True, False])
async def test_the_asset_that_the_user_named_is_taken_ever_after(app: ReleaseSite, known: bool, named: str) -> None:
    if known:
        app.publish("v1.0.0", *editions("v1.0.0", named=named))
    write_files(app.path, {"release_info.json": release_info("v1.0.0", asset="app-lite.zip")})
    async with app.manager() as (manager, listener):
        for version in ("v2.0.0", "v3.0.0"):
            app.publish(version, *editions(version, named=named))
            await manager.refresh(None)
            await manager.upgrade("app", who="test")
            assert (app.path / "edition").read_bytes() == b"app-lite.zip"
            assert asset_name(app) == "app-lite.zip"
            assert "Keeping the 'asset_name' that you set" in said(listener)
        await manager.recover("app", hard=True, who="test")
        await manager.rollback("app", who="test")
        assert ((app.path / "edition").read_bytes(), asset_name(app)) == (b"app-lite.zip", "app-lite.zip")


async def test_the_asset_that_a_release_named_is_the_releases(app: ReleaseSite) -> None:
    """Its authors may name another one, or none."""
    app.publish("v1.0.0", *editions("v1.0.0", named="app.zip"))
    write_files(app.path, {"release_info.json": release_info("v1.0.0", asset="app.zip")})
    async with app.manager() as (manager, listener):
        for version, named in (("v2.0.0", "app-lite.zip"), ("v3.0.0", "")):
            app.publish(version, *editions(version, named=named))
            await manager.refresh(None)
            await manager.upgrade("app", who="test")
            assert asset_name(app) == named
        assert "Keeping" not in said(listener)


async def test_a_release_of_another_repository_says_so_before_it_is_there(app: ReleaseSite) -> None:
    files = content_of("v2.0.0") | {"release_info.json": release_info("v2.0.0", owner="bob")}
    app.publish("v1.0.0")
    app.publish("v2.0.0", SimAsset(name="app.zip", content=make_zip(files)))
    async with app.manager() as (manager, listener):
        await manager.refresh(None)
        await manager.upgrade("app", who="test")
        told = said(listener)
    words = "The release of ada/app says in its release_info.json that it is of bob/app: once it is installed, updates"
    assert words in told
    assert told.index(words) < told.index("app has succeeded")
