"""Looking at the way from one commit to another: what changes, and what stands there now."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from trio_update.errors import OperationFailed
from trio_update.host.files import durable
from trio_update.host.git.folder import GitFolder
from trio_update.host.git.output import Difference, text
from trio_update.host.git.repository import Repository
from trio_update.host.threads import in_thread
from trio_update.model import Unknown
from trio_update.updaters.git.facts import Change, Seen
from trio_update.updaters.space import Disk


async def look_at_change(repository: Repository, seen: Seen, old: str, new: str) -> Change:
    """What going from commit ``old`` to ``new`` in place would change and meet.

    At most four processes: diff-tree, ls-files, update-index (only with hidden files), cat-file (not in partial clones,
    which would fetch what they lack).  Raises: OperationFailed.
    """
    files = await repository.differences(old, new)
    hidden = await repository.hidden()
    changed_in_hiding = await repository.changed_in_hiding() if hidden else ()
    sizes: tuple[int, ...] | None = None
    if seen.settings.promisor() is None and not any(found.is_submodule for found in files.values()):
        written = [found.object for found in files.values() if found.object.strip("0")]
        sizes = tuple(await repository.sizes(written)) if written else ()
    return await in_thread(_see_files, seen.folder, files, hidden, changed_in_hiding, sizes)


async def look_at_restore(repository: Repository, seen: Seen, new: str) -> Change:
    """The same of a recovery that goes to ``new``, which writes anew what was changed here too; without the sizes."""
    head = seen.tree.head
    files = await repository.differences(head, new) if head is not None and head != new else {}
    change = await in_thread(_see_files, seen.folder, files, (), (), None)
    locked = await in_thread(locked_folders, seen.folder, (*files, *seen.tree.modified))
    return replace(change, locked=locked)


def no_change(path: Path) -> Change:
    """Nothing changes."""
    return Change({}, look_at_disk(path))


def _see_files(
    folder: GitFolder,
    files: Mapping[bytes, Difference],
    hidden: tuple[bytes, ...],
    changed_in_hiding: tuple[str, ...],
    sizes: tuple[int, ...] | None,
) -> Change:
    base = os.fsencode(folder.path)
    return Change(
        files,
        look_at_disk(folder.path),
        taken=tuple(collisions(folder.path, files)),
        hides=bool(hidden),
        concealed=tuple(path for path in hidden if path in files and os.path.lexists(os.path.join(base, path))),
        changed_in_hiding=changed_in_hiding,
        locked=locked_folders(folder, files),
        mounted=mounted_paths(folder.path, files),
        sizes=sizes,
        index_size=_size_of(folder.git_dir / "index"),
    )


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def look_at_disk(path: Path) -> Disk:
    """The disk that ``path`` is on."""
    try:
        return Disk(path, durable.free_bytes(path))
    except OperationFailed as failed:
        return Disk(path, Unknown(str(failed)))


def locked_folders(folder: GitFolder, paths: Iterable[bytes]) -> tuple[str, ...]:
    """Folders in which the ``paths`` cannot be written anew, and those of git's own that any update writes to.

    ``sudo`` leaves such; git would find out in the middle of its work.
    """
    base = os.fsencode(folder.path)
    needed = {_nearest_folder(base, os.path.dirname(path)) for path in paths}
    if not needed:
        return ()
    needed |= {
        os.fsencode(path) for path in (folder.git_dir, folder.common_dir / "objects", folder.common_dir / "refs")
    }
    found = sorted(path for path in needed if not os.access(path, os.W_OK | os.X_OK))
    return tuple(text(os.path.relpath(path, base)) for path in found)


def _nearest_folder(base: bytes, below: bytes) -> bytes:
    """The folder that a file below ``below`` would be made in; links are not followed out of the clone."""
    while below and (os.path.islink(os.path.join(base, below)) or not os.path.isdir(os.path.join(base, below))):
        below = os.path.dirname(below)
    return os.path.join(base, below) if below else base


def mounted_paths(root: Path, paths: Iterable[bytes]) -> tuple[bytes, ...]:
    """Which of the ``paths`` something is mounted on or below: they can be neither replaced nor removed."""
    base = os.path.join(os.path.realpath(os.fsencode(root)), b"")
    inside = [place.removeprefix(base) for place in durable.mount_points() if place.startswith(base)]
    if not inside:
        return ()
    return tuple(path for path in paths if any(place == path or place.startswith(path + b"/") for place in inside))


def collisions(root: Path, files: Mapping[bytes, Difference]) -> list[bytes]:
    """Paths that the new commit adds and where something of the user's stands: git would overwrite it silently."""
    base = os.fsencode(root)
    added = [path for path, found in files.items() if found.kind == "A"]
    deleted = {path for path, found in files.items() if found.kind == "D"}
    taken = []
    for path in added:
        full = os.path.join(base, path)
        # A link or a file where a folder has to be: what is seen at ``full`` would be somewhere else.
        if blocking := [parent for parent in _parents(path) if _is_no_folder(base, parent)]:
            taken += [parent for parent in blocking if parent not in deleted]
        elif os.path.isdir(full) and not os.path.islink(full):
            taken += [found for found in _files_below(base, path) if found not in deleted]
        elif os.path.lexists(full):
            taken.append(path)
    return list(dict.fromkeys(taken))


def _files_below(base: bytes, path: bytes) -> list[bytes]:
    return [
        os.path.relpath(os.path.join(directory, name), base)
        for directory, _, names in os.walk(os.path.join(base, path))
        for name in names
    ]


def _parents(path: bytes) -> list[bytes]:
    parents = []
    while path := os.path.dirname(path):
        parents.append(path)
    return parents


def _is_no_folder(base: bytes, path: bytes) -> bool:
    full = os.path.join(base, path)
    return os.path.lexists(full) and (os.path.islink(full) or not os.path.isdir(full))
