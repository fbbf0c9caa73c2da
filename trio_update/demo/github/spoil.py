"""What the faults on order make of an answer of the stand-in for GitHub."""

from __future__ import annotations

import zlib
from dataclasses import replace
from http import HTTPStatus

import trio

from trio_update.demo.github.answer import Answer, Delivery, Ending, page
from trio_update.demo.github.api import error_body
from trio_update.demo.github.faults import Fault, FaultKind

LOOP = "/loop/"
_LINE = b"There is no end to this. " * 4096
_BOMB = 64 * 1024 * 1024
_STEP = 1024 * 1024
_ENDINGS = {FaultKind.TRUNCATE: Ending.CLOSE, FaultKind.RESET: Ending.RESET, FaultKind.STALL: Ending.STALL}


async def spoil(answer: Answer, fault: Fault, base: str) -> Answer:
    """``answer`` with the fault; ``base`` is the URL of the host that answers."""
    match fault.kind:
        case FaultKind.HUGE:
            huge = answer.replaced(200, _LINE, _kind_of(answer))
            return replace(huge, delivery=Delivery(endless=True))
        case FaultKind.GZIP_BOMB:
            bomb = await _bomb(fault.at or _BOMB)
            return answer.replaced(200, bomb, _kind_of(answer), ("content-encoding", "gzip"))
        case FaultKind.WRONG_SIZE:
            return replace(answer, content=replace(answer.content, size=fault.at))
        case FaultKind.CLOSE:
            return replace(answer, status=0)
        case _:
            return replace(_instead(answer, fault, base), delivery=_delivery(fault))


def _delivery(fault: Fault) -> Delivery:
    """How the body is sent with the fault."""
    match fault.kind:
        case FaultKind.TRUNCATE | FaultKind.RESET | FaultKind.STALL:
            return Delivery(stop_at=fault.at, ending=_ENDINGS[fault.kind], seconds=fault.seconds)
        case FaultKind.CORRUPT:
            return Delivery(flip=fault.at)
        case FaultKind.DRIP:
            return Delivery(rate=fault.rate)
        case _:
            return Delivery()


def _instead(answer: Answer, fault: Fault, base: str) -> Answer:
    """Another answer, if the fault is of that kind."""
    match fault.kind:
        case FaultKind.STATUS:
            return _status(answer, fault)
        case FaultKind.REDIRECT_LOOP:
            return answer.replaced(302, b"", "text/html", ("location", f"{base}{LOOP}a"))
        case FaultKind.REDIRECT_TO:
            return answer.replaced(302, b"", "text/html", ("location", fault.url))
        case FaultKind.HTML:
            html = page(200, "Sign in to the network")
            assert isinstance(html.content.source, bytes)
            return answer.replaced(200, html.content.source, "text/html; charset=utf-8")
        case FaultKind.NOT_JSON:
            return answer.replaced(200, b'{"tag_name": ', "application/json; charset=utf-8")
        case _:
            return answer


def looped(target: str, base: str) -> Answer | None:
    """The answer to who goes round in :attr:`FaultKind.REDIRECT_LOOP`."""
    if not target.startswith(LOOP):
        return None
    return Answer(status=302, headers=[("location", f"{base}{LOOP}{'b' if target.endswith('a') else 'a'}")])


def _status(answer: Answer, fault: Fault) -> Answer:
    phrase = HTTPStatus(fault.code).phrase
    after = [] if fault.retry_after is None else [("retry-after", str(fault.retry_after))]
    if fault.where == "api" and fault.code != 502:
        return answer.replaced(fault.code, error_body(fault.code, phrase), "application/json; charset=utf-8", *after)
    # A gateway that reaches nobody behind it speaks no JSON.
    content = page(fault.code, phrase).content
    assert isinstance(content.source, bytes)
    return answer.replaced(fault.code, content.source, "text/html; charset=utf-8", *after)


def _kind_of(answer: Answer) -> str:
    return dict(answer.headers).get("content-type", "application/octet-stream")


async def _bomb(size: int) -> bytes:
    """In steps, not in a thread: under a clock that jumps when nothing runs, a thread counts as nothing."""
    compressor = zlib.compressobj(9, wbits=31)
    spaces = b" " * _STEP
    pieces = []
    for start in range(0, size, _STEP):
        pieces.append(compressor.compress(spaces[: size - start]))
        await trio.lowlevel.checkpoint()
    return b"".join([*pieces, compressor.flush()])
