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
from trio_update.model import RemoteRelease
from trio_update.updaters.base import Report
from trio_update.updaters.release.kind import ReleaseConfig
from trio_update.updaters.release.pick import pick_asset, same_version, spellings
from trio_update.updaters.release.shelf import Kept, Record, Shelf, write_record

# What is left free, so that logs, the database and the journal can still be written.
RESERVE = 8 << 20


@dataclass(frozen=True)
class Goal:
    """The version that is wanted.  ``kept``: it is on the shelf; ``release``: its release is known already."""

    version: str
    kept: Kept | None = None
    release: RemoteRelease | None = None


@dataclass(frozen=True)
class Obtained:
    """An asset that was verified.  ``folder``: what has to go to the shelf, if it isn't there yet."""

    asset: Path
    version: str
    name: str
    size: int
    sha256: str
    folder: Path | None = None


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

    async def obtain(self, goal: Goal, folder: Path) -> Obtained:
        """Have the asset of ``goal``; ``folder``, which does not exist, is for one that has to be downloaded.

        Raises: Refused, OperationFailed.
        """
        if goal.kept is not None:
            if await in_thread(goal.kept.is_whole, check_cancelled):
                record = goal.kept.record
                self.report(f"{self.config.name}: using {record.version} as it was kept on the disk")
                return Obtained(goal.kept.asset, record.version, record.asset_name, record.size, record.sha256)
            self.report(f"The kept copy of {goal.version} is damaged: downloading it again")
        release = goal.release or await self.release_of(goal.version)
        return await self._download(release, folder)

    async def release_of(self, version: str) -> RemoteRelease:
        """The release of a version, however its tag spells it.  Raises: Refused when there is none."""
        for tag in spellings(version):
            try:
                return await self.forge.by_tag(self.repo, tag, purpose=Purpose.JOB)
            except NoSuchRelease:
                continue
        raise Refused(
            Reason.BAD_VERSION, f"{self.config.name} has no version '{version}', neither on the disk nor at {self.repo}"
        )

    async def _download(self, release: RemoteRelease, folder: Path) -> Obtained:
        asset = pick_asset(release, self.config.name, self.asset_name)
        await self.require_space(folder.parent, asset.size or 0, f"downloading {asset.name}")
        target = folder / "asset"
        with durable.translated("make", folder):
            await trio.Path(folder).mkdir()
        free = await in_thread(durable.free_bytes, folder)
        done = await download(
            self.web,
            asset.url,
            target,
            name=asset.name,
            size=asset.size,
            digest=asset.digest,
            limit=max(free - RESERVE, 0),
            report=self.report,
        )
        return Obtained(target, release.tag, asset.name, done.size, done.sha256, folder)

    async def require_space(self, where: Path, needed: int, what: str) -> None:
        """Make sure that ``needed`` bytes can be written, if need be by removing what is kept of older versions.

        Raises: OperationFailed with what is there and what is needed.
        """
        removed = await in_thread(self.shelf.make_room, where, needed + RESERVE, self.spare)
        if removed:
            self.report(f"Space is short: removed what was kept of {', '.join(removed)}")
        free = await in_thread(durable.free_bytes, where)
        if free < needed + RESERVE:
            raise OperationFailed(
                f"not enough space on the disk of {where} for {what}: {_mib(needed + RESERVE)} needed, "
                f"{_mib(free)} free. Free some space and try again"
            )


def record_of(obtained: Obtained, version: str, used: int) -> Record:
    return Record(version=version, asset_name=obtained.name, sha256=obtained.sha256, size=obtained.size, used=used)


async def make_ready(obtained: Obtained, version: str, used: int) -> tuple[tuple[str, str], ...]:
    """Write the record of a downloaded asset; the folder and version that go to the shelf."""
    if obtained.folder is None:
        return ()
    await in_thread(write_record, obtained.folder, record_of(obtained, version, used))
    return ((str(obtained.folder), version),)


def find_kept(kept: tuple[Kept, ...], version: str) -> Kept | None:
    """What is kept of a version, however it is spelled."""
    return next((one for one in kept if same_version(one.record.version, version)), None)


def _mib(size: int) -> str:
    return f"{size / (1 << 20):.1f} MiB"
