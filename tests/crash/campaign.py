"""Many strikes: scenes made once, points found once, then one strike after another on a few places at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trio

from tests.crash import git_app, release_app
from tests.crash.aftermath import Mode, Report
from tests.crash.facing import face
from tests.crash.operations import Kind, MakeScenes, Operation, World
from tests.crash.points import SERVER, Point
from tests.crash.project import make_project
from tests.crash.scenes import make_place
from tests.crash.servers import Zygote, open_zygote
from tests.crash.strike import Arena
from tests.crash.troubles import Trouble
from trio_update.demo.github.server import GitHub, serve_github

OPERATIONS: Mapping[str, Operation] = {**git_app.OPERATIONS, **release_app.OPERATIONS}
MAKERS: Mapping[str, MakeScenes] = {
    git_app.FAMILY: git_app.make_scenes,
    **{kind: release_app.MakeScenes(kind) for kind in release_app.KINDS},
}
FAULTS = "faults"
_UNLIMITED = 1_000_000


@dataclass(frozen=True)
class Strike:
    """One thing to do: kill (``error`` is ``None``), let a call fail, or let the forge behave badly."""

    operation: Operation
    point: Point | Trouble
    mode: Mode = Mode.WHOLE
    error: str | None = None
    without_recovery: bool = False


@dataclass
class Tally:
    """What a campaign showed."""

    reports: list[Report] = field(default_factory=list)

    @property
    def faulty(self) -> list[Report]:
        return [report for report in self.reports if report.faults]

    def __str__(self) -> str:
        kinds = Counter(fault.kind for report in self.reports for fault in {f.kind: f for f in report.faults}.values())
        states = Counter(report.state for report in self.reports)
        struck = sum(report.struck for report in self.reports)
        found = ", ".join(f"{kinds[kind]} {_WORDS[kind]}" for kind in Kind)
        ended = ", ".join(f"{count} ended {state}" for state, count in sorted(states.items()))
        missed = len(self.reports) - struck
        return f"{struck} points: {found} ({ended}; {missed} points were not reached again)"


_WORDS = {
    Kind.MIXED: "mixed",
    Kind.LOST: "lost files",
    Kind.LEFTOVER: "leftovers",
    Kind.BROKEN: "broken",
    Kind.INVALID: "invalid",
    Kind.ORPHAN: "orphaned processes",
    Kind.UNTOLD: "wrong answers",
}


@dataclass
class Campaign:
    """Places to strike at, and what is known of each operation."""

    arenas: Sequence[Arena]
    points: dict[str, list[Point]] = field(default_factory=dict)

    async def points_of(self, operation: Operation) -> list[Point]:
        if operation.name not in self.points:
            await self._make_cut(operation)
            self.points[operation.name] = await self.arenas[0].record(operation)
        return self.points[operation.name]

    async def _make_cut(self, operation: Operation) -> None:
        """A start needs something to settle: the scene that a kill in another operation leaves."""
        if operation.cut is None:
            return
        former = OPERATIONS[operation.cut]
        point = operation.cutting_point(await self.points_of(former))
        async with trio.open_nursery() as nursery:
            for arena in self.arenas:
                nursery.start_soon(arena.cut, former, point, operation.scene)

    async def run(self, strikes: Sequence[Strike], told: Callable[[Report], None] = lambda report: None) -> Tally:
        """All of ``strikes``, side by side as far as there are places."""
        waiting, tally = list(reversed(strikes)), Tally()

        async def work(arena: Arena) -> None:
            while waiting:
                report = await _do(arena, waiting.pop())
                tally.reports.append(report)
                told(report)

        async with trio.open_nursery() as nursery:
            for arena in self.arenas:
                nursery.start_soon(work, arena)
        return tally


async def _do(arena: Arena, strike: Strike) -> Report:
    if isinstance(strike.point, Trouble):
        return await face(arena, strike.operation, strike.point)
    if strike.error is not None:
        return await arena.fail(strike.operation, strike.point, strike.error)
    return await arena.strike(strike.operation, strike.point, strike.mode, without_recovery=strike.without_recovery)


@asynccontextmanager
async def open_campaign(
    folder: Path, places: int = 2, operations: Iterable[str] = tuple(OPERATIONS)
) -> AsyncIterator[Campaign]:
    """Make everything that strikes in the ``operations`` need, below ``folder``."""
    families = dict.fromkeys(OPERATIONS[name].family for name in operations)
    async with open_zygote() as zygote, trio.open_nursery() as nursery:
        arenas = [await _make_arena(folder / f"place{number}", zygote, nursery) for number in range(places)]

        async def make(arena: Arena) -> None:
            for family in families:
                await MAKERS[family](arena.place, arena.world, arena.serve)

        async with trio.open_nursery() as making:
            for arena in arenas:
                making.start_soon(make, arena)
        try:
            yield Campaign(arenas)
        finally:
            for arena in arenas:
                arena.place.clear()
        nursery.cancel_scope.cancel()


async def _make_arena(root: Path, zygote: Zygote, nursery: trio.Nursery) -> Arena:
    """With a remote and a forge of its own, whose faults hurt nobody else."""
    place = make_place(root)
    # A window as short as that: a limit that is said to be used up is forgotten in a moment.
    github = GitHub(limit_anonymous=_UNLIMITED, window=1)
    await nursery.start(serve_github, github)
    return Arena(zygote, place, World(await trio.to_thread.run_sync(make_project, root), github))


async def strikes_of(campaign: Campaign, operation: Operation, part: str) -> list[Strike]:
    """Every strike of one kind: a :class:`Mode`, or the name of an error that calls fail with."""
    if part == FAULTS:
        return [Strike(operation, trouble) for trouble in operation.troubles]
    points = await campaign.points_of(operation)
    if part == Mode.WHOLE:
        return [Strike(operation, point) for point in points]
    if operation.cut is not None:
        # What git dies of, or a full disk, in a start is told as "stuck" and needs another start: not this promise.
        return []
    if part == Mode.GIT:
        return [Strike(operation, point, Mode.GIT) for point in points if point.process != SERVER]
    if part == Mode.SERVER:
        return [Strike(operation, point, Mode.SERVER) for point in points if point.process.startswith(_LONG)]
    return [Strike(operation, point, error=part) for point in points if _may_fail(point)]


# Runs of git that change much; a server that dies in any of them leaves it at work.
_LONG = ("clone.", "fetch.", "index-pack.", "unpack-objects.", "reset.", "checkout.")
# What a full or a failing disk does not let through.
_MAY_FAIL = {"write", "pwrite64", "fsync", "fdatasync", "syncfs", "mkdir", "mkdirat", "rename"}
# And of the server's own: git takes the failure of a link for a file system without.
_OURS_MAY_FAIL = {
    *("renameat2", "link", "linkat", "symlink", "symlinkat", "ftruncate"),
    # Opening is in the points only where it makes a file.
    *("openat", "sendfile", "copy_file_range"),
}


def _may_fail(point: Point) -> bool:
    return point.call in _MAY_FAIL or (point.process == SERVER and point.call in _OURS_MAY_FAIL)
