"""GitHub's limits: when no request is sent, until when, and what outlives a restart."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

import pytest
from trio.testing import MockClock

from tests.support.forge_bench import NOW, REPO, Bench, for_job, no_proxies, opened_bench, refresh, release
from trio_update.demo.github.server import Fault, FaultKind
from trio_update.host.forge.base import Forges, Purpose, RateLimited
from trio_update.host.forge.budget import FARTHEST, Budget, Saved
from trio_update.host.http.client import Unreachable
from trio_update.model import RateLimit

__all__ = ["no_proxies"]

HOUR = 3600.0
USED_UP = {"x-ratelimit-limit": "60", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "1800000100"}


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with opened_bench(tmp_path) as bench:
        bench.github.add(REPO, release())
        yield bench


# Every test of a bench asks for `mock_clock`: then no time passes but by this.
def later(bench: Bench, mock_clock: MockClock, seconds: float) -> None:
    bench.clock.now += seconds
    mock_clock.jump(seconds)


def use_up(bench: Bench, left: int = 0) -> None:
    """What others behind the same address have asked."""
    bench.github.now()
    bench.github.used = {
        "anonymous": bench.github.limit_anonymous - left,
        "token": bench.github.limit_token - left,
    }


async def limited(forges: Forges, purpose: Purpose = Purpose.REFRESH) -> RateLimited:
    with pytest.raises(RateLimited) as caught:
        await forges.forge("").newest(REPO, prerelease=False, known=None, purpose=purpose)
    return caught.value


async def test_the_budget_is_what_the_last_answer_said_also_after_a_restart(
    bench: Bench, mock_clock: MockClock
) -> None:
    async with bench.forges() as forges:
        assert forges.budget() is None
        await refresh(forges.forge(""))
        assert forges.budget() == RateLimit(limit=60, remaining=59, reset=int(NOW + HOUR))
        await refresh(forges.forge(""))
    async with bench.forges() as forges:
        assert forges.budget() == RateLimit(limit=60, remaining=58, reset=int(NOW + HOUR))


async def test_every_token_has_a_budget_of_its_own(bench: Bench, mock_clock: MockClock) -> None:
    use_up(bench)
    async with bench.forges() as forges:
        await limited(forges)
    bench.use_token()
    bench.github.used["token"] = 0
    async with bench.forges() as forges:
        assert forges.budget() is None
        await refresh(forges.forge(""))
        assert forges.budget() == RateLimit(limit=5000, remaining=4999, reset=int(NOW + HOUR))


async def test_without_requests_left_none_is_sent_until_the_reset(bench: Bench, mock_clock: MockClock) -> None:
    use_up(bench, left=1)
    async with bench.forges() as forges:
        await for_job(forges.forge(""))
        told = await limited(forges, Purpose.JOB)
        assert (told.host, told.until) == (bench.github.api_url.removeprefix("http://"), NOW + HOUR + 1)
        until = time.strftime("%H:%M", time.localtime(NOW + HOUR + 1))
        assert f"is not asked again until {until}: its limit of 60 requests an hour is used up" in str(told)
        assert "`github_token_file` allows 5,000" in str(told)
        later(bench, mock_clock, HOUR)
        await limited(forges)
        assert bench.api_requests == 1
        later(bench, mock_clock, 1)
        await refresh(forges.forge(""))
    assert bench.api_requests == 2


async def test_who_has_a_token_is_not_told_to_get_one(bench: Bench, mock_clock: MockClock) -> None:
    bench.use_token()
    use_up(bench)
    async with bench.forges() as forges:
        told = await limited(forges)
    assert "5000 requests an hour is used up" in str(told)
    assert "github_token_file" not in str(told)


async def test_an_answer_that_the_limit_is_used_up_holds_over_a_restart(bench: Bench, mock_clock: MockClock) -> None:
    use_up(bench)
    async with bench.forges() as forges:
        told = await limited(forges)
        assert "API rate limit exceeded for 127.0.0.1" in str(told)
        await limited(forges)
    later(bench, mock_clock, 1800)
    async with bench.forges() as forges:
        told = await limited(forges, Purpose.JOB)
        assert told.until == NOW + HOUR + 1
        assert bench.api_requests == 1
    later(bench, mock_clock, 1801)
    async with bench.forges() as forges:
        await refresh(forges.forge(""))


async def test_a_refresh_leaves_a_reserve_for_jobs(bench: Bench, mock_clock: MockClock) -> None:
    use_up(bench, left=6)
    async with bench.forges() as forges:
        await refresh(forges.forge(""))
        told = await limited(forges)
        assert "only 5 of 60 requests an hour are left, and kept for upgrades" in str(told)
        assert told.until == NOW + HOUR + 1
        for _ in range(5):
            await for_job(forges.forge(""))
        assert "used up" in str(await limited(forges, Purpose.JOB))
        assert bench.api_requests == 6
        later(bench, mock_clock, HOUR + 1)
        await refresh(forges.forge(""))


async def test_the_reserve_outlives_a_restart(bench: Bench, mock_clock: MockClock) -> None:
    use_up(bench, left=6)
    async with bench.forges() as forges:
        await refresh(forges.forge(""))
    async with bench.forges() as forges:
        assert (await limited(forges)).until == NOW + HOUR + 1
        await for_job(forges.forge(""))


async def test_an_unchanged_app_is_refreshed_while_limited(bench: Bench, mock_clock: MockClock) -> None:
    async with bench.forges() as forges:
        known = await refresh(forges.forge(""))
        use_up(bench)
        await limited(forges)
        assert await refresh(forges.forge(""), known) == known


@pytest.mark.parametrize("code", [403, 429])
async def test_retry_after_is_heeded(bench: Bench, mock_clock: MockClock, code: int) -> None:
    bench.github.faults.append(Fault("api", FaultKind.SECONDARY_LIMIT, code=code, retry_after=100))
    async with bench.forges() as forges:
        told = await limited(forges)
        assert told.until == NOW + 100
        assert "it asks to wait (it says: You have exceeded a secondary rate limit." in str(told)
        later(bench, mock_clock, 99)
        assert (await limited(forges, Purpose.JOB)).until == NOW + 100
        assert bench.api_requests == 1
    async with bench.forges() as forges:
        await limited(forges)
        later(bench, mock_clock, 1)
        await refresh(forges.forge(""))
    assert bench.api_requests == 2


@pytest.mark.parametrize("code", [403, 429])
async def test_without_advice_the_waiting_doubles_up_to_an_hour(bench: Bench, mock_clock: MockClock, code: int) -> None:
    waits = []
    async with bench.forges() as forges:
        for _ in range(9):
            bench.github.faults.append(Fault("api", FaultKind.SECONDARY_LIMIT, code=code))
            waits.append((await limited(forges)).until - bench.clock.now)
            later(bench, mock_clock, waits[-1] - 0.5)
            await limited(forges, Purpose.JOB)
            later(bench, mock_clock, 0.6)
        assert bench.api_requests == 9
        for number, wait in enumerate(waits):
            assert min(60 * 2**number, 2880) <= wait <= min(75 * 2**number, HOUR)
        assert len(set(waits)) == len(waits)
        # What goes well wipes it out.
        await refresh(forges.forge(""))
        bench.github.faults.append(Fault("api", FaultKind.SECONDARY_LIMIT, code=code))
        assert 60 <= (await limited(forges)).until - bench.clock.now <= 75


async def test_trouble_of_another_kind_does_not_wipe_it_out(bench: Bench, mock_clock: MockClock) -> None:
    async with bench.forges() as forges:
        for number in range(3):
            bench.github.faults.append(Fault("api", FaultKind.SECONDARY_LIMIT))
            wait = (await limited(forges)).until - bench.clock.now
            assert wait >= 60 * 2**number
            later(bench, mock_clock, wait + 1)
            bench.github.faults.append(Fault("api", FaultKind.STATUS, code=502))
            with pytest.raises(Unreachable):
                await refresh(forges.forge(""))


async def test_of_two_clocks_that_may_be_right_the_later_one_counts(mock_clock: MockClock) -> None:
    """Ours was set between two starts by the ten minutes that the forge's was ahead, or the other way round."""
    for ahead, shift in ((600.0, 600.0), (-600.0, 0.0)):
        budget, later = Budget("host", lambda: NOW), Budget("host", lambda shift=shift: NOW + shift)  # type: ignore[misc]
        date = format_datetime(datetime.fromtimestamp(NOW + ahead, UTC), usegmt=True)
        budget.learn(429, {"date": date, "retry-after": "1800"}, refused=True)
        later.restore(budget.save())
        with pytest.raises(RateLimited) as caught:
            later.check(Purpose.JOB)
        assert caught.value.until - NOW - shift == 1800


async def test_what_is_asked_for_counts_before_what_can_be_reckoned(mock_clock: MockClock) -> None:
    budget = Budget("host", lambda: NOW)
    budget.learn(429, USED_UP | {"retry-after": "7"}, refused=True)
    refusal = budget.refusal("slow down")
    assert (refusal.until - NOW, "it asks to wait (it says: slow down)" in str(refusal)) == (7, True)


async def test_why_it_waits_outlives_a_restart(bench: Bench, mock_clock: MockClock) -> None:
    bench.github.faults.append(Fault("api", FaultKind.SECONDARY_LIMIT, retry_after=600))
    async with bench.forges() as forges:
        await limited(forges)
    async with bench.forges() as forges:
        assert "it asks to wait" in str(await limited(forges))
        assert bench.api_requests == 1


async def test_a_block_that_is_over_does_not_come_back(bench: Bench, mock_clock: MockClock) -> None:
    """When the clock is set back, it would be to come once more."""
    bench.github.faults.append(Fault("api", FaultKind.SECONDARY_LIMIT, retry_after=600))
    async with bench.forges() as forges:
        await limited(forges)
        later(bench, mock_clock, 601)
        await refresh(forges.forge(""))
    bench.clock.now -= 300
    bench.github.clock = lambda: bench.clock.now + 300
    async with bench.forges() as forges:
        await refresh(forges.forge(""))


async def test_strikes_that_cannot_be_do_not_shorten_the_waiting(mock_clock: MockClock) -> None:
    budget = Budget("host", lambda: NOW)
    budget.restore(Saved(strikes=-2000))
    budget.learn(429, {}, refused=True)
    assert budget.refusal("").until - NOW >= 60


async def test_strikes_outlive_a_restart(bench: Bench, mock_clock: MockClock) -> None:
    for number in range(2):
        bench.github.faults.append(Fault("api", FaultKind.SECONDARY_LIMIT))
        async with bench.forges() as forges:
            wait = (await limited(forges)).until - bench.clock.now
            assert wait >= 60 * 2**number
        later(bench, mock_clock, wait)


@pytest.mark.parametrize("wrong", [-50 * 365 * 86400, 50 * 365 * 86400, -4000, 4000])
async def test_a_wrong_clock_neither_blocks_for_ever_nor_frees_at_once(
    bench: Bench, mock_clock: MockClock, wrong: float
) -> None:
    use_up(bench)
    bench.github.clock = lambda: NOW + bench.clock.now - ours
    ours = bench.clock.now = NOW + wrong
    async with bench.forges() as forges:
        assert (await limited(forges)).until == ours + HOUR + 1
        later(bench, mock_clock, HOUR)
        await limited(forges)
        assert bench.api_requests == 1
        later(bench, mock_clock, 1)
        await refresh(forges.forge(""))


@pytest.mark.parametrize("jump", [-50 * 365 * 86400, 50 * 365 * 86400])
async def test_a_clock_that_jumps_changes_nothing_of_the_waiting(
    bench: Bench, mock_clock: MockClock, jump: float
) -> None:
    use_up(bench)
    true = bench.github.clock
    async with bench.forges() as forges:
        await limited(forges)
        now = bench.clock.now
        bench.github.clock = lambda: true() - jump
        bench.clock.now = now + jump
        assert (await limited(forges)).until == NOW + jump + HOUR + 1
        assert bench.api_requests == 1
        later(bench, mock_clock, HOUR + 1)
        await refresh(forges.forge(""))


async def test_a_clock_that_was_set_right_between_two_starts(bench: Bench, mock_clock: MockClock) -> None:
    use_up(bench)
    bench.github.clock = lambda: NOW
    bench.clock.now = 0.0
    async with bench.forges() as forges:
        await limited(forges)
    bench.clock.now = NOW + 1000
    async with bench.forges() as forges:
        assert (await limited(forges)).until == NOW + HOUR + 1
        assert bench.api_requests == 1


async def test_a_kept_block_that_is_too_far_ahead_is_void(bench: Bench, mock_clock: MockClock) -> None:
    use_up(bench)
    async with bench.forges() as forges:
        await limited(forges)
    bench.clock.now = NOW - FARTHEST
    async with bench.forges() as forges:
        bench.github.clock = lambda: NOW + HOUR + 1
        await refresh(forges.forge(""))


@pytest.mark.parametrize(
    ("headers", "least", "most"),
    [
        ({"retry-after": "7"}, 7, 7),
        ({"retry-after": "0"}, 1, 1),
        ({"retry-after": "99999999"}, FARTHEST - 1, FARTHEST - 1),
        ({"retry-after": "Fri, 15 Jan 2027 08:00:09 GMT", "date": "Fri, 15 Jan 2027 08:00:00 GMT"}, 9, 9),
        ({"retry-after": "soon"}, 60, 75),
        ({"retry-after": "-5"}, 60, 75),
        ({"retry-after": "9" * 1000}, 60, 75),
        ({"x-ratelimit-limit": "60", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "1799999990"}, 60, 75),
        ({"x-ratelimit-limit": "60", "x-ratelimit-remaining": "9", "x-ratelimit-reset": "1800000100"}, 60, 75),
        ({"x-ratelimit-limit": "60", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "1800000100"}, 101, 101),
        ({"x-ratelimit-limit": "60", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "1900000000"}, 7200, 7200),
        ({"x-ratelimit-limit": "x", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "1800000100"}, 60, 75),
        ({"date": "rubbish"}, 60, 75),
        ({"retry-after": "\xb2"}, 60, 75),
        ({"x-ratelimit-limit": "\xb2", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "1800000100"}, 60, 75),
        # Its clock, when it tells it, and else ours.
        (USED_UP | {"date": "Fri, 15 Jan 2027 08:01:00 GMT"}, 41, 41),
    ],
)
async def test_headers_of_every_kind(headers: dict[str, str], least: float, most: float, mock_clock: MockClock) -> None:
    budget = Budget("host", lambda: NOW)
    # Of another time: what this one said of its clock is forgotten.
    budget.learn(200, {"date": "Fri, 15 Jan 2027 09:00:00 GMT"}, refused=False)
    budget.learn(403, headers, refused=True)
    with pytest.raises(RateLimited) as caught:
        budget.check(Purpose.JOB)
    assert least <= caught.value.until - NOW <= most
    assert caught.value.until == budget.refusal("").until
    mock_clock.jump(most)
    budget.check(Purpose.JOB)
