"""What a forge can do to an update: faults of its three hosts, and what has to come of each."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass, replace

from trio_update.demo.github.faults import Fault, FaultKind, Host


class Act(enum.StrEnum):
    """What happens while the fault lasts.  WAIT: the answer comes.  ABORT: the user has enough.  KILL: all dies."""

    WAIT = "until the answer"
    ABORT = "aborted"
    KILL = "killed"


@dataclass(frozen=True)
class Trouble:
    """``says``: words of the answer, which is an error then; without any the update succeeds.

    ``pause``: seconds after which the forge may be asked again.
    """

    faults: tuple[Fault, ...]
    says: str = ""
    act: Act = Act.WAIT
    pause: float = 0.0

    @property
    def host(self) -> Host:
        return self.faults[0].where

    @property
    def path(self) -> str:
        return self.faults[0].path

    def on_order(self) -> list[Fault]:
        """The faults as the stand-in takes them: it counts them down."""
        return [replace(fault) for fault in self.faults]

    def __str__(self) -> str:
        return f"{' and '.join(map(_told, self.faults))}, {self.act}"


def _told(fault: Fault) -> str:
    code = f" {fault.code}" if fault.kind in {FaultKind.STATUS, FaultKind.SECONDARY_LIMIT} else ""
    return f"{fault.where}: {fault.kind}{code} {'always' if fault.times is None else 'once'} at {fault.at}"


_MIDDLE = 5000
_TURNED_DOWN = "is not asked again until"
_SIZE = "has another size than announced"
_REPLACED = "is damaged or was replaced"
# Of the download alone: the web host is asked for other things by a refresh.
_PATHS: dict[Host, str] = {"api": "/releases", "web": "/releases/download/", "assets": ""}


def _fault(where: Host, kind: FaultKind, *, always: bool = False, code: int = 0, at: int = 0, **more: float) -> Fault:
    fault = Fault(where, kind, times=None if always else 1, path=_PATHS[where], at=at, code=code)
    return replace(fault, rate=more.get("rate", fault.rate), retry_after=_seconds(more.get("retry_after")))


def _seconds(value: float | None) -> int | None:
    return None if value is None else int(value)


def _of_api() -> Iterator[Trouble]:
    for kind, says in (
        (FaultKind.HTML, "a web page instead of JSON"),
        (FaultKind.NOT_JSON, "something else than the JSON that was expected"),
        (FaultKind.REDIRECT_LOOP, "redirects in a circle"),
        (FaultKind.GZIP_BOMB, "compressed, which was not asked for"),
        (FaultKind.HUGE, "sent more than"),
    ):
        yield Trouble((_fault("api", kind, always=True),), says)
    for kind, at in ((FaultKind.CORRUPT, 0), (FaultKind.WRONG_SIZE, 100)):
        yield Trouble((_fault("api", kind, at=at),), "something else than the JSON that was expected")
    yield Trouble((_fault("api", FaultKind.STATUS, code=404),), "has no release")
    for code in (403, 429):
        for kind in (FaultKind.STATUS, FaultKind.SECONDARY_LIMIT):
            yield Trouble((_fault("api", kind, code=code, retry_after=1),), _TURNED_DOWN, pause=1.5)
    yield Trouble((_fault("api", FaultKind.PRIMARY_LIMIT),), _TURNED_DOWN, pause=3.5)
    for code in (500, 502):
        yield Trouble((_fault("api", FaultKind.STATUS, code=code),))
        yield Trouble((_fault("api", FaultKind.STATUS, code=code, always=True),), f"answered {code}")
    for kind in (FaultKind.TRUNCATE, FaultKind.RESET, FaultKind.CLOSE):
        yield Trouble((_fault("api", kind, at=100),))
        yield Trouble((_fault("api", kind, at=100, always=True),), "cannot reach")
    for act in (Act.ABORT, Act.KILL):
        yield Trouble((_fault("api", FaultKind.STALL, at=100, always=True),), "aborted", act)
        yield Trouble((_fault("api", FaultKind.DRIP, rate=10, always=True),), "aborted", act)


def _of_downloads(host: Host) -> Iterator[Trouble]:
    """What both hosts can do that a download passes."""
    for code in (403, 404):
        yield Trouble((_fault(host, FaultKind.STATUS, code=code),), f"answered {code}")
    for code in (429, 500, 502):
        yield Trouble((_fault(host, FaultKind.STATUS, code=code),))
    yield Trouble((_fault(host, FaultKind.CLOSE),))
    yield Trouble((_fault(host, FaultKind.REDIRECT_LOOP),), "redirects in a circle")
    for kind in (FaultKind.HTML, FaultKind.NOT_JSON, FaultKind.HUGE):
        yield Trouble((_fault(host, kind),), _SIZE)
    yield Trouble((_fault(host, FaultKind.GZIP_BOMB, at=1 << 20),), _SIZE)
    for act in (Act.ABORT, Act.KILL):
        yield Trouble((_fault(host, FaultKind.STATUS, code=502, always=True),), "aborted", act)
        yield Trouble((_fault(host, FaultKind.CLOSE, always=True),), "aborted", act)


def _of_assets() -> Iterator[Trouble]:
    yield Trouble((_fault("assets", FaultKind.CORRUPT, at=_MIDDLE),), _REPLACED)
    for size in (_MIDDLE, 1 << 16):
        yield Trouble((_fault("assets", FaultKind.WRONG_SIZE, at=size),), _SIZE)
    yield Trouble((_fault("assets", FaultKind.DRIP, rate=50_000),))
    broken = _fault("assets", FaultKind.TRUNCATE, at=_MIDDLE)
    yield Trouble((broken, _fault("assets", FaultKind.NO_RANGE)))
    yield Trouble((broken, replace(_fault("assets", FaultKind.CHANGED), content=b"\0" * 20_000)), _SIZE)
    for kind in (FaultKind.TRUNCATE, FaultKind.RESET):
        yield Trouble((_fault("assets", kind, at=_MIDDLE),))
        for act in (Act.ABORT, Act.KILL):
            yield Trouble((_fault("assets", kind, at=_MIDDLE, always=True),), "aborted", act)
    for act in (Act.ABORT, Act.KILL):
        yield Trouble((_fault("assets", FaultKind.STALL, at=_MIDDLE, always=True),), "aborted", act)
        yield Trouble((_fault("assets", FaultKind.DRIP, rate=1000, always=True),), "aborted", act)


TROUBLES = (*_of_api(), *_of_downloads("web"), *_of_downloads("assets"), *_of_assets())
