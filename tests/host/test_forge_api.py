"""Requests to the API of any forge: what is told, what is remembered of whom, and how many go at a time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from tests.support.forge_bench import GOOD, REPO, Bench, asking, for_job, no_proxies, opened_bench, refresh, release
from tests.support.http_server import plain, script, serving
from trio_update.demo.github.server import Fault, FaultKind
from trio_update.demo.http1 import Connection, Request
from trio_update.errors import OperationFailed
from trio_update.host.forge.api import Api
from trio_update.host.forge.base import NoSuchRelease, Purpose, RateLimited
from trio_update.host.forge.github import GITHUB_HEADERS
from trio_update.host.forge.memory import Memory
from trio_update.host.http.client import BadAnswer, open_web
from trio_update.host.store import open_store

__all__ = ["no_proxies"]

RELEASE = json.dumps(GOOD).encode()


@pytest.mark.parametrize("status", [404, 409, 410, 422])
async def test_what_is_not_there_is_no_release(tmp_path: Path, status: int) -> None:
    async with asking(tmp_path, plain(status)) as (forges, site):
        with pytest.raises(NoSuchRelease, match="has no published release v9"):
            await forges.forge("").by_tag(REPO, "v9", purpose=Purpose.JOB)
        assert len(site.requests) == 1


async def test_an_unchanged_that_nobody_asked_for_is_a_bad_answer(tmp_path: Path) -> None:
    async with asking(tmp_path, plain(304)) as (forges, _):
        with pytest.raises(BadAnswer, match="answered 304"):
            await for_job(forges.forge(""))


@pytest.mark.parametrize("status", [500, 503, 511])
async def test_a_job_asks_again_while_the_trouble_is_the_servers(
    tmp_path: Path, status: int, mock_clock: MockClock
) -> None:
    mock_clock.rate = 30
    async with asking(tmp_path, script(plain(status), plain(status), plain(200, RELEASE))) as (forges, site):
        assert (await for_job(forges.forge(""))).tag == "v1"
        assert len(site.requests) == 3


async def test_an_answer_without_an_etag_is_not_kept(tmp_path: Path) -> None:
    answers = (plain(200, RELEASE), plain(200, RELEASE, etag='"a"'), plain(200, RELEASE))
    async with asking(tmp_path, script(*answers)) as (forges, site):
        for _ in answers:
            await for_job(forges.forge(""))
    assert [request.headers.get("if-none-match") for request in site.requests] == [None, None, '"a"']


async def test_an_answer_is_kept_for_who_asks_in_the_same_way(tmp_path: Path) -> None:
    async with (
        serving(plain(200, b"{}", etag='"a"')) as site,
        open_store(tmp_path / "db") as (store, _),
        open_web() as web,
    ):
        for kind in ("one", "two", "two"):
            api = Api(site.url(""), web, Memory(store), trio.Lock(), lambda: 0.0, GITHUB_HEADERS | {"Accept": kind})
            await api.ask("/x", dict, purpose=Purpose.JOB, missing="")
    assert [request.headers.get("if-none-match") for request in site.requests] == [None, None, '"a"']


async def test_what_a_forge_says_cannot_control_a_terminal(tmp_path: Path) -> None:
    said = json.dumps({"message": "\x1b[2Jgone\nreally"}).encode()
    async with asking(tmp_path, plain(418, said)) as (forges, _):
        with pytest.raises(OperationFailed, match=r": \\x1b\[2Jgone\\nreally$"):
            await for_job(forges.forge(""))


async def test_of_what_a_forge_says_to_an_error_only_so_much_is_read(tmp_path: Path) -> None:
    sent = 0

    async def endless(request: Request, connection: Connection) -> None:
        nonlocal sent
        await connection.start(418, [("transfer-encoding", "chunked")])
        for _ in range(64):
            await connection.data(bytes(1 << 20))
            sent += 1 << 20

    async with asking(tmp_path, endless) as (forges, _):
        with pytest.raises(OperationFailed, match="answered 418"):
            await for_job(forges.forge(""))
    # The buffers of both sockets, and a little more.
    assert sent < 32 << 20


async def test_the_limits_of_another_host_are_not_ours(tmp_path: Path) -> None:
    async with opened_bench(tmp_path) as bench, bench.forges() as forges:
        bench.github.add(REPO, release())
        full = plain(200, RELEASE, x_ratelimit_limit="60", x_ratelimit_remaining="0", x_ratelimit_reset="1800003600")
        async with serving(full) as other:
            bench.github.faults.append(Fault("api", FaultKind.REDIRECT_TO, url=other.url("/moved")))
            assert (await refresh(forges.forge(""))).tag == "v1"
            assert len(other.requests) == 1
        assert forges.budget() is None
        assert (await refresh(forges.forge(""))).tag == "v1.0"


async def test_every_host_has_a_budget_of_its_own(tmp_path: Path) -> None:
    async with opened_bench(tmp_path) as one, opened_bench(tmp_path) as two:
        for bench in (one, two):
            bench.github.add(REPO, release())
        one.github.now()
        one.github.used = {"anonymous": one.github.limit_anonymous, "token": 0}
        for _ in range(2):
            await expect_limited(one)
            async with two.forges() as forges:
                assert (await refresh(forges.forge(""))).tag == "v1.0"


async def expect_limited(bench: Bench) -> None:
    async with bench.forges() as forges:
        with pytest.raises(RateLimited):
            await refresh(forges.forge(""))


class Counter:
    """Answers as Forgejo does, and knows how many were waiting for it at once.

    It answers when everybody who could come has come: nothing else moves any more.
    """

    def __init__(self) -> None:
        self.now = self.most = 0

    async def __call__(self, request: Request, connection: Connection) -> None:
        self.now += 1
        self.most = max(self.most, self.now)
        await trio.testing.wait_all_tasks_blocked(0.02)
        self.now -= 1
        body = b'{"version": "9.0"}' if request.target.endswith("/version") else RELEASE
        await plain(200, body)(request, connection)


async def test_one_host_is_asked_one_thing_at_a_time(tmp_path: Path) -> None:
    counter = Counter()
    async with asking(tmp_path, counter) as (forges, site):
        async with trio.open_nursery() as nursery:
            for url in ("", site.url("/a"), site.url("/b"), site.url("/c").replace("127.0.0.1", "LOCALHOST"),
                        site.url("/d").replace("127.0.0.1", "localhost")):  # fmt: skip
                nursery.start_soon(for_job, forges.forge(url))
        # Two names of one host: nobody can know.
        assert counter.most <= 2
        assert len(site.requests) == 9


async def test_a_forge_is_asked_what_it_is_by_one_of_all_who_want_to_know(tmp_path: Path) -> None:
    async with asking(tmp_path, Counter()) as (forges, site):
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(for_job, forges.forge(site.url("/git")))
        assert [request.target for request in site.requests].count("/git/api/v1/version") == 1
