"""Deciding for a release app: looks at the disk and asks the forge as far as a request needs it."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from trio_update.errors import FileTrouble, OperationFailed, Reason, Refusal, Refused
from trio_update.host.archive.extract import Archive
from trio_update.host.files import durable
from trio_update.host.forge.base import Forge, NoSuchRelease, Purpose
from trio_update.host.threads import in_thread
from trio_update.model import Asset, Channel, RemoteRelease, Unknown
from trio_update.progress import Report
from trio_update.updaters.base import Recover, Request, Rollback
from trio_update.updaters.place import nothing_to_install
from trio_update.updaters.release.compare import is_as_packed
from trio_update.updaters.release.decision import (
    ReleaseDecision,
    Sight,
    decide,
    decide_nothing,
    refuse_state,
    space_steps,
)
from trio_update.updaters.release.files import size_of
from trio_update.updaters.release.first import choose_asset
from trio_update.updaters.release.goal import Goal, find_kept, recovery_version, rollback_version, upgrade_goal
from trio_update.updaters.release.judge import lacks_asset, repo_of
from trio_update.updaters.release.kind import ReleaseConfig, ReleaseStatus
from trio_update.updaters.release.look import Look, Memory, look, persistent_of
from trio_update.updaters.release.obtain import release_of
from trio_update.updaters.release.persistent import folders_of_others, mounts_inside
from trio_update.updaters.release.pick import needs_dates
from trio_update.updaters.space import RESERVE, Disk, upper_bound
from trio_update.versions import is_newer, is_rolling, same_version, spellings


@dataclass(frozen=True)
class _Found:
    """``goal`` ``None`` and ``current``: the installed version is the newest, there is nothing to do."""

    goal: Goal | None = None
    refusals: tuple[Refusal, ...] = ()
    current: bool = False


@dataclass(frozen=True)
class Decider:
    """Decides for one app, going by what was ``known`` of it.

    ``fetch``: the forge may be asked, and what is said about that goes there.
    """

    config: ReleaseConfig
    forge: Forge
    memory: Memory
    known: ReleaseStatus
    fetch: Report | None

    async def decide(self, request: Request) -> ReleaseDecision:
        """Raises: OperationFailed when the forge does not answer and nothing is known that would do."""
        try:
            seen = await in_thread(look, self.config, self.memory)
            refusals = refuse_state(self.config, request, seen)
            # What is refused anyway is not worth a request.
            asker = self if not refusals else replace(self, fetch=None)
            found = await asker.find_goal(request, seen)
            in_place = isinstance(request, Recover)
            sight = await in_thread(look_at_goal, self.config, self.memory, seen, found.goal, in_place)
        except FileTrouble as error:
            return decide_nothing(self.config, request, self.known, str(error))
        refusals = (*refusals, *found.refusals)
        return decide(self.config, request, self.known, seen, found.goal, sight, refusals, current=found.current)

    async def find_goal(self, request: Request, seen: Look) -> _Found:
        """What the request is about, and why it cannot be had."""
        try:
            if seen.vacancy is not None and self.fetch is not None and not isinstance(request, Rollback):
                return await self._first(request, seen)
            if isinstance(request, Recover):
                return await self._recovery(request, seen)
            if seen.info is None and (seen.vacancy is None or isinstance(request, Rollback)):
                return _Found()
            if isinstance(request, Rollback):
                return await self._rollback(request, seen)
            return await self._upgrade(seen)
        except Refused as refused:
            return _Found(refusals=(Refusal(refused.reason, str(refused)),))

    async def _first(self, request: Request, seen: Look) -> _Found:
        """Of an app that is not installed: with nothing known, the error has to say what it is about."""
        try:
            return await (self._recovery(request, seen) if isinstance(request, Recover) else self._upgrade(seen))
        except OperationFailed as error:
            raise OperationFailed(nothing_to_install(self.config.path, str(error))) from error

    async def _upgrade(self, seen: Look) -> _Found:
        release = await self._newest_or_known(seen)
        if release is None:
            return _Found()
        asset, refusals = self._asset(seen, release)
        repo, installed = repo_of(self.config, seen), seen.info.version if seen.info is not None else ""
        published = self.memory.published(repo, installed)
        goal = upgrade_goal(seen, release, asset, published, self.known.assumed)
        return _Found(goal, refusals) if goal is not None else _Found(current=True)

    async def _newest_or_known(self, seen: Look) -> RemoteRelease | None:
        remembered = still_theirs(self.config, seen, self.known)
        if self.fetch is None:
            return remembered
        try:
            release = await newest(self.config, self.forge, seen, self.known, Purpose.JOB)
        except OperationFailed as error:
            # Downloads cost nothing of a budget that is used up, and their host may be well.
            if remembered is None or not _is_worth_going(seen, remembered):
                raise
            self.fetch(f"{str(error).rstrip('.')}. Going on with what is known: {remembered.tag}")
            return remembered
        self.memory.asked = (repo_of(self.config, seen), release)
        await learn_date(self.config, self.forge, self.memory, seen, release, Purpose.JOB)
        return release

    async def _rollback(self, request: Rollback, seen: Look) -> _Found:
        version = rollback_version(self.config, seen, request)
        if isinstance(version, Refusal):
            return _Found(refusals=(version,))
        kept = find_kept(seen.kept, version)
        if kept is not None:
            return _Found(Goal(kept.record.version, kept=kept))
        return await self._of_release(seen, version)

    async def _recovery(self, request: Recover, seen: Look) -> _Found:
        version = recovery_version(seen, self.known)
        if version is not None:
            kept = None if request.hard else find_kept(seen.kept, version)
            if kept is not None:
                return _Found(Goal(version, kept=kept))
            return await self._of_release(seen, version)
        if self.fetch is None:
            return _Found()
        release = await newest(self.config, self.forge, seen, self.known, Purpose.JOB)
        if seen.vacancy is None:
            self.fetch(f"It is not known which version of {self.config.name} was installed: taking {release.tag}")
        asset, refusals = self._asset(seen, release)
        return _Found(Goal(release.tag, release=release, asset=asset), refusals)

    async def _of_release(self, seen: Look, version: str) -> _Found:
        if self.fetch is None:
            return _Found(Goal(version))
        release = await release_of(self.config.name, self.forge, repo_of(self.config, seen), version)
        asset, refusals = self._asset(seen, release)
        return _Found(Goal(release.tag, release=release, asset=asset), refusals)

    def _asset(self, seen: Look, release: RemoteRelease) -> tuple[Asset | None, tuple[Refusal, ...]]:
        if why := lacks_asset(self.config, seen, release):
            return None, (Refusal(Reason.INVALID, why),)
        return choose_asset(self.config, seen, release), ()


def _is_worth_going(seen: Look, remembered: RemoteRelease) -> bool:
    """Whether what is known is good enough when the forge does not answer."""
    if seen.info is None:
        return seen.vacancy is not None
    return is_newer(remembered.tag, seen.info.version)


async def newest(
    config: ReleaseConfig, forge: Forge, seen: Look, known: ReleaseStatus, purpose: Purpose
) -> RemoteRelease:
    """The newest release of the app's channel, as the forge tells it.  Raises: OperationFailed."""
    remembered = still_theirs(config, seen, known)
    installed = seen.info.version if seen.info is not None else ""
    if remembered is not None and (
        # Assets are often uploaded after the release was published, and those of a nightly build are replaced: no
        # probe tells of that.
        lacks_asset(config, seen, remembered) or (is_rolling(installed) and same_version(remembered.tag, installed))
    ):
        remembered = None
    return await forge.newest(
        repo_of(config, seen),
        prerelease=config.channel is Channel.BETA,
        known=remembered,
        purpose=purpose,
        installed=installed,
    )


async def learn_date(
    config: ReleaseConfig, forge: Forge, memory: Memory, seen: Look, release: RemoteRelease, purpose: Purpose
) -> None:
    """Ask once when the installed version was published, where only that tells whether ``release`` is an update.

    Raises: OperationFailed when that could not be asked: without it an upgrade might go back.
    """
    if seen.info is None or not needs_dates(release, seen.info.version):
        return
    repo, version = repo_of(config, seen), seen.info.version
    if (repo, version) in memory.dates:
        return
    published = None
    for tag in spellings(version):
        with suppress(NoSuchRelease):
            published = (await forge.by_tag(repo, tag, purpose=purpose)).published
            break
    memory.dates = {(repo, version): published}


def still_theirs(config: ReleaseConfig, seen: Look, known: ReleaseStatus) -> RemoteRelease | None:
    """What was known of the remote, if it is still the same repository that is looked at."""
    asked = f"{known.owner}/{known.repo_name}"
    return known.remote if asked == repo_of(config, seen) else None


def look_at_goal(config: ReleaseConfig, memory: Memory, seen: Look, goal: Goal | None, in_place: bool) -> Sight:
    """What there is on the disk with regard to ``goal``; ``in_place``: the same version again.

    Blocking.  Raises: FileTrouble.
    """
    place = seen.place
    where = _existing(place.folder if place.executable else place.folder.parent)
    sight = Sight(Disk(where, _free(where)))
    if goal is None:
        return sight
    if not place.executable:
        foreign = folders_of_others(place.folder) if seen.exists else ()
        sight = replace(sight, mounted=mounts_inside(place.folder), foreign=foreign)
        if foreign:
            return sight  # what is in them cannot be read either
    keeps = not in_place and seen.exists and _is_not_kept(seen)
    sight = replace(sight, installed_size=_installed_size(config, seen, needed=keeps), keeps=keeps)
    if not place.executable:
        wanted, installed = _archive(memory, goal), _archive_of_installed(memory, seen)
        sight = replace(
            sight,
            unpacked=wanted.unpacked_size if wanted is not None else None,
            lists=_changed_lists(config, seen, wanted) if wanted is not None else None,
            ratio=_ratio(installed),
        )
    return replace(sight, disk=_with_room(config, seen, goal, sight))


def _with_room(config: ReleaseConfig, seen: Look, goal: Goal, sight: Sight) -> Disk:
    """The disk, and what could be removed from the shelf to make room; counted only when space is short."""
    steps = space_steps(config, seen, goal, sight)
    most = upper_bound(steps)
    needed = RESERVE + (most if isinstance(most, int) else sum(step.least for step in steps))
    disk = sight.disk
    if isinstance(disk.free, Unknown) or disk.free >= needed:
        return disk
    spare = {seen.info.version} if seen.info is not None else set()
    spare |= {goal.kept.record.version} if goal.kept is not None else set()
    removable = sum(kept.record.size for kept in seen.kept if kept.record.version not in spare)
    replaced = seen.place.shelf.replaced
    return replace(disk, removable=removable + (size_of(replaced, ()) if replaced.is_dir() else 0))


def _existing(path: Path) -> Path:
    return next((one for one in (path, *path.parents) if one.is_dir()), path)


def _free(path: Path) -> int | Unknown:
    try:
        return durable.free_bytes(path)
    except FileTrouble as trouble:
        return Unknown(str(trouble))


def _installed_size(config: ReleaseConfig, seen: Look, *, needed: bool) -> int:
    if not seen.exists:
        return 0
    folder = seen.place.folder
    if not seen.place.executable:
        try:
            return size_of(folder, persistent_of(config, folder))
        except FileTrouble:
            if needed:
                raise
            return 0  # for a bound only, which must not stop the recovery of a folder that is damaged
    program = folder / seen.info.asset_name if seen.info is not None else None
    return program.stat().st_size if program is not None and program.is_file() else 0


def _is_not_kept(seen: Look) -> bool:
    version = seen.info.version if seen.info is not None else ""
    kept = [one for one in seen.kept if one.record.version == version]
    # What we packed ourselves is packed anew, unless it is a program: that is kept as it is.
    return not [one for one in kept if seen.place.executable or not one.record.packed]


def _archive(memory: Memory, goal: Goal) -> Archive | None:
    if goal.kept is None:
        return None
    try:
        return memory.archive_of(goal.kept)
    except OperationFailed:
        return None  # damaged, which is found out when it is used


def _archive_of_installed(memory: Memory, seen: Look) -> Archive | None:
    version = seen.info.version if seen.info is not None else ""
    kept = next((one for one in seen.kept if one.record.version == version), None)
    return _archive(memory, Goal(version, kept=kept)) if kept is not None else None


def _ratio(archive: Archive | None) -> float | None:
    if archive is None:
        return None
    packed = sum(entry.packed_size for entry in archive.entries)
    return archive.unpacked_size / packed if packed else None


def _changed_lists(config: ReleaseConfig, seen: Look, wanted: Archive) -> tuple[str, ...]:
    """Lists of packages that are another in the ``wanted`` version."""
    if not seen.exists:
        return ()
    entries = {entry.name: entry for entry in wanted.entries}
    root = os.fsencode(seen.place.folder)

    def is_other(name: str) -> bool:
        entry = entries.get(name)
        if entry is None:
            return os.path.isfile(os.path.join(root, os.fsencode(name)))
        return is_as_packed(root, os.fsencode(name), entry) is not True

    return tuple(name for name in config.dependency_files if is_other(name))
