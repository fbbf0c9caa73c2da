"""Space on a disk: what an update needs step by step, and whether that is there.  Pure decisions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trio_update.errors import Reason, Refusal
from trio_update.model import Unknown

# What is left free, so that logs, the database and the journal can still be written.
RESERVE = 8 << 20
_WORTH_TELLING = 1 << 20


@dataclass(frozen=True)
class Step:
    """What one step of an update writes, in bytes, beside what the steps before it wrote.

    ``least`` is certain.  ``most`` is an upper bound, or why there is none; the two are one where everything is known.
    """

    what: str
    least: int
    most: int | Unknown


@dataclass(frozen=True)
class Disk:
    """Where the steps write: bytes ``free`` for this user, and those that an update may remove to make room."""

    where: Path
    free: int | Unknown
    removable: int = 0


def exact(what: str, size: int) -> Step:
    """A step whose size is known."""
    return Step(what, size, size)


def upper_bound(steps: Sequence[Step]) -> int | Unknown:
    """Bytes that all steps together write at most; the first reason when that cannot be told."""
    total = 0
    for step in steps:
        if isinstance(step.most, Unknown):
            return step.most
        total += step.most
    return total


def shortage(steps: Sequence[Step], disk: Disk) -> Refusal | None:
    """Why the steps cannot be done: the first one for which there is no room, with numbers.

    By what is certain: an update is not refused because its bound, a guess to the safe side, is more than there is.
    """
    if isinstance(disk.free, Unknown):
        return None
    total = RESERVE
    for step in steps:
        total += step.least
        if step.least and total > disk.free + disk.removable:
            return Refusal(Reason.NO_SPACE, not_enough(disk, step.what, total))
    return None


def tightness(steps: Sequence[Step], disk: Disk) -> str:
    """A warning when there may be too little space; empty when there is enough, when there is not, or untold."""
    most = upper_bound(steps)
    if isinstance(most, Unknown) or isinstance(disk.free, Unknown) or shortage(steps, disk) is not None:
        return ""
    if most + RESERVE <= disk.free + disk.removable:
        return ""
    return (
        f"space on the disk of {disk.where} may not suffice: up to {mib(most + RESERVE)} may be needed, "
        f"{mib(disk.free)} free"
    )


def not_enough(disk: Disk, what: str, needed: int) -> str:
    """The sentence about a lack of space; ``needed`` with the reserve."""
    free = disk.free if isinstance(disk.free, int) else 0
    more = (
        f", and {mib(disk.removable)} in kept versions that would be removed"
        if disk.removable >= _WORTH_TELLING
        else ""
    )
    return (
        f"not enough space on the disk of {disk.where} for {what}: {mib(needed)} needed, {mib(free)} free{more}. "
        "Free some space and try again"
    )


def mib(size: int) -> str:
    """A size for people."""
    return f"{size / (1 << 20):.1f} MiB"
