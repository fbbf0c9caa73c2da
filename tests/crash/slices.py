"""Some points out of many, for tests that must not take long."""

from __future__ import annotations

from collections.abc import Sequence

from tests.crash.campaign import Tally
from tests.crash.points import Point

_MANY = 40


def in_each_phase(points: Sequence[Point], count: int) -> list[Point]:
    """One point of each process, ``count`` of those that make many changes: evenly, from beginning to end."""
    phases: dict[str, list[Point]] = {}
    for point in points:
        phases.setdefault(point.process.partition(".")[0], []).append(point)
    chosen = []
    for phase in phases.values():
        parts = 2 * (count if len(phase) > _MANY else 1)
        chosen += [phase[len(phase) * part // parts] for part in range(1, parts, 2)]
    return chosen


def about(points: Sequence[Point], process: str, what: str) -> Point:
    """The last call of a process about something."""
    return [point for point in points if point.process == process and what in point.what][-1]


def expect_no_fault(tally: Tally) -> None:
    print(tally)
    assert not tally.faulty, "\n".join(map(str, tally.faulty))
    missed = [report for report in tally.reports if not report.struck]
    assert len(missed) <= len(tally.reports) // 10, "\n".join(map(str, missed))
