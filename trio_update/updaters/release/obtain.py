"""The asset of a version: from the shelf when it is whole there, else from its release."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import trio

from trio_update.errors import OperationFailed, Reason, Refused
from trio_update.host.files import durable
from trio_update.host.forge.base import Forge, NoSuchRelease, Purpose
from trio_update.host.http.client import Web
from trio_update.host.http.download import download
from trio_update.host.threads import in_thread
from trio_update.model import AppName, Asset, RemoteRelease
from trio_update.progress import Report
from trio_update.updaters.base import in_loop
from trio_update.updaters.release.goal import Goal
from trio_update.updaters.release.kind import ReleaseConfig
from trio_update.updaters.release.pick import pick_asset
from trio_update.updaters.release.shelf import Record, Shelf, write_record
from trio_update.updaters.space import RESERVE, Disk, exact, shortage
from trio_update.versions import spellings


@dataclass(frozen=True)
class Obtained:
    """An asset that was verified.  ``folder``: what has to go to the shelf, if it isn't there yet.

    ``updated``: when it was uploaded, in the forge's words.
    """

    asset: Path
    version: str
    name: str
    size: int
    sha256: str
    folder: Path | None = None
    updated: str = ""


def check_cancelled() -> None:
    """Given to what runs in a thread: raises ``trio.Cancelled`` there when the job is aborted."""
    trio.from_thread.check_cancelled()


@dataclass(frozen=True)
class Source:
    """Where one app's assets come from.  ``spare``: versions that are not removed when space is short."""

    config: ReleaseConfig
    shelf: Shelf
    forge: Forge
    web: Web
    repo: str
    asset_name: str
    report: Report
    spare: frozenset[str] = frozenset()

    def tell(self, message: str) -> None:
        """Report from a thread."""
        in_loop(self.report)(message)

    async def obtain(self, goal: Goal, stage: Path) -> Obtained:
        """Have the asset of ``goal``, verified; ``stage`` is made, and takes one that has to be downloaded.

        Raises: Refused, OperationFailed.
        """
        kept = await in_thread(self._begin, goal, stage)
        if kept is not None:
            return kept
        release = goal.release or await release_of(self.config.name, self.forge, self.repo, goal.version)
        asset = goal.asset or pick_asset(release, self.config.name, self.asset_name)
        folder = stage / "new"
        limit = await in_thread(self._make_way, asset, folder)
        target = folder / "asset"
        done = await download(
            self.web,
            asset.url,
            target,
            name=asset.name,
            size=asset.size,
            digest=asset.digest,
            limit=limit,
            report=self.report,
        )
        return Obtained(target, release.tag, asset.name, done.size, done.sha256, folder, asset.updated)

    def _begin(self, goal: Goal, stage: Path) -> Obtained | None:
        """Make the stage, and take what is kept if it is whole."""
        with durable.translated("make", stage):
            # A folder may be gone together with the one that it was in.
            stage.mkdir(parents=True)
        if goal.kept is None:
            return None
        if not goal.kept.is_whole(check_cancelled):
            self.tell(f"The kept copy of {goal.version} is damaged: downloading it again")
            return None
        record = goal.kept.record
        self.tell(f"{self.config.name}: using {record.version} as it was kept on the disk")
        return Obtained(
            goal.kept.asset, record.version, record.asset_name, record.size, record.sha256, updated=record.updated
        )

    def _make_way(self, asset: Asset, folder: Path) -> int:
        """Make room and a folder for a download; the bytes that it may take at most."""
        self.require_space(folder.parent, asset.size or 0, f"downloading {asset.name}")
        with durable.translated("make", folder):
            folder.mkdir()
        return max(durable.free_bytes(folder) - RESERVE, 0)

    def require_space(self, where: Path, needed: int, what: str) -> None:
        """Make sure that ``needed`` bytes can be written, if need be by removing what is kept of older versions.

        Blocking.  Raises: OperationFailed with what is there and what is needed.
        """
        removed = self.shelf.make_room(where, needed + RESERVE, self.spare)
        if removed:
            self.tell(f"Space is short: removed what was kept of {', '.join(removed)}")
        short = shortage([exact(what, needed)], Disk(where, durable.free_bytes(where)))
        if short is not None:
            raise OperationFailed(short.message)


async def release_of(app: AppName, forge: Forge, repo: str, version: str) -> RemoteRelease:
    """The release of a version, however its tag spells it.  Raises: Refused when there is none, OperationFailed."""
    for tag in spellings(version):
        try:
            return await forge.by_tag(repo, tag, purpose=Purpose.JOB)
        except NoSuchRelease:
            continue
    raise Refused(Reason.BAD_VERSION, f"{app} has no version '{version}', neither on the disk nor at {repo}")


def record_of(obtained: Obtained, version: str, used: int) -> Record:
    return Record(
        version=version,
        asset_name=obtained.name,
        sha256=obtained.sha256,
        size=obtained.size,
        used=used,
        updated=obtained.updated,
    )


def make_ready(obtained: Obtained, version: str, used: int) -> tuple[tuple[str, str], ...]:
    """Write the record of a downloaded asset; the folder and version that go to the shelf.  Blocking."""
    if obtained.folder is None:
        return ()
    write_record(obtained.folder, record_of(obtained, version, used))
    return ((str(obtained.folder), version),)
