"""The stand-in for GitHub, seen by real httpx and real git, and held against GitHub's published description."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path

import httpx
import pytest
import trio

from tests.support.github_client import (
    CONTENT,
    LATEST,
    REPO,
    asset_link,
    bearer,
    check,
    error_of,
    example,
    ls_remote,
    serving,
)
from trio_update.demo.github.server import GitHub, SimAsset, SimRelease, serve_github
from trio_update.demo.github.state import Bucket
from trio_update.errors import CommandFailed


@pytest.fixture
def github() -> GitHub:
    return example()


@pytest.fixture
async def client(github: GitHub) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(github) as client:
        yield client


async def test_the_latest_is_neither_draft_nor_prerelease(client: httpx.AsyncClient) -> None:
    release = (await client.get(LATEST)).json()
    check("release", release)
    assert (release["tag_name"], release["name"], release["body"]) == ("v1.1", "One more", "- better")
    (asset,) = release["assets"]
    assert (asset["name"], asset["size"]) == ("panel.zip", len(CONTENT))
    assert asset["digest"] == f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"


async def test_the_list_is_newest_first_without_drafts(client: httpx.AsyncClient) -> None:
    releases = (await client.get(f"/repos/{REPO}/releases")).json()
    for release in releases:
        check("release", release)
    assert [release["tag_name"] for release in releases] == ["v2.0-rc1", "v1.1", "v1.0"]
    assert [release["prerelease"] for release in releases] == [True, False, False]
    times = [release["published_at"] for release in releases]
    assert times == sorted(times, reverse=True) and len(set(times)) == 3
    assert releases[2]["assets"][0]["digest"] is None


@pytest.mark.parametrize("tag", ["v1.0", "app@1.0 beta", "group/1.0"])
async def test_a_release_by_its_tag(client: httpx.AsyncClient, github: GitHub, tag: str) -> None:
    if tag != "v1.0":
        github.add(REPO, SimRelease(tag=tag, assets=[SimAsset(name="a b.zip", content=b"it")]))
    quoted = tag.replace("@", "%40").replace(" ", "%20").replace("/", "%2F")
    release = (await client.get(f"/repos/{REPO}/releases/tags/{quoted}")).json()
    check("release", release)
    assert release["tag_name"] == tag
    assert release["html_url"] == f"{github.web_url}/{REPO}/releases/tag/{quoted}"
    found = await client.get(release["assets"][0]["browser_download_url"], follow_redirects=True)
    assert found.content == (b"old" if tag == "v1.0" else b"it")


@pytest.mark.parametrize(
    "path",
    [f"/repos/{REPO}/releases/tags/v2.0", "/repos/no/body/releases/latest", "/repositories/1/releases", "/nothing"],
)
async def test_what_is_not_there(client: httpx.AsyncClient, path: str) -> None:
    response = await client.get(path)
    assert (response.status_code, error_of(response), response.json()["status"]) == (404, "Not Found", "404")
    assert response.headers["x-ratelimit-used"] == "1"


async def test_a_repository_without_a_final_release_has_no_latest(client: httpx.AsyncClient, github: GitHub) -> None:
    github.add("ada/new", SimRelease(tag="v1", prerelease=True))
    assert (await client.get("/repos/ada/new/releases/latest")).status_code == 404
    assert (await client.get(f"{github.web_url}/ada/new/releases/latest")).status_code == 404
    github.latest_is_list = True
    response = await client.get(f"{github.web_url}/ada/new/releases/latest")
    assert response.headers["location"] == f"{github.web_url}/ada/new/releases"


async def test_a_removed_release_is_gone(client: httpx.AsyncClient, github: GitHub) -> None:
    github.remove(REPO, "v1.1")
    assert (await client.get(LATEST)).json()["tag_name"] == "v1.0"
    with pytest.raises(KeyError, match=r"ada/panel has no release v1\.1"):
        github.remove(REPO, "v1.1")


async def test_pages_lead_to_each_other(client: httpx.AsyncClient, github: GitHub) -> None:
    for number in range(7):
        github.add("ada/many", SimRelease(tag=f"v{number}"))
    response = await client.get("/repos/ada/many/releases?per_page=3")
    assert set(response.links) == {"next", "last"}
    seen = [release["tag_name"] for release in response.json()]
    while "next" in response.links:
        response = await client.get(response.links["next"]["url"])
        seen += [release["tag_name"] for release in response.json()]
    assert seen == [f"v{number}" for number in range(6, -1, -1)]
    assert set(response.links) == {"prev", "first"}
    assert (await client.get("/repos/ada/many/releases?per_page=3&page=9")).json() == []
    assert "link" not in (await client.get("/repos/ada/many/releases?per_page=no")).headers


@pytest.mark.parametrize("version", [0, 1, 2])
@pytest.mark.parametrize("ending", ["", ".git"])
async def test_git_lists_the_tags(
    client: httpx.AsyncClient, github: GitHub, tmp_path: Path, version: int, ending: str
) -> None:
    url = f"{github.web_url}/{REPO}{ending}"
    tags = await ls_remote(url, "--tags", cwd=tmp_path, version=version)
    assert list(tags) == ["refs/tags/v1.0", "refs/tags/v1.1", "refs/tags/v2.0-rc1"]
    everything = await ls_remote(url, cwd=tmp_path, version=version)
    assert everything["HEAD"] == everything["refs/heads/main"] == tags["refs/tags/v2.0-rc1"]
    assert github.used == {"anonymous": 0, "token": 0}


async def test_git_sees_a_new_release_and_other_ids_stay(
    client: httpx.AsyncClient, github: GitHub, tmp_path: Path
) -> None:
    url = f"{github.web_url}/{REPO}"
    before = await ls_remote(url, "--tags", cwd=tmp_path)
    github.add(REPO, SimRelease(tag="v3"))
    after = await ls_remote(url, "--tags", cwd=tmp_path)
    assert after.items() - before.items() == {("refs/tags/v3", after["refs/tags/v3"])}


async def test_git_is_asked_for_a_name_where_there_is_no_repository(
    client: httpx.AsyncClient, github: GitHub, tmp_path: Path
) -> None:
    with pytest.raises(CommandFailed, match="could not read Username"):
        await ls_remote(f"{github.web_url}/no/body", cwd=tmp_path)
    assert (await client.get(f"{github.web_url}/{REPO}/info/refs")).status_code == 403


async def test_the_web_host_redirects_to_the_tag(client: httpx.AsyncClient, github: GitHub) -> None:
    github.add(REPO, SimRelease(tag="app/3 x"))
    for method in ("GET", "HEAD"):
        response = await client.request(method, f"{github.web_url}/{REPO}/releases/latest")
        assert response.status_code == 302
        assert response.headers["location"] == f"{github.web_url}/{REPO}/releases/tag/app%2F3%20x"
    page = await client.get(response.headers["location"])
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    for path in ("/no/body/releases/latest", f"/{REPO}/releases/tag/none", f"/{REPO}/releases/download/v1.1/none", "/"):
        assert (await client.get(github.web_url + path)).status_code == 404


async def test_a_moved_repository(client: httpx.AsyncClient, github: GitHub, tmp_path: Path) -> None:
    github.moved |= {"bob/screen": "bob/panel", "bob/panel": REPO}
    response = await client.get("/repos/bob/screen/releases?per_page=1")
    assert (response.status_code, error_of(response)) == (301, "Moved Permanently")
    assert response.json()["url"] == response.headers["location"]
    assert response.headers["location"].startswith(f"{github.api_url}/repositories/")
    assert response.headers["x-ratelimit-used"] == "1"
    followed = await client.get("/repos/bob/screen/releases?per_page=1", follow_redirects=True)
    assert [release["tag_name"] for release in followed.json()] == ["v2.0-rc1"]
    web = await client.get(f"{github.web_url}/bob/screen/releases/latest?x=1")
    assert (web.status_code, web.headers["location"]) == (301, f"{github.web_url}/{REPO}/releases/latest?x=1")
    url = f"{github.web_url}/bob/screen.git"
    assert "refs/tags/v1.1" in await ls_remote(url, "--tags", cwd=tmp_path)


async def test_names_are_found_in_any_case(client: httpx.AsyncClient, github: GitHub) -> None:
    release = (await client.get("/repos/ADA/Panel/releases/latest")).json()
    assert release["url"].startswith(f"{github.api_url}/repos/{REPO}/")


async def test_the_headers_of_the_api(client: httpx.AsyncClient, github: GitHub) -> None:
    first, second = [(await client.get(LATEST)).headers for _ in range(2)]
    assert first["content-type"] == "application/json; charset=utf-8"
    # Every answer carries the clock's time, to the second.
    assert parsedate_to_datetime(first["date"]).timestamp() == 1_800_000_000
    assert first["x-ratelimit-resource"] == "core"
    assert [first[f"x-ratelimit-{name}"] for name in ("limit", "used", "remaining")] == ["60", "1", "59"]
    assert second["x-ratelimit-remaining"] == "58"
    assert int(first["x-ratelimit-reset"]) == github.reset == 1_800_003_600
    assert first["x-github-request-id"] != second["x-github-request-id"]
    assert first["etag"] == second["etag"]
    assert first["content-encoding"] == "gzip"
    assert "content-encoding" not in (await client.get(LATEST, headers={"accept-encoding": "identity"})).headers


async def test_etags_differ_by_token_accept_and_query(client: httpx.AsyncClient, github: GitHub) -> None:
    asked: list[tuple[str, dict[str, str]]] = [
        (LATEST, {}),
        (LATEST, bearer("right")),
        (LATEST, {"accept": "application/vnd.github+json"}),
        (f"{LATEST}?x", {}),
    ]
    etags = [(await client.get(path, headers=headers)).headers["etag"] for path, headers in asked]
    assert len(set(etags)) == len(etags)
    assert all(etag.startswith('W/"') for etag in etags)


@pytest.mark.parametrize(("token", "bucket", "cost"), [(None, "anonymous", 1), ("right", "token", 0)])
async def test_what_a_304_costs(
    client: httpx.AsyncClient, github: GitHub, token: str | None, bucket: Bucket, cost: int
) -> None:
    headers = {} if token is None else bearer(token)
    etag = (await client.get(LATEST, headers=headers)).headers["etag"]
    response = await client.get(LATEST, headers=headers | {"if-none-match": f'"other", {etag}'})
    assert (response.status_code, response.content, response.headers["etag"]) == (304, b"", etag)
    assert github.used[bucket] == 1 + cost == int(response.headers["x-ratelimit-used"])
    assert [request.counted for request in github.requests] == [True, bool(cost)]
    github.add(REPO, SimRelease(tag="v3"))
    assert (await client.get(LATEST, headers=headers | {"if-none-match": etag})).status_code == 200


async def test_a_304_with_a_bad_token_is_a_401(client: httpx.AsyncClient, github: GitHub) -> None:
    for header in ("Bearer wrong", "token wrong", "Basic cmlnaHQ=", "Bearer"):
        response = await client.get(LATEST, headers={"authorization": header, "if-none-match": "*"})
        assert (response.status_code, error_of(response)) == (401, "Bad credentials")
        assert response.headers["x-ratelimit-limit"] == "60"
    github.token = "wrong"
    assert (await client.get(LATEST, headers=bearer("wrong"))).headers["x-ratelimit-limit"] == "5000"


async def test_the_limit_and_the_next_window(client: httpx.AsyncClient, github: GitHub) -> None:
    now = 1_800_000_000.0
    github.clock = lambda: now
    github.limit_anonymous = 2
    assert [(await client.get(LATEST)).status_code for _ in range(4)] == [200, 200, 403, 403]
    response = await client.get(LATEST)
    assert error_of(response).startswith("API rate limit exceeded for 127.0.0.1.")
    assert [response.headers[f"x-ratelimit-{name}"] for name in ("limit", "used", "remaining")] == ["2", "2", "0"]
    assert "retry-after" not in response.headers
    assert (await client.get(LATEST, headers=bearer("right"))).status_code == 200
    assert (await client.get("/rate_limit")).status_code == 200
    now = float(response.headers["x-ratelimit-reset"]) - 0.5
    assert (await client.get(LATEST)).status_code == 403
    now += 1
    assert (await client.get(LATEST)).headers["x-ratelimit-remaining"] == "1"


async def test_the_limit_of_a_token(client: httpx.AsyncClient, github: GitHub) -> None:
    github.used["token"] = github.limit_token
    response = await client.get(LATEST, headers=bearer("right"))
    assert response.status_code == 403
    assert error_of(response).startswith("API rate limit exceeded for user ID")


async def test_asking_for_the_limits_is_free(client: httpx.AsyncClient, github: GitHub) -> None:
    await client.get(LATEST)
    limits = (await client.get("/rate_limit")).json()
    check("rate-limit-overview", limits)
    assert limits["rate"] == {"limit": 60, "used": 1, "remaining": 59, "reset": github.reset}
    assert (await client.get("/rate_limit", headers=bearer("right"))).json()["rate"]["remaining"] == 5000
    assert github.used == {"anonymous": 1, "token": 0}


async def test_without_a_user_agent_there_is_no_answer(client: httpx.AsyncClient, github: GitHub) -> None:
    response = await client.get(LATEST, headers={"user-agent": ""})
    assert (response.status_code, b"User-Agent" in response.content) == (403, True)
    assert "x-ratelimit-limit" not in response.headers
    assert github.used["anonymous"] == 0


async def test_an_unknown_version_of_the_api(client: httpx.AsyncClient) -> None:
    response = await client.get(LATEST, headers={"x-github-api-version": "2020-01-01"})
    assert (response.status_code, error_of(response)) == (400, '"2020-01-01" is not a supported version.')
    assert (await client.get(LATEST, headers={"x-github-api-version": "2022-11-28"})).status_code == 200


async def test_requests_are_recorded(client: httpx.AsyncClient, github: GitHub) -> None:
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(github.asked_reach, 2, "api", "page=2")
            await client.get(f"/repos/{REPO}/releases?page=2", headers=bearer("wrong"))
            await client.get(f"/repos/{REPO}/releases?page=2", headers={"X-Test": "yes"})
    await asset_link(client)
    asked = github.requests[1]
    assert (asked.host, asked.method, asked.path) == ("api", "GET", f"/repos/{REPO}/releases?page=2")
    assert (asked.headers["x-test"], asked.status, asked.counted) == ("yes", 200, True)
    assert [(request.host, request.status) for request in github.requests[2:]] == [("api", 200), ("web", 302)]
    assert len(github.asked("api", "page=2")) == 2


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


async def test_stopping_frees_the_ports() -> None:
    github = example()
    tasks = trio.lowlevel.current_statistics().tasks_living
    async with serving(github) as client:
        first = (await client.get(LATEST)).json()
        ports = (port_of(github.api_url), port_of(github.web_url), port_of(github.assets_url))
    assert trio.lowlevel.current_statistics().tasks_living == tasks
    with pytest.raises(OSError, match="failed"):
        await trio.open_tcp_stream("127.0.0.1", ports[2])
    async with trio.open_nursery() as nursery:
        again = await nursery.start(partial(serve_github, github, ports=ports))
        async with httpx.AsyncClient(trust_env=False) as client:
            assert (await client.get(again.api_url + LATEST)).json() == first
        nursery.cancel_scope.cancel()


async def test_a_taken_port_is_told_and_the_others_are_freed() -> None:
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    spare = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    free = spare.socket.getsockname()[1]
    await spare.aclose()
    async with listener:
        with pytest.raises(OSError, match="in use"):
            await serve_github(example(), ports=(free, 0, listener.socket.getsockname()[1]))
    async with (await trio.open_tcp_listeners(free, host="127.0.0.1"))[0]:
        pass
