"""Answers of the stand-in for GitHub, and how they are sent: whole or, on order, not."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from html import escape
from pathlib import Path
from types import TracebackType
from typing import Self

import trio

from trio_update.demo.http1 import Connection, Headers

# Large pieces: what costs is the thread that reads a file, and the loop, not the bytes.
_PIECE = 1024 * 1024
# A slow answer goes out in pieces of this many seconds.
_TICK = 0.1


@dataclass(frozen=True, slots=True)
class Content:
    """``size`` bytes of ``source`` from ``start`` on; zeros where the source has ended."""

    source: bytes | Path = b""
    start: int = 0
    size: int = 0

    @classmethod
    def of(cls, body: bytes) -> Self:
        return cls(body, 0, len(body))


class Ending(Enum):
    """What happens where an answer is broken off."""

    CLOSE = auto()
    RESET = auto()
    STALL = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """How a body is sent: ``stop_at`` bytes and then ``ending``; ``flip`` the byte to be inverted; ``rate`` bytes a
    second; ``endless``: the body again and again."""

    stop_at: int | None = None
    ending: Ending = Ending.CLOSE
    seconds: float = math.inf
    flip: int | None = None
    rate: float | None = None
    endless: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A status (0: none, the connection is closed), headers without those of the framing, and a body."""

    status: int
    headers: Headers = field(default_factory=list)
    content: Content = field(default_factory=Content)
    counted: bool = False
    delivery: Delivery = field(default_factory=Delivery)

    def replaced(self, status: int, body: bytes, kind: str, *more: tuple[str, str]) -> Answer:
        """The same with another status and body; what is said about limits stays, what is said of the body goes."""
        about_body = ("content-type", "content-encoding", "content-range", "content-disposition", "etag", "location")
        kept = [(name, value) for name, value in self.headers if name not in (*about_body, "last-modified", "link")]
        headers = [*kept, ("content-type", kind), *more]
        return replace(self, status=status, headers=headers, content=Content.of(body))


def plain(status: int, body: bytes, kind: str, *headers: tuple[str, str]) -> Answer:
    return Answer(status=status, headers=[("content-type", kind), *headers], content=Content.of(body))


def page(status: int, text: str, *headers: tuple[str, str]) -> Answer:
    """A web page."""
    said = escape(text)
    document = f"<!DOCTYPE html>\n<html><head><title>{said}</title></head><body><h1>{said}</h1></body></html>\n"
    return plain(status, document.encode(), "text/html; charset=utf-8", *headers)


def redirect(status: int, url: str) -> Answer:
    return plain(status, b"", "text/html; charset=utf-8", ("location", url))


async def send(connection: Connection, answer: Answer, *, head_only: bool) -> None:
    """Send it, and whatever is to go wrong.

    Raises:
        BrokenResourceError: the client has gone, or the connection was broken on purpose.
    """
    if answer.status == 0:
        raise trio.BrokenResourceError("closed on purpose")
    endless = answer.delivery.endless
    length = ("transfer-encoding", "chunked") if endless else ("content-length", str(answer.content.size))
    bodiless = answer.status == 304
    await connection.start(answer.status, [*answer.headers, *([] if bodiless else [length])])
    if not head_only and not bodiless:
        await _Sending(connection, answer.content, answer.delivery).run()
    await connection.end()


class _Sending:
    """One body on its way."""

    def __init__(self, connection: Connection, content: Content, delivery: Delivery) -> None:
        self._connection = connection
        self._content = content
        self._delivery = delivery
        self._sent = 0
        self._stop_at = delivery.stop_at

    async def run(self) -> None:
        total = self._content.size
        async with _Reader(self._content) as reader:
            while self._sent < total or self._delivery.endless:
                if self._sent == self._stop_at:
                    await self._stop()
                size = self._next(total - self._sent)
                piece = await reader.read(size)
                if self._delivery.rate is not None:
                    # Before the piece: who has got the last one goes away at once.
                    await self._connection.pause(size / self._delivery.rate)
                await self._connection.data(self._flipped(piece))
                self._sent += size

    def _next(self, left: int) -> int:
        size = _PIECE if self._delivery.endless else min(_PIECE, left)
        if self._delivery.rate is not None:
            size = min(size, max(1, int(self._delivery.rate * _TICK)))
        if self._stop_at is not None and self._stop_at > self._sent:
            size = min(size, self._stop_at - self._sent)
        return size

    async def _stop(self) -> None:
        match self._delivery.ending:
            case Ending.RESET:
                self._connection.reset()
            case Ending.CLOSE:
                raise trio.BrokenResourceError("cut on purpose")
            case Ending.STALL:
                await self._connection.pause(self._delivery.seconds)

    def _flipped(self, piece: memoryview) -> memoryview:
        flip = self._delivery.flip
        if flip is None or not self._sent <= flip < self._sent + len(piece):
            return piece
        changed = bytearray(piece)
        changed[flip - self._sent] ^= 0xFF
        return memoryview(changed)


class _Reader:
    """The bytes of a content in pieces, zeros behind the end of its source; a piece is good until the next one."""

    def __init__(self, content: Content) -> None:
        self._content = content
        self._position = content.start
        self._exits = AsyncExitStack()
        self._read_into: Callable[[memoryview], Awaitable[int | None]] = _nothing
        self._buffer = bytearray()

    async def __aenter__(self) -> Self:
        if isinstance(self._content.source, Path):
            file = await trio.open_file(self._content.source, "rb", buffering=0)
            await self._exits.enter_async_context(file)
            await file.seek(self._content.start)
            self._read_into = file.readinto
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._exits.aclose()

    async def read(self, size: int) -> memoryview:
        position, self._position = self._position, self._position + size
        if isinstance(self._content.source, bytes):
            piece = memoryview(self._content.source)[position : position + size]
            return piece if len(piece) == size else memoryview(bytes(piece).ljust(size, b"\0"))
        if len(self._buffer) < size:
            self._buffer = bytearray(size)
        view = memoryview(self._buffer)[:size]
        got = 0
        while got < size and (more := await self._read_into(view[got:])):
            got += more
        view[got:] = bytes(size - got)
        return view


async def _nothing(_: memoryview) -> int:
    return 0
