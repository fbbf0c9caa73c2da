"""What stays the user's when a release's folder is replaced: its persistent files."""

from __future__ import annotations

import fnmatch
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from trio_update.config.patterns import is_pattern
from trio_update.errors import FileTrouble
from trio_update.host.files import durable
from trio_update.host.files.carry import carry_paths, replace_with, same_content
from trio_update.host.files.durable import translated
from trio_update.updaters.release.info import RELEASE_INFO, VERSION_FILE

MOST_LOOKS = 100_000
"""Files and folders that are looked at for one pattern: as many as an archive may have."""
_MARKS = {os.fsencode(RELEASE_INFO), os.fsencode(VERSION_FILE)}


def found_persistent(folder: Path, wanted: tuple[str, ...]) -> tuple[bytes, ...]:
    """Which of the ``wanted`` relative paths there are in ``folder``, none of them inside another.

    Where a folder on the way is a symbolic link it is the link that is kept: what is behind it is not in the folder.
    A path with ``*``, ``?`` or ``[`` that does not exist stands for all that fit it, ``**`` for any number of folders;
    the marks that say which version is installed fit none.  Raises: FileTrouble, also for too many that fit.
    """
    root = os.fsencode(folder)
    found: set[bytes] = set()
    for path in wanted:
        exact = _exact(root, os.fsencode(path).split(b"/"))
        if exact is not None:
            found.add(exact)
        elif is_pattern(path):
            found.update(_Matcher(root, path).matches())
    return tuple(sorted(path for path in found if not any(above in found for above in _above(path))))


def _exact(root: bytes, parts: list[bytes]) -> bytes | None:
    for depth in range(1, len(parts) + 1):
        name = b"/".join(parts[:depth])
        with translated("look at", os.path.join(root, name)):
            try:
                mode = os.lstat(os.path.join(root, name)).st_mode
            except (FileNotFoundError, NotADirectoryError):
                return None
        if depth == len(parts) or stat.S_ISLNK(mode):
            return name
    return None


def _above(path: bytes) -> Iterator[bytes]:
    while b"/" in path:
        path = path.rpartition(b"/")[0]
        yield path


class _Matcher:
    """Finds what fits a pattern below ``root``, links not followed, in a number of looks that is bounded."""

    def __init__(self, root: bytes, pattern: str) -> None:
        self._root = root
        self._pattern = pattern
        self._seen = 0

    def matches(self) -> set[bytes]:
        parts = [part for part in os.fsencode(self._pattern).split(b"/") if part]
        found: set[bytes] = set()
        pending, done = [(b"", 0)], set[tuple[bytes, int]]()
        while pending:
            state = folder, number = pending.pop()
            if state in done:
                continue
            done.add(state)
            last = number == len(parts) - 1
            if parts[number] == b"**" and not last:
                pending.append((folder, number + 1))
            for name, is_folder in self._entries(folder):
                path = os.path.join(folder, name)
                # What lies directly in a folder stands for all that is below.
                if parts[number] != b"**" and not fnmatch.fnmatchcase(name, parts[number]):
                    continue
                if last:
                    found.add(path)
                elif is_folder:
                    pending.append((path, number + (parts[number] != b"**")))
        return found - _MARKS

    def _entries(self, folder: bytes) -> Iterator[tuple[bytes, bool]]:
        place = os.path.join(self._root, folder)
        with translated("look at", place):
            try:
                with os.scandir(place) as entries:
                    found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
            except (FileNotFoundError, NotADirectoryError):
                return
        self._seen += len(found)
        if self._seen > MOST_LOOKS:
            raise FileTrouble(
                "look for",
                self._pattern,
                None,
                f"more than {MOST_LOOKS:,} files are in question: name them more exactly",
            )
        yield from found


def mounts_inside(folder: Path) -> tuple[bytes, ...]:
    """What is mounted below ``folder``: it would go away with the old folder, or be in the way of removing that."""
    root = os.path.join(os.path.realpath(os.fsencode(folder)), b"")
    return tuple(sorted(place for place in durable.mount_points() if place.startswith(root)))


def folders_of_others(folder: Path) -> tuple[bytes, ...]:
    """Relative paths of the folders below ``folder`` that this user cannot empty, and that are not known to be empty.

    ``sudo`` leaves such; only their owner can remove what is in them.
    """
    if os.geteuid() == 0:
        return ()
    root, found = os.fsencode(folder), set[bytes]()

    def judge(directory: bytes) -> None:
        if os.lstat(directory).st_uid != os.geteuid() and not os.access(directory, os.W_OK | os.X_OK):
            found.add(os.path.relpath(directory, root))

    with translated("look at", folder):
        for directory, folders, names in os.walk(root, onerror=lambda error: judge(error.filename)):
            if folders or names:
                judge(directory)
    return tuple(sorted(found))


def carry_persistent(source: Path, target: Path, paths: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """Put the ``paths`` of ``source`` in the place of whatever ``target`` has there; ``source`` is not changed.

    Files are hard-linked, so that what a program still writes is in both.  Returns what cannot be carried (sockets,
    devices, mounts).  Raises: FileTrouble.
    """
    for path in paths:
        _make_room(os.fsencode(target), path)
    return carry_paths(source, target, paths).left_out


def _make_room(target: bytes, path: bytes) -> None:
    """Remove what stands at ``path`` or, on the way to it, is no folder: the user's copy wins over the release's."""
    parts = path.split(b"/")
    for depth in range(1, len(parts) + 1):
        there = os.path.join(target, *parts[:depth])
        with translated("look at", there):
            try:
                mode = os.lstat(there).st_mode
            except FileNotFoundError:
                return
        if depth == len(parts) or not stat.S_ISDIR(mode):
            durable.remove_tree(Path(os.fsdecode(there)))
            return


def brought_files(tree: Path, wanted: tuple[str, ...], carried: tuple[bytes, ...]) -> tuple[tuple[bytes, int], ...]:
    """Files of a new ``tree`` where the user's would stand, that the release brought; with their mtime in ns.

    They are of the time of the update, as the user's late ones are: only this tells them apart.  Raises: FileTrouble.
    """
    root = os.fsencode(tree)
    with translated("look at", tree):
        return tuple(
            (path, os.lstat(os.path.join(root, path)).st_mtime_ns)
            for path in _files_below(root, found_persistent(tree, wanted))
            if not any(path == top or path.startswith(top + b"/") for top in carried)
        )


def carry_late(
    source: Path,
    target: Path,
    paths: tuple[bytes, ...],
    *,
    since: float | None,
    aside: Path,
    wins: bool,
    brought: Mapping[bytes, int] = MappingProxyType({}),
) -> tuple[bytes, ...]:
    """Save what was written to ``source``'s persistent files after ``since`` (unix time) and isn't in ``target``.

    ``None``: at any time, which is right when whatever differs must be news, for the time of a file that was moved or
    restored tells nothing.
    ``wins``: the newer of two files takes the place in ``target``, and the other one goes below ``aside``; else
    ``target`` stays as it is.  ``brought``: see :func:`brought_files`; of these nothing is saved, and any file of the
    user's takes their place.  Returns the paths that went to ``aside``.  Idempotent.  Raises: FileTrouble.
    """
    put_aside = []
    for path in _files_below(os.fsencode(source), paths):
        origin, place = (os.path.join(os.fsencode(base), path) for base in (source, target))
        with translated("carry over", origin):
            status = os.lstat(origin)
            if (since is not None and status.st_mtime < since) or same_content(origin, place):
                continue
            if status.st_mtime_ns == brought.get(path):
                continue
            if wins and (not os.path.lexists(place) or os.lstat(place).st_mtime_ns == brought.get(path)):
                replace_with(source, target, path)
                continue
            newer = wins and os.lstat(place).st_mtime_ns < status.st_mtime_ns
        durable.copy_aside(target if newer else source, (path,), aside)
        put_aside.append(path)
        if newer:
            replace_with(source, target, path)
    return tuple(put_aside)


def unchanged_files(source: Path, target: Path, paths: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """Which files of ``source``, at or below ``paths``, are in ``target`` as well, and not only behind a link."""
    base = os.path.realpath(os.fsencode(target))

    def unchanged(path: bytes) -> bool:
        place = os.path.join(base, path)
        return os.path.realpath(os.path.dirname(place)) == os.path.dirname(place) and same_content(
            os.path.join(os.fsencode(source), path), place
        )

    with translated("compare", target):
        return tuple(filter(unchanged, _files_below(os.fsencode(source), paths)))


def _files_below(root: bytes, paths: tuple[bytes, ...]) -> Iterator[bytes]:
    for path in paths:
        top = os.path.join(root, path)
        if not os.path.isdir(top) or os.path.islink(top):
            # A pipe or a socket holds nothing that could be lost, and cannot be copied.
            if os.path.lexists(top) and _has_content(top):
                yield path
            continue
        for directory, folders, names in durable.walk(top):
            links = [name for name in folders if os.path.islink(os.path.join(directory, name))]
            for name in (*names, *links):
                found = os.path.join(directory, name)
                if _has_content(found):
                    yield os.path.relpath(found, root)


def _has_content(path: bytes) -> bool:
    mode = os.lstat(path).st_mode
    return stat.S_ISREG(mode) or stat.S_ISLNK(mode)
