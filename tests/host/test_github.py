"""Releases of GitHub: what is understood, what is asked for free, and what is told when it goes wrong."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import msgspec
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.support.forge_bench import (
    GOOD,
    NOW,
    REPO,
    TOKEN,
    Bench,
    asking,
    for_job,
    no_proxies,
    opened_bench,
    refresh,
    release,
)
from tests.support.http_server import plain, serving, silent
from trio_update.demo.github.server import Fault, FaultKind, SimAsset, SimRelease
from trio_update.demo.repos import make_upstream
from trio_update.errors import OperationFailed
from trio_update.host.forge import probes as github_probe
from trio_update.host.forge.base import Forge, NoSuchRelease, Purpose, RateLimited
from trio_update.host.forge.forges import open_forges
from trio_update.host.http.client import USER_AGENT, open_web
from trio_update.host.processes.runner import Runner
from trio_update.host.store import open_store

__all__ = ["no_proxies"]

DAY = 24 * 3600


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with opened_bench(tmp_path) as bench:
        bench.github.add(REPO, release())
        yield bench


async def test_a_release_is_told_with_its_files(bench: Bench) -> None:
    async with bench.forges() as forges:
        found = await refresh(forges.forge(""))
    assert (found.repo, found.tag, found.title, found.notes) == (REPO, "v1.0", "Title v1.0", "Notes")
    assert not found.prerelease
    (asset,) = found.assets
    assert asset.url == f"{bench.github.web_url}/{REPO}/releases/download/v1.0/engine.zip"
    assert (asset.name, asset.size) == ("engine.zip", 4)
    assert asset.digest == f"sha256:{hashlib.sha256(b'v1.0').hexdigest()}"


async def test_the_request_says_who_asks_and_what_for(bench: Bench) -> None:
    async with bench.forges() as forges:
        await refresh(forges.forge(""))
    (request,) = bench.github.asked("api")
    headers = {"accept": "application/vnd.github+json", "x-github-api-version": "2022-11-28", "user-agent": USER_AGENT}
    assert headers.items() <= request.headers.items()
    assert "authorization" not in request.headers


async def test_stable_takes_final_releases_and_beta_the_newest_of_all(bench: Bench) -> None:
    bench.github.add(REPO, release("v2.0-rc1", prerelease=True))
    async with bench.forges() as forges:
        forge = forges.forge("")
        assert (await refresh(forge)).tag == "v1.0"
        newest = await refresh(forge, prerelease=True)
    assert (newest.tag, newest.prerelease) == ("v2.0-rc1", True)


async def test_a_release_by_its_tag_whatever_the_tag_is_made_of(bench: Bench) -> None:
    odd = "release/1.0 +ü%2F#?"
    bench.github.add(REPO, release(odd))
    bench.github.add(REPO, release("v2.0"))
    async with bench.forges() as forges:
        assert (await forges.forge("").by_tag(REPO, odd, purpose=Purpose.JOB)).tag == odd
        with pytest.raises(NoSuchRelease, match=r"ada/engine at http://.* has no published release v9"):
            await forges.forge("").by_tag(REPO, "v9", purpose=Purpose.JOB)


async def test_where_there_is_nothing_advice_is_given(bench: Bench) -> None:
    bench.github.add("ada/rc", release("v1rc1", prerelease=True))
    async with bench.forges() as forges:
        with pytest.raises(NoSuchRelease, match="no such repository: check `repo`"):
            await refresh(forges.forge(""), repo="ada/gone")
        with pytest.raises(NoSuchRelease, match="`channel: beta` takes them"):
            await refresh(forges.forge(""), repo="ada/rc")
        with pytest.raises(NoSuchRelease, match="has no release"):
            await refresh(forges.forge(""), repo="ada/gone", prerelease=True)


async def test_a_moved_repository_is_followed_and_named(bench: Bench) -> None:
    bench.use_token()
    bench.github.moved["old/name"] = REPO
    async with bench.forges() as forges:
        found = await refresh(forges.forge(""), repo="old/name")
        assert found.repo == REPO
        assert (await refresh(forges.forge(""), repo="old/name", prerelease=True)).repo == REPO
        spent = bench.quota_spent
        # The probe asks where it was found, and is answered.
        assert await refresh(forges.forge(""), found, repo="old/name") == found
    assert bench.quota_spent == spent
    assert all(request.headers["authorization"] for request in bench.github.asked("api"))


async def test_an_unchanged_beta_that_has_moved_costs_nothing(bench: Bench) -> None:
    bench.github.moved["old/name"] = REPO
    async with bench.forges() as forges:
        found = await refresh(forges.forge(""), repo="old/name", prerelease=True)
        # The first one asked by the old name; the tags are noted by the new one.
        spent = bench.quota_spent
        assert await refresh(forges.forge(""), found, repo="old/name", prerelease=True) == found
    assert bench.quota_spent == spent


async def test_a_memory_that_is_damaged_is_told_and_does_without(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.use_token()
    async with bench.forges() as forges:
        known = await refresh(forges.forge(""))
        with sqlite3.connect(bench.folder / "trio_update.db") as database:
            database.execute("DROP TABLE note")
            database.execute("DROP TABLE answer")
        database.close()
        for prerelease in (False, True):
            assert await refresh(forges.forge(""), known, prerelease=prerelease) == known
        assert await for_job(forges.forge("")) == known
    assert "no such table: note" in caplog.text
    assert "no such table: answer" in caplog.text


async def test_a_name_of_two_parts_is_no_way_out_of_its_place(bench: Bench) -> None:
    async with bench.forges() as forges:
        with pytest.raises(NoSuchRelease):
            await refresh(forges.forge(""), repo="a?b#c/../x")
    assert bench.github.asked("api")[0].path == "/repos/a%3Fb%23c/..%2Fx/releases/latest"


# Free probes


@pytest.mark.parametrize("prerelease", [False, True])
async def test_twenty_unchanged_apps_cost_nothing_after_the_first_refresh(bench: Bench, prerelease: bool) -> None:
    repos = [f"ada/app{number}" for number in range(20)]
    for repo in repos:
        bench.github.add(repo, release())
    async with bench.forges() as forges:
        known = {repo: await refresh(forges.forge(""), repo=repo, prerelease=prerelease) for repo in repos}
        assert bench.quota_spent == 20
        for repo in repos:
            assert await refresh(forges.forge(""), known[repo], repo=repo, prerelease=prerelease) == known[repo]
    async with bench.forges() as forges:
        for repo in repos:
            assert await refresh(forges.forge(""), known[repo], repo=repo, prerelease=prerelease) == known[repo]
        assert bench.quota_spent == bench.api_requests == 20
        bench.github.add(repos[7], release("v1.1"))
        changed = await refresh(forges.forge(""), known[repos[7]], repo=repos[7], prerelease=prerelease)
    assert changed.tag == "v1.1"
    assert bench.quota_spent == 21


async def test_a_job_asks_the_api_and_no_probe(bench: Bench) -> None:
    async with bench.forges() as forges:
        known = await refresh(forges.forge(""))
        await forges.forge("").newest(REPO, prerelease=False, known=known, purpose=Purpose.JOB)
        await forges.forge("").newest(REPO, prerelease=True, known=known, purpose=Purpose.JOB)
    assert bench.api_requests == 3
    assert not bench.github.asked("web")


async def test_a_release_without_files_is_asked_for_again(bench: Bench) -> None:
    bench.github.add(REPO, SimRelease(tag="v3"))
    async with bench.forges() as forges:
        known = await refresh(forges.forge(""))
        assert known.assets == ()
        bench.github.repos[REPO].releases[-1].assets.append(SimAsset(name="late.zip", content=b"late"))
        assert [asset.name for asset in (await refresh(forges.forge(""), known)).assets] == ["late.zip"]


async def test_a_newer_tag_without_a_release_keeps_the_api_asked(bench: Bench) -> None:
    # Of v2.0 only the tag is newer than the newest release: when its own comes, no tag changes any more.
    bench.github.add(REPO, release("v1.9"))
    bench.github.repos[REPO].tags.append("v2.0")
    async with bench.forges() as forges:
        known = await refresh(forges.forge(""), prerelease=True)
        assert known.tag == "v1.9"
        await refresh(forges.forge(""), known, prerelease=True)
        assert bench.api_requests == 2
        bench.github.repos[REPO].tags.remove("v2.0")
        await refresh(forges.forge(""), known, prerelease=True)
        await refresh(forges.forge(""), known, prerelease=True)
        assert bench.api_requests == 3


async def test_a_deleted_newest_release_is_noticed(bench: Bench) -> None:
    bench.github.add(REPO, release("v1.1"))
    async with bench.forges() as forges:
        known = await refresh(forges.forge(""))
        bench.github.remove(REPO, "v1.1")
        assert (await refresh(forges.forge(""), known)).tag == "v1.0"


@pytest.mark.parametrize(
    "kind", [FaultKind.STATUS, FaultKind.HTML, FaultKind.CLOSE, FaultKind.REDIRECT_TO], ids=lambda kind: kind.value
)
@pytest.mark.parametrize("prerelease", [False, True])
async def test_a_probe_without_the_expected_answer_rests_for_a_day(
    bench: Bench, kind: FaultKind, prerelease: bool
) -> None:
    async with bench.forges() as forges:
        known = await refresh(forges.forge(""), prerelease=prerelease)
        probes = len(bench.github.asked("web"))
        bench.github.faults.append(Fault("web", kind, times=None, url=f"{bench.github.web_url}/login"))
        assert await refresh(forges.forge(""), known, prerelease=prerelease) == known
        assert len(bench.github.asked("web")) > probes
        bench.github.faults.clear()
        probes = len(bench.github.asked("web"))
    assert bench.api_requests == 2
    bench.clock.now = NOW + DAY - 1
    async with bench.forges() as forges:
        await refresh(forges.forge(""), known, prerelease=prerelease)
        assert (bench.api_requests, len(bench.github.asked("web"))) == (3, probes)
        bench.clock.now = NOW + DAY
        await refresh(forges.forge(""), known, prerelease=prerelease)
        assert len(bench.github.asked("web")) > probes
        # Tags may have changed while they were not looked at: one request settles that.
        await refresh(forges.forge(""), known, prerelease=prerelease)
        assert bench.api_requests == 3


@pytest.mark.parametrize("prerelease", [False, True])
async def test_a_probe_that_told_of_news_need_not_rest(bench: Bench, prerelease: bool) -> None:
    async with bench.forges() as forges:
        known = await refresh(forges.forge(""), prerelease=prerelease)
        bench.github.add(REPO, release("v1.1"))
        known = await refresh(forges.forge(""), known, prerelease=prerelease)
        spent = bench.quota_spent
        assert await refresh(forges.forge(""), known, prerelease=prerelease) == known
    assert (known.tag, bench.quota_spent) == ("v1.1", spent)


async def test_a_probe_of_a_moved_repository_rests_where_it_was_asked(bench: Bench) -> None:
    bench.github.moved["old/name"] = REPO
    async with bench.forges() as forges:
        known = await refresh(forges.forge(""), repo="old/name")
        bench.github.faults.append(Fault("web", FaultKind.HTML))
        for _ in range(2):
            await refresh(forges.forge(""), known, repo="old/name")
    assert len(bench.github.asked("web")) == 1


async def test_a_probe_does_not_rest_when_the_clock_was_ahead(bench: Bench) -> None:
    async with bench.forges() as forges:
        known = await refresh(forges.forge(""))
        bench.github.faults.append(Fault("web", FaultKind.HTML))
        await refresh(forges.forge(""), known)
        bench.clock.now = NOW - 1
        spent = bench.quota_spent
        assert await refresh(forges.forge(""), known) == known
    assert bench.quota_spent == spent


@pytest.mark.parametrize("prerelease", [False, True])
@pytest.mark.parametrize("tag", ["release/1.0", "v1.0 +ü%2F#?"])
async def test_a_probe_knows_a_tag_whatever_it_is_made_of(bench: Bench, tag: str, prerelease: bool) -> None:
    bench.github.add(REPO, release(tag))
    async with bench.forges() as forges:
        known = await refresh(forges.forge(""), prerelease=prerelease)
        spent = bench.quota_spent
        assert await refresh(forges.forge(""), known, prerelease=prerelease) == known
    assert (known.tag, bench.quota_spent) == (tag, spent)


async def test_a_repository_is_the_same_in_other_letters(bench: Bench) -> None:
    async with bench.forges() as forges:
        known = await refresh(forges.forge(""))
        bench.github.faults.append(Fault("web", FaultKind.HTML))
        await refresh(forges.forge(""), known)
        probes = len(bench.github.asked("web"))
        await refresh(forges.forge(""), msgspec.structs.replace(known, repo=REPO.upper()))
        assert len(bench.github.asked("web")) == probes


async def test_a_repository_on_this_machine_is_no_web_host(bench: Bench, tmp_path: Path) -> None:
    """git would run its programs there, with whatever its owner has configured."""
    make_upstream(tmp_path / "ada" / "engine", tags=())
    bench.github.web_url = f"file://{tmp_path}"
    async with bench.forges() as forges:
        known = await refresh(forges.forge(""), prerelease=True)
        await refresh(forges.forge(""), known, prerelease=True)
    assert bench.api_requests == 2


async def test_tags_that_are_no_versions_are_no_reason_to_ask(bench: Bench) -> None:
    bench.github.add(REPO, release("nightly"))
    async with bench.forges() as forges:
        known = await refresh(forges.forge(""), prerelease=True)
        spent = bench.quota_spent
        assert await refresh(forges.forge(""), known, prerelease=True) == known
    assert (known.tag, bench.quota_spent) == ("nightly", spent)


async def test_a_probe_that_hangs_is_left_alone_after_a_while(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    async with bench.forges() as forges:
        known = await refresh(forges.forge(""))
    monkeypatch.setattr(github_probe, "_PATIENCE", 1.0)
    async with serving(silent) as site:
        bench.github.web_url = site.url("")
        async with bench.forges() as forges:
            with trio.fail_after(15):
                assert (await refresh(forges.forge(""), known)).tag == known.tag
        assert len(site.requests) == 1
    assert bench.api_requests == 2


async def test_the_probe_of_one_kind_or_repository_says_nothing_of_another(bench: Bench) -> None:
    bench.github.add("ada/other", release())
    async with bench.forges() as forges:
        one, two = await refresh(forges.forge("")), await refresh(forges.forge(""), repo="ada/other")
        bench.github.faults.append(Fault("web", FaultKind.STATUS, code=404))
        await refresh(forges.forge(""), one)
        await refresh(forges.forge(""), two, repo="ada/other")
        assert bench.api_requests == 3


async def test_a_redirect_to_another_repository_proves_nothing(bench: Bench) -> None:
    async with bench.forges() as forges:
        known = await refresh(forges.forge(""))
        elsewhere = f"{bench.github.web_url}/ada/other/releases/tag/{known.tag}"
        bench.github.faults.append(Fault("web", FaultKind.REDIRECT_TO, url=elsewhere))
        await refresh(forges.forge(""), known)
    assert bench.api_requests == 2


async def test_a_redirect_may_spell_the_repository_in_other_letters(bench: Bench) -> None:
    async with bench.forges() as forges:
        known = await refresh(forges.forge(""))
        here = f"{bench.github.web_url}/Ada/ENGINE/releases/tag/{known.tag}"
        bench.github.faults.append(Fault("web", FaultKind.REDIRECT_TO, url=here))
        assert await refresh(forges.forge(""), known) == known
    assert bench.api_requests == 1


async def test_no_credentials_of_the_user_are_given_away(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tmp_path / "gitconfig"
    settings.write_text(f'[credential]\n\thelper = "!touch {tmp_path}/asked #"\n')
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings))
    async with bench.forges() as forges:
        with pytest.raises(NoSuchRelease):
            await refresh(forges.forge(""), repo="ada/gone", prerelease=True)
    assert bench.github.asked("web", "ada/gone")[0].status == 401
    assert not (tmp_path / "asked").exists()


async def test_without_a_network_no_probe_is_blamed(bench: Bench) -> None:
    async with bench.forges() as forges:
        known = await refresh(forges.forge(""))
        for host in ("api", "web"):
            bench.github.faults.append(Fault("api" if host == "api" else "web", FaultKind.CLOSE))
        with pytest.raises(OperationFailed, match="cannot reach"):
            await refresh(forges.forge(""), known)
        asked = bench.api_requests
        assert await refresh(forges.forge(""), known) == known
        assert bench.api_requests == asked


async def test_a_slow_probe_does_not_hold_up_the_api(bench: Bench) -> None:
    bench.github.add("ada/slow", release())
    async with bench.forges() as forges, trio.open_nursery() as nursery:
        slow = await refresh(forges.forge(""), repo="ada/slow")
        bench.github.faults.append(Fault("web", FaultKind.STALL, path="ada/slow"))
        bench.github.repos["ada/slow"].releases.clear()
        nursery.start_soon(partial(refresh, forges.forge(""), slow, repo="ada/slow"))
        await bench.github.asked_reach(1, "web", "ada/slow")
        assert (await refresh(forges.forge(""))).tag == "v1.0"
        nursery.cancel_scope.cancel()


# Answers of no use


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (Fault("api", FaultKind.HTML), "answered a web page instead of JSON"),
        (Fault("api", FaultKind.NOT_JSON), "something else than the JSON"),
        (Fault("api", FaultKind.HUGE), "sent more than 8388608 bytes"),
        (Fault("api", FaultKind.TRUNCATE, at=20), "cannot reach"),
        (Fault("api", FaultKind.GZIP_BOMB), "compressed, which was not asked for"),
        (Fault("api", FaultKind.REDIRECT_LOOP), "redirects"),
        (Fault("api", FaultKind.STATUS, code=500), "answered 500 Internal Server Error"),
        (Fault("api", FaultKind.STATUS, code=418), "answered 418"),
    ],
    ids=lambda value: value.kind.value if isinstance(value, Fault) else "",
)
async def test_an_answer_of_no_use_is_told_with_its_address(bench: Bench, fault: Fault, told: str) -> None:
    bench.github.faults.append(fault)
    async with bench.forges() as forges:
        with pytest.raises(OperationFailed, match=told) as caught:
            await refresh(forges.forge(""))
        assert f"{bench.github.api_url}/" in str(caught.value)
        assert (await refresh(forges.forge(""))).tag == "v1.0"


@asynccontextmanager
async def answering(folder: Path, value: object) -> AsyncIterator[Forge]:
    """A GitHub that answers everything with ``value``."""
    async with asking(folder, plain(200, json.dumps(value).encode())) as (forges, _):
        yield forges.forge("")


@pytest.mark.parametrize(
    "value",
    [[], "v1", {}, GOOD | {"tag_name": 1}, GOOD | {"tag_name": ""}, GOOD | {"assets": "none"}],
)
async def test_wrong_types_are_refused(tmp_path: Path, value: object) -> None:
    async with answering(tmp_path, value) as forge:
        with pytest.raises(OperationFailed, match="releases/latest answered something else than the JSON"):
            await for_job(forge)


async def test_drafts_and_unfinished_files_are_left_out(tmp_path: Path) -> None:
    def asset(name: str, **more: object) -> dict[str, object]:
        return {"name": name, "browser_download_url": f"http://x/{name}", **more}

    files = [asset("half", state="starter"), asset("old", digest=None), asset("md5", digest="md5:ab"),
             asset("new", state="uploaded", digest=f"sha256:{'AB' * 32}", size=7)]  # fmt: skip
    listed = [GOOD | {"tag_name": "v2", "draft": True}, GOOD | {"assets": files, "name": None, "body": None}]
    async with answering(tmp_path, listed) as forge:
        found = await for_job(forge, prerelease=True)
    assert (found.tag, found.title, found.notes) == ("v1", "", "")
    told = [(file.name, file.size, file.digest) for file in found.assets]
    assert told == [("old", None, ""), ("md5", None, ""), ("new", 7, f"sha256:{'ab' * 32}")]


async def test_drafts_alone_are_no_release(tmp_path: Path) -> None:
    async with answering(tmp_path, [GOOD | {"draft": True}]) as forge:
        with pytest.raises(NoSuchRelease):
            await for_job(forge, prerelease=True)
    async with answering(tmp_path, GOOD | {"draft": True}) as forge:
        with pytest.raises(NoSuchRelease):
            await for_job(forge)


@pytest.mark.parametrize("kind", [FaultKind.STATUS, FaultKind.RESET, FaultKind.CLOSE])
async def test_a_job_tries_three_times_and_a_refresh_once(bench: Bench, kind: FaultKind, mock_clock: MockClock) -> None:
    mock_clock.rate = 30
    async with bench.forges() as forges:
        bench.github.faults.append(Fault("api", kind, times=2, code=502))
        assert (await for_job(forges.forge(""))).tag == "v1.0"
        assert bench.api_requests == 3
        # Another one: of this one the answer is known, and a 304 has no body that could break.
        bench.github.add("ada/other", release())
        bench.github.faults.append(Fault("api", kind, times=None, code=502))
        with pytest.raises(OperationFailed):
            await for_job(forges.forge(""), repo="ada/other")
        assert bench.api_requests == 6
        with pytest.raises(OperationFailed):
            await refresh(forges.forge(""), repo="ada/other")
        assert bench.api_requests == 7


async def test_what_would_not_get_better_is_not_tried_again(bench: Bench) -> None:
    async with bench.forges() as forges:
        with pytest.raises(NoSuchRelease):
            await for_job(forges.forge(""), repo="ada/gone")
        bench.github.faults.append(Fault("api", FaultKind.HTML))
        with pytest.raises(OperationFailed, match="web page"):
            await for_job(forges.forge(""))
    assert bench.api_requests == 2


# The token


async def test_an_unchanged_answer_is_free_with_a_token(bench: Bench) -> None:
    bench.use_token()
    async with bench.forges() as forges:
        first = await for_job(forges.forge(""))
    async with bench.forges() as forges:
        assert await for_job(forges.forge("")) == first
        assert [request.status for request in bench.github.asked("api")] == [200, 304]
        assert bench.quota_spent == 1
        bench.github.add(REPO, release("v1.1"))
        assert (await for_job(forges.forge(""))).tag == "v1.1"
        bench.use_token("another")
        assert (await for_job(forges.forge(""))).tag == "v1.1"
    assert "if-none-match" not in bench.github.asked("api")[-1].headers


async def test_a_kept_answer_that_cannot_be_read_any_more_is_asked_for_again(bench: Bench) -> None:
    """As after an update of ours that wants more of an answer than before."""
    bench.use_token()
    async with bench.forges() as forges:
        first = await for_job(forges.forge(""))
    with sqlite3.connect(bench.folder / "trio_update.db") as database:
        assert database.execute("UPDATE answer SET body = '{}'").rowcount == 1
    database.close()
    async with bench.forges() as forges:
        assert await for_job(forges.forge("")) == first
    assert "if-none-match" not in bench.github.asked("api")[-1].headers


async def test_a_stranger_who_wants_to_know_who_asks_says_nothing_about_the_token(bench: Bench) -> None:
    bench.use_token()
    async with serving(plain(401)) as other, bench.forges() as forges:
        bench.github.faults.append(Fault("api", FaultKind.REDIRECT_TO, url=other.url("/moved")))
        with pytest.raises(OperationFailed, match="only public repositories") as caught:
            await for_job(forges.forge(""))
    assert other.url("/moved") in str(caught.value)
    assert "token" not in str(caught.value)


async def test_every_address_has_an_answer_of_its_own_in_memory(bench: Bench) -> None:
    bench.use_token()
    bench.github.add(REPO, release("v1.1"))
    async with bench.forges() as forges:
        for _ in range(2):
            assert (await for_job(forges.forge(""))).tag == "v1.1"
            assert (await forges.forge("").by_tag(REPO, "v1.0", purpose=Purpose.JOB)).tag == "v1.0"
            assert (await forges.forge("").newest(REPO, prerelease=True, known=None, purpose=Purpose.JOB)).tag == "v1.1"
    assert [request.status for request in bench.github.asked("api")] == [200] * 3 + [304] * 3


async def test_the_token_is_for_the_api_alone(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.use_token()
    caplog.set_level(logging.DEBUG)
    async with serving(plain(200, json.dumps(GOOD).encode())) as other, bench.forges() as forges:
        known = await refresh(forges.forge(""))
        await refresh(forges.forge(""), known)
        await refresh(forges.forge(""), prerelease=True)
        bench.github.faults.append(Fault("api", FaultKind.REDIRECT_TO, url=other.url("/moved")))
        assert (await for_job(forges.forge(""))).tag == "v1"
        with pytest.raises(OperationFailed):
            await refresh(forges.forge(other.url("")))
        assert len(other.requests) >= 2
        elsewhere = [asked.headers for asked in other.requests]
        elsewhere += [asked.headers for asked in bench.github.asked("web")]
    assert [request.headers["authorization"] for request in bench.github.asked("api")] == [f"Bearer {TOKEN}"] * 3
    assert not any(TOKEN in "".join(headers.values()) for headers in elsewhere)
    assert TOKEN not in caplog.text


async def test_a_password_in_the_address_of_the_api_is_not_told(bench: Bench) -> None:
    api = bench.github.api_url.replace("//", "//ada:hunter2@")
    web_url = bench.github.web_url
    bench.github.faults.append(Fault("api", FaultKind.SECONDARY_LIMIT))
    async with (
        open_store(bench.folder / "trio_update.db") as (store, _),
        open_web() as web,
        open_forges(store, web, Runner("test"), github_api_url=api, github_url=web_url, clock=bench.clock) as forges,
    ):
        for _ in range(2):
            with pytest.raises(RateLimited, match="is not asked again until") as caught:
                await refresh(forges.forge(""))
            assert "hunter2" not in str(caught.value)


async def test_a_token_that_github_refuses_is_told_by_its_file(bench: Bench) -> None:
    file = bench.use_token()
    file.write_text("expired")
    async with bench.forges() as forges:
        # Public releases can be had without it.
        assert (await refresh(forges.forge(""))).tag == "v1.0"
        assert "does not accept the token" in await forges.trouble()
        assert str(file) in await forges.trouble()
        assert "expired" not in (await forges.trouble()).replace("may have expired", "")
        file.write_text(TOKEN)
        assert (await refresh(forges.forge(""))).tag == "v1.0"
        assert await forges.trouble() == ""


@pytest.mark.parametrize(
    ("content", "why"),
    [(b"", "is empty"), (b" \n", "is empty"), (b"hush\xff\x00", "one token"), (b"hush hush", "one token"),
     (b"hush\nhush", "one token"), (b"hush" * 2000, "one token"), (None, "No such file")],
)  # fmt: skip
async def test_a_bad_token_file_is_told_without_what_is_in_it(bench: Bench, content: bytes | None, why: str) -> None:
    file = bench.use_token()
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)
    async with bench.forges() as forges:
        with pytest.raises(OperationFailed, match=why) as caught:
            await refresh(forges.forge(""))
    assert f"`github_token_file` {file}" in str(caught.value)
    assert "hush" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert bench.api_requests == 0


async def test_a_folder_for_a_token_is_refused(bench: Bench, tmp_path: Path) -> None:
    bench.use_token()
    bench.token_file = tmp_path
    async with bench.forges() as forges:
        with pytest.raises(OperationFailed, match="it is no file"):
            await refresh(forges.forge(""))


async def test_a_pipe_for_a_token_is_refused_and_not_waited_for(bench: Bench, tmp_path: Path) -> None:
    bench.use_token()
    bench.token_file = tmp_path / "pipe"
    os.mkfifo(bench.token_file)
    refused = trio.Event()

    async def let_go() -> None:
        with trio.move_on_after(10):
            await refused.wait()
            return
        # So that a thread that waits for a writer does not wait for ever.
        os.close(os.open(tmp_path / "pipe", os.O_RDWR | os.O_NONBLOCK))
        raise AssertionError("it was waited for")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(let_go)
        with pytest.raises(OperationFailed, match="it is no file"):
            async with bench.forges() as forges:
                await refresh(forges.forge(""))
        refused.set()


async def test_a_token_that_others_can_read_is_warned_of_once(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    file = bench.use_token()
    async with bench.forges() as forges:
        await refresh(forges.forge(""))
        assert not caplog.records
        file.write_text(f"{TOKEN}\n\n")
        file.chmod(0o640)
        await refresh(forges.forge(""))
        file.write_text(f"{TOKEN}\n\n\n")
        await refresh(forges.forge(""))
    (record,) = caplog.records
    assert str(file) in record.getMessage()
    assert TOKEN not in caplog.text


async def test_requests_go_one_by_one_and_a_cancelled_one_is_in_nobodys_way(bench: Bench) -> None:
    for number in range(4):
        bench.github.add(f"ada/app{number}", release())
    async with bench.forges() as forges:
        bench.github.faults.append(Fault("api", FaultKind.STALL, path="app0"))
        async with trio.open_nursery() as nursery:
            for number in range(3):
                nursery.start_soon(partial(refresh, forges.forge(""), repo=f"ada/app{number}"))
                await bench.github.asked_reach(1, "api")
            await wait_all_tasks_blocked(0.05)
            assert bench.api_requests == 1
            nursery.cancel_scope.cancel()
        assert (await refresh(forges.forge(""), repo="ada/app3")).tag == "v1.0"
        assert bench.api_requests == 2
