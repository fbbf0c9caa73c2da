"""Downloads, against real sockets: what ends in the file, what is tried again, what is refused, and what is told."""

from __future__ import annotations

import hashlib
import itertools
import os
import resource
import tracemalloc
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from tests.support.http_server import (
    Handler,
    chunked,
    content,
    cut,
    descriptors,
    dripping,
    plain,
    ranged,
    redirect,
    script,
    serving,
    unframed,
)
from trio_update.demo.http1 import Connection, Request
from trio_update.errors import FileTrouble, OperationFailed
from trio_update.host.http.client import BadAnswer, Unreachable, Web, open_web
from trio_update.host.http.download import Downloaded, download

BODY = content(300_000)
SHA256 = hashlib.sha256(BODY).hexdigest()
OTHER = bytes(reversed(BODY))
TAG = '"one"'


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.fixture
async def web() -> AsyncIterator[Web]:
    async with open_web() as web:
        yield web


class Fetch:
    """Downloads of one test, into its folder; ``lines`` are what was reported."""

    def __init__(self, web: Web, folder: Path) -> None:
        self.web = web
        self.target = folder / "asset"
        self.lines: list[str] = []

    async def __call__(self, handler: Handler, **options: Any) -> Downloaded:
        async with serving(handler) as site:
            self.requests = site.requests
            try:
                return await self.of(site.url(), **options)
            except OperationFailed as error:
                self.error = error
        raise self.error

    async def of(self, url: str, **options: Any) -> Downloaded:
        chosen: dict[str, Any] = {"name": "a.zip", "size": len(BODY), "digest": f"sha256:{SHA256}", "limit": 2**30}
        return await download(self.web, url, self.target, report=self.lines.append, **{**chosen, **options})

    @property
    def ranges(self) -> list[str | None]:
        return [request.headers.get("range") for request in self.requests]


@pytest.fixture
def fetch(web: Web, tmp_path: Path) -> Fetch:
    return Fetch(web, tmp_path)


async def test_a_download_is_the_file_and_says_what_it_is(fetch: Fetch) -> None:
    assert await fetch(plain(200, BODY)) == Downloaded(fetch.target, len(BODY), SHA256)
    assert fetch.target.read_bytes() == BODY
    assert fetch.target.stat().st_mode & 0o7777 == 0o644


async def test_without_size_and_digest_the_file_is_taken_as_it_comes(fetch: Fetch) -> None:
    assert (await fetch(chunked(BODY), size=None, digest="")).sha256 == SHA256


async def test_an_empty_file_is_a_file(fetch: Fetch) -> None:
    assert (await fetch(plain(200), size=0, digest="")).size == 0
    assert fetch.lines == ["Downloading a.zip: 0 KiB / 0 KiB [100%]"]


async def test_a_file_that_exists_is_left_alone(fetch: Fetch) -> None:
    fetch.target.write_text("mine")
    with pytest.raises(FileTrouble, match="File exists"):
        await fetch(plain(200, BODY))
    assert fetch.target.read_text() == "mine"
    assert not fetch.requests


@pytest.mark.parametrize("algorithm", ["sha256", "SHA256", "sha512", "blake2b", "md5"])
async def test_any_digest_that_is_known_is_checked(fetch: Fetch, algorithm: str) -> None:
    digest = hashlib.new(algorithm.lower(), BODY).hexdigest().upper()
    assert (await fetch(plain(200, BODY), digest=f"{algorithm}:{digest}")).sha256 == SHA256


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
async def test_another_digest_fails_with_both_values(fetch: Fetch, algorithm: str) -> None:
    expected, got = (hashlib.new(algorithm, body).hexdigest() for body in (OTHER, BODY))
    with pytest.raises(OperationFailed, match=f"a.zip is damaged.*{expected}.*{got}.*try again"):
        await fetch(plain(200, BODY), digest=f"{algorithm}:{expected}")


@pytest.mark.parametrize(
    "digest", ["crc32:00", "sha256", "sha256:", "sha256:12", "shake_128:00", "shake_128:", ":00", "sha256:" + "x" * 64]
)
async def test_a_digest_that_cannot_be_checked_is_refused_at_once(fetch: Fetch, digest: str) -> None:
    with pytest.raises(OperationFailed, match=r"a\.zip .* cannot be checked"):
        await fetch(plain(200, BODY), digest=digest)
    assert not fetch.requests
    assert not fetch.target.exists()


@pytest.mark.parametrize("size", [len(BODY) - 1, len(BODY) + 1, 0])
@pytest.mark.parametrize("handler", [plain(200, BODY), chunked(BODY)])
async def test_another_size_fails_with_both_values(fetch: Fetch, handler: Handler, size: int) -> None:
    with pytest.raises(OperationFailed, match=rf"a\.zip has another size .*expected {size} bytes, got \d+.*try again"):
        await fetch(handler, size=size)
    assert len(fetch.requests) == 1
    assert fetch.target.stat().st_size <= size


async def test_an_endless_body_is_cut_at_the_limit(fetch: Fetch) -> None:
    with pytest.raises(OperationFailed, match=r"a\.zip is larger .*at most 5000000 bytes"):
        await fetch(chunked(content(65536), 0), size=None, digest="", limit=5_000_000)
    assert fetch.target.stat().st_size <= 5_000_000


async def test_an_endless_body_is_cut_at_the_announced_size(fetch: Fetch) -> None:
    with pytest.raises(OperationFailed, match=r"expected 300000 bytes, got"):
        await fetch(chunked(content(65536), 0))
    assert fetch.target.stat().st_size <= 300_000


async def test_a_length_that_does_not_fit_is_refused_before_the_body(
    fetch: Fetch, autojump_clock: trio.testing.MockClock
) -> None:
    with pytest.raises(OperationFailed, match="at most 299999 bytes, got at least 300000"):
        await fetch(cut(BODY, 0), size=None, limit=299_999)
    fetch.target.unlink()
    with pytest.raises(OperationFailed, match="expected 300001 bytes, got 300000"):
        await fetch(cut(BODY, 0), size=300_001)
    assert len(fetch.requests) == 1


async def test_an_announced_size_over_the_limit_is_refused_without_a_request(fetch: Fetch) -> None:
    with pytest.raises(OperationFailed, match="announced with 300000 bytes, more than the 299999"):
        await fetch(plain(200, BODY), limit=299_999)
    assert not fetch.requests


async def test_a_compressed_answer_is_refused(fetch: Fetch) -> None:
    with pytest.raises(BadAnswer, match="compressed"):
        await fetch(plain(200, BODY, content_encoding="gzip"))
    assert fetch.target.stat().st_size == 0


@pytest.mark.parametrize("reset", [False, True])
async def test_a_broken_connection_is_resumed(
    fetch: Fetch, reset: bool, autojump_clock: trio.testing.MockClock
) -> None:
    # A reset may overtake what was sent before it, so that only the end is known to be right.
    handler = script(cut(BODY, 100_000, reset=reset, etag=TAG), ranged(BODY, etag=TAG))
    assert (await fetch(handler)).sha256 == SHA256
    assert fetch.target.read_bytes() == BODY
    assert [request.headers.get("if-range") for request in fetch.requests[1:]] in ([TAG], [None])
    if not reset:
        assert fetch.ranges == [None, "bytes=100000-"]


async def test_a_date_serves_when_there_is_no_tag(fetch: Fetch, autojump_clock: trio.testing.MockClock) -> None:
    dates: dict[str, Any] = {"last_modified": "Thu, 01 Jan 2026 00:00:00 GMT", "date": "Thu, 01 Jan 2026 00:00:09 GMT"}
    await fetch(script(cut(BODY, 100_000, **dates), ranged(BODY)))
    assert fetch.ranges == [None, "bytes=100000-"]
    assert fetch.requests[1].headers["if-range"] == dates["last_modified"]


@pytest.mark.parametrize(
    "named",
    [
        {},
        {"etag": 'W/"one"'},
        {"last_modified": "Thu, 01 Jan 2026 00:00:00 GMT", "date": "Thu, 01 Jan 2026 00:00:00 GMT"},
        {"last_modified": "yesterday", "date": "today"},
    ],
)
async def test_what_cannot_be_told_from_another_file_starts_over(
    fetch: Fetch, named: dict[str, Any], autojump_clock: trio.testing.MockClock
) -> None:
    assert (await fetch(script(cut(BODY, 100_000, **named), plain(200, BODY)))).sha256 == SHA256
    assert fetch.ranges == [None, None]


async def test_a_file_that_changed_meanwhile_starts_over(fetch: Fetch, autojump_clock: trio.testing.MockClock) -> None:
    digest = f"sha256:{hashlib.sha256(OTHER).hexdigest()}"
    await fetch(script(cut(BODY, 100_000, etag=TAG), ranged(OTHER, etag='"two"')), digest=digest)
    assert fetch.ranges == [None, "bytes=100000-"]
    assert fetch.target.read_bytes() == OTHER


async def test_of_a_longer_file_nothing_is_left(fetch: Fetch, autojump_clock: trio.testing.MockClock) -> None:
    short = OTHER[:50_000]
    digest = f"sha256:{hashlib.sha256(short).hexdigest()}"
    await fetch(script(cut(BODY, 100_000, etag=TAG), ranged(short, etag='"two"')), size=None, digest=digest)
    assert fetch.target.read_bytes() == short


REST = BODY[100_000:]


@pytest.mark.parametrize(
    "wrong",
    [
        plain(416, content_range="bytes */300000"),
        plain(206, REST),
        plain(206, REST, content_range="bytes 99999-299998/300000", etag=TAG),
        plain(206, REST, content_range="bytes 100000-299999/300001", etag=TAG),
        plain(206, REST, content_range="lines 100000-299999/300000", etag=TAG),
        plain(206, REST, content_range="bytes 100000-299999/300000", etag='"two"'),
    ],
    ids=["416", "no range", "start", "total", "unit", "tag"],
)
async def test_a_part_that_does_not_fit_starts_over(
    fetch: Fetch, wrong: Handler, autojump_clock: trio.testing.MockClock
) -> None:
    assert (await fetch(script(cut(BODY, 100_000, etag=TAG), wrong, plain(200, BODY)))).sha256 == SHA256
    assert fetch.ranges == [None, "bytes=100000-", None]


# The second one is the first part, which would look like a whole file.
@pytest.mark.parametrize("part", ["bytes 100000-299999/300000", "bytes 0-199999/*"])
async def test_a_part_that_was_not_asked_for_is_refused(fetch: Fetch, part: str) -> None:
    with pytest.raises(BadAnswer, match="206"):
        await fetch(plain(206, REST, content_range=part), size=None, digest="")


async def test_parts_that_bring_something_go_on_for_ever(fetch: Fetch, autojump_clock: trio.testing.MockClock) -> None:
    await fetch(cut(BODY, 20_000, etag=TAG))
    assert len(fetch.requests) == 15


async def test_breaking_at_the_same_place_ends_after_five_attempts(
    fetch: Fetch, autojump_clock: trio.testing.MockClock
) -> None:
    with pytest.raises(Unreachable, match=r"cannot download a\.zip: .*\(5 attempts\)"):
        await fetch(cut(BODY, 100_000))
    assert len(fetch.requests) == 6  # the first one brought something new


async def test_crumbs_are_no_progress(fetch: Fetch, autojump_clock: trio.testing.MockClock) -> None:
    with pytest.raises(Unreachable, match=r"\(5 attempts\)"):
        await fetch(cut(BODY, 10, etag=TAG))
    assert len(fetch.requests) == 5


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
async def test_a_passing_trouble_is_tried_again(
    fetch: Fetch, status: int, autojump_clock: trio.testing.MockClock
) -> None:
    assert (await fetch(script(plain(status), plain(status), plain(200, BODY)))).sha256 == SHA256
    assert any(f"answered {status}" in line and "trying again in" in line for line in fetch.lines)


async def test_the_pauses_grow(fetch: Fetch, autojump_clock: trio.testing.MockClock) -> None:
    times: list[float] = []

    async def away(request: Request, connection: Connection) -> None:
        times.append(trio.current_time())
        await plain(503)(request, connection)

    with pytest.raises(Unreachable, match=r"answered 503 Service Unavailable \(5 attempts\)"):
        await fetch(away)
    pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert len(pauses) == 4
    assert all(2.0**n / 2 <= pause <= 2.0**n + 0.1 for n, pause in enumerate(pauses, 1))


@pytest.mark.parametrize(
    "named",
    [{"retry_after": "90"}, {"retry_after": "Thu, 01 Jan 2026 00:01:30 GMT", "date": "Thu, 01 Jan 2026 00:00:00 GMT"}],
)
async def test_a_server_that_asks_for_a_pause_gets_it(
    fetch: Fetch, named: dict[str, Any], autojump_clock: trio.testing.MockClock
) -> None:
    began = trio.current_time()
    await fetch(script(plain(429, **named), plain(200, BODY)))
    assert 90 <= trio.current_time() - began <= 93


@pytest.mark.parametrize(
    "named",
    [
        {"retry_after": "Thu, 01 Jan 2026 00:00:00 GMT", "date": "Thu, 01 Jan 2026 00:01:30 GMT"},
        {"retry_after": "Thu, 01 Jan 1970 00:00:00 GMT", "date": "soon"},
        {"retry_after": "9" * 5000},
        {"retry_after": "soon"},
        {"retry_after": "-3"},
    ],
)
async def test_a_server_that_asks_for_no_pause_that_makes_sense_gets_a_short_one(
    fetch: Fetch, named: dict[str, Any], autojump_clock: trio.testing.MockClock
) -> None:
    began = trio.current_time()
    await fetch(script(plain(429, **named), plain(200, BODY)))
    assert 1 <= trio.current_time() - began <= 3


async def test_a_pause_that_is_too_long_is_told_instead(fetch: Fetch, autojump_clock: trio.testing.MockClock) -> None:
    began = trio.current_time()
    with pytest.raises(Unreachable, match="asks to wait 3600 s"):
        await fetch(plain(503, retry_after="3600"))
    assert trio.current_time() - began < 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 501, 204])
async def test_a_lasting_refusal_fails_at_once(fetch: Fetch, status: int) -> None:
    with pytest.raises(BadAnswer, match=rf"cannot download a\.zip: .*answered {status}"):
        await fetch(plain(status))
    assert len(fetch.requests) == 1


async def test_the_rest_may_come_in_parts(fetch: Fetch, autojump_clock: trio.testing.MockClock) -> None:
    def part(first: int, last: int) -> Handler:
        return plain(206, BODY[first : last + 1], content_range=f"bytes {first}-{last}/{len(BODY)}", etag=TAG)

    handler = script(cut(BODY, 100_000, etag=TAG), part(100_000, 199_999), part(200_000, 299_999))
    # Without size and digest nothing else would tell that half of it is not all.
    found = await fetch(handler, size=None, digest="")
    assert (found.size, found.sha256) == (len(BODY), SHA256)


async def test_each_attempt_starts_at_the_first_address(fetch: Fetch, autojump_clock: trio.testing.MockClock) -> None:
    first = cut(BODY, 100_000, etag=TAG)
    handler = script(redirect("/signed?sig=1"), first, redirect("/signed?sig=2"), ranged(BODY, etag=TAG))
    await fetch(handler, headers={"X-Token": "t"})
    assert [request.target for request in fetch.requests] == [
        "/asset.zip",
        "/signed?sig=1",
        "/asset.zip",
        "/signed?sig=2",
    ]
    assert fetch.ranges[3] == "bytes=100000-"
    assert all(request.headers["x-token"] == "t" for request in fetch.requests)


async def test_a_stall_is_ended_and_resumed(fetch: Fetch, autojump_clock: trio.testing.MockClock) -> None:
    stall = dripping(BODY, 100_000, 10_000.0, etag=TAG)
    began = trio.current_time()
    assert (await fetch(script(stall, ranged(BODY, etag=TAG)))).sha256 == SHA256
    assert fetch.ranges == [None, "bytes=100000-"]
    assert 60 <= trio.current_time() - began < 63


async def test_a_body_without_length_that_breaks_off_is_not_taken_as_whole(
    fetch: Fetch, autojump_clock: trio.testing.MockClock
) -> None:
    assert (await fetch(script(unframed(BODY[:100_000], etag=TAG), ranged(BODY, etag=TAG)))).sha256 == SHA256
    assert fetch.ranges == [None, "bytes=100000-"]


async def test_progress_is_told_at_most_four_times_a_second(
    fetch: Fetch, autojump_clock: trio.testing.MockClock
) -> None:
    await fetch(dripping(BODY, 10_000, 0.1))
    assert fetch.lines[0] == "Downloading a.zip: 0 KiB / 293 KiB [0%]"
    assert fetch.lines[-1] == "Downloading a.zip: 293 KiB / 293 KiB [100%]"
    # Three seconds: the first line, at most four in each second, the last line.
    assert 8 <= len(fetch.lines) <= 14
    assert "Downloading a.zip: 40 KiB / 293 KiB [13%]" in fetch.lines


async def test_progress_without_a_size(fetch: Fetch) -> None:
    await fetch(chunked(BODY), size=None)
    assert fetch.lines == ["Downloading a.zip: 0 KiB", "Downloading a.zip: 293 KiB"]


async def test_a_name_cannot_control_a_terminal(fetch: Fetch) -> None:
    await fetch(plain(200, BODY), name="a\x1b[2J\n\u202eb.zip")
    assert fetch.lines[0] == r"Downloading a\x1b[2J\n\u202eb.zip: 0 KiB / 293 KiB [0%]"


async def test_a_full_disk_is_told(fetch: Fetch) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(FileTrouble, match=r"cannot write .*asset: File too large"):
            await fetch(plain(200, BODY))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not any("/asset" in entry for entry in descriptors())


async def test_a_cancelled_download_leaves_a_part_and_nothing_open(tmp_path: Path) -> None:
    halfway = trio.Event()

    async def half(_: Request, connection: Connection) -> None:
        await connection.start(200, [("content-length", str(len(BODY)))])
        await connection.data(BODY[:150_000])
        halfway.set()
        await connection.pause(10_000)

    async with serving(script(plain(200, BODY), half, plain(200, BODY))) as site:
        before = descriptors()
        async with open_web() as web:
            fetch = Fetch(web, tmp_path)
            await fetch.of(site.url())
            fetch.target.unlink()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fetch.of, site.url())
                await halfway.wait()
                await trio.testing.wait_all_tasks_blocked(0.02)
                assert any("/asset" in entry for entry in descriptors())
                nursery.cancel_scope.cancel()
            assert fetch.target.exists()
            assert not any("/asset" in entry for entry in descriptors())
            fetch.target.unlink()
            assert (await fetch.of(site.url())).sha256 == SHA256
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert descriptors() == before


async def test_a_slow_disk_holds_the_network_up(fetch: Fetch) -> None:
    """What comes is not piled up in memory while it cannot be written."""
    piece, times, sent = content(65536), 640, 0
    threads = trio.to_thread.current_default_thread_limiter()

    held = [object() for _ in range(int(threads.total_tokens))]

    async def flood(__: Request, connection: Connection) -> None:
        nonlocal sent
        for holder in held:
            threads.acquire_on_behalf_of_nowait(holder)
        await connection.start(200, [("content-length", str(len(piece) * times))])
        for _ in range(times):
            await connection.data(piece)
            sent += len(piece)
        await connection.end()

    async with serving(flood) as site, trio.open_nursery() as nursery:
        nursery.start_soon(partial(fetch.of, site.url(), size=len(piece) * times, digest=""))
        while not sent:
            await trio.testing.wait_all_tasks_blocked(0.01)
        await trio.testing.wait_all_tasks_blocked(0.05)
        # Two pieces, and what the kernel holds for the two sockets.
        assert sent < 20_000_000
        for holder in held:
            threads.release_on_behalf_of(holder)
    assert fetch.target.stat().st_size == len(piece) * times


async def test_memory_does_not_grow_with_the_file(fetch: Fetch) -> None:
    piece, times = content(65536), 640
    await fetch(plain(200, BODY))
    fetch.target.unlink()
    tracemalloc.start()
    try:
        await fetch(chunked(piece, times), size=len(piece) * times, digest="")
        assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
    finally:
        tracemalloc.stop()
