"""Bringing the user's files from an old folder into the one that takes its place."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from trio_update.host.files import translated

_LINK_IMPOSSIBLE = {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP}


@dataclass
class CarryReport:
    """What became of the user's files; paths relative to the folder."""

    carried: int = 0
    put_aside: list[bytes] = field(default_factory=list)
    left_out: list[bytes] = field(default_factory=list)


def carry_over(
    source: Path, target: Path, tracked: frozenset[bytes], *, aside: Path, skip: tuple[bytes, ...] = (b".git",)
) -> CarryReport:
    """Bring everything in ``source`` that is no ``tracked`` path into ``target``; ``source`` stays as it is.

    Regular files are hard-linked where possible (nothing is copied, and what a program still appends to the old file is
    in the new one as well), links are made again and never followed, empty folders come along.  Where ``target`` has
    something else in that place, the user's file is copied below ``aside`` instead.  ``skip``: names at the top that
    are left out.  Doing it again is harmless.  Raises: FileTrouble.
    """
    carrier = _Carrier(os.fsencode(source), os.fsencode(target), tracked, os.fsencode(aside), CarryReport())
    with translated(f"carry files over from {source} to", target):
        carrier.folder(b"", skip)
    return carrier.report


@dataclass
class _Carrier:
    source: bytes
    target: bytes
    tracked: frozenset[bytes]
    aside: bytes
    report: CarryReport

    def folder(self, relative: bytes, skip: tuple[bytes, ...] = ()) -> None:
        for entry in _entries(os.path.join(self.source, relative)):
            name = os.path.join(relative, entry.name)
            if entry.name in skip:
                continue
            if entry.is_dir(follow_symlinks=False):
                self._folder_entry(name, entry)
            elif name not in self.tracked:
                self._file_entry(name, entry)

    def _folder_entry(self, name: bytes, entry: os.DirEntry[bytes]) -> None:
        place = os.path.join(self.target, name)
        if not os.path.lexists(place):
            os.mkdir(place)
            made = True
        elif name in self.tracked and os.path.isdir(place):
            return  # a submodule
        elif os.path.isdir(place) and not os.path.islink(place):
            made = False
        else:
            self._put_aside(name)
            return
        self.folder(name)
        if made:
            shutil.copystat(entry.path, place)
            _copy_owner(entry.path, place)

    def _file_entry(self, name: bytes, entry: os.DirEntry[bytes]) -> None:
        place = os.path.join(self.target, name)
        found = entry.stat(follow_symlinks=False)
        if stat.S_ISSOCK(found.st_mode) or stat.S_ISBLK(found.st_mode) or stat.S_ISCHR(found.st_mode):
            self.report.left_out.append(name)
        elif not os.path.lexists(place):
            _bring(entry.path, place, found)
            self.report.carried += 1
        elif not _is_same(entry.path, place, found):
            self._put_aside(name)

    def _put_aside(self, name: bytes) -> None:
        source, place = os.path.join(self.source, name), os.path.join(self.aside, name)
        os.makedirs(os.path.dirname(place), exist_ok=True)
        if os.path.isdir(source) and not os.path.islink(source):
            shutil.copytree(os.fsdecode(source), os.fsdecode(place), symlinks=True, dirs_exist_ok=True)
        else:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(place)
            shutil.copy2(source, place, follow_symlinks=False)
        self.report.put_aside.append(name)


def _entries(folder: bytes) -> Iterator[os.DirEntry[bytes]]:
    with os.scandir(folder) as entries:
        yield from sorted(entries, key=lambda entry: entry.name)


def _bring(source: bytes, place: bytes, found: os.stat_result) -> None:
    if stat.S_ISLNK(found.st_mode):
        os.symlink(os.readlink(source), place)
        return
    if stat.S_ISFIFO(found.st_mode):
        os.mkfifo(place, stat.S_IMODE(found.st_mode))
        return
    try:
        os.link(source, place, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _LINK_IMPOSSIBLE:
            raise
        shutil.copy2(source, place, follow_symlinks=False)
        _copy_owner(source, place)


def _copy_owner(source: bytes, place: bytes) -> None:
    if os.geteuid() == 0:
        found = os.lstat(source)
        os.chown(place, found.st_uid, found.st_gid, follow_symlinks=False)


def _is_same(source: bytes, place: bytes, found: os.stat_result) -> bool:
    """Whether ``place`` is what a former pass brought there."""
    there = os.lstat(place)
    if (there.st_dev, there.st_ino) == (found.st_dev, found.st_ino):
        return True
    if stat.S_IFMT(there.st_mode) != stat.S_IFMT(found.st_mode):
        return False
    if stat.S_ISLNK(found.st_mode):
        return os.readlink(source) == os.readlink(place)
    if not stat.S_ISREG(found.st_mode):
        return True
    return (there.st_size, there.st_mtime_ns) == (found.st_size, found.st_mtime_ns)
