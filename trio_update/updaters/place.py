"""The place of an app that is not installed: whether one can be made there, and how it comes and goes as a whole."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from pathlib import Path

import msgspec

from trio_update.errors import FileTrouble, OperationFailed
from trio_update.host.files import durable
from trio_update.host.files.durable import translated
from trio_update.host.threads import in_thread
from trio_update.progress import Report
from trio_update.text import named
from trio_update.updaters.base import Tools, WorkArea, in_loop
from trio_update.versions import NOT_INSTALLED

# Others have to get through, such as the web server: whatever this process's umask says.
_MODE = 0o755


@dataclass(frozen=True)
class Vacancy:
    """A place where nothing is, or an ``empty`` folder.

    ``live``: the real path, symbolic links followed.  ``anchor``: the nearest folder above it that is there, where the
    app can be prepared.  ``folders``: names of those between the two, outer ones first.  ``mounted``: the empty folder
    is a mount point.  ``obstacles``: why nothing can be installed here, as sentences.
    """

    live: Path
    anchor: Path
    folders: tuple[str, ...] = ()
    empty: bool = False
    mounted: bool = False
    obstacles: tuple[str, ...] = ()


def look_at_place(path: Path) -> Vacancy | None:
    """``None``: something is there.  Blocking.  Raises: FileTrouble."""
    above, missing = path, list[str]()
    while not _is_there(above):
        missing.insert(0, above.name)
        above = above.parent
    live = Path(os.path.realpath(above), *missing)
    if not above.is_dir():
        return Vacancy(live, live.parent, obstacles=(_in_the_way(path, above),))
    if not missing:
        if not _is_empty(live):
            return None
        mounted = durable.is_mount_point(live)
        return Vacancy(live, live.parent, empty=True, mounted=mounted, obstacles=_unwritable(path, live.parent))
    anchor = Path(os.path.realpath(above))
    return Vacancy(live, anchor, tuple(missing[:-1]), obstacles=_unwritable(path, anchor))


def _is_there(path: Path) -> bool:
    """Whether there is anything, a symbolic link that leads nowhere included."""
    with translated("look at", path):
        try:
            path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return False
    return True


def _is_empty(folder: Path) -> bool:
    try:
        with os.scandir(folder) as entries:
            return next(entries, None) is None
    except PermissionError:
        return False  # what cannot be read is not taken for nothing
    except OSError as error:
        raise durable.trouble("read", folder, error) from error


def _in_the_way(path: Path, above: Path) -> str:
    if above.is_symlink():
        # It may be that of a disk that is not mounted: what was installed there now would be hidden by it later.
        return (
            f"the app is {NOT_INSTALLED}, and {above} is a symbolic link to {above.readlink()}, which is not "
            "there: mount or make that, or remove the link"
        )
    if above == path:
        return f"{path} is not a folder: move the file away, or correct 'path'"
    return (
        f"the app is {NOT_INSTALLED}, and {path} cannot be made, because {above} is not a folder: move the file "
        "away, or correct 'path'"
    )


def _unwritable(path: Path, anchor: Path) -> tuple[str, ...]:
    if os.access(anchor, os.W_OK | os.X_OK):
        return ()
    why = (
        f"the app is {NOT_INSTALLED}, and {path} cannot be made, because {anchor} is not writable for the user that "
        "trio-update runs as: give it to that user (sudo chown), see whether the disk is mounted read-only, or correct "
        "'path'"
    )
    return (why,)


def will_install(app: str, path: Path) -> str:
    """The sentence that the status and the plan have about an app that can be installed."""
    return f"{app} is {NOT_INSTALLED}: an update of it, or of everything, installs it in {path}"


def nothing_to_install(path: Path, why: str) -> str:
    """The sentence about one of which it is not known what could be installed."""
    return f"the app is {NOT_INSTALLED} in {path}, and what could be is not known: {why}"


def expect_vacant(path: Path) -> Vacancy:
    """Look again, after a download of minutes.  Blocking.  Raises: OperationFailed when something has come."""
    vacancy = look_at_place(path)
    if vacancy is None:
        raise appeared(path)
    if vacancy.obstacles:
        raise OperationFailed("; ".join(vacancy.obstacles))
    return vacancy


def appeared(path: Path) -> OperationFailed:
    """What stands now where nothing was: somebody else's, and not touched."""
    return OperationFailed(
        f"{path} has come into being while its app was being prepared, and is left as it is: refresh, to see what it is"
    )


def occupy(live: Path, staged: Path, *, new: int, replaces: bool) -> None:
    """Bring what has inode ``new`` to a vacant place, never over what has come there meanwhile; idempotent.

    ``replaces``: an empty folder changes places with it.  Raises: OperationFailed; FileTrouble as
    :func:`~trio_update.host.files.durable.exchange`.
    """
    if durable.inode(live) == new:
        return
    if not replaces:
        _move(staged, live)
        return
    if not _is_empty(live):
        raise appeared(live)
    durable.exchange(live, staged)
    # From here on nobody can reach it by its name; what came in the last instant goes back.
    if not _is_empty(staged):
        durable.exchange(live, staged)
        raise appeared(live)


def _move(source: Path, target: Path) -> None:
    try:
        durable.rename(source, target)
    except FileTrouble as error:
        if error.errno == errno.EEXIST:
            raise appeared(target) from error
        raise


class MakeFolders(msgspec.Struct, frozen=True, kw_only=True, tag="make_folders"):
    """Folders that lead to a new app: ``staged``, with those below it, comes to ``top`` as a whole.

    ``folders``: their paths and inode numbers, outer ones first, which tell ours from what takes their names later.
    """

    staged: str
    top: str
    folders: tuple[tuple[str, int], ...]

    @property
    def reversible(self) -> bool:
        return True

    async def apply(self, tools: Tools, report: Report) -> None:
        await in_thread(self._make)

    def _make(self) -> None:
        if durable.inode(Path(self.top)) != self.folders[0][1]:
            _move(Path(self.staged), Path(self.top))

    async def settle(self, tools: Tools, report: Report) -> None:
        """Take them away again as far as they are empty: others may have found them useful meanwhile."""
        await in_thread(self._unmake, in_loop(report))

    def _unmake(self, report: Report) -> None:
        for path, inode in reversed(self.folders):
            folder = Path(path)
            if durable.inode(folder) != inode:
                continue
            try:
                folder.rmdir()
            except OSError as error:
                if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
                    raise durable.trouble("remove", folder, error) from error
                report(f"{folder} stays, because somebody has put something into it")
                return
            durable.fsync_directory(folder.parent)

    async def discard(self, tools: Tools, report: Report) -> None:
        """Nothing was kept aside."""


async def prepare_folders(vacancy: Vacancy, area: WorkArea) -> tuple[MakeFolders, ...]:
    """Make aside what has to lead to the app; nothing where its parent is there.  Raises: FileTrouble."""
    if not vacancy.folders:
        return ()
    staged = await area.stage(vacancy.anchor / f"{vacancy.folders[0]}.parent")
    inodes = await in_thread(_make_chain, staged, vacancy.folders)
    paths = [Path(vacancy.anchor, *vacancy.folders[: count + 1]) for count in range(len(vacancy.folders))]
    folders = tuple((str(path), inode) for path, inode in zip(paths, inodes, strict=True))
    return (MakeFolders(staged=str(staged), top=str(paths[0]), folders=folders),)


def _make_chain(staged: Path, names: tuple[str, ...]) -> tuple[int, ...]:
    inodes = []
    for count in range(len(names)):
        folder = staged.joinpath(*names[1 : count + 1])
        with translated("make", folder):
            folder.mkdir()
            folder.chmod(_MODE)
            inodes.append(folder.stat().st_ino)
    durable.sync_filesystem(staged)
    return tuple(inodes)


def warn_of_packages(lists: tuple[str, ...]) -> tuple[str, ...]:
    """What to say in a plan of an app that brings lists of packages."""
    if not lists:
        return ()
    why = (
        f"the packages that it needs ({named(lists)}) are not installed by this version of trio-update: install them "
        "by hand"
    )
    return (why,)
