"""Forges that are not GitHub: what they are is found out once, and their releases are told in the same values."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from trio.testing import MockClock

from tests.support.forge_bench import NOW, REPO, TOKEN, Clock, for_job, no_proxies, refresh
from tests.support.http_server import Site, plain, redirect, serving
from trio_update.demo.http1 import Connection, Request
from trio_update.errors import OperationFailed
from trio_update.host.forge.base import Forges, NoSuchRelease, Purpose, RateLimited
from trio_update.host.forge.forges import open_forges
from trio_update.host.http.client import open_web
from trio_update.host.processes.runner import Runner
from trio_update.host.store import open_store

__all__ = ["no_proxies"]

PROJECT = "/api/v4/projects/ada%2Fengine"


@dataclass
class Server:
    """A forge made of what it answers to each path; a number is a status, a text where it redirects to."""

    folder: Path
    answers: dict[str, object] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    site: Site = field(default_factory=lambda: Site(0))
    clock: Clock = field(default_factory=Clock)

    async def answer(self, request: Request, connection: Connection) -> None:
        answer = self.answers.get(urlsplit(request.target).path, 404)
        if isinstance(answer, str):
            await redirect(answer)(request, connection)
        elif isinstance(answer, int):
            await plain(answer, b'{"message": "said so"}', **self.headers)(request, connection)
        else:
            await plain(200, json.dumps(answer).encode(), **self.headers)(request, connection)

    @property
    def paths(self) -> list[str]:
        return [urlsplit(request.target).path for request in self.site.requests]

    @asynccontextmanager
    async def forges(self) -> AsyncIterator[Forges]:
        token = self.folder / "token"
        token.write_text(TOKEN)
        token.chmod(0o600)
        async with (
            open_store(self.folder / "trio_update.db") as (store, _),
            open_web() as web,
            open_forges(
                store,
                web,
                Runner("test"),
                github_api_url="http://127.0.0.1:9",
                github_url="http://127.0.0.1:9/web",
                token_file=token,
                clock=self.clock,
            ) as forges,
        ):
            yield forges


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    server = Server(tmp_path)
    async with serving(server.answer) as server.site:
        yield server
    assert not any(TOKEN in value for request in server.site.requests for value in request.headers.values())


def lab_release(tag: str, **more: object) -> dict[str, object]:
    links = [
        {
            "name": "engine.zip",
            "url": "https://x/raw",
            "direct_asset_url": "https://lab/engine.zip",
            "link_type": "other",
        },
        {"name": "other.zip", "url": "https://x/other.zip"},
    ]
    sources = [{"format": "zip", "url": "https://lab/source.zip"}]
    page = f"https://lab.example/ada/engine/-/releases/{tag}"
    return {"tag_name": tag, "name": f"Title {tag}", "description": "Notes", "upcoming_release": False,
            "assets": {"count": 3, "sources": sources, "links": links}, "_links": {"self": page}, **more}  # fmt: skip


def tea_release(tag: str, **more: object) -> dict[str, object]:
    files = [{"name": "engine.zip", "size": 7, "browser_download_url": "https://tea/engine.zip", "type": "attachment"}]
    return {"tag_name": tag, "name": f"Title {tag}", "body": "Notes", "draft": False, "prerelease": False,
            "html_url": f"https://tea.example/ada/engine/releases/tag/{tag}", "assets": files, **more}  # fmt: skip


async def test_the_newest_release_of_gitlab(server: Server) -> None:
    server.answers[f"{PROJECT}/releases"] = [
        lab_release("v3.0", upcoming_release=True),
        lab_release("v2.0-rc1"),
        lab_release("v1.0"),
        lab_release("v0.9"),
    ]
    async with server.forges() as forges:
        forge = forges.forge(server.site.url("/"))
        found = await refresh(forge)
        assert (found.repo, found.tag, found.title, found.notes) == (REPO, "v1.0", "Title v1.0", "Notes")
        assert [(asset.name, asset.url, asset.size, asset.digest) for asset in found.assets] == [
            ("engine.zip", "https://lab/engine.zip", None, ""),
            ("other.zip", "https://x/other.zip", None, ""),
        ]
        newest = await refresh(forge, prerelease=True)
        assert (newest.tag, newest.prerelease, found.prerelease) == ("v2.0-rc1", True, False)
        assert "order_by=released_at&sort=desc" in server.site.requests[-1].target


async def test_a_tag_that_is_no_version_is_no_prerelease(server: Server) -> None:
    server.answers[f"{PROJECT}/releases"] = [lab_release("summer"), lab_release("v1.0")]
    async with server.forges() as forges:
        assert (await refresh(forges.forge(server.site.url("")))).tag == "summer"


async def test_gitlab_by_tag(server: Server) -> None:
    server.answers[f"{PROJECT}/releases/rel%2F1.0"] = lab_release("rel/1.0")
    async with server.forges() as forges:
        forge = forges.forge(server.site.url(""))
        assert (await forge.by_tag(REPO, "rel/1.0", purpose=Purpose.JOB)).tag == "rel/1.0"
        with pytest.raises(NoSuchRelease, match="has no release v9"):
            await forge.by_tag(REPO, "v9", purpose=Purpose.JOB)


async def test_a_gitlab_project_that_has_moved(server: Server) -> None:
    server.answers["/api/v4/projects/old%2Fname/releases"] = server.site.url(f"{PROJECT}/releases")
    server.answers[f"{PROJECT}/releases"] = [lab_release("v1.0")]
    async with server.forges() as forges:
        assert (await refresh(forges.forge(server.site.url("")), repo="old/name")).repo == REPO


async def test_a_gitlab_without_a_final_release(server: Server) -> None:
    server.answers[f"{PROJECT}/releases"] = [lab_release("v1rc1")]
    async with server.forges() as forges:
        with pytest.raises(NoSuchRelease, match=r"check `repo` and `forge_url`; .*`channel: beta`"):
            await refresh(forges.forge(server.site.url("")))


async def test_the_newest_release_of_forgejo(server: Server) -> None:
    server.answers |= {
        "/api/v1/version": {"version": "11.0.1+gitea-1.22.0"},
        "/api/v1/repos/ada/engine/releases/latest": tea_release("v1.0"),
        "/api/v1/repos/ada/engine/releases": [
            tea_release("v3", draft=True),
            tea_release("v2.0-rc1", prerelease=True),
            tea_release("v1.0"),
        ],
    }
    async with server.forges() as forges:
        forge = forges.forge(server.site.url(""))
        found = await refresh(forge)
        assert (found.repo, found.tag, found.title, found.notes) == (REPO, "v1.0", "Title v1.0", "Notes")
        (asset,) = found.assets
        assert (asset.name, asset.url, asset.size, asset.digest) == ("engine.zip", "https://tea/engine.zip", 7, "")
        assert (await for_job(forge, prerelease=True)).tag == "v2.0-rc1"
        assert server.site.requests[-1].target.endswith("?limit=10")
        # The same free probe as GitHub's.
        server.answers["/ada/engine/releases/latest"] = "/ada/engine/releases/tag/v1.0"
        asked = len(server.paths)
        assert await refresh(forge, found) == found
        assert server.paths[asked:] == ["/ada/engine/releases/latest"]
        assert forges.budget() is None


@pytest.mark.parametrize("kind", ["forgejo", "gitlab"])
async def test_what_a_forge_is_is_asked_once_and_kept(server: Server, kind: str) -> None:
    if kind == "forgejo":
        server.answers["/api/v1/version"] = {"version": "1.22"}
        server.answers["/api/v1/repos/ada/engine/releases/latest"] = tea_release("v1.0")
    else:
        server.answers[f"{PROJECT}/releases"] = [lab_release("v1.0")]
    for _ in range(2):
        async with server.forges() as forges:
            for _ in range(2):
                await refresh(forges.forge(server.site.url("")))
                assert forges.forge(server.site.url("")) is forges.forge(server.site.url("/"))
    assert server.paths.count("/api/v1/version") == 1


async def test_a_kind_of_forge_that_this_version_does_not_know_is_asked_for_again(server: Server) -> None:
    server.answers[f"{PROJECT}/releases"] = [lab_release("v1.0")]
    async with server.forges() as forges:
        await refresh(forges.forge(server.site.url("")))
    with sqlite3.connect(server.folder / "trio_update.db") as database:
        assert database.execute("UPDATE note SET data = '\"sourcehut\"' WHERE key LIKE 'kind:%'").rowcount == 1
    database.close()
    async with server.forges() as forges:
        assert (await refresh(forges.forge(server.site.url("")))).tag == "v1.0"
    assert server.paths.count("/api/v1/version") == 2


async def test_a_login_page_is_not_taken_for_a_gitlab_for_ever(server: Server) -> None:
    server.answers["/api/v1/version"] = "/login"
    async with server.forges() as forges:
        with pytest.raises(OperationFailed):
            await refresh(forges.forge(server.site.url("")))
        server.answers["/api/v1/version"] = {"version": "1.22"}
        server.answers["/api/v1/repos/ada/engine/releases/latest"] = tea_release("v1.0")
        assert (await refresh(forges.forge(server.site.url("")))).tag == "v1.0"


async def test_what_a_forge_is_is_kept_also_when_it_has_not_what_is_wanted(server: Server) -> None:
    server.answers["/api/v1/version"] = {"version": "1.22"}
    async with server.forges() as forges:
        for _ in range(2):
            with pytest.raises(NoSuchRelease):
                await refresh(forges.forge(server.site.url("")))
    assert server.paths.count("/api/v1/version") == 1


@pytest.mark.parametrize(("status", "told"), [(502, "answered 502"), (429, "is not asked again until")])
async def test_trouble_of_the_moment_decides_nothing(server: Server, status: int, told: str) -> None:
    server.answers["/api/v1/version"] = status
    async with server.forges() as forges:
        with pytest.raises(OperationFailed, match=told):
            await refresh(forges.forge(server.site.url("")))
    assert server.paths == ["/api/v1/version"]


async def test_a_forge_that_is_asked_too_much(server: Server, mock_clock: MockClock) -> None:
    server.answers["/api/v1/version"] = {"version": "1.22"}
    server.answers["/api/v1/repos/ada/engine/releases/latest"] = 429
    async with server.forges() as forges:
        for _ in range(2):
            with pytest.raises(RateLimited) as caught:
                await refresh(forges.forge(server.site.url("")))
        assert 60 <= caught.value.until - NOW <= 75
        assert "github_token_file" not in str(caught.value)
        assert len(server.paths) == 2


async def test_forbidden_is_no_limit_elsewhere_than_on_github(server: Server) -> None:
    server.answers["/api/v1/version"] = {"version": "1.22"}
    server.answers["/api/v1/repos/ada/engine/releases/latest"] = 403
    async with server.forges() as forges:
        for _ in range(2):
            with pytest.raises(OperationFailed, match="answered 403 Forbidden: said so; only public repos") as caught:
                await refresh(forges.forge(server.site.url("")))
            assert not isinstance(caught.value, RateLimited)
        server.headers["retry_after"] = "30"
        with pytest.raises(RateLimited):
            await refresh(forges.forge(server.site.url("")))


async def test_github_by_its_own_address_is_github(server: Server) -> None:
    async with server.forges() as forges:
        assert forges.forge("http://127.0.0.1:9/web/") is forges.forge("")
