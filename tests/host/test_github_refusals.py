"""What GitHub refuses: a limit stops everything, a repository's own trouble stops that repository alone."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from trio.testing import MockClock

from tests.support.forge_bench import (
    REPO,
    TOKEN,
    Bench,
    asking,
    no_proxies,
    opened_bench,
    refresh,
    release,
)
from tests.support.http_server import plain
from trio_update.demo.github.server import Fault, FaultKind
from trio_update.errors import OperationFailed
from trio_update.host.forge.base import NoSuchRelease, Purpose, RateLimited
from trio_update.host.http.client import BadAnswer, Unreachable
from trio_update.model import RateLimit

__all__ = ["no_proxies"]

OTHER = "ada/other"
SSO = "Resource protected by organization SAML enforcement. You must grant your OAuth token access"
ALLOWED = "Although you appear to have the correct authorization credentials, there is an IP allow list enabled"
BLOCKED = "Repository access blocked"


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with opened_bench(tmp_path) as bench:
        bench.github.add(REPO, release())
        bench.github.add(OTHER, release("v2.0"))
        yield bench


def shown_tokens(bench: Bench, repo: str = REPO) -> list[bool]:
    return ["authorization" in request.headers for request in bench.github.asked("api", repo)]


@pytest.mark.parametrize("message", [BLOCKED, ALLOWED, "Forbidden", ""])
async def test_a_repository_that_forbids_concerns_no_other(bench: Bench, message: str) -> None:
    bench.github.repos[REPO].refuses["anonymous"] = (403, message)
    async with bench.forges() as forges:
        for _ in range(2):
            with pytest.raises(
                OperationFailed, match=r"answered 403 Forbidden.*Other apps are not concerned"
            ) as caught:
                await refresh(forges.forge(""))
            assert not isinstance(caught.value, RateLimited)
            assert message in str(caught.value)
            assert (await refresh(forges.forge(""), repo=OTHER)).tag == "v2.0"


LIMITS = {
    "429": (429, "", {}),
    "retry-after": (403, "Forbidden", {"retry_after": "60"}),
    "nothing left": (403, "Forbidden", {"x_ratelimit_remaining": "0"}),
    "secondary": (403, "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.", {}),
    "primary": (403, "API rate limit exceeded for 127.0.0.1.", {}),
    "abuse": (403, "You have triggered an abuse detection mechanism. Please retry your request again later.", {}),
}


@pytest.mark.parametrize("case", LIMITS)
async def test_what_says_that_it_is_a_limit_is_one(tmp_path: Path, mock_clock: MockClock, case: str) -> None:
    status, message, headers = LIMITS[case]
    answer = plain(status, json.dumps({"message": message}).encode(), **headers)
    async with asking(tmp_path, answer) as (forges, site):
        for repo in (REPO, OTHER):
            with pytest.raises(RateLimited):
                await refresh(forges.forge(""), repo=repo)
        assert len(site.requests) == 1


@pytest.mark.parametrize("message", [SSO, ALLOWED])
async def test_who_is_shut_out_by_the_token_asks_once_without_it(
    bench: Bench, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    bench.use_token()
    bench.github.repos[REPO].refuses["token"] = (403, message)
    async with bench.forges() as forges:
        assert (await refresh(forges.forge(""))).tag == "v1.0"
        assert shown_tokens(bench) == [True, False]
        assert (await refresh(forges.forge(""))).tag == "v1.0"
        assert shown_tokens(bench) == [True, False, False], "that it is in the way is remembered"
        assert (await refresh(forges.forge(""), repo=OTHER)).tag == "v2.0"
        assert shown_tokens(bench, OTHER) == [True]
        assert forges.budget() == RateLimit(limit=5000, remaining=4998, reset=bench.github.reset)
        assert await forges.trouble() == ""
    assert message[:20] in caplog.text
    assert "without the token" in caplog.text
    assert TOKEN not in caplog.text


async def test_who_is_shut_out_with_and_without_the_token_is_told_why(bench: Bench) -> None:
    bench.use_token()
    bench.github.repos[REPO].refuses |= {"token": (403, SSO), "anonymous": (404, "Not Found")}
    async with bench.forges() as forges:
        with pytest.raises(OperationFailed, match="SAML enforcement"):
            await refresh(forges.forge(""))
        assert shown_tokens(bench) == [True, False]
        assert (await refresh(forges.forge(""), repo=OTHER)).tag == "v2.0"


async def test_what_a_token_cannot_see_is_asked_for_without_it(bench: Bench) -> None:
    bench.use_token()
    bench.github.repos[REPO].refuses["token"] = (404, "Not Found")
    async with bench.forges() as forges:
        for _ in range(2):
            assert (await refresh(forges.forge(""))).tag == "v1.0"
    assert shown_tokens(bench) == [True, False, False]


async def test_what_is_not_there_costs_one_more_request_and_not_one_each_time(bench: Bench) -> None:
    bench.use_token()
    async with bench.forges() as forges:
        for tag in ("v7", "v8", "v9"):
            with pytest.raises(NoSuchRelease, match=f"no published release {tag}"):
                await forges.forge("").by_tag(REPO, tag, purpose=Purpose.JOB)
    assert shown_tokens(bench) == [True, False, True, True]


async def test_a_tag_that_is_missing_where_the_token_sees_is_missing(bench: Bench) -> None:
    bench.use_token()
    async with bench.forges() as forges:
        await refresh(forges.forge(""))
        with pytest.raises(NoSuchRelease):
            await forges.forge("").by_tag(REPO, "v9", purpose=Purpose.JOB)
    assert shown_tokens(bench) == [True, True]


async def test_without_a_token_nothing_is_asked_twice(bench: Bench) -> None:
    bench.github.repos[REPO].refuses["anonymous"] = (404, "Not Found")
    async with bench.forges() as forges:
        with pytest.raises(NoSuchRelease):
            await refresh(forges.forge(""))
    assert bench.api_requests == 1


async def test_a_token_that_is_not_accepted_takes_nothing_away_and_is_told(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    file = bench.use_token()
    file.write_text("expired")
    async with bench.forges() as forges:
        for repo in (REPO, OTHER, REPO):
            await refresh(forges.forge(""), repo=repo)
        assert [request.status for request in bench.github.asked("api")] == [401, 200, 200, 304], "tried once"
        assert f"does not accept the token of `github_token_file` {file}" in await forges.trouble()
        assert "does not accept the token" in caplog.text
        assert "expired" not in caplog.text.replace("may have expired", "")
        assert forges.budget() == RateLimit(limit=60, remaining=56, reset=bench.github.reset)
        bench.clock.now += 3600
        await refresh(forges.forge(""))
        assert [request.status for request in bench.github.asked("api")][4:] == [401, 304], "tried again after an hour"
        file.write_text(TOKEN)
        await refresh(forges.forge(""))
        assert await forges.trouble() == ""
        assert shown_tokens(bench)[-1]


async def test_when_the_requests_of_nobody_are_used_up_a_bad_token_is_told_as_the_reason(
    bench: Bench, mock_clock: MockClock
) -> None:
    file = bench.use_token()
    file.write_text("expired")
    bench.github.now()
    bench.github.used["anonymous"] = 59
    async with bench.forges() as forges:
        for _ in range(2):
            with pytest.raises(RateLimited, match=r"used up.*does not accept the token"):
                await refresh(forges.forge(""))


async def test_a_missing_release_is_missing_with_a_bad_token_too(bench: Bench) -> None:
    bench.use_token().write_text("expired")
    async with bench.forges() as forges:
        for _ in range(2):
            with pytest.raises(NoSuchRelease):
                await forges.forge("").by_tag(REPO, "v9", purpose=Purpose.JOB)


async def test_a_limit_of_nobody_does_not_stop_who_has_a_token(bench: Bench, mock_clock: MockClock) -> None:
    """One repository shuts the token out, and for nobody there is nothing left."""
    bench.use_token()
    bench.github.repos[REPO].refuses["token"] = (403, SSO)
    bench.github.now()
    bench.github.used["anonymous"] = 60
    async with bench.forges() as forges:
        for _ in range(2):
            with pytest.raises(OperationFailed, match="SAML"):
                await refresh(forges.forge(""))
            assert (await refresh(forges.forge(""), repo=OTHER)).tag == "v2.0"


async def test_a_limit_with_a_token_is_not_tried_without_it(bench: Bench, mock_clock: MockClock) -> None:
    bench.use_token()
    bench.github.faults.append(Fault("api", FaultKind.SECONDARY_LIMIT))
    async with bench.forges() as forges:
        for repo in (REPO, OTHER):
            with pytest.raises(RateLimited):
                await refresh(forges.forge(""), repo=repo)
    assert bench.api_requests == 1


HTML = b"<!DOCTYPE html><title>Sign in</title>"
ANSWERS = {
    "taken down": (451, b'{"message": "Repository access blocked"}', OperationFailed, "legal reasons"),
    "page for a 403": (403, HTML, BadAnswer, "a web page instead of JSON"),
    "page for a 404": (404, b"\xef\xbb\xbf\n " + HTML, BadAnswer, "a web page instead of JSON"),
    "page for a 511": (511, HTML, Unreachable, "answered 511"),
    "page": (200, HTML, BadAnswer, "a web page instead of JSON"),
    "proxy": (407, b"", OperationFailed, "proxy"),
    "forbidden without words": (403, b"", OperationFailed, "answered 403"),
    "forbidden, and no JSON": (403, b"\xff", OperationFailed, "answered 403"),
}


@pytest.mark.parametrize("case", ANSWERS)
async def test_every_other_answer_has_a_sentence_of_its_own_and_stops_nobody(tmp_path: Path, case: str) -> None:
    status, body, kind, why = ANSWERS[case]
    async with asking(tmp_path, plain(status, body)) as (forges, site):
        for repo in (REPO, OTHER):
            with pytest.raises(kind, match=why) as caught:
                await refresh(forges.forge(""), repo=repo)
            assert not isinstance(caught.value, RateLimited)
        assert len(site.requests) == 2


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", ""])
async def test_a_token_file_may_begin_with_a_byte_order_mark(bench: Bench, ending: str, encoding: str) -> None:
    bench.use_token().write_bytes((TOKEN + ending).encode(encoding))
    async with bench.forges() as forges:
        await refresh(forges.forge(""))
    assert bench.github.asked("api")[0].headers["authorization"] == f"Bearer {TOKEN}"
