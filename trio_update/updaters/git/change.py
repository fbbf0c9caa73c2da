"""Looking at the way from one commit to another: what changes, and what stands there now."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from trio_update.errors import OperationFailed
from trio_update.host.files import durable
from trio_update.host.git.contents import changed_in_hiding, hidden
from trio_update.host.git.folder import GitFolder
from trio_update.host.git.output import Difference
from trio_update.host.git.repository import Repository
from trio_update.host.threads import in_thread
from trio_update.model import Unknown
from trio_update.updaters.dependencies.install_script import new_packages
from trio_update.updaters.git.facts import Change, Seen
from trio_update.updaters.git.locked import locked_paths
from trio_update.updaters.space import Disk


async def look_at_change(repository: Repository, seen: Seen, old: str, new: str, *, install_script: str = "") -> Change:
    """What going from commit ``old`` to ``new`` in place would change and meet.

    At most four processes: diff-tree, ls-files, update-index (only with hidden files), cat-file (not in partial clones,
    which would fetch what they lack); two more when ``install_script`` changes.  Raises: OperationFailed.
    """
    files = await repository.differences(old, new)
    concealed = await hidden(repository)
    overwritten = await changed_in_hiding(repository) if concealed else ()
    sizes: tuple[int, ...] | None = None
    if seen.settings.promisor() is None and not any(found.is_submodule for found in files.values()):
        written = [found.object for found in files.values() if found.object.strip("0")]
        sizes = tuple(await repository.sizes(written)) if written else ()
    ours = await files_of_leaving(repository, files)
    change = await in_thread(_see_files, seen.folder, files, concealed, overwritten, sizes, ours)
    if not install_script or os.fsencode(install_script) not in files:
        return change
    scripts = [await repository.content(commit, install_script) for commit in (old, new)]
    return replace(change, packages=new_packages(*scripts))


async def look_at_restore(repository: Repository, seen: Seen, new: str) -> Change:
    """The same of a recovery that goes to ``new``, which writes anew what was changed here too; without the sizes."""
    head = seen.tree.head
    files = await repository.differences(head, new) if head is not None and head != new else {}
    change = await in_thread(_see_files, seen.folder, files, (), (), None, frozenset[bytes]())
    locked = await in_thread(locked_paths, seen.folder, (*files, *seen.tree.modified), True)
    return replace(change, locked=locked)


async def files_of_leaving(repository: Repository, files: Mapping[bytes, Difference]) -> frozenset[bytes]:
    """What submodules track that the new commit lacks, and their ``.git`` files: they make room for it."""
    found: set[bytes] = set()
    for path in await in_thread(_leaving, repository.path, files):
        found |= await _files_of_module(repository, path)
    return frozenset(found)


def _leaving(root: Path, files: Mapping[bytes, Difference]) -> frozenset[bytes]:
    base = os.fsencode(root)
    gone = (path for path, found in files.items() if found.kind in {"D", "T"})
    return frozenset(path for path in gone if os.path.isfile(os.path.join(base, path, b".git")))


async def _files_of_module(top: Repository, path: bytes) -> set[bytes]:
    root = top.path / os.fsdecode(path)
    tracked = await Repository(root, top.runner).tracked()
    found = {path + b"/" + name for name in tracked} | {path + b"/.git"}
    for name in tracked:
        if await in_thread(os.path.isfile, os.path.join(os.fsencode(root), name, b".git")):
            found |= await _files_of_module(top, path + b"/" + name)
    return found


def no_change(path: Path) -> Change:
    """Nothing changes."""
    return Change({}, look_at_disk(path))


def _see_files(
    folder: GitFolder,
    files: Mapping[bytes, Difference],
    hidden: tuple[bytes, ...],
    changed_in_hiding: tuple[str, ...],
    sizes: tuple[int, ...] | None,
    ours: frozenset[bytes],
) -> Change:
    base = os.fsencode(folder.path)
    return Change(
        files,
        look_at_disk(folder.path),
        taken=tuple(collisions(folder.path, files, ours)),
        hides=bool(hidden),
        concealed=tuple(path for path in hidden if path in files and os.path.lexists(os.path.join(base, path))),
        changed_in_hiding=changed_in_hiding,
        locked=locked_paths(folder, files),
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


def mounted_paths(root: Path, paths: Iterable[bytes]) -> tuple[bytes, ...]:
    """Which of the ``paths`` something is mounted on or below: they can be neither replaced nor removed."""
    base = os.path.join(os.path.realpath(os.fsencode(root)), b"")
    inside = [place.removeprefix(base) for place in durable.mount_points() if place.startswith(base)]
    if not inside:
        return ()
    return tuple(path for path in paths if any(place == path or place.startswith(path + b"/") for place in inside))


def collisions(root: Path, files: Mapping[bytes, Difference], ours: frozenset[bytes] = frozenset()) -> list[bytes]:
    """Paths that the new commit adds and where something of the user's stands: git would overwrite it silently.

    ``ours``: files that go away before, with the submodules that they belong to.
    """
    base = os.fsencode(root)
    deleted = {path for path, found in files.items() if found.kind == "D"} | ours
    # What becomes a file may be the folder of a submodule.
    added = [
        path for path, found in files.items() if found.kind == "A" or (found.kind == "T" and not found.is_submodule)
    ]
    added = [path for path in added if files[path].kind == "A" or _is_folder(base, path)]
    taken = []
    for path in added:
        full = os.path.join(base, path)
        # A link or a file where a folder has to be: what is seen at ``full`` would be somewhere else.
        if blocking := [parent for parent in _parents(path) if _is_no_folder(base, parent)]:
            taken += [parent for parent in blocking if parent not in deleted]
        elif os.path.isdir(full) and not os.path.islink(full):
            if files[path].is_submodule:
                continue  # what it will have there is looked at when that is known
            taken += [found for found in _files_below(base, path) if found not in deleted]
        elif os.path.lexists(full) and path not in ours:
            taken.append(path)
    return list(dict.fromkeys(taken))


def _files_below(base: bytes, path: bytes) -> list[bytes]:
    return [
        os.path.relpath(os.path.join(directory, name), base)
        for directory, _, names in os.walk(os.path.join(base, path))
        for name in names
        # Python makes it again: it is no work of the user's.
        if not (os.path.basename(directory) == b"__pycache__" and name.endswith((b".pyc", b".pyo")))
    ]


def _parents(path: bytes) -> list[bytes]:
    parents = []
    while path := os.path.dirname(path):
        parents.append(path)
    return parents


def _is_folder(base: bytes, path: bytes) -> bool:
    full = os.path.join(base, path)
    return os.path.isdir(full) and not os.path.islink(full)


def _is_no_folder(base: bytes, path: bytes) -> bool:
    full = os.path.join(base, path)
    return os.path.lexists(full) and (os.path.islink(full) or not os.path.isdir(full))
