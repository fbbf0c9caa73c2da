"""A slice of the crash campaign for clones: a few deaths in every phase.  `nox -s crash` runs all of them."""

from __future__ import annotations

from pathlib import Path

from tests.crash.aftermath import Mode
from tests.crash.campaign import Campaign, Strike, open_campaign
from tests.crash.git_app import OPERATIONS
from tests.crash.operations import Kind
from tests.crash.points import SERVER
from tests.crash.slices import about, expect_no_fault, in_each_phase

# Where a death once left something wrong: operation, process, and what the call was about.
FOUND = (
    ("upgrade", "unpack-objects.1", "/tmp_obj_"),  # a folder of temporary objects stayed for ever
    ("upgrade-pack", "fetch.1", ".keep"),  # and the mark that protects a pack from being packed again
    ("soft", "checkout.1", '"src/util.py"'),  # files of the old version stayed: only the dropped index knew of them
    ("start-upgrade", SERVER, "/app/extra"),  # an empty folder stayed
    ("hard", SERVER, "/gone"),  # a folder that had only held tracked files came over as one of the user's
)


async def test_a_slice_of_the_campaign(tmp_path: Path) -> None:
    async with open_campaign(tmp_path, operations=OPERATIONS) as campaign:
        await expect_the_old_version_or_the_new_one_after_any_death(campaign)
        await expect_a_server_to_survive_its_git_and_to_end_one_that_survived_it(campaign)
        await expect_a_full_disk_to_fail_the_job_and_nothing_else(campaign)


async def expect_the_old_version_or_the_new_one_after_any_death(campaign: Campaign) -> None:
    strikes = []
    for operation in OPERATIONS.values():
        points = await campaign.points_of(operation)
        strikes += [Strike(operation, point) for point in in_each_phase(points, 1 if operation.cut else 2)]
    for name, process, what in FOUND:
        strikes.append(Strike(OPERATIONS[name], about(campaign.points[name], process, what)))
    expect_no_fault(await campaign.run(strikes))


async def expect_a_server_to_survive_its_git_and_to_end_one_that_survived_it(campaign: Campaign) -> None:
    strikes = []
    for name in ("upgrade", "soft", "hard"):
        points = [point for point in campaign.points[name] if point.process != SERVER]
        strikes += [Strike(OPERATIONS[name], point, Mode.GIT) for point in in_each_phase(points, 1)]
        switch = {"upgrade": "reset.1", "soft": "checkout.1", "hard": "clone.1"}[name]
        held = [point for point in points if point.process == switch]
        strikes.append(Strike(OPERATIONS[name], held[len(held) // 2], Mode.SERVER))
    expect_no_fault(await campaign.run(strikes))


async def expect_a_full_disk_to_fail_the_job_and_nothing_else(campaign: Campaign) -> None:
    strikes = _writes_of_the_journal(campaign)
    for name, process, call in (
        ("upgrade", "reset.1", "write"),
        ("upgrade", "unpack-objects.1", "mkdir"),
        ("soft", "checkout.1", "write"),
        ("hard", "clone.1", "write"),
        ("hard", "bundle.1", "write"),
        ("hard", SERVER, "sendfile"),  # once "failed unexpectedly"
    ):
        points = [point for point in campaign.points[name] if (point.process, point.call) == (process, call)]
        strikes.append(Strike(OPERATIONS[name], points[len(points) // 2], error="ENOSPC"))
    expect_no_fault(await campaign.run(strikes))


def _writes_of_the_journal(campaign: Campaign) -> list[Strike]:
    """Each of the three entries that a rollback writes, and the sync of the folder after the first."""
    rollback = OPERATIONS["rollback"]
    points = [p for p in campaign.points[rollback.name] if p.process == SERVER and "/journal" in p.what]
    syncs = [point for point in points if point.call == "fsync" and ".tmp" not in point.what]
    chosen = [*[point for point in points if point.call == "write"], syncs[0]]
    return [Strike(rollback, point, error="ENOSPC") for point in chosen]


async def test_the_suite_notices_a_server_that_does_not_recover(tmp_path: Path) -> None:
    async with open_campaign(tmp_path, operations=OPERATIONS) as campaign:
        upgrade = OPERATIONS["upgrade"]
        inside = [point for point in await campaign.points_of(upgrade) if point.process == "reset.1"]
        strikes = [Strike(upgrade, point, without_recovery=True) for point in inside[5::15]]
        tally = await campaign.run(strikes)
        kinds = {fault.kind for report in tally.faulty for fault in report.faults}
        assert {Kind.MIXED, Kind.LEFTOVER} <= kinds, tally
        assert len(tally.faulty) == len(strikes), tally
