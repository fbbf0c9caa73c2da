"""How long to wait before a server is asked again: as long as it says, or longer each time."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime


def back_off(attempt: int) -> float:
    """Seconds before the next attempt, after so many (from 1 on): half of 2, 4, 8 …, up to all of it.

    At random, because many hosts that lost one server must not come back at the same moment.
    """
    return 2.0**attempt * random.SystemRandom().uniform(0.5, 1.0)


def retry_after(headers: Mapping[str, str], clock: Callable[[], float] = time.time) -> float | None:
    """Seconds that an answer asks to wait (RFC 9110, section 10.2.3); ``None`` when nothing useful is said.

    Below 0 for a date that is over.  A date is measured against the server's own, and by ``clock`` (unix seconds)
    only where that is missing: the clock of a small board may be wrong by years.
    """
    said = headers.get("retry-after", "").strip()
    if (seconds := number(said)) is not None:
        return float(seconds)
    if (until := date(said)) is None:
        return None
    now = date(headers.get("date", ""))
    return until - (clock() if now is None else now)


def number(text: str) -> int | None:
    """A header that is a whole number; ``None`` for anything else."""
    # Not more digits than a time or a size has: int() takes seconds for a million of them.
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else None


def date(text: str) -> float | None:
    """A header that is a date, in unix seconds; ``None`` for anything else."""
    try:
        moment = parsedate_to_datetime(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
