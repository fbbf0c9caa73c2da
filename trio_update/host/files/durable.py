"""Files, changed so that a power cut or a kill leaves the old state or the new one.

Plain blocking functions; callers in the event loop use a thread.  All raise :class:`FileTrouble`, with ``errno`` kept.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from trio_update.errors import FileTrouble

_AT_FDCWD = -100
_RENAME_NOREPLACE = 1
_RENAME_EXCHANGE = 2
_PIECE = 1 << 20
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC

_ADVICE = {
    errno.EBUSY: "it is a mount point: move it into a folder of the mounted file system, or unmount it",
    errno.EXDEV: "the two lie on different file systems, or on a lower layer of an overlay",
    errno.EINVAL: "this file system cannot exchange two names at once",
    errno.ENOSYS: "this system cannot exchange two names at once",
    errno.ENOSPC: "free some space on that disk and try again",
    errno.EDQUOT: "the user's quota is used up: free some space and try again",
    errno.EROFS: "mounted read-only, often because of a disk error: see the system's log",
    errno.EIO: "the disk reports an error: see the system's log",
    errno.EACCES: "check owner and permissions",
    errno.EPERM: "check owner, permissions and attributes",
    errno.ENOTEMPTY: "something still writes into it: stop that first",
}


def trouble(action: str, path: str | bytes | Path, error: OSError) -> FileTrouble:
    """Translate an ``OSError``, with advice where there is some.

    Bytes that are not UTF-8 are shown as ``\\xNN``: surrogates in a message would break whatever encodes it.
    """
    why = error.strerror or str(error)
    if error.errno in _ADVICE:
        why = f"{why} ({_ADVICE[error.errno]})"
    shown = os.fsencode(path).decode(errors="backslashreplace")
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
    try:
        call = _libc().renameat2
    except AttributeError as error:  # musl before 1.2.6
        raise OSError(errno.ENOSYS, "the C library has no renameat2") from error
    done = call(
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
    """Let two paths change places at one instant, durably: renameat2(2) with ``RENAME_EXCHANGE``.

    Raises: FileTrouble, with EBUSY for a mount point, EXDEV across file systems, EINVAL or ENOSYS where it is not
    supported; then nothing has changed.  One that fails to *sync* comes after the change.
    """
    with translated(f"exchange {other} with", one):
        _renameat2(one, other, _RENAME_EXCHANGE)
    _sync_parents(one, other)


def rename(source: Path, target: Path) -> None:
    """Move ``source`` to ``target``, which must not exist, durably."""
    with translated(f"move {source} to", target):
        _renameat2(source, target, _RENAME_NOREPLACE)
    _sync_parents(source, target)


def swap(live: Path, stage: Path, *, new: int, replaces: bool, forward: bool) -> None:
    """Put what has inode ``new`` at ``live`` (``forward``) or back at ``stage``; nothing to do when it is there.

    Works from any state that a kill leaves, because an inode number tells what stands where.  ``replaces``: something
    stood at ``live`` before, and takes the other place.  Raises as :func:`exchange`.
    """
    if (inode(live) == new) == forward:
        return
    if replaces:
        exchange(live, stage)
        return
    source, target = (stage, live) if forward else (live, stage)
    if inode(source) == new:
        rename(source, target)


def _sync_parents(*paths: Path) -> None:
    for parent in {path.parent for path in paths}:
        fsync_directory(parent)


def fsync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    with translated("sync the directory", path):
        descriptor = os.open(path, _DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def sync_filesystem(path: Path) -> None:
    """Write out everything of the file system that holds ``path``: syncfs(2).

    One call for thousands of files, where an fsync each would take a flush of the device for every one.
    """
    with translated("sync the file system of", path):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if _libc().syncfs(descriptor) != 0:
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number))
        finally:
            os.close(descriptor)


def write_atomically(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Replace or create ``path`` durably; a reader, or a start after a power cut, sees the old content or the new.

    The file gets ``mode`` exactly, whatever the umask.  One writer at a time for each path: the temporary name,
    ``.NAME.tmp`` beside it, is always the same, so that what a kill leaves is replaced by the next write instead of
    piling up.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    with translated("write", path):
        try:
            temporary.unlink(missing_ok=True)
            with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
                file.write(data)
                file.flush()
                os.fchmod(file.fileno(), mode)
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
    fsync_directory(path.parent)


def remove_tree(path: Path) -> None:
    """Remove ``path`` and all below it; a missing one is fine.

    Symbolic links are removed and never followed; directories that forbid it (git's, Go's) are made writable.
    A tree with a mount in it is refused before anything is removed: a forgotten bind mount is the user's data.
    """
    mounted = [mount for mount in mount_points() if _is_in(mount, os.path.realpath(os.fsencode(path)))]
    if mounted and not path.is_symlink():
        raise trouble("remove", min(mounted), OSError(errno.EBUSY, os.strerror(errno.EBUSY)))
    with translated("remove", path):
        try:
            path.unlink()
        except FileNotFoundError:
            return
        except (IsADirectoryError, PermissionError):
            if not stat.S_ISDIR(path.lstat().st_mode):
                raise
        else:
            return
        _empty(path)
        path.rmdir()


def _empty(top: Path) -> None:
    # Everything is reached through directory descriptors opened with O_NOFOLLOW: a directory that is replaced by a
    # symbolic link under our hands cannot lead us out of the tree.
    levels: list[tuple[bytes, int, list[bytes]]] = [(b"", _open_directory(os.fsencode(top), None), [])]
    try:
        _fill(levels[-1])
        while levels:
            name, descriptor, below = levels[-1]
            if below:
                child = below.pop()
                levels.append((child, _open_directory(child, descriptor), []))
                _fill(levels[-1])
            else:
                levels.pop()
                os.close(descriptor)
                if levels:
                    os.rmdir(name, dir_fd=levels[-1][1])
    finally:
        for _, descriptor, _ in levels:
            os.close(descriptor)


def _fill(level: tuple[bytes, int, list[bytes]]) -> None:
    """Remove what is not a directory, and note the directories."""
    _, descriptor, below = level
    with os.scandir(descriptor) as entries:
        for entry in entries:
            name = os.fsencode(entry.name)
            if entry.is_dir(follow_symlinks=False):
                below.append(name)
            else:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=descriptor)


def _open_directory(name: bytes, parent: int | None) -> int:
    """Open a directory for emptying: readable, writable and searchable by us, whatever it was."""
    handle = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        if os.fstat(handle).st_mode & stat.S_IRWXU != stat.S_IRWXU:
            # fchmod refuses O_PATH descriptors, and an ordinary one cannot be had without read permission.
            Path(f"/proc/self/fd/{handle}").chmod(stat.S_IRWXU)
        return os.open(b".", _DIRECTORY, dir_fd=handle)
    finally:
        os.close(handle)


def walk(top: bytes) -> Iterator[tuple[bytes, list[bytes], list[bytes]]]:
    """As ``os.walk``, which passes over what cannot be read as if nothing were there.  Raises: FileTrouble."""

    def refuse(error: OSError) -> None:
        raise trouble("read", error.filename, error) from error

    return os.walk(top, onerror=refuse)


def copy_aside(root: Path, names: tuple[bytes, ...], aside: Path) -> None:
    """Copy files below ``root`` to the same places below ``aside``, durably; links as links."""
    for name in names:
        target = os.path.join(os.fsencode(aside), name)
        with translated("save", target):
            os.makedirs(os.path.dirname(target), exist_ok=True)
            shutil.copy2(os.path.join(os.fsencode(root), name), target, follow_symlinks=False)
    if names:
        sync_filesystem(aside)


def sha256_of(path: Path, check: Callable[[], None] = lambda: None) -> str:
    """The SHA-256 of a file's content, in hexadecimal; ``check`` is called for every MiB and may raise."""
    with translated("read", path), open(path, "rb", buffering=0) as file:
        digest, buffer = hashlib.sha256(), bytearray(_PIECE)
        while size := file.readinto(buffer):
            digest.update(memoryview(buffer)[:size])
            check()
    return digest.hexdigest()


def free_bytes(path: Path) -> int:
    """Bytes that this user can still write to the file system of ``path``."""
    with translated("measure the free space of", path):
        found = os.statvfs(path)
        return found.f_bavail * found.f_frsize


def mount_points() -> frozenset[bytes]:
    """Where something is mounted, bind mounts of the same filesystem included (``os.path.ismount`` misses those)."""
    with translated("read", "/proc/self/mountinfo"):
        lines = Path("/proc/self/mountinfo").read_bytes().splitlines()
    # proc(5): the fifth field; blank, tab, newline and backslash are written as three octal digits.
    return frozenset(
        re.sub(rb"\\([0-7]{3})", lambda octal: bytes([int(octal[1], 8)]), line.split(b" ")[4]) for line in lines
    )


def inode(path: Path) -> int | None:
    """What tells a file or folder from another one that takes its name; ``None`` when there is none."""
    with translated("look at", path):
        try:
            return path.lstat().st_ino
        except FileNotFoundError:
            return None


def is_mount_point(path: Path) -> bool:
    """Whether something is mounted exactly on ``path``; such a folder can be neither renamed nor exchanged."""
    return os.path.realpath(os.fsencode(path)) in mount_points()


def _is_in(path: bytes, directory: bytes) -> bool:
    return path == directory or path.startswith(directory.rstrip(b"/") + b"/")
