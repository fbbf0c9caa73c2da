"""What a server makes of a disk whose power was cut."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

import trio

from tests.crash.servers import Died, Server, Zygote, processes_of
from tests.powercut.apps import App, environment_of
from trio_update.updaters.release.shelf import Shelf


class Kind(enum.StrEnum):
    """MIXED: neither version, whole.  EMPTY: that, with files of length zero.  LOST: a file of the user's.

    UNDONE: what was said to be done is not.  STATUS: the server says something else than is there.  AGAIN: what the
    user would do next fails.  LEFTOVER: of the interrupted job.  SHELF: a kept version is not what it should be.
    BROKEN: the server does not start or end as it should.
    """

    MIXED = "mixture"
    EMPTY = "zero-length"
    LOST = "lost"
    UNDONE = "undone"
    STATUS = "status"
    AGAIN = "again"
    LEFTOVER = "leftover"
    SHELF = "shelf"
    BROKEN = "broken"


@dataclass(frozen=True)
class Cut:
    """``number``: how many calls were done.  ``committed``: the file system had written its journal just then.

    ``told``: the server had answered that the update succeeded.
    """

    number: int
    behind: str
    committed: bool
    told: bool = False

    def __str__(self) -> str:
        return f"{self.number} {self.behind}{', the journal written' if self.committed else ''}"


@dataclass
class Verdict:
    cut: Cut
    version: str = ""
    faults: list[tuple[Kind, str]] = field(default_factory=list)

    @property
    def kinds(self) -> set[Kind]:
        return {kind for kind, _ in self.faults}

    def add(self, kind: Kind, text: str) -> None:
        self.faults.append((kind, text))

    def __str__(self) -> str:
        faults = "".join(f"\n    {kind}: {text}" for kind, text in self.faults)
        return f"{self.cut} -> {self.version or 'neither version'}{faults}"


async def judge(app: App, zygote: Zygote, cut: Cut) -> Verdict:
    """Start a server on the disk as the cut left it, look, and do the operation again."""
    verdict = Verdict(cut)
    try:
        async with zygote.server(app.disk, environment_of(app.disk)) as server:
            await server.listening()
            _look(app, verdict)
            await _ask(app, server, verdict)
            if verdict.version:
                await _again(app, server, verdict)
            code = await server.stop()
            if code != "0" or "Traceback" in server.log or list(processes_of(app.disk)):
                verdict.add(Kind.BROKEN, f"the server ended with {code!r}: {server.log}")
    except (Died, trio.TooSlowError) as error:
        verdict.add(Kind.BROKEN, f"{type(error).__name__}: {error}")
    return verdict


def _look(app: App, verdict: Verdict) -> None:
    old, new = (app.wrong(version) for version in (app.operation.old, app.operation.new))
    verdict.version = app.operation.old if not old else app.operation.new if not new else ""
    if not verdict.version:
        wrong = min(old, new, key=len)
        empty = any("has length zero" in told for told in wrong)
        shown = "; ".join(wrong[:6]) + ("…" if len(wrong) > 6 else "")
        verdict.add(Kind.EMPTY if empty else Kind.MIXED, f"{len(wrong)} wrong: {shown}")
    if verdict.version == app.operation.old and verdict.cut.told:
        verdict.add(Kind.UNDONE, f"it had said that {app.operation.new} is installed")
    if lost := app.lost():
        verdict.add(Kind.LOST, f"{', '.join(lost)}")
    _look_beside(app, verdict)


def _look_beside(app: App, verdict: Verdict) -> None:
    left = [*app.disk.app.parent.rglob(".*.trio-update.*"), *app.disk.journal.glob("*")]
    if left:
        verdict.add(Kind.LEFTOVER, ", ".join(map(str, left)))
    shelf = Shelf(app.shelf)
    for kept in shelf.kept():
        if not kept.is_whole():
            verdict.add(Kind.SHELF, f"{kept.record.version} is damaged")
    strange = [folder for folder in app.shelf.glob("version-*") if folder not in {one.folder for one in shelf.kept()}]
    if strange:
        verdict.add(Kind.SHELF, f"without a record: {', '.join(map(str, strange))}")


async def _ask(app: App, server: Server, verdict: Verdict) -> None:
    refreshed = await server.when_ready("refresh?name=app")
    if refreshed.code != 200:
        verdict.add(Kind.STATUS, f"a refresh: {refreshed.text}")
    status = await server.app()
    if not verdict.version:
        return
    if not status["is_valid"] or not app.says(status, verdict.version):
        verdict.add(Kind.STATUS, f"the status says {status}"[:600])


async def _again(app: App, server: Server, verdict: Verdict) -> None:
    """The operation succeeds; behind it, the way back and the operation."""
    operation = app.operation
    steps = [(operation.request, operation.new)]
    if verdict.version == operation.new:
        steps.insert(0, (operation.back, operation.old))
    for request, version in steps:
        answer = await server.ask(request)
        if answer.code != 200:
            verdict.add(Kind.AGAIN, f"{request}: {answer.text}")
            return
        if wrong := app.wrong(version):
            verdict.add(Kind.AGAIN, f"behind {request}: {'; '.join(wrong[:6])}")
    after = Verdict(verdict.cut)
    _look_beside(app, after)
    verdict.faults += [(kind, f"behind {operation.request}: {text}") for kind, text in after.faults]
