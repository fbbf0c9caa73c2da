"""What in a clone this user cannot write: ``sudo`` leaves it, and git finds out in the middle of its work."""

from __future__ import annotations

import fcntl
import os
import stat
import struct
from collections.abc import Iterable, Iterator

from trio_update.host.git.folder import GitFolder
from trio_update.host.git.output import text

# ioctl_iflags(2), from <linux/fs.h>: the same number on 32 and 64 bits of each architecture but the four that Linux
# gives other ones, where the call fails and nothing is known.
_GET_FLAGS = 0x80086601 if struct.calcsize("l") == 8 else 0x80046601
_IMMUTABLE_OR_APPEND = 0x10 | 0x20


def locked_paths(folder: GitFolder, paths: Iterable[bytes], always: bool = False) -> tuple[str, ...]:
    """Folders in which the ``paths`` cannot be made, replaced or removed, files that cannot, and those of git's own.

    Git's are looked at when there are ``paths``, or ``always``.  A file that is read-only is no hindrance: git removes
    it and makes another one, for which it needs its folder.
    """
    base = os.fsencode(folder.path)
    listed = list(paths)
    needed = {_nearest_folder(base, os.path.dirname(path)) for path in listed}
    if not listed and not always:
        return ()
    found = {path for path in needed if not _is_ours(path)}
    found |= {path for path in (os.path.join(base, name) for name in listed) if _stays(path)}
    found |= set(_locked_of_git(folder))
    return tuple(text(os.path.relpath(path, base)) for path in sorted(found))


def lasting_folders(live: os.PathLike[str]) -> tuple[str, ...]:
    """Folders in and below ``live`` that this user cannot empty, and that hold something.  An empty one can go."""
    base = os.fsencode(live)
    found = []
    for directory, folders, files in os.walk(base):
        entries = [*folders, *files]
        if entries and not _could_be_ours(directory):
            found.append(directory)
        elif entries and _is_sticky(directory):
            found += [path for path in (os.path.join(directory, name) for name in entries) if _stays(path)]
        elif not os.access(directory, os.R_OK) and not _owned(directory):
            found.append(directory)
    return tuple(text(os.path.relpath(path, base)) for path in sorted(found))


def _locked_of_git(folder: GitFolder) -> Iterator[bytes]:
    """What any move of HEAD writes: a lock beside each ref and the index, and a line at the end of each log."""
    common, own = folder.common_dir, folder.git_dir
    refs = [common / "refs" / "heads" / (folder.branch or "")]
    folders = {own, common / "objects", common / "refs", *(ref.parent if folder.branch else ref for ref in refs)}
    for path in map(os.fsencode, folders):
        if os.path.isdir(path) and not _is_ours(path):
            yield path
    logs = [own / "logs" / "HEAD", *([common / "logs" / "refs" / "heads" / folder.branch] if folder.branch else [])]
    for path in (os.fsencode(log) for log in logs):
        if os.path.lexists(path) and not os.access(path, os.W_OK):
            yield path


def _nearest_folder(base: bytes, below: bytes) -> bytes:
    """The folder that a file below ``below`` would be made in; links are not followed out of the clone."""
    while below and (os.path.islink(os.path.join(base, below)) or not os.path.isdir(os.path.join(base, below))):
        below = os.path.dirname(below)
    return os.path.join(base, below) if below else base


def _is_ours(folder: bytes) -> bool:
    return os.access(folder, os.W_OK | os.X_OK)


def _could_be_ours(folder: bytes) -> bool:
    """Whether it can be emptied: what we own we can open for writing, but not on a read-only file system."""
    return _is_ours(folder) or (_owned(folder) and not _is_read_only(folder) and not _has_flags(folder))


def _is_read_only(path: bytes) -> bool:
    return bool(os.statvfs(path).f_flag & os.ST_RDONLY)


def _owned(path: bytes) -> bool:
    return os.geteuid() in {0, os.lstat(path).st_uid}


def _is_sticky(folder: bytes) -> bool:
    return bool(os.lstat(folder).st_mode & stat.S_ISVTX)


def _stays(path: bytes) -> bool:
    """Whether an entry cannot be removed though its folder can be written: another's in a sticky one, or immutable."""
    try:
        status, parent = os.lstat(path), os.lstat(os.path.dirname(path))
    except (FileNotFoundError, NotADirectoryError):
        return False
    if parent.st_mode & stat.S_ISVTX and os.geteuid() not in {0, status.st_uid, parent.st_uid}:
        return True
    return stat.S_ISREG(status.st_mode) and _has_flags(path)


def _has_flags(path: bytes) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        flags = struct.unpack("i", fcntl.ioctl(descriptor, _GET_FLAGS, b"\0" * 4)[:4])[0]
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return bool(flags & _IMMUTABLE_OR_APPEND)
