"""Files, changed so that a power cut or a kill leaves the old state or the new one.

Plain blocking functions; callers in the event loop use a thread.  All raise :class:`FileTrouble`, with ``errno`` kept.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from trio_update.errors import DataPathHeld, FileTrouble

_AT_FDCWD = -100
_RENAME_NOREPLACE = 1
_RENAME_EXCHANGE = 2

_ADVICE = {
    errno.EBUSY: "it is a mount point: move it into a folder of the mounted file system",
    errno.EXDEV: "the two lie on different file systems, or on a lower layer of an overlay",
    errno.EINVAL: "this file system cannot exchange two names at once",
    errno.ENOSYS: "this system cannot exchange two names at once",
    errno.ENOSPC: "the disk is full: free some space and try again",
}


def trouble(action: str, path: str | bytes | Path, error: OSError) -> FileTrouble:
    """Translate an ``OSError``, with advice where there is some."""
    why = error.strerror or str(error)
    if error.errno in _ADVICE:
        why = f"{why} ({_ADVICE[error.errno]})"
    shown = os.fsdecode(path) if not isinstance(path, Path) else path
    return FileTrouble(action, shown, error.errno, why)


@contextlib.contextmanager
def translated(action: str, path: str | bytes | Path) -> Iterator[None]:
    """Any ``OSError`` inside becomes a :class:`FileTrouble` about ``path``."""
    try:
        yield
    except OSError as error:
        raise trouble(action, path, error) from error


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _renameat2(source: Path, target: Path, flags: int) -> None:
    done = _libc().renameat2(
        ctypes.c_int(_AT_FDCWD),
        ctypes.c_char_p(os.fsencode(source)),
        ctypes.c_int(_AT_FDCWD),
        ctypes.c_char_p(os.fsencode(target)),
        ctypes.c_uint(flags),
    )
    if done != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def exchange(one: Path, other: Path) -> None:
    """Let two paths change places at one instant, durably: renameat2(2) with ``RENAME_EXCHANGE``."""
    with translated(f"exchange {other} with", one):
        _renameat2(one, other, _RENAME_EXCHANGE)
    _sync_parents(one, other)


def rename(source: Path, target: Path) -> None:
    """Move ``source`` to ``target``, which must not exist, durably."""
    with translated(f"move {source} to", target):
        _renameat2(source, target, _RENAME_NOREPLACE)
    _sync_parents(source, target)


def _sync_parents(*paths: Path) -> None:
    for parent in {path.parent for path in paths}:
        fsync_directory(parent)


def fsync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    with translated("sync the directory", path):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def sync_filesystem(path: Path) -> None:
    """Write out everything of the file system that holds ``path``: syncfs(2).

    One call for thousands of files, where an fsync each would take a flush of the device for every one.
    """
    with translated("sync the file system of", path):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            if _libc().syncfs(descriptor) != 0:
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number))
        finally:
            os.close(descriptor)


def write_atomically(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write a file that is, after any kill or power cut, the old one or the new one; durable on return."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    with translated("write", path):
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    fsync_directory(path.parent)


def remove_tree(path: Path) -> None:
    """Remove a file or a whole folder, whatever its permissions; a missing one is fine.

    Symbolic links are removed, never followed; what is mounted inside is left alone, and is an error.
    """
    with translated("remove", path):
        try:
            found = path.lstat()
        except FileNotFoundError:
            return
        if not stat.S_ISDIR(found.st_mode):
            path.unlink()
            return
        _remove_folder(os.fsencode(path), found.st_dev)


def _remove_folder(path: bytes, device: int) -> None:
    _make_writable(path)
    with os.scandir(path) as entries:
        found = list(entries)
    for entry in found:
        if not entry.is_dir(follow_symlinks=False):
            os.unlink(entry.path)
        elif entry.stat(follow_symlinks=False).st_dev != device:
            raise OSError(errno.EBUSY, f"{os.fsdecode(entry.path)} is mounted inside: unmount it first")
        else:
            _remove_folder(entry.path, device)
    os.rmdir(path)


def _make_writable(path: bytes) -> None:
    mode = os.lstat(path).st_mode
    if mode & 0o700 != 0o700:
        os.chmod(path, stat.S_IMODE(mode) | 0o700)


def copy_aside(root: Path, names: tuple[bytes, ...], aside: Path) -> None:
    """Copy files below ``root`` to the same places below ``aside``, durably; links as links."""
    for name in names:
        target = os.path.join(os.fsencode(aside), name)
        with translated("save", target):
            os.makedirs(os.path.dirname(target), exist_ok=True)
            shutil.copy2(os.path.join(os.fsencode(root), name), target, follow_symlinks=False)
    if names:
        sync_filesystem(aside)


def free_bytes(path: Path) -> int:
    """Bytes that this user can still write to the file system of ``path``."""
    with translated("measure the free space of", path):
        found = os.statvfs(path)
        return found.f_bavail * found.f_frsize


def is_mount_point(path: Path) -> bool:
    """Whether a file system is mounted at ``path`` (a bind mount of the same device is not seen)."""
    return path.is_mount()


class InstanceLock:
    """Held by the one manager that works on a DATA_PATH, for as long as the context lasts.

    flock(2): the kernel lets go of it when the process ends, however it ends.  Raises: DataPathHeld.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1

    def __enter__(self) -> InstanceLock:
        with translated("open the lock", self._path):
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(self._descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(self._descriptor)
            raise DataPathHeld(
                f"{self._path.parent.parent} is in use by another trio-update (process {holder}): stop that one first, "
                "or choose another DATA_PATH"
            ) from None
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)
