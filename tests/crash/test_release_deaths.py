"""A slice of the crash campaign for apps that come as assets of releases.  `nox -s crash` runs all of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.crash.campaign import Campaign, Strike, open_campaign
from tests.crash.operations import Kind, State
from tests.crash.points import SERVER, Point
from tests.crash.release_app import OPERATIONS
from tests.crash.slices import about, expect_no_fault
from tests.crash.troubles import TROUBLES, Act
from trio_update.demo.github.faults import FaultKind

_UPGRADES = ("web-upgrade", "zip-upgrade", "executable-upgrade", "install-web")
_OTHERS = (
    "zip-rollback",
    "executable-recover",
    "start-zip-upgrade",
    "start-executable-upgrade-final",
    "start-install-web",
)
# Where nothing can be mounted, there is none.
_REFILLED = tuple(name for name in ("start-zip-refill",) if name in OPERATIONS)

# Where a death once left something wrong: operation, and what the call was about.
FOUND = (("web-upgrade", "/saved/app-1/files/.trio-update.tmp"),)  # half a saved file stayed for ever


def evenly(points: Sequence[Point], count: int) -> list[Point]:
    return [points[len(points) * part // (2 * count)] for part in range(1, 2 * count, 2)]


def behind_the_switches(points: Sequence[Point]) -> list[Point]:
    """Behind everything that changes places: the app, and what goes to the shelf."""
    switches = [number for number, point in enumerate(points) if point.call == "renameat2"]
    return [points[number + 1] for number in switches]


async def test_a_slice_of_the_campaign(tmp_path: Path) -> None:
    async with open_campaign(tmp_path, operations=OPERATIONS) as campaign:
        await expect_the_old_version_or_the_new_one_after_any_death(campaign)
        await expect_a_failing_disk_to_fail_the_job_and_nothing_else(campaign)
        await expect_a_forge_that_misbehaves_to_be_told_and_to_harm_nothing(campaign)


async def expect_the_old_version_or_the_new_one_after_any_death(campaign: Campaign) -> None:
    strikes = []
    for name in (*_UPGRADES, *_OTHERS, *_REFILLED):
        points = await campaign.points_of(OPERATIONS[name])
        # A refill is a hundred steps, not one: a folder of the user's was once gone in the midst of them.
        chosen = evenly(points, 6 if name in _REFILLED else 2)
        if name in _UPGRADES:
            chosen += behind_the_switches(points)
        strikes += [Strike(OPERATIONS[name], point) for point in chosen]
    for name, what in FOUND:
        strikes.append(Strike(OPERATIONS[name], about(campaign.points[name], SERVER, what)))
    expect_no_fault(await campaign.run(strikes))


async def expect_a_failing_disk_to_fail_the_job_and_nothing_else(campaign: Campaign) -> None:
    strikes = []
    for name in _UPGRADES:
        points = campaign.points[name]
        for error, calls in (
            ("ENOSPC", {"write", "pwrite64", "mkdir"}),
            ("EIO", {"fsync", "syncfs", "renameat2"}),
        ):
            failing = evenly([point for point in points if point.call in calls], 2)
            strikes += [Strike(OPERATIONS[name], point, error=error) for point in failing]
        # The job is forgotten, and that is all that is not durable: nothing is left to be told.
        closing = [point for point in points if point.call == "fsync" and "/journal>" in point.what][-1]
        strikes.append(Strike(OPERATIONS[name], closing, error="EIO"))
    expect_no_fault(await campaign.run(strikes))


async def expect_a_forge_that_misbehaves_to_be_told_and_to_harm_nothing(campaign: Campaign) -> None:
    of_assets = [trouble for trouble in TROUBLES if trouble.host == "assets" and trouble.says]
    chosen = {
        "web-upgrade": [trouble for trouble in TROUBLES if trouble.faults[0].kind is FaultKind.STALL],
        "zip-upgrade": [trouble for trouble in of_assets if trouble.act is Act.KILL][::2],
        "executable-upgrade": [trouble for trouble in of_assets if trouble.act is Act.WAIT][::3],
    }
    strikes = [Strike(OPERATIONS[name], trouble) for name, troubles in chosen.items() for trouble in troubles]
    expect_no_fault(await campaign.run(strikes))


async def test_the_suite_notices_a_server_that_does_not_recover(tmp_path: Path) -> None:
    upgrades = ("web-upgrade", "executable-upgrade")
    async with open_campaign(tmp_path, operations=upgrades) as campaign:
        strikes = []
        for name in upgrades:
            points = await campaign.points_of(OPERATIONS[name])
            switches = [number for number, point in enumerate(points) if point.call == "renameat2"]
            # Ready but not switched on, and right behind the first of the switches.
            chosen = [points[switches[0] - 3], points[switches[0] + 1]]
            strikes += [Strike(OPERATIONS[name], point, without_recovery=True) for point in chosen]
        tally = await campaign.run(strikes)
        kinds = {fault.kind for report in tally.faulty for fault in report.faults}
        assert {Kind.MIXED, Kind.LEFTOVER} <= kinds, tally
        assert len(tally.faulty) == len(strikes), tally


def write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


HARM: Mapping[str, tuple[Kind, Callable[[Path], object]]] = {
    "a file has another mode": (Kind.MIXED, lambda home: (home / "app/run.sh").chmod(0o750)),
    "a folder has another mode": (Kind.MIXED, lambda home: (home / "app/assets").chmod(0o700)),
    "the app's folder has another mode": (Kind.MIXED, lambda home: (home / "app").chmod(0o755)),
    "a file is of another version": (Kind.MIXED, lambda home: write(home / "app/index.html", b"two")),
    "a file is gone": (Kind.MIXED, lambda home: (home / "app/tool.sh").unlink()),
    "an empty folder stayed": (Kind.MIXED, lambda home: (home / "app/old").mkdir()),
    "a file of the user's is gone": (Kind.LOST, lambda home: (home / "app/db/deep/prints.bin").unlink()),
    "a file of the user's has another mode": (Kind.LOST, lambda home: (home / "app/config.json").chmod(0o644)),
    "the release's won": (Kind.LOST, lambda home: write(home / "app/config.json", b'{"release": "default"}\n')),
    "a stage stayed": (Kind.LEFTOVER, lambda home: (home / ".app.trio-update.7").mkdir()),
    "half a file stayed": (Kind.LEFTOVER, lambda home: write(home / "app/.index.html.tmp", b"")),
    "a job stayed": (Kind.LEFTOVER, lambda home: write(home / "../data/trio_update/journal/7.app.json", b"{}")),
    "the shelf was touched": (
        Kind.MIXED,
        lambda home: write(home / ".app.trio-update/version-v2.0.0/record.json", b"{}"),
    ),
}


async def test_the_judge_sees_what_is_wrong(tmp_path: Path) -> None:
    operation = OPERATIONS["zip-rollback"]
    async with open_campaign(tmp_path, places=1, operations=[operation.name]) as campaign:
        (arena,) = campaign.arenas
        arena.lay_out(operation)
        assert arena.judge(operation).faults() == (State.OLD, [])
        for harm, (kind, do) in HARM.items():
            arena.lay_out(operation)
            do(arena.place.app.parent)
            _, faults = arena.judge(operation).faults()
            assert kind in {fault.kind for fault in faults}, f"{harm}: {faults}"
