"""The way round an exchange, where a folder cannot change places: it stays, and its content is copied over.

Mount points answer an exchange with EBUSY, lower layers of an overlay with EXDEV.  Not atomic for those who read
meanwhile, as :func:`~trio_update.host.files.durable.exchange` is; but as long as both contents lie whole aside,
whoever comes after a kill only has to copy one of them again.  Blocking functions; all raise
:class:`~trio_update.errors.FileTrouble`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
from pathlib import Path

from trio_update.errors import FileTrouble
from trio_update.host.files import durable
from trio_update.host.files.carry import make_alike
from trio_update.host.files.durable import translated

_NO_EXCHANGE = frozenset({errno.EBUSY, errno.EXDEV, errno.EINVAL, errno.ENOSYS})


def asks_for_refill(error: FileTrouble) -> bool:
    """Whether an exchange was turned down because of where the folder lies, and nothing has changed."""
    return error.errno in _NO_EXCHANGE


def refill(live: Path, source: Path, keep: tuple[bytes, ...]) -> None:
    """Make the content of ``live`` that of ``source``, but for the relative paths in ``keep``; durable.

    Idempotent; ``source`` is not changed.
    """
    _Emptier(os.fsencode(live), os.fsencode(source), frozenset(keep)).empty(b"")
    copy_content(source, live, keep)
    durable.sync_filesystem(live)


def copy_content(source: Path, target: Path, leave_out: tuple[bytes, ...]) -> None:
    """Copy everything below ``source``, but for the relative paths in ``leave_out``, into ``target``, a folder.

    What stands there already (a folder that holds something of the user's) stays.  Not synced.
    """
    _copy(os.fsencode(source), os.fsencode(target), b"", frozenset(leave_out))


class _Emptier:
    """Removes what is not to be kept.  Folders that ``source`` has too stay: one of the user's is never gone."""

    def __init__(self, live: bytes, source: bytes, keep: frozenset[bytes]) -> None:
        self._live = os.path.realpath(live)
        self._source = source
        self._keep = keep
        self._above = {path[:end] for path in keep for end in range(len(path)) if path[end : end + 1] == b"/"}
        self._mounts = durable.mount_points()

    def empty(self, below: bytes) -> None:
        folder = os.path.join(self._live, below)
        with translated("open", folder):
            mode = stat.S_IMODE(os.stat(folder).st_mode)
            shut = not os.access(folder, os.R_OK | os.W_OK | os.X_OK)
            if shut:
                os.chmod(folder, mode | stat.S_IRWXU)
            names = os.listdir(folder)
        self._empty_of(names, below)
        if shut and not _is_folder(os.path.join(self._source, below)):
            # Nothing is copied into it, so that no copy shuts it again.
            with translated("shut", folder):
                os.chmod(folder, mode)

    def _empty_of(self, names: list[bytes], below: bytes) -> None:
        for name in names:
            path = os.path.join(below, name)
            place = os.path.join(self._live, path)
            if path in self._keep:
                continue
            if self._stays(path):
                self.empty(path)
            elif _is_folder(place):
                durable.remove_tree(Path(os.fsdecode(place)))
            else:
                # As remove_tree would, but for a look at all mounts for each of thousands of files.
                with translated("remove", place), contextlib.suppress(FileNotFoundError):
                    os.unlink(place)

    def _stays(self, path: bytes) -> bool:
        place = os.path.join(self._live, path)
        # A link is removed and never followed, whatever lies behind it; a mount is left to who refuses to remove it.
        if place in self._mounts or not _is_folder(place):
            return False
        return path in self._above or (_is_folder(os.path.join(self._source, path)) and _is_ours(place))


def _is_folder(path: bytes) -> bool:
    return os.path.isdir(path) and not os.path.islink(path)


def _is_ours(path: bytes) -> bool:
    """Whether its mode and times are ours to set."""
    return os.geteuid() in (0, os.lstat(path).st_uid)


def _copy(source: bytes, target: bytes, below: bytes, leave_out: frozenset[bytes]) -> None:
    with translated("copy", os.path.join(source, below)), os.scandir(os.path.join(source, below)) as entries:
        found = [(entry.name, entry.stat(follow_symlinks=False).st_mode) for entry in entries]
    for name, mode in found:
        path = os.path.join(below, name)
        place = os.path.join(target, path)
        if path in leave_out:
            continue
        if stat.S_ISDIR(mode):
            with translated("make", place):
                if not os.path.isdir(place):
                    os.mkdir(place)
            _copy(source, target, path, leave_out)
            with translated("copy", place):
                if _is_ours(place):
                    make_alike(os.path.join(source, path), place)
        elif not os.path.lexists(place) and (stat.S_ISREG(mode) or stat.S_ISLNK(mode) or stat.S_ISFIFO(mode)):
            with translated("copy", place):
                if stat.S_ISFIFO(mode):
                    os.mkfifo(place)
                else:
                    shutil.copyfile(os.path.join(source, path), place, follow_symlinks=False)
                make_alike(os.path.join(source, path), place)
