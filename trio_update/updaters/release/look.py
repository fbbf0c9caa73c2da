"""What is to be seen of a release app on the disk."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from trio_update.errors import OperationFailed
from trio_update.host.archive.extract import Archive, read_archive
from trio_update.host.files.durable import translated
from trio_update.model import RemoteRelease
from trio_update.updaters.place import Vacancy, look_at_place
from trio_update.updaters.release.compare import is_as_packed
from trio_update.updaters.release.info import (
    RELEASE_INFO,
    VERSION_FILE,
    NoReleaseInfo,
    ReleaseInfo,
    read_release_info,
)
from trio_update.updaters.release.kind import ReleaseConfig
from trio_update.updaters.release.persistent import found_persistent
from trio_update.updaters.release.program import Judgement, judge_installed
from trio_update.updaters.release.shelf import Kept, Shelf

# Ours, though the archive brought them: the version in them may have been set by us.
MARKS = (os.fsencode(RELEASE_INFO), os.fsencode(VERSION_FILE))


@dataclass(frozen=True)
class Place:
    """Where an app is.  ``folder`` is the real one, symbolic links followed."""

    folder: Path
    executable: bool

    @property
    def shelf(self) -> Shelf:
        # An executable lives in its user's folder and not in one of its own: beside the program is inside it.
        return Shelf(
            self.folder / ".trio-update"
            if self.executable
            else self.folder.with_name(f".{self.folder.name}.trio-update")
        )


@dataclass(frozen=True)
class Look:
    """``broken``: the app cannot be updated, for this reason; a recovery helps, unless ``obstacles`` is told too.

    ``program``: what an update of an executable would break or lose.  ``vacancy``: the app is not installed.
    """

    place: Place
    exists: bool = False
    info: ReleaseInfo | None = None
    broken: str = ""
    obstacles: tuple[str, ...] = ()
    kept: tuple[Kept, ...] = ()
    damage: tuple[str, ...] = ()
    program: Judgement = field(default_factory=Judgement)
    vacancy: Vacancy | None = None


@dataclass
class Memory:
    """The last archive that was read, so that a refresh need not judge it again; and what a job was told.

    ``asked``: a repository and its newest release, as a job's decision learned it.  The next look takes it into the
    status: the plan that follows on a refused one must be by what that job was told.  ``dates``: of installed versions
    whose names say not whether the newest release is later, ``None`` for one that the forge does not know any more.
    """

    archives: dict[str, Archive] = field(default_factory=dict)
    asked: tuple[str, RemoteRelease] | None = None
    dates: dict[tuple[str, str], float | None] = field(default_factory=dict)

    def published(self, repo: str, version: str) -> float | None:
        """When ``version`` of ``repo`` was published, in unix seconds; ``None`` while that was not needed."""
        return self.dates.get((repo, version))

    def take_asked(self, repo: str) -> RemoteRelease | None:
        """What was asked of ``repo`` since the last time, once."""
        asked, self.asked = self.asked, None
        return asked[1] if asked is not None and asked[0] == repo else None

    def archive_of(self, kept: Kept) -> Archive:
        """Raises: OperationFailed."""
        if kept.record.sha256 not in self.archives:
            self.archives = {kept.record.sha256: read_archive(kept.asset)}
        return self.archives[kept.record.sha256]


def place_of(config: ReleaseConfig) -> Place:
    return Place(Path(os.path.realpath(config.path)), config.is_program)


def look(config: ReleaseConfig, memory: Memory) -> Look:
    """Blocking.  Raises: FileTrouble for a disk that cannot be read."""
    place = place_of(config)
    vacancy = look_at_place(config.path)
    obstacles = tuple(_obstacles(config, place, vacancy))
    if vacancy is not None:
        return Look(place, obstacles=obstacles, kept=place.shelf.kept(), vacancy=vacancy)
    try:
        info = read_release_info(place.folder, web=config.has_old_marks, executable=place.executable)
    except NoReleaseInfo as error:
        return Look(place, exists=True, broken=str(error), obstacles=obstacles, kept=place.shelf.kept())
    kept = place.shelf.kept()
    damage = _damage(config, place, info, kept, memory)
    program = judge_installed(place.folder / info.asset_name) if place.executable else Judgement()
    return Look(place, exists=True, info=info, obstacles=obstacles, kept=kept, damage=damage, program=program)


def _obstacles(config: ReleaseConfig, place: Place, vacancy: Vacancy | None) -> list[str]:
    folder = place.folder
    with translated("look at", folder):
        found = []
        if (repository := _git_above(folder)) is not None:
            found.append(
                f"{config.path} is inside the git repository {repository}: an update would change its files. "
                "Move the app out of it, or use type git_repo"
            )
        if vacancy is not None:
            return [*vacancy.obstacles, *found]
        needed = (folder,) if place.executable else (folder, folder.parent)
        found += [
            f"{path} is not writable: check owner, permissions and whether the disk is mounted read-only"
            for path in needed
            if path.exists() and not os.access(path, os.W_OK)
        ]
    return found


def _git_above(folder: Path) -> Path | None:
    """The git repository that a folder is in.  People keep their dotfiles in one at home; that doesn't count."""
    home = Path(os.path.realpath(os.path.expanduser("~")))
    for above in (folder, *folder.parents):
        if above != home and (above / ".git").exists():
            return above
    return None


def _damage(
    config: ReleaseConfig, place: Place, info: ReleaseInfo, kept: tuple[Kept, ...], memory: Memory
) -> tuple[str, ...]:
    """Files of the installed version that are missing, or are not of the right size; read nothing but the names."""
    installed = next((one for one in kept if one.record.version == info.version), None)
    if installed is None:
        return ()
    if place.executable:
        program = place.folder / info.asset_name
        whole = program.is_file() and program.stat().st_size == installed.record.size
        return () if whole else (info.asset_name,)
    try:
        archive = memory.archive_of(installed)
    except OperationFailed:
        return ()  # the shelf is damaged, which a recovery finds out, and not the app
    root = os.fsencode(place.folder)
    own = (*MARKS, *persistent_of(config, place.folder))
    damaged = [
        entry.name
        for entry in archive.entries
        if not entry.is_dir
        and not any(os.fsencode(entry.name) == path or os.fsencode(entry.name).startswith(path + b"/") for path in own)
        and is_as_packed(root, os.fsencode(entry.name), entry, deep=False) is not True
    ]
    return tuple(damaged)


def persistent_of(config: ReleaseConfig, folder: Path) -> tuple[bytes, ...]:
    """What there is in ``folder`` that stays the user's."""
    return found_persistent(folder, wanted_of(config, folder))


def wanted_of(config: ReleaseConfig, folder: Path) -> tuple[str, ...]:
    """What stays the user's in ``folder``, if it is there; a virtual environment inside it included."""
    wanted = list(config.persistent_files)
    if (inside := config.environment) is not None:
        bases = [base for base in (config.path, folder) if base in inside.parents]
        wanted += [str(inside.relative_to(base)) for base in bases]
    return tuple(wanted)
