"""Messages that tell how far something has got: how ours are written, and how ours and git's are read.

They stay text, because that is what clients know; whoever shows them better than as one line after the other (a bar,
a log that is not flooded) reads them here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Report", "download_message"]

Report = Callable[[str], None]
"""Gets what there is to tell of something under way, a line at a time; returns at once."""

# "Receiving objects:  45% (9/20), 1.20 MiB | 3.00 MiB/s"; "remote: " in front of what the other side does.
_GIT = re.compile(r"(?:remote: )?(?P<what>[^%:\n]{1,60}):\s+(?P<percent>\d{1,3})%(?: \([^)]*\))?(?P<more>, .*)?")
_OURS = re.compile(
    r"(?P<what>Downloading .{1,200}): (?P<done>\d{1,15}) KiB(?: / (?P<total>\d{1,15}) KiB \[(?P<percent>\d{1,3})%\])?"
)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far ``what`` has got; ``percent`` is ``None`` when the total is not known.

    ``amount``: what there is to tell besides, for a reader.  ``last``: nothing follows that makes it obsolete.
    ``done`` and ``total`` in bytes, where the message tells them; rounded up to whole KiB, as it does.
    """

    what: str
    percent: int | None
    amount: str = ""
    last: bool = False
    done: int | None = None
    total: int | None = None


def read_progress(message: str) -> Progress | None:
    """What a message tells of progress; ``None`` for any other."""
    message = message.strip()
    if (found := _OURS.fullmatch(message)) is not None:
        done = int(found["done"]) * 1024
        if found["percent"] is None:
            return Progress(found["what"], None, f"{found['done']} KiB", done=done)
        percent, total = min(int(found["percent"]), 100), int(found["total"]) * 1024
        return Progress(found["what"], percent, f"of {found['total']} KiB", last=percent == 100, done=done, total=total)
    if (found := _GIT.fullmatch(message)) is not None:
        last = (found["more"] or "").endswith("done.")
        return Progress(found["what"], min(int(found["percent"]), 100), last=last)
    return None


class Throttle:
    """Lets progress of one thing through at most once in ``seconds``, so that neither a reader nor a file is flooded.

    Everything else passes: other messages, another thing, a thing's last line, and whatever follows one of those.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._what: tuple[str, str] | None = None
        self._next = -math.inf

    def passes(self, progress: Progress | None, now: float, *, of: str = "") -> bool:
        """Whether to show what is at ``now`` (seconds of any clock that only goes forward); ``of`` whom it is told."""
        what = None if progress is None or progress.last else (of, progress.what)
        if what is not None and what == self._what and now < self._next:
            return False
        self._what, self._next = what, now + self._seconds
        return True


def download_message(name: str, done: int, total: int | None) -> str:
    """``Downloading NAME: X KiB / Y KiB [P%]`` for so many bytes; KiB rounded up, so that X reaches Y."""
    line = f"Downloading {name}: {_kib(done)} KiB"
    if total is not None:
        line += f" / {_kib(total)} KiB [{done * 100 // total if total else 100}%]"
    return line


def _kib(size: int) -> int:
    return -(-size // 1024)
