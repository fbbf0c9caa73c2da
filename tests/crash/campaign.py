"""Many strikes: scenes made once, points found once, then one strike after another on a few places at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trio

from tests.crash.points import SERVER, Point
from tests.crash.project import Project, make_project, publish
from tests.crash.scenes import OPERATIONS, Operation, check_scene, diverge, give_user_files, keep_packs, make_place
from tests.crash.servers import open_zygote
from tests.crash.strike import Arena, Mode, Report
from tests.crash.verify import Kind


@dataclass(frozen=True)
class Strike:
    """One thing to do: kill (``error`` is ``None``), or let a call fail."""

    operation: Operation
    point: Point
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
        return f"{struck} kill points: {found} ({ended}; {missed} points were not reached again)"


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

    project: Project
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
        point = cutting_point(await self.points_of(former), operation.name)
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
    if strike.error is not None:
        return await arena.fail(strike.operation, strike.point, strike.error)
    return await arena.strike(strike.operation, strike.point, strike.mode, without_recovery=strike.without_recovery)


def cutting_point(points: Sequence[Point], name: str) -> Point:
    """The middle of the switch: where most is half done.  How many files git opens to read is not always the same."""
    points = [point for point in points if point.call != "openat"]
    if name == "start-upgrade":
        inside = [point for point in points if point.process == "reset.1"]
        return inside[len(inside) * 2 // 3]
    if name == "start-soft":
        inside = [point for point in points if point.process == "checkout.1"]
        return inside[len(inside) // 2]
    own = [point for point in points if point.process == SERVER]
    switch = next(number for number, point in enumerate(own) if point.call == "renameat2")
    if name == "start-hard":
        return own[switch + 1]
    removing = [point for point in own[switch:] if point.call in {"unlink", "unlinkat"} and "HEAD" in point.what]
    return removing[0]


@asynccontextmanager
async def open_campaign(folder: Path, places: int = 2) -> AsyncIterator[Campaign]:
    """Make everything that strikes need, below ``folder``."""
    project = await trio.to_thread.run_sync(make_project, folder)
    async with open_zygote() as zygote:
        arenas = [Arena(zygote, make_place(folder / f"place{number}", project), project) for number in range(places)]
        await _side_by_side(arenas, _fill_database)
        await trio.to_thread.run_sync(publish, project, project.v3)
        await _side_by_side(arenas, _make_scenes)
        yield Campaign(project, arenas)


async def _side_by_side(arenas: Sequence[Arena], make: Callable[[Arena], Awaitable[None]]) -> None:
    async with trio.open_nursery() as nursery:
        for arena in arenas:
            nursery.start_soon(make, arena)


async def _fill_database(arena: Arena) -> None:
    """By a server: it knows the clone as it was before the user's files came, and before there was an update."""
    await _serve(arena, "refresh?name=app")
    arena.place.keep("clean")


async def _make_scenes(arena: Arena) -> None:
    place, project = arena.place, arena.project
    for scene, operation in (("behind", "upgrade"), ("packed", "upgrade-pack"), ("diverged", "soft")):
        place.lay_out("clean")
        give_user_files(place)
        if scene == "packed":
            keep_packs(place)
        if scene == "diverged":
            diverge(place, project)
        check_scene(place, OPERATIONS[operation], project)
        place.keep(scene)
    place.lay_out("clean")
    await _serve(arena, "upgrade?name=app")
    give_user_files(place)
    check_scene(place, OPERATIONS["rollback"], project)
    place.keep("upgraded")


async def _serve(arena: Arena, request: str) -> None:
    async with arena.zygote.server(arena.place, arena.place.environment()) as server:
        await server.listening()
        answer = await server.when_ready(request)
        assert answer.code == 200, answer
        assert await server.stop() == "0", server.log


async def strikes_of(campaign: Campaign, operation: Operation, part: str) -> list[Strike]:
    """Every strike of one kind: a :class:`Mode`, or the name of an error that calls fail with."""
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
    return [Strike(operation, point, error=part) for point in points if point.call in _MAY_FAIL]


# Runs of git that change much; a server that dies in any of them leaves it at work.
_LONG = ("clone.", "fetch.", "index-pack.", "unpack-objects.", "reset.", "checkout.")
# What a full or a failing disk does not let through.  Not links: git takes their failure for a file system without.
_MAY_FAIL = {"write", "pwrite64", "fsync", "fdatasync", "syncfs", "mkdir", "mkdirat", "rename"}
