"""How many requests a forge still takes: the rules of GitHub's limits, which are the strictest.

https://docs.github.com/rest/using-the-rest-api/best-practices-for-using-the-rest-api (what to do when limited)

Time here is Trio's clock, which nobody sets; the forge's times are turned into durations by its own ``Date``.  A
Raspberry Pi has no clock battery: it starts somewhere in the past and jumps to the present in the middle of a request.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

import msgspec
import trio

from trio_update.host.forge.base import Purpose, RateLimited
from trio_update.host.http.client import shown
from trio_update.model import RateLimit

RESERVE = 5
"""Requests that a refresh leaves for an upgrade."""
FARTHEST = 2 * 3600.0
"""Seconds; windows have one hour.  What is said to last longer comes of a wrong clock."""

_SHORTEST = 60.0
_LONGEST = 3600.0
_JITTER = 1.25


class Moment(msgspec.Struct, frozen=True):
    """A time to come as two clocks show it, in unix seconds: ours and the forge's."""

    here: float = 0.0
    there: float = 0.0


class Saved(msgspec.Struct, frozen=True, kw_only=True):
    """What of a budget outlives the process."""

    seen: RateLimit | None = None
    window: Moment = Moment()
    blocked: Moment = Moment()
    strikes: int = 0
    why: str = ""


class Budget:
    """The limit of one API host for one token.  ``advice`` ends the sentences about a limit."""

    def __init__(self, host: str, clock: Callable[[], float], advice: str = "") -> None:
        self.host = host
        self.seen: RateLimit | None = None
        self._clock = clock
        self._advice = advice
        self._window = 0.0
        self._blocked = 0.0
        self._strikes = 0
        self._why = ""
        # How much the forge's clock is ahead of ours.
        self._ahead = 0.0

    def check(self, purpose: Purpose) -> None:
        """Raises: RateLimited when no request may be sent now for this purpose."""
        window = self._window - trio.current_time()
        blocked = self._blocked - trio.current_time()
        if blocked > 0:
            raise self._limited(blocked, self._why)
        if self.seen is None or window <= 0:
            return
        if self.seen.remaining <= 0:
            raise self._limited(window, f"its limit of {self.seen.limit} requests an hour is used up")
        if purpose is Purpose.REFRESH and self.seen.remaining <= RESERVE:
            left = f"only {self.seen.remaining} of {self.seen.limit} requests an hour are left"
            raise self._limited(window, f"{left}, and kept for upgrades")

    def learn(self, status: int, headers: Mapping[str, str], *, refused: bool) -> None:
        """Take in an answer; ``refused``: it says that we ask too much."""
        date = _date(headers.get("date", ""))
        self._ahead = 0.0 if date is None else date - self._clock()
        window = self._read_limit(headers)
        if refused:
            self._block(headers, window)
        elif status < 400:
            self._strikes = 0
            self._blocked = 0.0

    def refusal(self, said: str) -> RateLimited:
        """The error for an answer that was learned as refused; ``said`` is the forge's own message."""
        if said:
            self._why = f"{self._why} (it says: {shown(said)})"
        return self._limited(self._blocked - trio.current_time(), self._why)

    def _read_limit(self, headers: Mapping[str, str]) -> float:
        """Seconds until what is used up comes back; 0 when the answer doesn't tell."""
        limit, remaining, reset = (
            _number(headers.get(f"x-ratelimit-{name}")) for name in ("limit", "remaining", "reset")
        )
        if limit is None or remaining is None or reset is None:
            return 0.0
        self.seen = RateLimit(limit=limit, remaining=remaining, reset=reset)
        window = min(max(0.0, reset - self._clock() - self._ahead), FARTHEST - 1)
        # A second more, for the forge's clock and its header are of whole seconds.
        self._window = trio.current_time() + window + 1 if window else 0.0
        return window + 1 if window and remaining == 0 else 0.0

    def _block(self, headers: Mapping[str, str], window: float) -> None:
        asked = self._retry_after(headers.get("retry-after", ""))
        if asked is not None:
            seconds, self._why = asked, "it asks to wait"
        elif window:
            limit = self.seen.limit if self.seen else 0
            seconds, self._why = window, f"its limit of {limit} requests an hour is used up"
        else:
            backed_off = min(_SHORTEST * 2.0 ** min(self._strikes, 10), _LONGEST / _JITTER)
            seconds = backed_off * random.SystemRandom().uniform(1.0, _JITTER)
            self._strikes += 1
            self._why = "it turned a request down"
        self._blocked = trio.current_time() + seconds

    def _retry_after(self, value: str) -> float | None:
        """Seconds (RFC 9110, section 10.2.3: a number of them, or a date)."""
        seconds: float | None = _number(value)
        if seconds is None and (date := _date(value)) is not None:
            seconds = date - self._clock() - self._ahead
        return min(max(1.0, seconds), FARTHEST - 1) if seconds is not None else None

    def _limited(self, seconds: float, why: str) -> RateLimited:
        until = self._clock() + seconds
        when = time.strftime("%H:%M", time.localtime(until))
        text = f"{self.host} is not asked again until {when}: {why}"
        return RateLimited(self.host, until, f"{text}; {self._advice}" if self._advice else text)

    def save(self) -> Saved:
        return Saved(
            seen=self.seen,
            window=self._moment(self._window),
            blocked=self._moment(self._blocked),
            strikes=self._strikes,
            why=self._why,
        )

    def restore(self, saved: Saved) -> None:
        """Go on as another process left off."""
        self.seen = saved.seen
        self._window = self._from_now(saved.window)
        self._blocked = self._from_now(saved.blocked)
        self._strikes = max(0, saved.strikes)
        self._why = saved.why

    def _moment(self, when: float) -> Moment:
        here = self._clock() + when - trio.current_time()
        return Moment(here, here + self._ahead) if when else Moment()

    def _from_now(self, moment: Moment) -> float:
        """Our clock may have been wrong then and right now, or wrong both times: the other's time, or ours, fits."""
        ahead = [when - self._clock() for when in (moment.here, moment.there)]
        fitting = [seconds for seconds in ahead if 0 < seconds <= FARTHEST]
        return trio.current_time() + max(fitting) if fitting else 0.0


def _number(value: str | None) -> int | None:
    # Not more digits than a time has: int() takes seconds for a million of them.
    return int(value) if value is not None and value.isascii() and value.isdigit() and len(value) <= 12 else None


def _date(value: str) -> float | None:
    try:
        moment = parsedate_to_datetime(value)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
