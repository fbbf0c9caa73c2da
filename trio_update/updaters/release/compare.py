"""Does a folder hold what its archive brought?"""

from __future__ import annotations

import os
import stat
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from trio_update.host.archive.extract import Archive, Entry
from trio_update.host.files import durable
from trio_update.host.files.durable import translated

_PIECE = 1 << 20
# What programs make by being run: neither the release's nor the user's.
_BYPRODUCTS = (b"__pycache__",)


@dataclass(frozen=True)
class Differences:
    """Relative paths: files of the archive that are not there, or not as they were; and files that it didn't bring."""

    missing: tuple[bytes, ...] = ()
    changed: tuple[bytes, ...] = ()
    strange: tuple[bytes, ...] = ()


def compare(
    folder: Path, archive: Archive, *, leave_out: tuple[bytes, ...], check: Callable[[], None] = lambda: None
) -> Differences:
    """Compare a folder with the archive that it was unpacked from.

    A file whose size is the archive's is read: its time tells nothing, for in a reproducible archive all versions of a
    file are of one time.  ``leave_out``: relative paths that belong to nobody here, with what is below them.  Raises:
    FileTrouble.
    """
    root = os.fsencode(folder)
    missing, changed = [], []
    for entry in archive.entries:
        path = os.fsencode(entry.name)
        if entry.is_dir or _is_below(path, leave_out):
            continue
        check()
        same = is_as_packed(root, path, entry)
        if same is None:
            missing.append(path)
        elif not same:
            changed.append(path)
    known = frozenset(os.fsencode(entry.name) for entry in archive.entries if not entry.is_dir)
    return Differences(tuple(missing), tuple(changed), tuple(_strange(root, known, leave_out)))


def users_own(
    folder: Path, archive: Archive, *, leave_out: tuple[bytes, ...], check: Callable[[], None] = lambda: None
) -> tuple[bytes, ...]:
    """What in ``folder`` is the user's, given what the release brought: files that are not its, or not as it had them.

    It need not be known who unpacked the archive.  Raises: FileTrouble.
    """
    found = compare(folder, archive, leave_out=leave_out, check=check)
    return tuple(sorted((*found.changed, *found.strange)))


def everything(folder: Path, *, leave_out: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """All files and links in ``folder`` but for what programs make by being run.  Raises: FileTrouble."""
    return tuple(sorted(_strange(os.fsencode(folder), frozenset(), leave_out)))


def is_as_packed(root: bytes, path: bytes, entry: Entry, *, deep: bool = True) -> bool | None:
    """Whether the file at ``path`` is the entry's; ``None``: there is none.  Not ``deep``: by its size alone."""
    place = os.path.join(root, path)
    with translated("read", place):
        try:
            status = os.lstat(place)
        except (FileNotFoundError, NotADirectoryError):
            return None
        if not stat.S_ISREG(status.st_mode) or status.st_size != entry.size:
            return False
        if not deep:
            return True
        crc = 0
        with open(place, "rb") as file:
            while data := file.read(_PIECE):
                crc = zlib.crc32(data, crc)
        return crc == entry.crc


def _strange(root: bytes, known: frozenset[bytes], leave_out: tuple[bytes, ...]) -> list[bytes]:
    found = []
    for directory, folders, names in durable.walk(root):
        below = os.path.relpath(directory, root)
        base = b"" if below == b"." else below
        links = [name for name in folders if os.path.islink(os.path.join(directory, name))]
        for name in (*names, *links):
            path = os.path.join(base, name)
            mode = os.lstat(os.path.join(directory, name)).st_mode
            if path not in known and not _is_below(path, leave_out) and (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):
                found.append(path)
        folders[:] = [
            name
            for name in folders
            if name not in links and name not in _BYPRODUCTS and not _is_below(os.path.join(base, name), leave_out)
        ]
    return found


def _is_below(path: bytes, tops: tuple[bytes, ...]) -> bool:
    return any(path == top or path.startswith(top + b"/") for top in tops)
