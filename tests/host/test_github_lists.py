"""The newest of a list of releases, whatever stands on top of it; and releases as GitHub may describe them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.forge_bench import REPO, Bench, asking, for_job, no_proxies, opened_bench, refresh, release
from tests.support.http_server import plain
from trio_update.demo.github.server import SimRelease
from trio_update.host.forge.base import Forges, NoSuchRelease, Purpose
from trio_update.host.http.client import BadAnswer
from trio_update.model import Asset, RemoteRelease

__all__ = ["no_proxies"]


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with opened_bench(tmp_path) as bench:
        yield bench


def publish(bench: Bench, *tags: str, **options: Any) -> None:
    for tag in tags:
        bench.github.add(REPO, release(tag, **options))


async def beta(forges: Forges, installed: str = "") -> RemoteRelease:
    return await forges.forge("").newest(REPO, prerelease=True, known=None, purpose=Purpose.JOB, installed=installed)


@pytest.mark.parametrize("drafts", [10, 40])
async def test_drafts_on_top_hide_nothing(bench: Bench, drafts: int) -> None:
    """The list has them for a token that may write, the author's own."""
    bench.use_token()
    publish(bench, "v1.0", "v1.1")
    publish(bench, *(f"v2.{number}" for number in range(drafts)), draft=True)
    bench.github.repos[REPO].shows_drafts = True
    async with bench.forges() as forges:
        assert (await beta(forges)).tag == "v1.1"
    assert bench.api_requests == 1 + drafts // 30


async def test_nothing_but_drafts_is_nothing(bench: Bench) -> None:
    bench.use_token()
    publish(bench, *(f"v2.{number}" for number in range(40)), draft=True)
    bench.github.repos[REPO].shows_drafts = True
    async with bench.forges() as forges:
        with pytest.raises(NoSuchRelease):
            await beta(forges)


async def test_a_backport_on_top_hides_nothing(bench: Bench) -> None:
    publish(bench, "v1.9.4", "v2.0.0-beta.2", "v1.9.5")
    async with bench.forges() as forges:
        assert (await beta(forges)).tag == "v2.0.0-beta.2"
        assert (await refresh(forges.forge(""))).tag == "v1.9.5", "what its authors call the latest"


async def test_nightly_builds_on_top_hide_nothing_but_from_who_has_one(bench: Bench) -> None:
    publish(bench, "v2.0.0")
    publish(bench, *(f"nightly-{number}" for number in range(1, 51)), prerelease=True)
    async with bench.forges() as forges:
        assert (await beta(forges, "v1.0")).tag == "v2.0.0"
        assert bench.api_requests == 2
        assert (await beta(forges, "nightly-20")).tag == "nightly-50"
        assert bench.api_requests == 3


async def test_only_so_many_pages_are_asked_for(bench: Bench) -> None:
    publish(bench, "v2.0.0")
    publish(bench, *(f"nightly-{number}" for number in range(1, 151)), prerelease=True)
    async with bench.forges() as forges:
        assert (await beta(forges)).tag == "nightly-150"
    assert bench.api_requests == 4


async def test_a_rolling_tag_is_followed_by_who_has_it(bench: Bench) -> None:
    publish(bench, "nightly", "v2.0.0")
    async with bench.forges() as forges:
        assert (await beta(forges, "nightly")).tag == "nightly"
        assert (await beta(forges, "v1.0")).tag == "v2.0.0"


async def test_where_names_say_nothing_the_last_published_is_the_newest(bench: Bench) -> None:
    for tag, day in (("red", "01"), ("green", "03"), ("blue", "02")):
        bench.github.add(REPO, SimRelease(tag=tag, published=f"2026-01-{day}T00:00:00Z"))
    async with bench.forges() as forges:
        found = await beta(forges)
    assert (found.tag, found.published) == ("green", 1767398400.0)


ASSET = {"name": "engine.zip", "browser_download_url": "https://x/engine.zip", "size": 7, "state": "uploaded"}
NULLS = dict.fromkeys(("name", "body", "published_at", "draft", "prerelease", "html_url", "author", "target_commitish"))
NULL_ASSET = ASSET | dict.fromkeys(("digest", "label", "content_type", "uploader", "size", "state", "updated_at"))
BAD_ASSETS: list[Any] = [
    None,
    "text",
    {},
    ASSET | {"name": None},
    ASSET | {"name": ""},
    ASSET | {"size": -1},
    ASSET | {"browser_download_url": None},
]


def answer(*assets: Any, **more: Any) -> bytes:
    return json.dumps({"tag_name": "v1", "assets": list(assets)} | more).encode()


async def test_null_where_github_allows_it(tmp_path: Path) -> None:
    async with asking(tmp_path, plain(200, answer(NULL_ASSET, **NULLS))) as (forges, _):
        found = await for_job(forges.forge(""))
    asset = Asset(name="engine.zip", url="https://x/engine.zip")
    assert found == RemoteRelease(repo=REPO, tag="v1", assets=(asset,))


async def test_no_assets_at_all(tmp_path: Path) -> None:
    async with asking(tmp_path, plain(200, answer(assets=None))) as (forges, _):
        assert (await for_job(forges.forge(""))).assets == ()


@pytest.mark.parametrize("bad", BAD_ASSETS, ids=repr)
async def test_one_bad_asset_makes_no_release_useless(tmp_path: Path, bad: Any) -> None:
    async with asking(tmp_path, plain(200, answer(bad, ASSET, bad))) as (forges, _):
        assert [asset.name for asset in (await for_job(forges.forge(""))).assets] == ["engine.zip"]


@pytest.mark.parametrize("when", ["yesterday", "2026-13-01T00:00:00Z", "", None])
async def test_a_date_that_is_none_is_not_told(tmp_path: Path, when: str | None) -> None:
    async with asking(tmp_path, plain(200, answer(ASSET, published_at=when))) as (forges, _):
        assert (await for_job(forges.forge(""))).published is None


async def test_one_bad_release_hides_no_other(tmp_path: Path) -> None:
    listed = [None, {"tag_name": None}, {"tag_name": "v1", "assets": [ASSET]}, 7]
    async with asking(tmp_path, plain(200, json.dumps(listed).encode())) as (forges, _):
        assert (await beta(forges)).tag == "v1"


async def test_a_list_of_something_else_is_a_bad_answer(tmp_path: Path) -> None:
    async with asking(tmp_path, plain(200, b'[{"id": 1}, {"id": 2}]')) as (forges, _):
        with pytest.raises(BadAnswer, match="cannot be read"):
            await beta(forges)


async def test_when_an_asset_was_uploaded_is_told(tmp_path: Path) -> None:
    when = "2026-01-02T03:04:05Z"
    async with asking(tmp_path, plain(200, answer(ASSET | {"updated_at": when}, published_at=when))) as (forges, _):
        found = await for_job(forges.forge(""))
    assert (found.assets[0].updated, found.published) == (when, 1767323045.0)
