"""Files from the network: streamed to disk, resumed, bounded and verified."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path

import trio

from trio_update.errors import OperationFailed
from trio_update.groups import unwrapped
from trio_update.host.http.client import SIGN_OF_LIFE, BadAnswer, Headers, Response, Unreachable, Web, shown
from trio_update.host.http.sink import Digest, Sink
from trio_update.host.threads import in_thread
from trio_update.progress import download_message

ATTEMPTS = 5
"""So many attempts, one after the other, may bring nothing new."""
LONGEST_WAIT = 120.0
"""Seconds; a server that asks for a longer pause is not waited for."""

_PIECE = 1024 * 1024
_REPORTS = 0.25
_PASSING = frozenset({408, 429, 500, 502, 503, 504})


@dataclass(frozen=True)
class Downloaded:
    """A file that is complete and verified.  ``size`` in bytes, ``sha256`` in lower-case hexadecimal digits."""

    path: Path
    size: int
    sha256: str


async def download(
    web: Web,
    url: str,
    target: Path,
    *,
    name: str,
    size: int | None,
    digest: str,
    limit: int,
    report: Callable[[str], None],
    headers: Headers = (),
) -> Downloaded:
    """Fetch ``url`` into the new file ``target``, and verify it.

    ``name`` is what messages call it.  ``size`` is the announced one in bytes, ``limit`` what is taken at most;
    ``digest`` is empty or ``ALGORITHM:HEX``.  ``report`` gets a line at most four times a second, and one before each
    repetition.  A connection that breaks is continued where it broke if the server still has the same file; it is
    given up after five attempts in a row that brought nothing new.

    On failure and on cancellation what has come so far stays in ``target``: the caller removes it with its stage.  The
    file is not synced: that is done once, for all of a stage.

    Raises: Unreachable when the attempts are used up; BadAnswer when the server refuses; OperationFailed for a size or
    digest that does not fit; FileTrouble when it cannot be written, or ``target`` exists.
    """
    name = shown(name)
    expected = Digest.read(digest, name)
    if size is not None and size > limit:
        raise OperationFailed(f"{name} is announced with {size} bytes, more than the {limit} that are allowed: refused")
    sink = Sink(target, expected)
    try:
        await in_thread(sink.open)
        transfer = _Transfer(web, url, dict(headers), sink, _Progress(name, report), size, limit)
        await transfer.run()
        await in_thread(sink.publish)
    finally:
        sink.close()
    expected.check(name, sink.digests[-1].hexdigest())
    return Downloaded(target, sink.size, sink.digests[0].hexdigest())


class _Progress:
    """Tells how far a download has got, at most four times a second."""

    def __init__(self, name: str, report: Callable[[str], None]) -> None:
        self.name = name
        self.say = report
        self._next = -1.0
        self._last = ""

    def show(self, done: int, total: int | None, *, last: bool = False) -> None:
        now = trio.current_time()
        if now < self._next and not last:
            return
        line = download_message(self.name, done, total)
        if line != self._last:
            self.say(line)
        self._last, self._next = line, now + _REPORTS


class _Again(Unreachable):
    """An answer that another attempt may better.  ``after``: seconds that the server asks to wait."""

    def __init__(self, message: str, after: float = 0.0) -> None:
        self.after = after
        super().__init__(message)


class _Transfer:
    """One file on its way, over as many attempts as it takes.

    Each of them starts at ``url``: the address that it redirects to is signed, and expires.
    """

    def __init__(
        self,
        web: Web,
        url: str,
        headers: dict[str, str],
        sink: Sink,
        progress: _Progress,
        size: int | None,
        limit: int,
    ) -> None:
        self._web = web
        self._url = url
        self._headers = headers
        self._sink = sink
        self._progress = progress
        self._size = size
        self._limit = limit
        self._total = size
        self._validator = ""

    async def run(self) -> None:
        """Raises: Unreachable, BadAnswer, OperationFailed, FileTrouble."""
        attempts, best = 0, 0
        while True:
            try:
                await self._attempt()
                break
            except Unreachable as error:
                # Less than this is no progress, and a file that starts over only makes some when it gets further than
                # before: a server that breaks each answer off at the same place must come to an end.
                if self._sink.size >= best + SIGN_OF_LIFE:
                    attempts, best = 0, self._sink.size
                else:
                    attempts += 1
                await self._wait(attempts, error)
        if self._size is not None and self._sink.size != self._size:
            raise self._wrong_size(self._sink.size)
        self._progress.show(self._sink.size, self._sink.size if self._total is not None else None, last=True)

    async def _wait(self, attempts: int, error: Unreachable) -> None:
        after = error.after if isinstance(error, _Again) else 0.0
        what = f"cannot download {self._progress.name}: {error}"
        if attempts >= ATTEMPTS:
            raise Unreachable(f"{what} ({attempts} attempts); try again later") from error
        if after > LONGEST_WAIT:
            raise Unreachable(f"{what}; it asks to wait {after:.0f} s: try again then") from error
        # Many clients that lost one server must not come back at the same moment.
        seconds = after + 2.0 ** max(attempts, 1) * random.SystemRandom().uniform(0.5, 1.0)
        self._progress.say(f"Downloading {self._progress.name}: {error}; trying again in {seconds:.0f} s")
        await trio.sleep(seconds)

    async def _attempt(self) -> None:
        headers = dict(self._headers)
        if self._sink.size and self._validator:
            headers |= {"range": f"bytes={self._sink.size}-", "if-range": self._validator}
        async with self._web.stream("GET", self._url, headers=headers) as response:
            await self._accept(response, asked="range" in headers)
            self._progress.show(self._sink.size, self._total)
            await self._receive(response)
        if self._total is not None and self._sink.size < self._total and _may_be_cut(response):
            raise _Again(f"{shown(response.url)} ended after {self._sink.size} of {self._total} bytes")

    async def _accept(self, response: Response, *, asked: bool) -> None:
        """Decide what to do with an answer; afterwards its body belongs at the end of the file."""
        place = f"{shown(response.url)} answered {response.status} {response.reason}".rstrip()
        if response.status in _PASSING:
            raise _Again(place, _retry_after(response))
        if response.status == 206 and asked and self._continues(response):
            return
        if response.status in {206, 416} and asked:
            await self._restart()
            raise _Again(f"{place}, which is not the part that was asked for")
        if response.status != 200:
            raise BadAnswer(
                f"cannot download {self._progress.name}: {place}; refresh, then try again: the release may have changed"
            )
        if self._sink.size:
            await self._restart()
        self._validator = _validator(response)
        length = _number(response.headers.get("content-length", ""))
        self._total = length if self._size is None else self._size
        if length is not None and self._size is not None and length != self._size:
            raise self._wrong_size(length)
        if length is not None and length > self._limit:
            raise self._too_large(length, self._limit)

    def _continues(self, response: Response) -> bool:
        """RFC 9110, section 14.4: ``bytes FIRST-LAST/COMPLETE``, of the very file that we have the beginning of."""
        unit, _, rest = response.headers.get("content-range", "").partition(" ")
        part, _, complete = rest.partition("/")
        first = part.partition("-")[0]
        same = response.headers.get("etag", self._validator) == self._validator or not self._validator.startswith('"')
        fits = complete == "*" or self._total is None or _number(complete) == self._total
        return unit.lower() == "bytes" and _number(first) == self._sink.size and fits and same

    async def _receive(self, response: Response) -> None:
        """Write the body: while one piece is written and hashed in a thread, the next is received."""
        with unwrapped():
            async with trio.open_nursery() as nursery:
                # Holds nothing itself: two pieces are in memory, the one that fills and the one that is written.
                full, pieces = trio.open_memory_channel[bytearray](0)
                nursery.start_soon(self._write, pieces)
                async with full:
                    failure = await self._gather(response, full)
        if failure is not None:
            raise failure

    async def _write(self, pieces: trio.MemoryReceiveChannel[bytearray]) -> None:
        async with pieces:
            async for piece in pieces:
                await in_thread(self._sink.write, piece)

    async def _gather(self, response: Response, full: trio.MemorySendChannel[bytearray]) -> OperationFailed | None:
        """A failure is returned, not raised: what came before it is still written, for the next attempt."""
        piece, came, failure = bytearray(), self._sink.size, None
        most = self._limit if self._total is None else self._total
        try:
            while received := await response.receive():
                came += len(received)
                if came > most:
                    return self._wrong_size(came) if self._size is not None else self._too_large(came, most)
                piece += received
                self._progress.show(came, self._total)
                if len(piece) >= _PIECE:
                    await full.send(piece)
                    piece = bytearray()
        except OperationFailed as error:
            failure = error
        if piece:
            await full.send(piece)
        return failure

    async def _restart(self) -> None:
        self._validator = ""
        await in_thread(self._sink.restart)

    def _wrong_size(self, got: int) -> OperationFailed:
        return OperationFailed(
            f"{self._progress.name} has another size than announced: expected {self._size} bytes, got {got}. Refresh "
            "and try again; if that does not help, tell the project that publishes it"
        )

    def _too_large(self, got: int, most: int) -> OperationFailed:
        return OperationFailed(
            f"{self._progress.name} is larger than it may be: expected at most {most} bytes, got at least {got}"
        )


def _validator(response: Response) -> str:
    """What `If-Range` may carry: a strong entity tag, or without any tag a strong date (RFC 9110, section 13.1.5)."""
    tag = response.headers.get("etag", "")
    if tag:
        return tag if tag.startswith('"') else ""
    modified, now = (response.headers.get(header, "") for header in ("last-modified", "date"))
    try:
        old = (parsedate_to_datetime(now) - parsedate_to_datetime(modified)).total_seconds() >= 1
    except (ValueError, TypeError):
        return ""
    return modified if old else ""


def _retry_after(response: Response) -> float:
    """Seconds (RFC 9110, section 10.2.3); 0 when nothing useful is said.

    A date is measured against the server's own: the clock of a small board may be wrong by years.
    """
    said = response.headers.get("retry-after", "").strip()
    seconds = _number(said)
    if seconds is not None:
        return float(seconds)
    try:
        until = parsedate_to_datetime(said).timestamp()
    except ValueError:
        return 0.0
    try:
        now = parsedate_to_datetime(response.headers.get("date", "")).timestamp()
    except ValueError:
        now = time.time()
    return max(0.0, until - now)


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None


def _may_be_cut(response: Response) -> bool:
    """Whether the body's end looks like a broken connection (no length was told), or is only a part of the rest."""
    return response.status == 206 or not {"content-length", "transfer-encoding"} & response.headers.keys()
